// SPDX-License-Identifier: Apache-2.0
/* peers_test.c - other nodes: from manifests to numbers, lists and prefixes. */
#include "daemon/peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/desired.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/util.h"
#include "test/lib/world.h"
#include "test/test.h"

struct fixture {
	char dir[32];
	struct config config;
	struct store store;
	struct node node;
	struct peers peers;
};

static void peers_begin(struct fixture *f)
{
	struct err err = {};

	f->peers = (struct peers){
		.config = &f->config, .store = &f->store, .node = &f->node};
	if (peers_open(&f->peers, &err))
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	log_open(false, LOG_LEVEL_ERR);
	strcpy(f->dir, "/tmp/peers.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	strcpy(f->config.state_dir, f->dir);
	strcpy(f->config.node_name, "me");
	peers_begin(f);
	*state = f;
	return 0;
}

static void peers_end(struct fixture *f)
{
	f->peers.sync.run = NULL; /* there is no loop */
	peers_close(&f->peers);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[64];

	peers_end(f);
	store_clear(&f->store);
	snprintf(path, sizeof(path), "%s/nodes.json", f->dir);
	(void)unlink(path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* @addresses: "'a', 'b'" with types; @cidrs likewise. */
static void put(struct fixture *f, const char *name, const char *addresses,
                const char *cidrs)
{
	json_t *doc = doc_text("{'apiVersion': 'v1', 'kind': 'Node', "
	                       "'metadata': {'name': '%s'}, "
	                       "'spec': {'podCIDRs': [%s]}, "
	                       "'status': {'addresses': [%s]}}",
	                       name, cidrs, addresses);
	struct err err = {};

	if (store_put(&f->store, doc, name, &err))
		fail_msg("%s", err.text);
	json_decref(doc);
}

static void update(struct fixture *f)
{
	assert_int_equal(peers_update(&f->peers), 0);
	(void)peer_numbers_save(&f->peers.numbers, &(struct err){});
}

#define INTERNAL(addr) "{'type': 'InternalIP', 'address': '" addr "'}"
#define EXTERNAL(addr) "{'type': 'ExternalIP', 'address': '" addr "'}"
#define HOSTNAME       "{'type': 'Hostname', 'address': 'one'}"

static const char *text(const struct addr *addr)
{
	static char buf[ADDR_TEXT_MAX];

	return addr_format(addr, buf);
}

static void a_node_is_its_addresses_and_cidrs(void **state)
{
	struct fixture *f = *state;
	const struct peer_node *one;

	put(f, "me", INTERNAL("192.0.2.1"), "'10.1.0.0/24'");
	put(f, "one",
	    HOSTNAME "," INTERNAL("192.0.2.11") "," INTERNAL(
		    "2001:db8::11") "," EXTERNAL("198.51.100.1"),
	    "'10.2.0.0/24', 'fd00:2::/64'");
	update(f);
	one = peers_find(&f->peers, "one");
	assert_non_null(one);
	assert_int_equal(f->peers.n, 1);
	assert_int_equal(one->n_addrs, 3);
	assert_int_equal(one->n_cidrs, 2);
	assert_string_equal(text(&one->underlay), "192.0.2.11");
	assert_string_equal(text(&f->peers.underlay), "192.0.2.1");
	assert_int_equal(json_array_size(f->peers.problems), 0);
}

static void the_underlay_is_of_our_own_family(void **state)
{
	struct fixture *f = *state;

	put(f, "me", INTERNAL("2001:db8::1") "," INTERNAL("192.0.2.1"), "");
	put(f, "one", INTERNAL("192.0.2.11") "," INTERNAL("2001:db8::11"), "");
	put(f, "two", INTERNAL("192.0.2.12"), "");
	update(f);
	assert_string_equal(text(&peers_find(&f->peers, "one")->underlay),
	                    "2001:db8::11");
	assert_string_equal(text(&peers_find(&f->peers, "two")->underlay),
	                    "192.0.2.12");
	assert_int_equal(f->node.tunnel.underlay, FAMILY_V6);
}

static void a_number_outlives_restarts_and_absence(void **state)
{
	struct fixture *f = *state;
	uint16_t one, two;

	put(f, "one", INTERNAL("192.0.2.11"), "");
	put(f, "two", INTERNAL("192.0.2.12"), "");
	update(f);
	one = peers_find(&f->peers, "one")->number;
	two = peers_find(&f->peers, "two")->number;
	assert_true(one && two && one != two);
	store_remove(&f->store, "Node/one");
	put(f, "three", INTERNAL("192.0.2.13"), "");
	update(f);
	assert_null(peers_find(&f->peers, "one"));
	assert_int_not_equal(peers_find(&f->peers, "three")->number, one);
	peers_end(f);
	peers_begin(f);
	put(f, "one", INTERNAL("192.0.2.99"), "");
	update(f);
	assert_int_equal(peers_find(&f->peers, "one")->number, one);
	assert_int_equal(peers_find(&f->peers, "two")->number, two);
}

static bool one_is_here(const char *name, void *user)
{
	(void)user;
	return !strcmp(name, "n0");
}

static void when_all_numbers_were_given_the_oldest_comes_back(void **state)
{
	struct fixture *f = *state;
	char name[16];

	for (unsigned i = 0; i < NODE_MAX - 1; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_not_equal(peer_number(&f->peers.numbers, name, 0,
		                                 one_is_here, NULL),
		                     0);
	}
	/* n0 is there still, n1 is the oldest that is not. */
	assert_int_equal(
		peer_number(&f->peers.numbers, "late", 0, one_is_here, NULL),
		2);
}

static const struct {
	const char *addresses, *cidrs, *says;
	size_t n_addrs, n_cidrs;
} wrong[] = {
	{INTERNAL("192.0.2.21"), "'0.0.0.0/0'",   "reserved",              1, 0},
	{INTERNAL("192.0.2.21"), "'10.1.0.0/25'", "this node's own",       1, 0},
	{INTERNAL("192.0.2.21"), "'10.2.0.0/16'", "another node's",        1, 1},
	{INTERNAL("127.0.0.1"),  "'10.3.0.0/24'", "that is no node's",     0, 1},
	{INTERNAL("192.0.2.11"), "'10.3.0.0/24'", "is another node's too", 1,
         1								     },
};

static void what_contradicts_is_passed_over_and_said(void **state)
{
	struct fixture *f = *state;

	f->config.has_pod_cidr[FAMILY_V4] = true;
	assert_int_equal(
		prefix_parse("10.1.0.0/24", &f->config.pod_cidr[FAMILY_V4]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const struct peer_node *bad;
		const char *error;

		put(f, "one", INTERNAL("192.0.2.11"), "'10.2.0.0/24'");
		put(f, "zbad", wrong[i].addresses, wrong[i].cidrs);
		update(f);
		bad = peers_find(&f->peers, "zbad");
		assert_int_equal(bad->n_addrs, wrong[i].n_addrs);
		assert_int_equal(bad->n_cidrs, wrong[i].n_cidrs);
		assert_int_equal(json_array_size(f->peers.problems), 1);
		error = json_string_value(json_object_get(
			json_array_get(f->peers.problems, 0), "error"));
		if (!strstr(error, wrong[i].says))
			fail_msg("%s: not '%s'", error, wrong[i].says);
		/* No two of what is left overlap. */
		for (size_t c = 1; c < f->peers.n_cidrs; c++)
			assert_false(
				prefix_contains(&f->peers.cidr[c - 1].prefix,
			                        &f->peers.cidr[c].prefix.addr));
	}
}

/* ---- what the maps should hold ------------------------------------------- */

static struct prefix prefix_of(const char *cidr)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(cidr, &prefix), 0);
	return prefix;
}

static struct addr addr_of(const char *addr)
{
	struct addr ret;

	assert_int_equal(addr_parse(addr, &ret), 0);
	return ret;
}

static const struct plan_prefix *prefix_in(const struct state *state,
                                           const char *cidr)
{
	const struct prefix want = prefix_of(cidr);

	for (size_t i = 0; i < state->n_prefixes; i++)
		if (state->prefix[i].key.bits == want.bits &&
		    !memcmp(state->prefix[i].key.addr, &want.addr, 16))
			return &state->prefix[i];
	fail_msg("%s is not there", cidr);
	return NULL;
}

static void prefixes_inherit_whose_pods_they_are(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct prefix_entry entry[] = {
		{prefix_of("10.0.0.0/8"),   77},
		{prefix_of("10.2.0.0/24"),  78},
		{prefix_of("10.2.1.64/26"), 79},
		{prefix_of("192.0.2.0/24"), 80},
	};
	struct addr_entry addr[] = {
		{.addr = addr_of("10.2.1.5"), .identity = 5},
		{.addr = addr_of("10.9.9.9"), .identity = 6},
		{.addr = addr_of("192.0.2.12"), .identity = 7},
		{.addr = addr_of("192.0.2.13"), .identity = 8, .local = true},
	};
	const struct compiled compiled = {.prefix = entry,
	                                  .n_prefixes = ARRAY_SIZE(entry),
	                                  .addr = addr,
	                                  .n_addrs = ARRAY_SIZE(addr)};
	const struct desired_cidr cidr[] = {
		{prefix_of("10.2.0.0/24"), 3},
                {prefix_of("10.2.1.0/24"), 4}
        };
	const struct desired_node node[] = {
		{addr_of("10.9.9.9"),   9},
		{addr_of("192.0.2.12"), 3},
		{addr_of("192.0.2.13"), 9}
        };
	static const struct endpoint none[ENDPOINT_MAX];
	static const bool keep[ENDPOINT_MAX];
	const struct desired_input input = {
		.compiled = &compiled,
		.endpoint = none,
		.keep = keep,
		.has_pool = {true, false},
		.pool = {prefix_of("10.5.0.0/16")},
		.node = node,
		.n_nodes = ARRAY_SIZE(node),
		.cidr = cidr,
		.n_cidrs = ARRAY_SIZE(cidr),
	};
	struct state s = {};

	(void)state;
	assert_int_equal(desired_build(&input, arena, &s), 0);
	assert_int_equal(s.n_prefixes, 6);
	assert_int_equal(prefix_in(&s, "10.0.0.0/8")->info.node, 0);
	assert_int_equal(prefix_in(&s, "10.0.0.0/8")->info.no_masq, 0);
	assert_int_equal(prefix_in(&s, "10.2.0.0/24")->info.identity, 78);
	assert_int_equal(prefix_in(&s, "10.2.0.0/24")->info.node, 3);
	assert_int_equal(prefix_in(&s, "10.2.1.0/24")->info.identity, 77);
	assert_int_equal(prefix_in(&s, "10.2.1.64/26")->info.identity, 79);
	assert_int_equal(prefix_in(&s, "10.2.1.64/26")->info.node, 4);
	assert_int_equal(prefix_in(&s, "10.2.1.64/26")->info.no_masq, 1);
	assert_int_equal(prefix_in(&s, "10.2.1.64/26")->info.pool, 0);
	assert_int_equal(prefix_in(&s, "10.5.0.0/16")->info.pool, 1);
	assert_int_equal(prefix_in(&s, "192.0.2.0/24")->info.no_masq, 0);
	/* By its prefix, by its pod's word, a node's own, and ours. */
	assert_int_equal(s.addr[0].info.node, 4);
	assert_int_equal(s.addr[1].info.node, 9);
	assert_int_equal(s.addr[2].info.node, 3);
	assert_int_equal(s.addr[3].info.node, 0);
}

static void a_thousand_nodes_are_read_in_no_time(void **state)
{
	struct fixture *f = *state;
	char name[16], address[64], cidr[64];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		snprintf(address, sizeof(address), INTERNAL("192.0.%d.%d"),
		         2 + i / 250, i % 250 + 1);
		snprintf(cidr, sizeof(cidr), "'10.%d.%d.0/24'", 10 + i / 250,
		         i % 250);
		put(f, name, address, cidr);
	}
	update(f);
	assert_int_equal(f->peers.n, 1000);
	assert_int_equal(f->peers.n_cidrs, 1000);
	assert_int_equal(json_array_size(f->peers.problems), 0);
}

static void a_node_that_cannot_be_read_is_refused(void **state)
{
	static const char *const text_of[] = {
		"{'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': "
		"'n'}, 'spec': {'podCIDRs': ['10.0.0.0']}}",
		"{'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': "
		"'n'}, 'spec': {'podCIDR': 'x'}}",
		"{'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': "
		"'n'}, 'status': {'addresses': [{'type': 'InternalIP', "
		"'address': '1.2.3'}]}}",
		"{'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': "
		"'n'}, 'status': {'addresses': {}}}",
		"{'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': "
		"'N/x'}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(text_of); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(0);
		json_t *doc = doc_text("%s", text_of[i]);
		struct object object = {};
		struct err err = {};

		assert_int_equal(object_parse(doc, arena, &object, &err),
		                 -EINVAL);
		assert_non_null(strstr(err.text, "Node"));
		json_decref(doc);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_node_is_its_addresses_and_cidrs),
		TEST(the_underlay_is_of_our_own_family),
		TEST(a_number_outlives_restarts_and_absence),
		TEST(when_all_numbers_were_given_the_oldest_comes_back),
		TEST(what_contradicts_is_passed_over_and_said),
		TEST(a_thousand_nodes_are_read_in_no_time),
		cmocka_unit_test(prefixes_inherit_whose_pods_they_are),
		cmocka_unit_test(a_node_that_cannot_be_read_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
