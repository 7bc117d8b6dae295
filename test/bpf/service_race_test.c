// SPDX-License-Identifier: Apache-2.0
/* service_race_test.c - two CPUs open the same flows while services change. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "test/lib/svccheck.h"

#define RACE_SECONDS 3
#define RACE_FLOWS   64

static atomic_bool race_over;
static char race_figure[160] = "two CPUs and changing services";

struct racer {
	pthread_t thread;
	const struct bpfrun *run;
	int cpu;
	unsigned long packets, wrong;
	uint16_t port[RACE_FLOWS]; /* where each flow went */
};

/* TCP's backends have ports 1000 and up, UDP's 2000 and up. */
static bool is_right(const struct spec *s, uint16_t dport)
{
	const uint16_t base = s->proto == IPPROTO_TCP ? 1000 : 2000;

	return dport >= base && dport < base + 4;
}

/* Both racers open the same flows, which nobody has closed since. */
static void *race_run(void *arg)
{
	struct racer *r = arg;
	const struct bpfrun *run = r->run;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(r->cpu, &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
	for (unsigned int i = 0; !atomic_load(&race_over); i++) {
		const unsigned int n = i % RACE_FLOWS;
		struct spec s = to_vip(1, n & 1,
		                       n & 2 ? IPPROTO_TCP : IPPROTO_UDP, SYN);
		struct packet p, out;
		struct facts seen;

		s.smac = pod_mac(1);
		s.sport = (uint16_t)(10000 + n + i / RACE_FLOWS % 400 * 64);
		p = packet_make(&s);
		if (bpfrun_bytes(run, HOOK_FROM_POD, run->pod_if[1], &p,
		                 &out) != TC_ACT_REDIRECT)
			continue; /* its service was replaced just then */
		r->packets++;
		if (!packet_read(&out, &seen) || !is_right(&s, seen.dport))
			r->wrong++;
		/* Once it is known it never goes elsewhere. */
		if (i < RACE_FLOWS)
			r->port[n] = seen.dport;
		else if (i / RACE_FLOWS % 400 == 0 && r->port[n] &&
		         r->port[n] != seen.dport)
			r->wrong++;
	}
	return NULL;
}

/* Sets of backends come and go, their elements recycled at once. */
static void services_churn(struct bpfrun *run, uint32_t round)
{
	for (unsigned int i = 0; i < 4; i++) {
		const enum family f = i & 1;
		const uint8_t proto = i & 2 ? IPPROTO_TCP : IPPROTO_UDP;
		const uint16_t base = proto == IPPROTO_TCP ? 1000 : 2000;
		struct backend set[4];
		const uint32_t n = 1 + (round + i) % 4;

		for (uint32_t b = 0; b < n; b++)
			set[b] = backend_of(pod_addr(2 + b, f),
			                    (uint16_t)(base + b));
		service_set(run, f, proto, set, n);
	}
}

static void a_flow_has_one_backend_and_it_is_its_services(void **state)
{
	struct bpfrun *run = *state;
	struct racer racer[2] = {};
	const time_t end = time(NULL) + RACE_SECONDS;
	const uint64_t opened = bpfrun_counter(run, COUNTER_FLOW_OPENED);
	uint32_t rounds = 0;

	services_churn(run, 0);
	atomic_store(&race_over, false);
	for (int i = 0; i < 2; i++) {
		racer[i].run = run;
		racer[i].cpu = i;
		assert_int_equal(pthread_create(&racer[i].thread, NULL,
		                                race_run, &racer[i]),
		                 0);
	}
	while (time(NULL) < end)
		services_churn(run, ++rounds);
	atomic_store(&race_over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(racer[i].thread, NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(racer[i].wrong, 0);
		assert_true(racer[i].packets > 1000);
	}
	for (int i = 0; i < RACE_FLOWS; i++)
		if (racer[0].port[i] && racer[1].port[i])
			assert_int_equal(racer[0].port[i], racer[1].port[i]);
	/* 400 * 64 tuples: each was opened once. */
	assert_true(bpfrun_counter(run, COUNTER_FLOW_OPENED) - opened <=
	            400 * RACE_FLOWS);
	snprintf(race_figure, sizeof(race_figure),
	         "a flow has one backend and it is its service's (two CPUs, "
	         "%u sets replaced): %lu packets, 0 wrong",
	         rounds * 4, racer[0].packets + racer[1].packets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{race_figure, a_flow_has_one_backend_and_it_is_its_services,
	         bpfcheck_setup, NULL, NULL},
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
