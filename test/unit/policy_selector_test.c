// SPDX-License-Identifier: Apache-2.0
/* policy_selector_test.c - which pods a peer means. */
#include "test/lib/judge.h"
#include "test/test.h"

static void a06_selectors_in_one_item_and_while_items_or(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "both",
	             "{'podSelector': {'matchLabels': {'app': 'db'}}, "
	             "'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'web'}}, 'namespaceSelector': {'matchLabels': "
	             "{'team': 'b'}}}]}]}");
	judge_policy(&gen, "either",
	             "{'podSelector': {'matchLabels': {'app': 'web'}}, "
	             "'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'db'}}}, {'namespaceSelector': {'matchLabels': "
	             "{'team': 'b'}}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "infra/web", "tcp/80", true},
	      {"shop/db", IN, "shop/web", "tcp/80", false},
	      {"shop/db", IN, "infra/dns", "tcp/80", false},
	      {"shop/web", IN, "shop/db", "tcp/80", true},
	      {"shop/web", IN, "infra/dns", "tcp/80", true},
	      {"shop/web", IN, "infra/web", "tcp/80", true},
	      {"shop/web", IN, "shop/plain", "tcp/80", false});
	world_clear(&gen);
}

static void a06_a_pod_selector_alone_means_the_policys_own_namespace(
	void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'podSelector': {'matchLabels': "
	             "{'app': 'web'}}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "shop/web", "tcp/80", true},
	      {"shop/db", IN, "infra/web", "tcp/80", false});
	world_clear(&gen);
}

static void a06_an_empty_namespace_selector_means_all_pods_but_nobody_else(
	void **state)
{
	FIXTURE(gen);
	world_add(&gen, 9,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'stray', 'namespace': 'unheard-of'}, 'status': {'podIP': "
	          "'10.0.0.9'}}");
	world_add(&gen, 10,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'bare'}, 'status': {'podIP': '10.0.0.10'}}");
	gen.doc[gen.n_docs - 1].no_namespace = true;
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'namespaceSelector': {}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "infra/web", "tcp/80", true},
	      {"shop/db", IN, "shop/plain", "tcp/80", true},
	      {"shop/db", IN, "unheard-of/stray", "tcp/80", true},
	      {"shop/db", IN, "10.0.0.10", "tcp/80", false},
	      {"shop/db", IN, "198.51.100.7", "tcp/80", false},
	      {"shop/db", IN, "10.0.1.2", "tcp/80", false});
	world_clear(&gen);
}

/* Many namespaces are looked up in another way than few. */
static void a06_one_selector_may_mean_many_namespaces(void **state)
{
	FIXTURE(gen);
	for (unsigned int i = 0; i < 20; i++) {
		const char *app = i % 3 ? "web" : "db";

		world_add(&gen, 0,
		          "{'apiVersion': 'v1', 'kind': 'Namespace', "
		          "'metadata': {'name': 'n%u', 'labels': {'odd': "
		          "'%u'}}}",
		          i, i % 2);
		world_add(&gen, 0,
		          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': "
		          "{'name': 'p', 'namespace': 'n%u', 'labels': {'app': "
		          "'%s'}}, 'status': {'podIP': '10.0.2.%u'}}",
		          i, app, i);
	}
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'namespaceSelector': "
	             "{'matchExpressions': [{'key': 'odd', 'operator': "
	             "'Exists'}]}}], 'ports': [{'port': 80}]}, {'from': "
	             "[{'namespaceSelector': {'matchLabels': {'odd': '1'}}, "
	             "'podSelector': {'matchLabels': {'app': 'web'}}}]}]}");
	for (unsigned int i = 0; i < 20; i++) {
		bool web = i % 3;
		char peer[8];

		snprintf(peer, sizeof(peer), "n%u/p", i);
		JUDGE(&gen, {"shop/db", IN, peer, "tcp/81", web && i % 2},
		      {"shop/db", IN, peer, "tcp/80", true},
		      {"shop/db", IN, "infra/web", "tcp/80", false});
	}
	world_clear(&gen);
}

struct expression {
	const char *key, *op, *values;
	bool web, db, plain; /* what it matches */
};

static void judge_peer(void **state, const struct expression *e)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'policyTypes': ['Egress'], 'egress': [{'to': "
	             "[{'podSelector': {'matchExpressions': [{'key': '%s', "
	             "'operator': '%s', 'values': %s}]}}]}]}",
	             e->key, e->op, e->values);
	JUDGE(&gen, {"shop/plain", OUT, "shop/web", "tcp/1", e->web},
	      {"shop/plain", OUT, "shop/db", "tcp/1", e->db},
	      {"shop/web", OUT, "shop/plain", "tcp/1", e->plain});
	world_clear(&gen);
}

/* Who is selected is closed. */
static void judge_subject(void **state, const struct expression *e)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'podSelector': {'matchExpressions': [{'key': '%s', "
	             "'operator': '%s', 'values': %s}]}}",
	             e->key, e->op, e->values);
	JUDGE(&gen, {"shop/web", IN, "infra/web", "tcp/1", !e->web},
	      {"shop/db", IN, "infra/web", "tcp/1", !e->db},
	      {"shop/plain", IN, "infra/web", "tcp/1", !e->plain});
	world_clear(&gen);
}

static void a11_not_in_and_does_not_exist_match_what_lacks_the_key(void **state)
{
	static const struct expression cases[] = {
		{"app", "In",           "['web', 'x']", true,  false, false},
		{"app", "NotIn",        "['web', 'x']", false, true,  true },
		{"app", "Exists",       "[]",           true,  true,  false},
		{"app", "DoesNotExist", "null",         false, false, true },
		{"app", "In",           "['']",         false, false, false},
		{"zzz", "NotIn",        "['web']",      true,  true,  true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		judge_peer(state, &cases[i]);
		judge_subject(state, &cases[i]);
	}
}

static void a11_all_requirements_must_hold(void **state)
{
	FIXTURE(gen);
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'namespaceSelector': {}, "
	             "'podSelector': {'matchLabels': {'app': 'web'}, "
	             "'matchExpressions': [{'key': 'app', 'operator': 'In', "
	             "'values': ['web', 'db']}, {'key': 'role', 'operator': "
	             "'DoesNotExist'}]}}]}]}");
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'r', 'namespace': 'shop', 'labels': {'app': 'web', 'role': "
	          "'x'}}, 'status': {'podIP': '10.0.0.8'}}");
	JUDGE(&gen, {"shop/plain", IN, "shop/web", "tcp/1", true},
	      {"shop/plain", IN, "infra/web", "tcp/1", true},
	      {"shop/plain", IN, "shop/db", "tcp/1", false},
	      {"shop/plain", IN, "shop/r", "tcp/1", false});
	world_clear(&gen);
}

static void a12_a_namespace_bears_its_name_as_a_label(void **state)
{
	FIXTURE(gen);
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': "
	          "{'name': 'evil', 'labels': {'kubernetes.io/metadata.name': "
	          "'infra'}}}");
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'p', 'namespace': 'evil'}, 'status': {'podIP': "
	          "'10.0.0.8'}}");
	world_add(&gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': "
	          "'p', 'namespace': 'no-manifest'}, 'status': {'podIP': "
	          "'10.0.0.9'}}");
	judge_policy(&gen, "p",
	             "{'ingress': [{'from': [{'namespaceSelector': "
	             "{'matchExpressions': [{'key': "
	             "'kubernetes.io/metadata.name', 'operator': 'In', "
	             "'values': ['infra', 'no-manifest']}]}}]}]}");
	JUDGE(&gen, {"shop/db", IN, "infra/web", "tcp/1", true},
	      {"shop/db", IN, "no-manifest/p", "tcp/1", true},
	      {"shop/db", IN, "evil/p", "tcp/1", false},
	      {"shop/db", IN, "shop/web", "tcp/1", false});
	world_clear(&gen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a06_selectors_in_one_item_and_while_items_or),
		cmocka_unit_test(
			a06_a_pod_selector_alone_means_the_policys_own_namespace),
		cmocka_unit_test(
			a06_an_empty_namespace_selector_means_all_pods_but_nobody_else),
		cmocka_unit_test(a06_one_selector_may_mean_many_namespaces),
		cmocka_unit_test(
			a11_not_in_and_does_not_exist_match_what_lacks_the_key),
		cmocka_unit_test(a11_all_requirements_must_hold),
		cmocka_unit_test(a12_a_namespace_bears_its_name_as_a_label),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
