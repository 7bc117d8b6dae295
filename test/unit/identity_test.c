// SPDX-License-Identifier: Apache-2.0
/* identity_test.c - who is told apart, under which key and number. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/arena.h"
#include "test/lib/judge.h"
#include "test/test.h"

struct made {
	struct world_gen gen;
	struct arena *arena;
	struct compiled compiled;
};

static void made_compile(struct made *made, const struct identity *prev,
                         size_t n_prev)
{
	struct err err = {};

	arena_free(made->arena);
	made->arena = arena_new(0);
	if (world_build(&made->gen, &err) ||
	    policy_compile(&made->gen.world, prev, n_prev, made->arena,
	                   &made->compiled, &err))
		fail_msg("%s", err.text);
}

static void made_clear(struct made *made)
{
	world_clear(&made->gen);
	arena_free(made->arena);
}

static const char *key_of(const struct made *made, const char *text)
{
	struct addr addr;
	uint32_t number;

	assert_int_equal(addr_parse(text, &addr), 0);
	number = compiled_identity(&made->compiled, &addr);
	for (size_t i = 0; i < made->compiled.n_identities; i++)
		if (made->compiled.identity[i].number == number)
			return made->compiled.identity[i].key;
	fail_msg("%s: identity %#x has no key", text, number);
	return NULL;
}

static uint32_t number_of(const struct made *made, const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return compiled_identity(&made->compiled, &addr);
}

static void without_policies_only_classes_and_namespaces_differ(void **state)
{
	struct made made = {};

	(void)state;
	judge_world(&made.gen);
	made_compile(&made, NULL, 0);
	assert_string_equal(key_of(&made, "10.0.0.1"), "pod4 ns=shop");
	assert_string_equal(key_of(&made, "10.0.0.2"), "pod4 ns=shop");
	assert_string_equal(key_of(&made, "fd00::4"), "pod6 ns=infra");
	assert_string_equal(key_of(&made, "10.0.1.1"), "node4 host");
	assert_string_equal(key_of(&made, "fd00:0:0:1::2"), "node6");
	assert_string_equal(key_of(&made, "8.8.8.8"), "world4");
	assert_string_equal(key_of(&made, "2001:db8::1"), "world6");
	assert_int_equal(number_of(&made, "10.0.1.1"),
	                 ID(CLASS_NODE4, ID_SERIAL_HOST));
	assert_int_equal(number_of(&made, "fd00:0:0:1::2"),
	                 ID(CLASS_NODE6, ID_SERIAL_PLAIN));
	assert_int_equal(number_of(&made, "8.8.8.8"),
	                 ID(CLASS_WORLD4, ID_SERIAL_PLAIN));
	assert_int_equal(number_of(&made, "10.0.0.1") & ~ID_CLASS_MASK,
	                 ID_SERIAL_FIRST + 1);
	made_clear(&made);
}

static void a_label_counts_when_a_peer_selector_mentions_its_key(void **state)
{
	struct made made = {};

	(void)state;
	judge_world(&made.gen);
	judge_policy(&made.gen, "subject-only",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}}");
	made_compile(&made, NULL, 0);
	assert_string_equal(key_of(&made, "10.0.0.1"), "pod4 ns=shop");
	judge_policy(&made.gen, "peer",
	             "{'ingress': [{'from': [{'podSelector': "
	             "{'matchExpressions': [{'key': 'app', 'operator': "
	             "'Exists'}]}}]}]}");
	made_compile(&made, NULL, 0);
	assert_string_equal(key_of(&made, "10.0.0.1"), "pod4 ns=shop app=web");
	assert_string_equal(key_of(&made, "10.0.0.3"), "pod4 ns=shop");
	made_clear(&made);
}

static void namespace_labels_ports_and_blocks_stand_in_the_key(void **state)
{
	struct made made = {};

	(void)state;
	judge_world(&made.gen);
	judge_policy(&made.gen, "p",
	             "{'policyTypes': ['Egress'], 'egress': [{'to': "
	             "[{'namespaceSelector': {'matchLabels': {'team': 'b'}}}, "
	             "{'ipBlock': {'cidr': '10.0.0.0/24', 'except': "
	             "['10.0.0.4/31']}}], 'ports': [{'port': 'http'}, {'port': "
	             "'dns', 'protocol': 'UDP'}]}], 'ingress': [{'ports': "
	             "[{'port': 'sql'}]}]}");
	made_compile(&made, NULL, 0);
	assert_string_equal(key_of(&made, "10.0.0.1"),
	                    "pod4 ns=shop ns[team]=a ports=http:tcp/8080 "
	                    "cidr=10.0.0.0/24");
	assert_string_equal(key_of(&made, "10.0.0.2"),
	                    "pod4 ns=shop ns[team]=a cidr=10.0.0.0/24");
	assert_string_equal(key_of(&made, "10.0.0.4"),
	                    "pod4 ns=infra ns[team]=b ports=dns:udp/53 "
	                    "cidr=10.0.0.4/31");
	assert_string_equal(key_of(&made, "fd00::5"),
	                    "pod6 ns=infra ns[team]=b ports=http:tcp/80");
	assert_string_equal(key_of(&made, "10.0.0.77"),
	                    "world4 cidr=10.0.0.0/24");
	assert_string_equal(key_of(&made, "10.0.1.2"), "node4");
	made_clear(&made);
}

static void blocks_tell_nodes_and_strays_apart_too(void **state)
{
	struct made made = {};

	(void)state;
	judge_world(&made.gen);
	world_add(&made.gen, 9,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'bare'}, 'status': {'podIPs': [{'ip': '10.0.1.9'}, {'ip': "
	          "'fd00::9'}]}}");
	made.gen.doc[made.gen.n_docs - 1].no_namespace = true;
	judge_policy(&made.gen, "p",
	             "{'ingress': [{'from': [{'ipBlock': {'cidr': "
	             "'10.0.1.0/24'}}]}]}");
	made_compile(&made, NULL, 0);
	assert_string_equal(key_of(&made, "10.0.1.1"),
	                    "node4 host cidr=10.0.1.0/24");
	assert_string_equal(key_of(&made, "10.0.1.2"),
	                    "node4 cidr=10.0.1.0/24");
	assert_string_equal(key_of(&made, "10.0.1.9"),
	                    "world4 init cidr=10.0.1.0/24");
	assert_string_equal(key_of(&made, "fd00::9"), "world6 init");
	assert_int_equal(number_of(&made, "fd00::9"),
	                 ID(CLASS_WORLD6, ID_SERIAL_INIT));
	for (size_t i = 0; i < made.compiled.n_addrs; i++) {
		const struct addr_entry *entry = &made.compiled.addr[i];
		char buf[ADDR_TEXT_MAX];

		addr_format(&entry->addr, buf);
		assert_int_equal(entry->local,
		                 !strcmp(buf, "10.0.1.1") ||
		                         !strcmp(buf, "fd00:0:0:1::1"));
		if (!strcmp(buf, "10.0.1.9"))
			assert_int_equal(entry->endpoint, 9);
	}
	made_clear(&made);
}

/* The trie knows no families: ::/8 must not answer for IPv4 addresses. */
static void a_wide_ipv6_block_leaves_ipv4_alone(void **state)
{
	struct made made = {};

	(void)state;
	judge_world(&made.gen);
	judge_policy(&made.gen, "p",
	             "{'ingress': [{'from': [{'ipBlock': {'cidr': '::/8'}}, "
	             "{'ipBlock': {'cidr': '::/80'}}, {'ipBlock': {'cidr': "
	             "'::fffe:0:0/95'}}]}]}");
	made_compile(&made, NULL, 0);
	assert_string_equal(key_of(&made, "8.8.8.8"), "world4");
	assert_string_equal(key_of(&made, "::1"), "world6 cidr=::/80");
	assert_string_equal(key_of(&made, "::fffe:1:1"),
	                    "world6 cidr=::fffe:0:0/95");
	assert_string_equal(key_of(&made, "0:1::1"), "world6 cidr=::/8");
	made_clear(&made);
}

static void strange_labels_can_not_imitate_another_key(void **state)
{
	struct arena *arena = arena_new(0);
	struct requirement req[] = {
		{.key = "a", .op = OP_EXISTS},
                {.key = "b", .op = OP_EXISTS}
        };
	struct peer peer = {
		.has_ns_selector = true,
		.has_pod_selector = true,
		.pod_selector = {req, 2}
        };
	struct rule rule = {.peer = &peer, .n_peers = 1, .any_port = true};
	struct netpol netpol = {
		.ns = "x",
		.name = "p",
		.applies = {true,  false},
		.rule = {&rule, NULL },
		.n_rules = {1,     0    }
        };
	const struct netpol *netpols[] = {&netpol};
	struct label one[] = {
		{"a", "1 b=2"}
        };
	struct label two[] = {
		{"a", "1"},
                {"b", "2"}
        };
	struct addr addr[2];
	struct pod pods[] = {
		{.ns = "x",
	         .name = "1",
	         .labels = {one, 1},
	         .addr = &addr[0],
	         .n_addrs = 1},
		{.ns = "x",
	         .name = "2",
	         .labels = {two, 2},
	         .addr = &addr[1],
	         .n_addrs = 1},
	};
	const struct pod *list[] = {&pods[0], &pods[1]};
	struct world world = {
		.pod = list, .n_pods = 2, .netpol = netpols, .n_netpols = 1};
	struct compiled compiled;
	struct err err;

	(void)state;
	assert_int_equal(addr_parse("10.0.0.1", &addr[0]), 0);
	assert_int_equal(addr_parse("10.0.0.2", &addr[1]), 0);
	assert_int_equal(
		policy_compile(&world, NULL, 0, arena, &compiled, &err), 0);
	assert_int_not_equal(compiled_identity(&compiled, &addr[0]),
	                     compiled_identity(&compiled, &addr[1]));
	arena_free(arena);
}

static void known_keys_keep_their_numbers_and_known_numbers_their_keys(
	void **state)
{
	const struct identity prev[] = {
		{ID(CLASS_POD4, 16),   "pod4 ns=gone"   },
		{ID(CLASS_POD4, 17),   "pod4 ns=infra"  },
		{ID(CLASS_POD4, 4000), "pod4 ns=shop"   },
		{ID(CLASS_POD6, 17),   "pod6 ns=retired"},
	};
	struct made made = {};

	(void)state;
	judge_world(&made.gen);
	made_compile(&made, prev, ARRAY_SIZE(prev));
	assert_int_equal(number_of(&made, "10.0.0.4"), ID(CLASS_POD4, 17));
	assert_int_equal(number_of(&made, "10.0.0.1"), ID(CLASS_POD4, 4000));
	assert_int_equal(number_of(&made, "fd00::4"), ID(CLASS_POD6, 16));
	assert_int_equal(number_of(&made, "fd00::1"), ID(CLASS_POD6, 18));
	made_clear(&made);
}

/* What a map was left with by somebody else. */
static void a_previous_list_that_contradicts_itself_merges_nobody(void **state)
{
	const struct identity prev[] = {
		{ID(CLASS_POD4, 20), "pod4 ns=infra"},
		{ID(CLASS_POD4, 20), "pod4 ns=shop"},
		{ID(CLASS_NODE4, 21), "pod6 ns=infra"},
		{ID(CLASS_POD6, ID_SERIAL_PLAIN), "pod6 ns=shop"},
		{ID(CLASS_WORLD4, 30), "world4"},
		{0, ""},
		{0xffffffff, "pod4"},
	};
	struct made made = {};
	uint32_t infra4, shop4, infra6, shop6;

	(void)state;
	judge_world(&made.gen);
	made_compile(&made, prev, ARRAY_SIZE(prev));
	infra4 = number_of(&made, "10.0.0.4");
	shop4 = number_of(&made, "10.0.0.1");
	infra6 = number_of(&made, "fd00::4");
	shop6 = number_of(&made, "fd00::1");
	assert_int_not_equal(infra4, shop4);
	assert_int_equal(infra6 >> ID_CLASS_SHIFT, CLASS_POD6);
	assert_int_equal(shop6 >> ID_CLASS_SHIFT, CLASS_POD6);
	assert_true((shop6 & ~ID_CLASS_MASK) >= ID_SERIAL_FIRST);
	assert_int_not_equal(infra6, shop6);
	assert_int_equal(number_of(&made, "8.8.8.8"),
	                 ID(CLASS_WORLD4, ID_SERIAL_PLAIN));
	made_clear(&made);
}

/* ---- what an identity leads to ----------------------------------------- */

static const struct table *table_of(const struct made *made, uint16_t endpoint)
{
	for (size_t i = 0; i < made->compiled.n_endpoints; i++)
		if (made->compiled.endpoint[i].endpoint == endpoint)
			return &made->compiled.table[made->compiled.endpoint[i]
			                                     .table];
	fail_msg("no table for endpoint %u", endpoint);
	return NULL;
}

static void wide_rules_are_stored_once_for_a_class(void **state)
{
	struct made made = {};
	const struct table *t;

	(void)state;
	judge_world(&made.gen);
	judge_policy(&made.gen, "p",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'ingress': [{'from': [{'namespaceSelector': {}}], "
	             "'ports': [{'port': 1}]}, {'from': [{'ipBlock': {'cidr': "
	             "'0.0.0.0/0'}}], 'ports': [{'port': 2}]}, {'ports': "
	             "[{'port': 3}]}]}");
	made_compile(&made, NULL, 0);
	t = table_of(&made, 1);
	assert_int_equal(t->n_entries, 2 + 3 + 1);
	assert_int_equal(t->header.shapes[DIR_INGRESS],
	                 SHAPE_BIT(LEVEL_CLASS, SHAPE_PORT) |
	                         SHAPE_BIT(LEVEL_ANY, SHAPE_PORT));
	assert_int_equal(t->header.isolated[DIR_INGRESS], 1);
	assert_int_equal(t->header.isolated[DIR_EGRESS], 0);
	made_clear(&made);
}

static void pods_with_equal_policies_share_a_table(void **state)
{
	struct made made = {};

	(void)state;
	judge_world(&made.gen);
	judge_policy(&made.gen, "a", "{'ingress': [{'ports': [{'port': 1}]}]}");
	/* Another policy, the same entries but for its rule's name. */
	judge_policy(&made.gen, "b",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'ingress': []}");
	made_compile(&made, NULL, 0);
	assert_ptr_equal(table_of(&made, 1), table_of(&made, 3));
	assert_ptr_equal(table_of(&made, 1), table_of(&made, 2));
	assert_ptr_equal(table_of(&made, 4), &made.compiled.table[0]);
	assert_int_equal(made.compiled.n_tables, 2);
	/* Own port names make them differ. */
	judge_policy(&made.gen, "c",
	             "{'ingress': [{'ports': [{'port': 'http'}]}]}");
	made_compile(&made, NULL, 0);
	assert_ptr_not_equal(table_of(&made, 1), table_of(&made, 3));
	assert_ptr_equal(table_of(&made, 2), table_of(&made, 3));
	made_clear(&made);
}

/* The mark alone decides, whatever else the rule holds. */
static void a_rule_marked_unreadable_has_no_entries(void **state)
{
	struct made made = {};
	struct verdict verdict;
	struct err err;

	(void)state;
	judge_world(&made.gen);
	judge_policy(&made.gen, "p", "{'ingress': [{}, {'ports': [{}]}]}");
	assert_int_equal(world_build(&made.gen, &err), 0);
	made.gen.world.netpol[0]->rule[DIR_INGRESS][0].unreadable = true;
	made.gen.world.netpol[0]->rule[DIR_INGRESS][1].unreadable = true;
	made.arena = arena_new(0);
	assert_int_equal(policy_compile(&made.gen.world, NULL, 0, made.arena,
	                                &made.compiled, &err),
	                 0);
	assert_int_equal(table_of(&made, 1)->n_entries, 0);
	assert_int_equal(table_of(&made, 1)->header.isolated[DIR_INGRESS], 1);
	verdict = policy_eval(
		&made.gen.world, world_pod(&made.gen, "shop/web"), DIR_INGRESS,
		&world_pod(&made.gen, "shop/db")->addr[0], IPPROTO_TCP, 80);
	assert_true(verdict.isolated);
	assert_false(verdict.allowed);
	made_clear(&made);
}

static void rule_numbers_follow_their_names(void **state)
{
	struct made made = {};
	uint32_t number = 0;

	(void)state;
	judge_world(&made.gen);
	judge_policy(&made.gen, "m", "{'ingress': [{}, {'from': []}]}");
	made_compile(&made, NULL, 0);
	assert_int_equal(made.compiled.n_rules, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_not_equal(made.compiled.rule[i].number, 0);
		assert_string_equal(made.compiled.rule[i].name, "m");
		if (made.compiled.rule[i].index == 1)
			number = made.compiled.rule[i].number;
	}
	judge_policy(&made.gen, "a", "{'ingress': [{}], 'egress': [{}]}");
	made_compile(&made, NULL, 0);
	assert_int_equal(made.compiled.n_rules, 4);
	for (size_t i = 0; i < 4; i++)
		if (made.compiled.rule[i].number == number) {
			assert_string_equal(made.compiled.rule[i].name, "m");
			assert_int_equal(made.compiled.rule[i].index, 1);
			number = 0;
		}
	assert_int_equal(number, 0);
	made_clear(&made);
}

/* 255 ranges in 30 prefixes each, for every one of 300 identities. */
static void a_table_that_would_be_too_large_is_refused_by_name(void **state)
{
	struct made made = {};
	struct err err = {};
	json_t *policy, *ports, *from, *rule;

	(void)state;
	judge_world(&made.gen);
	judge_policy(&made.gen, "huge", "{'ingress': [{}]}");
	policy = made.gen.doc[made.gen.n_docs - 1].json;
	rule = json_array_get(
		json_object_get(json_object_get(policy, "spec"), "ingress"), 0);
	ports = json_array();
	from = json_array();
	for (int i = 0; i < 300; i++) {
		char cidr[32];

		snprintf(cidr, sizeof(cidr), "172.16.%d.%d/32", i / 200,
		         i % 200);
		json_array_append_new(
			from, json_pack("{s:{s:s}}", "ipBlock", "cidr", cidr));
		json_array_append_new(ports, json_pack("{s:i, s:i}", "port",
		                                       1 + i * 100, "endPort",
		                                       99 + i * 100));
	}
	json_object_set_new(rule, "from", from);
	json_object_set_new(rule, "ports", ports);
	made.arena = arena_new(0);
	assert_int_equal(world_build(&made.gen, &err), 0);
	assert_int_equal(policy_compile(&made.gen.world, NULL, 0, made.arena,
	                                &made.compiled, &err),
	                 0);
	/* The pods that it selects are shut, the others go on. */
	for (size_t i = 0; i < made.compiled.n_endpoints; i++) {
		const struct endpoint_policy *ep = &made.compiled.endpoint[i];
		const struct table *table = &made.compiled.table[ep->table];

		assert_int_equal(!!ep->refused, i < 3);
		assert_int_equal(table->header.isolated[DIR_INGRESS], i < 3);
		assert_int_equal(table->header.isolated[DIR_EGRESS], 0);
		assert_int_equal(table->n_entries + table->n_ranges, 0);
	}
	assert_non_null(
		strstr(made.compiled.endpoint[0].refused, "pod shop/web"));
	assert_non_null(
		strstr(made.compiled.endpoint[1].refused, "pod shop/db"));
	assert_non_null(strstr(made.compiled.endpoint[1].refused, "huge"));
	made_clear(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			without_policies_only_classes_and_namespaces_differ),
		cmocka_unit_test(
			a_label_counts_when_a_peer_selector_mentions_its_key),
		cmocka_unit_test(
			namespace_labels_ports_and_blocks_stand_in_the_key),
		cmocka_unit_test(blocks_tell_nodes_and_strays_apart_too),
		cmocka_unit_test(a_wide_ipv6_block_leaves_ipv4_alone),
		cmocka_unit_test(strange_labels_can_not_imitate_another_key),
		cmocka_unit_test(
			known_keys_keep_their_numbers_and_known_numbers_their_keys),
		cmocka_unit_test(
			a_previous_list_that_contradicts_itself_merges_nobody),
		cmocka_unit_test(wide_rules_are_stored_once_for_a_class),
		cmocka_unit_test(pods_with_equal_policies_share_a_table),
		cmocka_unit_test(a_rule_marked_unreadable_has_no_entries),
		cmocka_unit_test(rule_numbers_follow_their_names),
		cmocka_unit_test(
			a_table_that_would_be_too_large_is_refused_by_name),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
