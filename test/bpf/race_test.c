// SPDX-License-Identifier: Apache-2.0
/*
 * race_test.c - two CPUs open, close and sweep the same few flows: no entry
 * ever answers for another.
 *
 * Elements are taken out at once here, as no sweeper of ours would, and thus
 * recycled while the other CPU may still hold them: only the tag stands
 * between a packet and a stranger's flow (design D3).  In the planted runs a
 * CPU also writes strangers' flows over live entries, which is what a recycled
 * element looks like; a build without the tag check shows that we would see it.
 *
 * RACE_SECONDS: how long the long run lasts (60).  A planted run lasts 2 s and
 * is repeated, PLANTED times at most, until it has shown something.
 */
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "test/lib/bpfcheck.h"
#include "test/lib/bpfobject.h"
#include "test/lib/rng.h"

#define SECONDS  60
#define PLANTED  10
#define OPENER   1 /* the pod that opens all flows */
#define PODS     8 /* pods 3 to 10 receive */
#define PORTS    4 /* 80 to 83; the odd ones are denied */
#define FAR      8 /* flows that leave masqueraded */
#define FLOWS    (2 * PODS * PORTS + FAR)
#define THREADS  2
#define EPOCH_OF 32
#define PLANT_OF 8 /* one operation in so many plants, in a planted run */

enum op {
	OP_SYN,
	OP_SYNACK,
	OP_ACK,
	OP_FIN,
	OP_RST,
	OP_ANSWER,
	OP_SWEEP,
	OP_EPOCH,
	OP__COUNT
};

struct flow_case {
	struct spec spec;
	unsigned int pod; /* that receives; 0: the world */
	bool allowed;
};

struct result {
	unsigned long packets, wrong;
	unsigned long lost; /* SYNs, though allowed */
	char what[256];     /* the first wrong one */
};

struct worker {
	pthread_t thread;
	struct bpfrun *run;
	int cpu;
	bool plant;
	struct rng rng;
	struct result seen;
};

static struct flow_case cases[FLOWS];
static atomic_bool stop;
static char figure[200] = "no entry answers for another";

/* ---- flows --------------------------------------------------------------- */

static void case_add(size_t at, unsigned int pod, enum family f, uint16_t port)
{
	struct flow_case *c = &cases[at];

	c->pod = pod;
	c->allowed = !pod || !(port & 1);
	c->spec = (struct spec){
		.smac = pod_mac(OPENER),
		.saddr = pod_addr(OPENER, f),
		.proto = at % 5 ? IPPROTO_TCP : IPPROTO_UDP,
		.sport = 40000,
		.dport = port,
		.n_payload = 8,
	};
	if (pod)
		c->spec.daddr = pod_addr(pod, f);
	else
		c->spec.daddr = f ? A(RIG_WORLD6) : A(RIG_WORLD4);
}

static void cases_make(void)
{
	size_t n = 0;

	for (enum family f = 0; f < FAMILY__COUNT; f++)
		for (unsigned int pod = 3; pod < 3 + PODS; pod++)
			for (unsigned int i = 0; i < PORTS; i++)
				case_add(n++, pod, f, (uint16_t)(80 + i));
	for (unsigned int i = 0; i < FAR; i++)
		case_add(n++, 0, i & 1, (uint16_t)(80 + i));
	assert_int_equal(n, FLOWS);
}

static int setup(void **state)
{
	const struct policy_entry allow[] = {
		{{.port = htons(80), .proto = IPPROTO_TCP}, {.allow = 1}},
		{{.port = htons(82), .proto = IPPROTO_TCP}, {.allow = 1}},
		{{.port = htons(80), .proto = IPPROTO_UDP}, {.allow = 1}},
		{{.port = htons(82), .proto = IPPROTO_UDP}, {.allow = 1}},
	};
	uint32_t slot;

	bpfcheck_setup(state);
	slot = bpfrun_slot(*state, 3, allow, ARRAY_SIZE(allow));
	for (unsigned int pod = 3; pod < 3 + PODS; pod++)
		bpfrun_pod(*state, pod, slot);
	cases_make();
	return 0;
}

/* ---- one operation ------------------------------------------------------- */

/* Is that what this very tuple may meet?  A packet may be lost, not led. */
static bool verdict_right(const struct flow_case *c, bool answer, int verdict,
                          const struct packet *out)
{
	struct facts got;

	if (verdict == TC_ACT_SHOT)
		return true;
	if (verdict != TC_ACT_REDIRECT || !c->allowed ||
	    !packet_read(out, &got))
		return false;
	if (answer)
		return !memcmp(got.dmac, pod_mac(OPENER), 6) &&
		       !memcmp(&got.daddr, &c->spec.saddr, 16) &&
		       got.dport == c->spec.sport;
	if (memcmp(&got.daddr, &c->spec.daddr, 16) != 0 ||
	    got.dport != c->spec.dport)
		return false;
	if (c->pod)
		return !memcmp(got.dmac, pod_mac(c->pod), 6) &&
		       !memcmp(&got.saddr, &c->spec.saddr, 16);
	return memcmp(&got.saddr, &c->spec.saddr, 16) != 0;
}

static void packet_try(struct worker *w, const struct flow_case *c, uint8_t tcp,
                       bool answer)
{
	struct spec spec = answer ? spec_answer(&c->spec, tcp) : c->spec;
	struct packet p, out;
	int verdict;

	spec.tcp = tcp;
	spec.smac = pod_mac(answer ? c->pod : OPENER);
	p = packet_make(&spec);
	verdict = bpfrun_bytes(w->run, HOOK_FROM_POD,
	                       w->run->pod_if[answer ? c->pod : OPENER], &p,
	                       &out);
	w->seen.packets++;
	w->seen.lost += tcp == SYN && c->allowed && verdict == TC_ACT_SHOT;
	if (verdict_right(c, answer, verdict, &out) || w->seen.wrong++)
		return;
	snprintf(w->seen.what, sizeof(w->seen.what),
	         "verdict %d, MAC ...%02x, for %s", verdict, out.byte[5],
	         packet_text(&p));
}

/* Take the entry out of both tables: its element is free for another. */
static void sweep(const struct worker *w, const struct flow_case *c)
{
	const struct flow_key key = bpfrun_key(&c->spec);

	for (size_t i = 0; i < FLOW_SHARDS; i++)
		(void)bpf_map_delete_elem(w->run->shard[i], &key);
	(void)bpf_map_delete_elem(dp_map_fd(w->run->dp, "flows_new"), &key);
}

/* Write another flow over this one's entry, tag and all. */
static void plant(struct worker *w)
{
	const struct flow_case *a = &cases[rng_below(&w->rng, FLOWS)];
	const struct flow_case *b = &cases[rng_below(&w->rng, FLOWS)];
	const struct flow_key to = bpfrun_key(&a->spec);
	const struct flow_key from = bpfrun_key(&b->spec);
	const int young = dp_map_fd(w->run->dp, "flows_new");
	struct flow flow;

	if (a != b && !bpf_map_lookup_elem(young, &from, &flow))
		(void)bpf_map_update_elem(young, &to, &flow, BPF_EXIST);
}

static void op_run(struct worker *w)
{
	const struct flow_case *c = &cases[rng_below(&w->rng, FLOWS)];

	if (w->plant && !rng_below(&w->rng, PLANT_OF))
		plant(w);
	switch ((enum op)rng_below(&w->rng, OP__COUNT)) {
	case OP_SYN:
		packet_try(w, c, SYN, false);
		break;
	case OP_SYNACK:
		if (c->pod)
			packet_try(w, c, SYN | ACK, true);
		break;
	case OP_ACK:
		packet_try(w, c, ACK, false);
		break;
	case OP_FIN:
		packet_try(w, c, FIN | ACK, false);
		break;
	case OP_RST:
		packet_try(w, c, RST, false);
		break;
	case OP_ANSWER:
		if (c->pod)
			packet_try(w, c, ACK, true);
		break;
	case OP_SWEEP:
		sweep(w, c);
		break;
	case OP_EPOCH:
		/* Seldom: a stale stranger is found out by its ends. */
		if (!rng_below(&w->rng, EPOCH_OF))
			dp_epoch_raise(w->run->dp, (uint16_t)c->pod);
		break;
	case OP__COUNT:
		break;
	}
}

/* ---- runs ---------------------------------------------------------------- */

static void *work(void *arg)
{
	struct worker *w = arg;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(w->cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		w->seen.wrong = 1;
	while (!atomic_load(&stop))
		op_run(w);
	return NULL;
}

/* The first two CPUs that we may run on.  False: there is but one. */
static bool cpus_pick(int cpu[THREADS])
{
	cpu_set_t all;
	int n = 0;

	if (sched_getaffinity(0, sizeof(all), &all))
		return false;
	for (int i = 0; i < CPU_SETSIZE && n < THREADS; i++)
		if (CPU_ISSET(i, &all))
			cpu[n++] = i;
	return n == THREADS;
}

static struct result race(struct bpfrun *run, double seconds, bool planted)
{
	struct worker w[THREADS] = {};
	struct result sum = {};
	struct timespec rest = {.tv_sec = (time_t)seconds};
	int cpu[THREADS];

	rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
	if (!cpus_pick(cpu))
		skip();
	atomic_store(&stop, false);
	for (int i = 0; i < THREADS; i++) {
		w[i].run = run;
		w[i].cpu = cpu[i];
		w[i].plant = planted;
		w[i].rng.state = 0x5711e + (uint64_t)i;
		assert_int_equal(
			pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	nanosleep(&rest, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		sum.packets += w[i].seen.packets;
		sum.wrong += w[i].seen.wrong;
		sum.lost += w[i].seen.lost;
		if (w[i].seen.wrong)
			memcpy(sum.what, w[i].seen.what, sizeof(sum.what));
	}
	return sum;
}

static double seconds_wanted(void)
{
	const char *text = getenv("RACE_SECONDS");

	return text && *text ? strtod(text, NULL) : SECONDS;
}

static void no_entry_answers_for_another(void **state)
{
	const double seconds = seconds_wanted();
	const uint64_t before = bpfrun_counter(*state, COUNTER_FLOW_MOVED);
	const struct result r = race(*state, seconds, false);

	if (r.wrong)
		fail_msg("%lu of %lu packets: %s", r.wrong, r.packets, r.what);
	assert_true(bpfrun_counter(*state, COUNTER_FLOW_MOVED) > before);
	snprintf(figure, sizeof(figure),
	         "no entry answers for another in %.0f s on two CPUs: %lu "
	         "packets, 0 wrong, %lu lost",
	         seconds, r.packets, r.lost);
}

static void a_strangers_flow_in_an_entry_misleads_nobody(void **state)
{
	const uint64_t enough =
		bpfrun_counter(*state, COUNTER_TAG_MISMATCH) + 101;
	bool met = false;

	for (int i = 0; i < PLANTED && !met; i++) {
		const struct result r = race(*state, 2, true);

		if (r.wrong)
			fail_msg("%lu of %lu packets: %s", r.wrong, r.packets,
			         r.what);
		met = bpfrun_counter(*state, COUNTER_TAG_MISMATCH) >= enough;
	}
	assert_true(met);
}

static void a_build_without_the_tag_check_is_caught(void **state)
{
	struct bpf_object *object = bpfobject_load(*state, "untagged.bpf.o");
	struct result r = {};

	for (int i = 0; i < PLANTED && !r.wrong; i++)
		r = race(*state, 2, true);
	bpf_object__close(object);
	print_message("# without the check: %lu of %lu packets wrong, as %s\n",
	              r.wrong, r.packets, r.what);
	assert_true(r.wrong > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{figure, no_entry_answers_for_another, setup, NULL, NULL},
		cmocka_unit_test_setup(
			a_strangers_flow_in_an_entry_misleads_nobody, setup),
		/* The last: its programs replace those of the others. */
		cmocka_unit_test_setup(a_build_without_the_tag_check_is_caught,
	                               setup),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
