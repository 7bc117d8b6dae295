// SPDX-License-Identifier: Apache-2.0
/* explain_test.c - rules considered, the nearest one, and rules in words. */
#include "test/test.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/explain.h"
#include "daemon/words.h"
#include "lib/addr.h"
#include "test/lib/world.h"

#define WORLDS 60
#define PROBES 200

static void add_pod(struct world_gen *gen, uint16_t endpoint, const char *ns,
                    const char *app, const char *ip)
{
	world_add(gen, endpoint,
	          "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s',"
	          "'namespace':'%s','labels':{'app':'%s'}},"
	          "'status':{'podIPs':[{'ip':'%s'}]}}",
	          app, ns, app, ip);
}

static void add_policy(struct world_gen *gen, const char *ns, const char *name,
                       const char *spec)
{
	world_add(gen, 0,
	          "{'apiVersion':'networking.k8s.io/v1','kind':"
	          "'NetworkPolicy','metadata':{'name':'%s','namespace':'%s'},"
	          "'spec':%s}",
	          name, ns, spec);
}

#define FROM(app)         "'from':[{'podSelector':{'matchLabels':{'app':'" app "'}}}]"
#define PORT(proto, port) "'ports':[{'protocol':'" proto "','port':" port "}]"

/* Three pods; db takes web on tcp 5432 and anyone on udp 53. */
static void make_shop(struct world_gen *gen)
{
	struct err err = {};

	add_pod(gen, 1, "shop", "web", "10.0.0.1");
	add_pod(gen, 2, "shop", "db", "10.0.0.2");
	add_pod(gen, 0, "other", "web", "10.0.0.3");
	world_add_node(gen, "192.0.2.1", true);
	add_policy(gen, "shop", "db-only",
	           "{'podSelector':{'matchLabels':{'app':'db'}},'ingress':["
	           "{" FROM("web") "," PORT(
			   "TCP", "5432") "},"
	                                  "{" PORT("UDP", "53") "}]}");
	add_policy(gen, "shop", "other",
	           "{'podSelector':{'matchLabels':{'app':'nobody'}}}");
	if (world_build(gen, &err))
		fail_msg("%s", err.text);
}

static struct question_side ask(const struct world_gen *gen, const char *peer,
                                uint8_t proto, uint16_t port)
{
	struct question_side q = {
		.world = &gen->world,
		.subject = world_pod(gen, "shop/db"),
		.dir = DIR_INGRESS,
		.proto = proto,
		.port = port,
	};

	assert_non_null(q.subject);
	assert_int_equal(addr_parse("10.0.0.2", &q.self), 0);
	assert_int_equal(addr_parse(peer, &q.peer), 0);
	return q;
}

static void the_nearest_rule_fails_the_fewest(void **state)
{
	static const struct {
		const char *name, *peer;
		uint8_t proto;
		uint16_t port;
		bool allowed;
		int nearest; /* index; -1: none */
		const char *differs;
	} cases[] = {
		{"allowed",               "10.0.0.1",  IPPROTO_TCP,  5432, true,  -1, ""                   },
		{"by the other",          "10.0.0.3",  IPPROTO_UDP,  53,   true,  -1, ""                   },
		{"another port",          "10.0.0.1",  IPPROTO_TCP,  5433, false, 0,
	         "differs in port"									 },
		{"another peer",          "10.0.0.3",  IPPROTO_TCP,  5432, false, 0,
	         "differs in peer"									 },
		{"the world",             "192.0.2.9", IPPROTO_TCP,  5432, false, 0,
	         "differs in peer"									 },
		{"another protocol",      "10.0.0.3",  IPPROTO_TCP,  53,   false, 1,
	         "differs in protocol"								     },
		{"protocol of the first", "10.0.0.1",  IPPROTO_UDP,  5432, false,
	         0,								   "differs in protocol"},
		{"its own node",          "192.0.2.1", IPPROTO_TCP,  1,    true,  -1, ""                   },
		{"itself",                "10.0.0.2",  IPPROTO_TCP,  1,    true,  -1, ""                   },
		{"no ports at all",       "10.0.0.1",  IPPROTO_ICMP, 0,    false, 0,
	         "differs in protocol"								     },
	};
	struct world_gen gen = {};

	(void)state;
	make_shop(&gen);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(arena_freep) struct arena *arena = arena_new(0);
		const struct question_side q =
			ask(&gen, cases[i].peer, cases[i].proto, cases[i].port);
		char differs[DIFFERS_TEXT_MAX];
		struct explanation ex;

		assert_int_equal(explain(&q, arena, &ex), 0);
		assert_int_equal(ex.n_isolating, 1);
		if (ex.verdict.allowed != cases[i].allowed)
			fail_msg("%s: allowed %d", cases[i].name,
			         ex.verdict.allowed);
		if (cases[i].nearest < 0) {
			assert_null(ex.nearest);
			continue;
		}
		assert_non_null(ex.nearest);
		if ((int)ex.nearest->index != cases[i].nearest ||
		    strcmp(rule_view_differs(ex.nearest, differs),
		           cases[i].differs) != 0)
			fail_msg("%s: nearest [%zu] %s", cases[i].name,
			         ex.nearest->index, differs);
	}
	world_clear(&gen);
}

static void own_node_and_itself_are_always_allowed(void **state)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct world_gen gen = {};
	struct explanation ex;
	struct question_side q;

	(void)state;
	make_shop(&gen);
	q = ask(&gen, "192.0.2.1", IPPROTO_TCP, 1);
	assert_int_equal(explain(&q, arena, &ex), 0);
	assert_true(ex.always);
	assert_int_equal(ex.n_rules, 0);
	world_clear(&gen);
}

/* On one side: some rule allows exactly when the specification does. */
static void check_side(const struct world *world, const struct pod *subject,
                       const struct probe *probe, enum dir dir,
                       unsigned long *asked)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	const struct question_side q = {
		.world = world,
		.subject = subject,
		.self = dir == DIR_INGRESS ? probe->dst : probe->src,
		.peer = dir == DIR_INGRESS ? probe->src : probe->dst,
		.dir = dir,
		.proto = probe->proto,
		.port = probe->port,
	};
	struct explanation ex;
	bool any = false, fits = false;

	assert_int_equal(explain(&q, arena, &ex), 0);
	assert_int_equal(ex.verdict.isolated && !ex.always,
	                 ex.n_isolating && !ex.always);
	++*asked;
	if (ex.always || !ex.n_isolating)
		return;
	for (size_t i = 0; i < ex.n_rules; i++) {
		const struct rule_view *view = &ex.rule[i];

		any |= view->allows;
		fits |= view->allows &&
		        !(view->peer && view->proto && view->port);
	}
	assert_int_equal(any, ex.verdict.allowed);
	assert_false(fits); /* what allows fits in every part */
	if (!ex.verdict.allowed && ex.nearest)
		assert_false(ex.nearest->allows);
}

static void rules_explain_the_verdict_in_random_worlds(void **state)
{
	unsigned long asked = 0;

	(void)state;
	print_message("# seeds 1 to %d\n", WORLDS);
	for (uint64_t seed = 1; seed <= WORLDS; seed++) {
		struct world_gen gen = {};
		struct err err = {};

		world_random(&gen, seed);
		if (world_build(&gen, &err))
			fail_msg("seed %llu: %s", (unsigned long long)seed,
			         err.text);
		for (int i = 0; i < PROBES; i++) {
			const struct probe probe = world_probe(&gen);

			for (size_t p = 0; p < gen.world.n_pods; p++) {
				const struct pod *pod = gen.world.pod[p];

				if (!pod->endpoint || !pod->n_addrs)
					continue;
				if (!addr_compare(&pod->addr[0], &probe.src))
					check_side(&gen.world, pod, &probe,
					           DIR_EGRESS, &asked);
				if (!addr_compare(&pod->addr[0], &probe.dst))
					check_side(&gen.world, pod, &probe,
					           DIR_INGRESS, &asked);
			}
		}
		world_clear(&gen);
	}
	assert_true(asked > WORLDS * PROBES / 4);
}

static void rules_are_said_in_words(void **state)
{
	static const struct {
		const char *rule, *words;
	} cases[] = {
		{"{}", "from anyone, every protocol and port"},
		{"{" FROM("web") "," PORT("TCP", "80") "}",
	         "from pods with app=web of namespace shop, on tcp 80"},
		{"{'from':[{'namespaceSelector':{}}]}",
	         "from every pod of every namespace, every protocol and port"},
		{"{'from':[{'namespaceSelector':{'matchLabels':{"
	         "'kubernetes.io/metadata.name':'ops'}},'podSelector':{}}]}", "from every pod of namespace ops, every protocol and port"},
		{"{'from':[{'ipBlock':{'cidr':'10.0.0.0/8',"
	         "'except':['10.1.0.0/16','10.2.0.0/16']}},"
	         "{'ipBlock':{'cidr':'2001:db8::/32'}}]}", "from 10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16 or "
	         "2001:db8::/32, every protocol and port"},
		{"{'ports':[{'protocol':'UDP','port':60,'endPort':70},"
	         "{'port':'http'},{'protocol':'SCTP'}]}", "from anyone, on udp 60-70, tcp port \"http\", sctp (every "
	         "port)"},
		{"{'from':[{'podSelector':{'matchExpressions':["
	         "{'key':'a','operator':'In','values':['x','y']},"
	         "{'key':'b','operator':'NotIn','values':['z']},"
	         "{'key':'c','operator':'Exists'},"
	         "{'key':'d','operator':'DoesNotExist'}]}}]}", "from pods with a in (x, y) and b!=z and a label c and no "
	         "label d of namespace shop, every protocol and port"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world_gen gen = {};
		struct err err = {};
		_cleanup_(free_p) char *words = NULL;
		char spec[800];

		snprintf(spec, sizeof(spec),
		         "{'podSelector':{},'ingress':[%s]}", cases[i].rule);
		add_policy(&gen, "shop", "p", spec);
		if (world_build(&gen, &err))
			fail_msg("%s: %s", cases[i].rule, err.text);
		words = rule_words(&gen.world.netpol[0]->rule[DIR_INGRESS][0],
		                   DIR_INGRESS, "shop");
		assert_string_equal(words, cases[i].words);
		world_clear(&gen);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nearest_rule_fails_the_fewest),
		cmocka_unit_test(own_node_and_itself_are_always_allowed),
		cmocka_unit_test(rules_explain_the_verdict_in_random_worlds),
		cmocka_unit_test(rules_are_said_in_words),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
