// SPDX-License-Identifier: Apache-2.0
/*
 * policy_scale_test.c - large worlds: what they cost, and that it is linear.
 *
 * Times are printed and judged as ratios of runs beside each other.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/addr.h"
#include "lib/arena.h"
#include "policy/policy.h"
#include "test/test.h"

/* A world made directly: the parser is not what is measured. */
struct big {
	struct arena *arena;
	struct world world;
};

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static struct labels labels_of(struct arena *arena, const char *key,
                               const char *value)
{
	struct labels labels = {
		need(arena_array(arena, 1, sizeof(struct label))), 1};

	labels.item[0] = (struct label){key, value};
	return labels;
}

static struct selector select_label(struct arena *arena, const char *key,
                                    const char *value)
{
	struct selector sel = {
		need(arena_array(arena, 1, sizeof(struct requirement))), 1};

	sel.req[0].key = key;
	sel.req[0].op = OP_IN;
	sel.req[0].values = need(arena_array(arena, 1, sizeof(char *)));
	sel.req[0].values[0] = value;
	sel.req[0].n_values = 1;
	return sel;
}

static struct addr addr_of(const char *base, unsigned long n)
{
	struct addr addr;

	if (addr_parse(base, &addr))
		abort();
	return addr_add(&addr, n);
}

static const char *name_of(struct arena *arena, const char *what,
                           unsigned int n)
{
	return need(arena_printf(arena, "%s-%u", what, n));
}

/* The first @here pods are attached; @apps labels are shared by @ns spaces. */
static void add_pods(struct big *big, unsigned int n, unsigned int here,
                     unsigned int apps, unsigned int ns)
{
	struct arena *arena = big->arena;

	big->world.pod = need(arena_array(arena, n, sizeof(struct pod *)));
	for (unsigned int i = 0; i < n; i++) {
		struct pod *pod = need(arena_alloc(arena, sizeof(*pod)));

		pod->ns = name_of(arena, "ns", i % ns);
		pod->name = name_of(arena, "pod", i);
		pod->labels = labels_of(arena, "app",
		                        name_of(arena, "app", i / ns % apps));
		pod->addr = need(arena_array(arena, 2, sizeof(*pod->addr)));
		/* Scattered, as many nodes give them out. */
		pod->addr[0] = addr_of("10.0.0.1", i * 2654435761u % 16000000u);
		pod->addr[1] = addr_of("fd00::1", i * 2654435761u % 16000000u);
		pod->n_addrs = 2;
		pod->endpoint = (uint16_t)(i < here ? i + 1 : 0);
		big->world.pod[i] = pod;
	}
	big->world.n_pods = n;
}

static struct netpol *netpol_new(struct big *big, unsigned int i,
                                 const char *ns)
{
	struct netpol *netpol = need(arena_alloc(big->arena, sizeof(*netpol)));

	netpol->ns = ns;
	netpol->name = need(arena_printf(big->arena, "policy-%06u", i));
	netpol->applies[DIR_INGRESS] = true;
	netpol->rule[DIR_INGRESS] =
		need(arena_array(big->arena, 1, sizeof(struct rule)));
	netpol->rule[DIR_INGRESS]->peer =
		need(arena_array(big->arena, 2, sizeof(struct peer)));
	netpol->rule[DIR_INGRESS]->port =
		need(arena_array(big->arena, 1, sizeof(struct port_spec)));
	netpol->rule[DIR_INGRESS]->port[0] = (struct port_spec){
		.proto = IPPROTO_TCP, .has_port = true, .port = 80, .end = 80};
	netpol->rule[DIR_INGRESS]->n_ports = 1;
	netpol->n_rules[DIR_INGRESS] = 1;
	return netpol;
}

static int netpol_compare(const void *a, const void *b)
{
	const struct netpol *x = *(const struct netpol *const *)a;
	const struct netpol *y = *(const struct netpol *const *)b;
	int cmp = strcmp(x->ns, y->ns);

	return cmp ? cmp : strcmp(x->name, y->name);
}

static void add_netpols(struct big *big, unsigned int n, unsigned int ns,
                        void (*fill)(struct big *, struct netpol *,
                                     unsigned int))
{
	big->world.netpol =
		need(arena_array(big->arena, n, sizeof(struct netpol *)));
	for (unsigned int i = 0; i < n; i++) {
		struct netpol *netpol =
			netpol_new(big, i, name_of(big->arena, "ns", i % ns));

		fill(big, netpol, i);
		big->world.netpol[i] = netpol;
	}
	big->world.n_netpols = n;
	qsort(big->world.netpol, n, sizeof(struct netpol *), netpol_compare);
}

/* Each allows one /28 of its own to every pod of its namespace. */
static void fill_block(struct big *big, struct netpol *netpol, unsigned int i)
{
	struct peer *peer = netpol->rule[DIR_INGRESS]->peer;

	(void)big;
	peer->is_block = true;
	peer->block.addr = addr_of("172.16.0.0", i * 16ul);
	peer->block.bits = 96 + 28;
	netpol->rule[DIR_INGRESS]->n_peers = 1;
}

/* A web of services: each app is open to another one, here and elsewhere. */
static void fill_apps(struct big *big, struct netpol *netpol, unsigned int i)
{
	struct peer *peer = netpol->rule[DIR_INGRESS]->peer;

	netpol->pod_selector = select_label(big->arena, "app",
	                                    name_of(big->arena, "app", i / 50));
	peer[0].has_pod_selector = true;
	peer[0].pod_selector = select_label(
		big->arena, "app", name_of(big->arena, "app", (i * 7) % 100));
	peer[1].has_ns_selector = true;
	peer[1].ns_selector =
		select_label(big->arena, "kubernetes.io/metadata.name",
	                     name_of(big->arena, "ns", (i * 3) % 50));
	peer[1].has_pod_selector = true;
	peer[1].pod_selector = peer[0].pod_selector;
	netpol->rule[DIR_INGRESS]->n_peers = 2;
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

struct cost {
	double ms; /* the best of some runs */
	size_t bytes, entries, prefixes, identities, tables;
};

static struct cost cost_of(const struct compiled *compiled,
                           const struct arena *arena)
{
	struct cost cost = {
		.ms = 1e9,
		.bytes = arena_bytes(arena),
		.prefixes = compiled->n_prefixes,
		.identities = compiled->n_identities,
		.tables = compiled->n_tables,
	};

	for (size_t i = 0; i < compiled->n_tables; i++)
		cost.entries += compiled->table[i].n_entries;
	return cost;
}

/* As the daemon does it all day: with the identities of the time before. */
static struct cost compile_cost(const struct world *world)
{
	_cleanup_(arena_freep) struct arena *first = arena_new(0);
	struct compiled was;
	struct err err = {};
	struct cost cost;

	if (policy_compile(world, NULL, 0, first, &was, &err))
		fail_msg("%s", err.text);
	cost = cost_of(&was, first);
	for (int run = 0; run < 5; run++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(0);
		struct compiled is;
		double start = now_ms(), took;

		if (policy_compile(world, was.identity, was.n_identities, arena,
		                   &is, &err))
			fail_msg("%s", err.text);
		took = now_ms() - start;
		if (took < cost.ms)
			cost.ms = took;
	}
	return cost;
}

static void cost_print(const char *what, const struct cost *cost)
{
	print_message("# %s: %.2f ms, %zu kB, %zu entries in %zu tables, "
	              "%zu prefixes, %zu identities\n",
	              what, cost->ms, cost->bytes / 1024, cost->entries,
	              cost->tables, cost->prefixes, cost->identities);
}

static struct cost measure(unsigned int pods, unsigned int ns,
                           unsigned int netpols, bool blocks, const char *what)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct big big = {.arena = arena};
	struct cost cost;

	add_pods(&big, pods, 100, 100, ns);
	add_netpols(&big, netpols, ns, blocks ? fill_block : fill_apps);
	cost = compile_cost(&big.world);
	cost_print(what, &cost);
	return cost;
}

static void a_thousand_distinct_blocks_grow_linearly(void **state)
{
	struct cost one = measure(1000, 1, 1000, true, "1000 blocks");
	struct cost four = measure(1000, 1, 4000, true, "4000 blocks");

	(void)state;
	assert_int_equal(one.entries, 1000);
	assert_int_equal(four.entries, 4000);
	assert_int_equal(one.prefixes, 1000);
	assert_true(four.ms < one.ms * 8 + 5);
}

static void blocks_in_many_namespaces_grow_linearly(void **state)
{
	struct cost one = measure(1000, 100, 1000, true, "1000 blocks, 100 ns");
	struct cost four =
		measure(1000, 100, 4000, true, "4000 blocks, 100 ns");

	(void)state;
	assert_int_equal(one.entries, 1000);
	assert_int_equal(four.entries, 4000);
	assert_true(four.ms < one.ms * 8 + 5);
}

static void ten_thousand_addresses_and_a_thousand_policies(void **state)
{
	struct cost cost = measure(5000, 50, 1000, false, "web of services");

	(void)state;
	assert_true(cost.entries > 100);
	/* A fifth of a second is what a sanitized build may take. */
	assert_true(cost.ms < 200);
}

/* 5 000 pods, each of a namespace and app that no other has. */
static void addresses_that_all_differ(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct big big = {.arena = arena};
	struct cost cost;

	(void)state;
	add_pods(&big, 5000, 100, 5000, 1);
	add_netpols(&big, 1000, 1, fill_apps);
	cost = compile_cost(&big.world);
	cost_print("all differ", &cost);
	assert_true(cost.identities >= 10000);
	assert_true(cost.ms < 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thousand_distinct_blocks_grow_linearly),
		cmocka_unit_test(blocks_in_many_namespaces_grow_linearly),
		cmocka_unit_test(
			ten_thousand_addresses_and_a_thousand_policies),
		cmocka_unit_test(addresses_that_all_differ),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
