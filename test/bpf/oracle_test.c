// SPDX-License-Identifier: Apache-2.0
/*
 * oracle_test.c - policy three times: specification, compiled tables, kernel.
 *
 * Random worlds go through policy_eval(), through table_lookup() of what
 * policy_compile() made of them, and as packets through the real programs with
 * that in their maps.  Seeds: ORACLE_SEED=N runs one world alone;
 * ORACLE_WORLDS, ORACLE_PACKETS (of a world) as many as you like.
 */
#include <linux/pkt_cls.h>
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "test/lib/bpfworld.h"
#include "test/lib/oracle.h"
#include "test/test.h"

#define WORLDS       2000
#define PACKETS      820 /* of a world; a few of them do not exist */
#define FIRST_SEED   0xb9f0000
#define FIXED_PORT   40000
#define SAMPLE_EVERY 16 /* allowed packets whose flow's rules are read */

struct tally {
	unsigned long packets, by_family[2], by_hook[HOOK__COUNT];
	unsigned long denied[DIR__COUNT], rules, ends;
	uint64_t drops[DROP__COUNT]; /* that the kernel must have counted */
};

/* One world, built, compiled, loaded. */
struct stage {
	struct bpfrun *run;
	struct world_gen *gen;
	struct arena *arena;
	struct compiled compiled;
	unsigned int sent;
};

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

/* ---- one packet ---------------------------------------------------------- */

/* DROP_NONE, or the reason that the specification gives. */
static enum drop specified(const struct world *world, const struct visit *v,
                           const struct probe *p)
{
	if (v->pod[0] && !policy_eval(world, v->pod[0], DIR_EGRESS, &p->dst,
	                              p->proto, p->port)
	                          .allowed)
		return DROP_POLICY_EGRESS;
	if (v->pod[1] && !policy_eval(world, v->pod[1], DIR_INGRESS, &p->src,
	                              p->proto, p->port)
	                          .allowed)
		return DROP_POLICY_INGRESS;
	return DROP_NONE;
}

static uint32_t table_rule(const struct stage *s, uint16_t endpoint,
                           enum dir dir, const struct probe *p)
{
	const struct compiled *c = &s->compiled;
	const struct addr *peer = dir == DIR_EGRESS ? &p->dst : &p->src;
	const struct policy_val *val;

	for (size_t i = 0; i < c->n_endpoints; i++) {
		if (c->endpoint[i].endpoint != endpoint)
			continue;
		val = table_lookup(&c->table[c->endpoint[i].table],
		                   compiled_identity(c, peer), dir, p->proto,
		                   htons(p->port));
		return val ? val->rule : 0;
	}
	return 0;
}

/* The node and the pod itself are not asked about: then no rule decided. */
static bool always_allowed(const struct stage *s, const struct visit *v,
                           const struct addr *peer)
{
	const struct compiled *c = &s->compiled;

	if (v->endpoint[0] == v->endpoint[1])
		return true;
	for (size_t i = 0; i < c->n_addrs; i++)
		if (!addr_compare(&c->addr[i].addr, peer))
			return c->addr[i].local;
	return false;
}

/* Does the kernel's flow name the rules that the tables name? */
static bool rules_agree(struct stage *s, const struct visit *v,
                        const struct probe *p, struct err *why)
{
	const struct flow_key key = bpfrun_key(&v->spec);
	const int young = dp_map_fd(s->run->dp, "flows_new");
	struct flow flow;

	if (bpf_map_lookup_elem(young, &key, &flow)) {
		err_set(why, 0, "there is no flow");
		return false;
	}
	for (int dir = 0; dir < DIR__COUNT; dir++) {
		const int self = dir == DIR_EGRESS ? 0 : 1;
		const struct addr *peer = self ? &p->src : &p->dst;
		uint32_t want = 0;

		if (v->pod[self] && !always_allowed(s, v, peer))
			want = table_rule(s, v->endpoint[self], (enum dir)dir,
			                  p);
		if (flow.rule[dir] == want)
			continue;
		err_set(why, 0, "%s: the flow names rule %u, the table %u",
		        dir == DIR_EGRESS ? "egress" : "ingress",
		        flow.rule[dir], want);
		return false;
	}
	return true;
}

/*
 * Protocols without ports have one key for both directions, so a packet the
 * other way would ride on the flow: each gets a table without it.
 */
static void forget(struct stage *s, const struct visit *v)
{
	const struct flow_key key = bpfrun_key(&v->spec);

	(void)bpf_map_delete_elem(dp_map_fd(s->run->dp, "flows_new"), &key);
}

static bool portless(uint8_t proto)
{
	return proto != IPPROTO_TCP && proto != IPPROTO_UDP &&
	       proto != IPPROTO_SCTP;
}

static bool kernel_agrees(struct stage *s, const struct probe *p,
                          struct visit *v, struct tally *tally, struct err *why)
{
	const enum drop want = specified(&s->gen->world, v, p);
	struct packet packet;
	int verdict;

	if (portless(p->proto))
		forget(s, v);
	/* Nothing that a flow remembers is believed: policy is asked. */
	dp_epoch_raise(s->run->dp, 0);
	packet = packet_make(&v->spec);
	verdict = bpfrun_verdict(s->run, v->hook, v->ifindex, packet.byte,
	                         packet.len);
	tally->packets++;
	tally->by_family[addr_family(&p->src)]++;
	tally->by_hook[v->hook]++;
	if ((verdict == TC_ACT_SHOT) != (want != DROP_NONE)) {
		err_set(why, 0,
		        "the kernel's verdict is %d, the specification %s",
		        verdict,
		        want == DROP_NONE            ? "allows"
		        : want == DROP_POLICY_EGRESS ? "denies egress"
		                                     : "denies ingress");
		return false;
	}
	if (want != DROP_NONE) {
		tally->denied[want == DROP_POLICY_EGRESS]++;
		tally->drops[want]++;
		return true;
	}
	if (tally->packets % SAMPLE_EVERY)
		return true;
	tally->rules++;
	return rules_agree(s, v, p, why);
}

/* Half the packets have a port of their own, half meet a flow of before. */
static bool probe_agrees(struct stage *s, const struct probe *p,
                         struct tally *tally, struct err *why)
{
	const unsigned int n = s->sent++;
	const uint16_t sport =
		n & 1 ? FIXED_PORT : (uint16_t)(1024 + n % 30000);
	char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];
	struct visit v;

	if (!oracle_agrees(&s->gen->world, &s->compiled, p, &tally->ends, why))
		return false;
	if (!visit_make(s->run, &s->gen->world, &s->compiled, p, n >> 1, sport,
	                &v))
		return true;
	if (kernel_agrees(s, p, &v, tally, why))
		return true;
	err_wrap(why, 0, "%s -> %s protocol %u port %u at hook %d",
	         addr_format(&p->src, src), addr_format(&p->dst, dst), p->proto,
	         p->port, v.hook);
	return false;
}

/* ---- one world ----------------------------------------------------------- */

static bool stage_open(struct stage *s, struct bpfrun *run,
                       struct world_gen *gen, struct err *why)
{
	*s = (struct stage){.run = run, .gen = gen, .arena = arena_new(0)};
	if (world_build(gen, why) ||
	    policy_compile(&gen->world, NULL, 0, s->arena, &s->compiled, why) ||
	    !oracle_is_sound(&s->compiled, why)) {
		arena_free(s->arena);
		return false;
	}
	bpfworld_load(run, &s->compiled);
	return true;
}

static void stage_close(struct stage *s)
{
	bpfworld_unload(s->run, &s->compiled);
	arena_free(s->arena);
}

static void drops_read(struct bpfrun *run, uint64_t ret[DROP__COUNT])
{
	for (int why = 1; why < DROP__COUNT; why++) {
		ret[why] = 0;
		for (int hook = HOOK_FROM_POD; hook <= HOOK_TO_NET; hook++) {
			uint64_t n;

			assert_int_equal(dp_drop_count(run->dp, (enum drop)why,
			                               (enum hook)hook, &n),
			                 0);
			ret[why] += n;
		}
	}
}

/* The kernel counted the very reasons that the specification gave. */
static bool drops_agree(struct bpfrun *run, const uint64_t *before,
                        const struct tally *tally, struct err *why)
{
	uint64_t after[DROP__COUNT];

	drops_read(run, after);
	for (int i = 1; i < DROP__COUNT; i++) {
		if (after[i] - before[i] == tally->drops[i])
			continue;
		err_set(why, 0,
		        "drop reason %d was counted %llu times, not "
		        "%llu",
		        i, (unsigned long long)(after[i] - before[i]),
		        (unsigned long long)tally->drops[i]);
		return false;
	}
	return true;
}

static bool world_agrees(struct bpfrun *run, struct world_gen *gen,
                         unsigned long packets, struct tally *tally,
                         struct probe *bad, struct err *why)
{
	uint64_t before[DROP__COUNT];
	struct stage stage;
	bool agrees = true;

	if (!stage_open(&stage, run, gen, why))
		return false;
	memset(tally->drops, 0, sizeof(tally->drops));
	drops_read(run, before);
	for (unsigned long i = 0; i < packets && agrees; i++) {
		*bad = world_probe(gen);
		agrees = probe_agrees(&stage, bad, tally, why);
	}
	if (agrees)
		agrees = drops_agree(run, before, tally, why);
	stage_close(&stage);
	return agrees;
}

/* ---- a failure ----------------------------------------------------------- */

static bool packet_agrees(struct bpfrun *run, struct world_gen *gen,
                          const struct probe *probe, struct err *why)
{
	struct tally tally = {};
	struct stage stage;
	bool agrees = true;

	if (!stage_open(&stage, run, gen, why))
		return true; /* another failure than the one we shrink */
	bpfrun_flush(run);
	/* Each way in, by a new flow and by one that is judged anew. */
	for (int i = 0; i < 8 && agrees; i++)
		agrees = probe_agrees(&stage, probe, &tally, why);
	stage_close(&stage);
	return agrees;
}

/* Remove manifests one by one as long as the packet is still judged wrong. */
static void shrink(struct bpfrun *run, struct world_gen *gen,
                   const struct probe *bad, struct err *why)
{
	for (size_t i = gen->n_docs; i-- > 0;) {
		struct world_gen less = {};
		struct err reason = {};

		world_copy(&less, gen);
		world_remove(&less, i);
		if (packet_agrees(run, &less, bad, &reason)) {
			world_clear(&less);
			continue;
		}
		*why = reason;
		world_clear(gen);
		*gen = less;
	}
}

static void give_up(struct bpfrun *run, struct world_gen *gen,
                    const struct probe *bad, struct err *why)
{
	const unsigned long long seed = gen->seed;

	if (packet_agrees(run, gen, bad, &(struct err){}))
		print_error("# alone, the packet is judged right\n");
	else
		shrink(run, gen, bad, why);
	print_error("# ORACLE_SEED=%llu; shrunk to:\n", seed);
	world_print(gen, stderr);
	fail_msg("seed %llu: %s", seed, why->text);
}

/* ---- the proof ----------------------------------------------------------- */

/* The test's name: its figure is put in when it is known. */
static char figure[160] = "specification, tables and kernel agree";

static void specification_tables_and_kernel_agree(void **state)
{
	const unsigned long alone = setting("ORACLE_SEED", 0);
	const unsigned long worlds =
		alone ? 1 : setting("ORACLE_WORLDS", WORLDS);
	const unsigned long packets = setting("ORACLE_PACKETS", PACKETS);
	const uint64_t seed = alone ? alone : FIRST_SEED;
	struct tally tally = {};

	for (unsigned long i = 0; i < worlds; i++) {
		struct world_gen gen = {};
		struct err why = {};
		struct probe bad = {};

		world_random(&gen, seed + i);
		if (!world_agrees(*state, &gen, packets, &tally, &bad, &why))
			give_up(*state, &gen, &bad, &why);
		world_clear(&gen);
	}
	print_message("# seeds %llu to %llu: %lu v4, %lu v6; from_pod %lu, "
	              "to_pod %lu, from_net %lu; %lu denied egress, %lu "
	              "ingress; %lu rules read; %lu ends asked of the tables\n",
	              (unsigned long long)seed,
	              (unsigned long long)(seed + worlds - 1),
	              tally.by_family[FAMILY_V4], tally.by_family[FAMILY_V6],
	              tally.by_hook[HOOK_FROM_POD], tally.by_hook[HOOK_TO_POD],
	              tally.by_hook[HOOK_FROM_NET], tally.denied[DIR_EGRESS],
	              tally.denied[DIR_INGRESS], tally.rules, tally.ends);
	snprintf(figure, sizeof(figure),
	         "specification, tables and kernel agree: %lu worlds, %lu "
	         "packets, 0 differences, seed %llu",
	         worlds, tally.packets, (unsigned long long)seed);
	if (worlds >= WORLDS && packets >= PACKETS) {
		assert_true(tally.packets >= 1000000);
		assert_true(tally.by_family[FAMILY_V4] > 100000);
		assert_true(tally.by_family[FAMILY_V6] > 100000);
		assert_true(tally.by_hook[HOOK_FROM_POD] > 100000);
		assert_true(tally.by_hook[HOOK_TO_POD] > 10000);
		assert_true(tally.by_hook[HOOK_FROM_NET] > 10000);
		assert_true(tally.denied[DIR_EGRESS] > 10000);
		assert_true(tally.denied[DIR_INGRESS] > 10000);
		assert_true(tally.rules > 1000);
	}
}

static int group_setup(void **state)
{
	static struct bpfrun run;

	bpfworld_open(&run);
	*state = &run;
	return 0;
}

static int group_teardown(void **state)
{
	bpfrun_close(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{figure, specification_tables_and_kernel_agree, NULL, NULL,
	         NULL},
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
