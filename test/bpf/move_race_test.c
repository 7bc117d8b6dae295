// SPDX-License-Identifier: Apache-2.0
/*
 * move_race_test.c - a flow moves to the main table while two CPUs carry it.
 *
 * A stack's ACK of the SYN-ACK and its program's first data go to from_pod at
 * once, from two CPUs: both find the flow half-open, one of them moves it.  The
 * other one must find it too, and neither may end what the other has moved.
 */
#include <linux/pkt_cls.h>
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/lib/bpfcheck.h"

#define ROUNDS 30000
#define FLUSH  500 /* rounds, before the pod's share of the table is full */

struct shot {
	struct bpfrun *run;
	enum hook hook;
	uint32_t ifindex;
	struct packet packet, out;
	int cpu, verdict;
};

static atomic_int turn, ended;
static char masq_figure[200] = "two CPUs move a masqueraded flow";

static void *other_cpu(void *arg)
{
	struct shot *s = arg;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(s->cpu, &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
	for (int i = 1;; i++) {
		while (atomic_load(&turn) < i)
			if (atomic_load(&turn) < 0)
				return NULL;
		s->verdict = bpfrun_bytes(s->run, s->hook, s->ifindex,
		                          &s->packet, &s->out);
		atomic_store(&ended, i);
	}
}

static uint16_t sport_of(const struct packet *p)
{
	struct facts got;

	return packet_read(p, &got) ? got.sport : 0;
}

struct seen {
	unsigned int lost, moved_port, answer_lost, dead;
};

static void masq_round(struct bpfrun *run, struct shot *b, int i,
                       struct seen *seen)
{
	struct spec syn =
		pod_spec(1, 2, i & 1 ? FAMILY_V6 : FAMILY_V4, IPPROTO_TCP, SYN);
	struct spec ack, back;
	struct shot a = {
		.run = run, .hook = HOOK_FROM_POD, .ifindex = run->pod_if[1]};
	struct outcome o;

	syn.daddr = i & 1 ? A(RIG_WORLD6) : A(RIG_WORLD4);
	syn.sport = (uint16_t)(1000 + i % 50000);
	ack = syn;
	ack.tcp = ACK;
	o = spec_want(run, "SYN", FROM_POD(1), &syn, SENT);
	back = spec_answer(&syn, SYN | ACK);
	back.smac = back.dmac = NULL;
	back.daddr = i & 1 ? A(RIG_NODE6) : A(RIG_NODE4);
	back.dport = facts_of("out", &o.out).sport;
	spec_want(run, "SYN-ACK", FROM_NETW, &back, SENT);
	a.packet = b->packet = packet_make(&ack);
	atomic_store(&turn, i + 1);
	for (volatile int n = 0; n < (i * 7) % 400; n++)
		;
	a.verdict = bpfrun_bytes(run, a.hook, a.ifindex, &a.packet, &a.out);
	while (atomic_load(&ended) < i + 1)
		;
	seen->lost += a.verdict != TC_ACT_REDIRECT;
	seen->lost += b->verdict != TC_ACT_REDIRECT;
	seen->moved_port += sport_of(&a.out) != back.dport;
	seen->moved_port += sport_of(&b->out) != back.dport;
	back.tcp = ACK;
	a.packet = packet_make(&back);
	seen->answer_lost += bpfrun_bytes(run, HOOK_FROM_NET, run->uplink_if,
	                                  &a.packet, &a.out) != TC_ACT_REDIRECT;
}

static void two_cpus_move_a_masqueraded_flow(void **state)
{
	struct bpfrun *run = *state;
	struct shot b = {.run = run,
	                 .hook = HOOK_FROM_POD,
	                 .ifindex = run->pod_if[1],
	                 .cpu = 1};
	struct seen seen = {};
	pthread_t thread;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	(void)sched_setaffinity(0, sizeof(cpus), &cpus);
	atomic_store(&turn, 0);
	atomic_store(&ended, 0);
	assert_int_equal(pthread_create(&thread, NULL, other_cpu, &b), 0);
	for (int i = 0; i < ROUNDS; i++) {
		if (i % FLUSH == 0)
			bpfrun_flush(run);
		masq_round(run, &b, i, &seen);
	}
	atomic_store(&turn, -1);
	pthread_join(thread, NULL);
	print_message("# of %d: %u dropped, %u with another port, %u answers "
	              "lost\n",
	              ROUNDS, seen.lost, seen.moved_port, seen.answer_lost);
	assert_int_equal(seen.lost, 0);
	assert_int_equal(seen.moved_port, 0);
	assert_int_equal(seen.answer_lost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{masq_figure, two_cpus_move_a_masqueraded_flow, bpfcheck_setup,
	         NULL, NULL},
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
