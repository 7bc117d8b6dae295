// SPDX-License-Identifier: Apache-2.0
/* services_test.c - Services and EndpointSlices: read and joined. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/services_plan.h"
#include "lib/addr.h"
#include "test/lib/packet.h"
#include "test/lib/rng.h"
#include "test/lib/world.h"
#include "test/test.h"

/* ---- reading ------------------------------------------------------------ */

#define SERVICE(spec)                             \
	"{'apiVersion': 'v1', 'kind': 'Service'," \
	" 'metadata': {'name': 'w', 'namespace': 'shop'}, 'spec': " spec "}"
#define SLICE(rest)                                                      \
	"{'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice'," \
	" 'metadata': {'name': 'w-1', 'namespace': 'shop', 'labels':"    \
	" {'kubernetes.io/service-name': 'w'}}, " rest "}"

/* clang-format off */
static const struct {
	const char *name, *text, *says;
} malformed[] = {
	{"clusterIPs is no list",
	 SERVICE("{'clusterIPs': '10.96.0.1'}"), "'clusterIPs' is not a list"},
	{"a clusterIP that is none",
	 SERVICE("{'clusterIPs': ['10.96.0.256']}"), "is not an address"},
	{"a clusterIP that is a number",
	 SERVICE("{'clusterIPs': [7]}"), "spec.clusterIPs[0]: not a string"},
	{"port 0",
	 SERVICE("{'clusterIP': '10.96.0.1', 'ports': [{'port': 0}]}"),
	 "spec.ports[0]: 0 is not a port"},
	{"a protocol of its own",
	 SERVICE("{'ports': [{'port': 1, 'protocol': 'QUIC'}]}"),
	 "is not TCP, UDP or SCTP"},
	{"ports that are no mappings",
	 SERVICE("{'ports': [80]}"), "not a mapping"},
	{"a traffic policy of its own",
	 SERVICE("{'externalTrafficPolicy': 'Near'}"),
	 "externalTrafficPolicy 'Near' is not Cluster or Local"},
	{"an affinity of its own",
	 SERVICE("{'sessionAffinity': 'Cookie'}"), "is not None or ClientIP"},
	{"an affinity without end",
	 SERVICE("{'sessionAffinity': 'ClientIP', 'sessionAffinityConfig':"
	         " {'clientIP': {'timeoutSeconds': 86401}}}"),
	 "timeoutSeconds is not 1 to 86400"},
	{"an external address that is none",
	 SERVICE("{'externalIPs': ['here']}"), "is not an address"},
	{"a node port that is none",
	 SERVICE("{'ports': [{'port': 1, 'nodePort': 65536}]}"),
	 "65536 is not a port"},
	{"no addressType",
	 SLICE("'endpoints': []"), "'addressType' is missing"},
	{"names instead of addresses",
	 SLICE("'addressType': 'FQDN'"), "'FQDN' is not IPv4 or IPv6"},
	{"an address of the other family",
	 SLICE("'addressType': 'IPv4', 'endpoints': [{'addresses': ['fd00::1']}]"),
	 "'fd00::1' is not an IPv4 address"},
	{"no address",
	 SLICE("'addressType': 'IPv4', 'endpoints': [{'addresses': []}]"),
	 "holds no address"},
	{"ready is a word",
	 SLICE("'addressType': 'IPv4', 'endpoints': [{'addresses': ['10.0.0.1'],"
	       " 'conditions': {'ready': 'yes'}}]"),
	 "'ready' is not true or false"},
	{"an old slice",
	 "{'apiVersion': 'discovery.k8s.io/v1beta1', 'kind': 'EndpointSlice',"
	 " 'metadata': {'name': 'x'}}", "is not known"},
};
/* clang-format on */

static void what_is_wrong_is_said(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		struct parsed p = manifest_parse(malformed[i].text);

		if (p.r != -EINVAL || !strstr(p.err.text, malformed[i].says))
			fail_msg("%s: %d, '%s'", malformed[i].name, p.r,
			         p.err.text);
		arena_free(p.arena);
	}
}

static void services_without_addresses_of_ours(void **state)
{
	static const char *const text[] = {
		SERVICE("{'clusterIP': 'None', 'clusterIPs': ['None']}"),
		SERVICE("{'type': 'ExternalName', 'externalName': 'x.y'}"),
		SERVICE("{'type': 'ExternalName', 'clusterIP': '10.96.0.1'}"),
		SERVICE("{'clusterIP': ''}"),
		SERVICE("null"),
		"{'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name':"
		" 'x', 'labels': {'service.kubernetes.io/service-proxy-name':"
		" 'other'}}, 'spec': {'clusterIP': '10.96.0.1'}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
		struct parsed p = manifest_parse(text[i]);

		assert_int_equal(p.r, 0);
		assert_int_equal(p.object.kind, OBJECT_SERVICE);
		assert_int_equal(p.object.service.n_ips, 0);
		arena_free(p.arena);
	}
}

static void conditions_have_the_apis_defaults(void **state)
{
	static const struct {
		const char *conditions;
		bool ready, serving, terminating;
	} cases[] = {
		{"{}",						     true,  true,  false},
		{"null",						   true,  true,  false},
		{"{'ready': null}",					true,  true,  false},
		{"{'ready': false}",				       false, false, false},
		{"{'ready': true, 'serving': false}",                      true,  false, false},
		{"{'ready': false, 'serving': true, 'terminating': true}",
	         false,							   true,  true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[600];
		struct parsed p;
		const struct slice_endpoint *e;

		snprintf(text, sizeof(text),
		         SLICE("'addressType': 'IPv4', 'endpoints':"
		               " [{'addresses': ['10.0.0.1'], 'nodeName': 'n',"
		               " 'conditions': %s}]"),
		         cases[i].conditions);
		p = manifest_parse(text);
		assert_int_equal(p.r, 0);
		e = p.object.slice.endpoint;
		assert_int_equal(e->ready, cases[i].ready);
		assert_int_equal(e->serving, cases[i].serving);
		assert_int_equal(e->terminating, cases[i].terminating);
		assert_string_equal(e->node, "n");
		arena_free(p.arena);
	}
}

/* ---- joining ------------------------------------------------------------ */

#define MOST 8

struct joined {
	struct parsed object[MOST];
	size_t n;
	struct arena *arena;
	struct services_want want;
};

static bool join_full;

static void join(struct joined *j, const char *const *text, size_t n)
{
	static const struct prefix pods = {.bits = 96 + 16};
	const struct prefix external = {.addr = A("198.51.100.0"),
	                                .bits = 96 + 24};
	const struct addr node = A("192.0.2.1");
	const struct service_object *service[MOST];
	const struct slice_object *slice[MOST];
	struct prefix cidr = pods;
	struct services_input input = {
		.service = service,
		.slice = slice,
		.node = &node,
		.n_nodes = 1,
		.pods = &cidr,
		.n_pods = 1,
		.most_services = 100,
		.most_backends = join_full ? 100 : 3,
		.node_name = "here",
		.full = join_full,
		.external = &external,
		.n_externals = 1,
	};

	cidr.addr = A("10.0.0.0");
	*j = (struct joined){.n = n, .arena = arena_new(0)};
	for (size_t i = 0; i < n; i++) {
		struct object *o;

		j->object[i] = manifest_parse(text[i]);
		o = &j->object[i].object;
		assert_int_equal(j->object[i].r, 0);
		if (o->kind == OBJECT_SERVICE)
			service[input.n_services++] = &o->service;
		else
			slice[input.n_slices++] = &o->slice;
	}
	assert_int_equal(services_want(&input, j->arena, &j->want), 0);
}

static void joined_free(struct joined *j)
{
	for (size_t i = 0; i < j->n; i++)
		arena_free(j->object[i].arena);
	arena_free(j->arena);
}

#define TWO_PORTS                                                            \
	SERVICE("{'clusterIPs': ['10.96.0.1', 'fd00:96::1'], 'ports': "      \
	        "[{'name': 'a', 'port': 80, 'targetPort': 'http'}, {'name':" \
	        " 'b', 'port': 53, 'protocol': 'UDP'}]}")

static void ports_are_matched_by_name_protocol_and_family(void **state)
{
	const char *const text[] = {
		TWO_PORTS,
		SLICE("'addressType': 'IPv4', 'ports': [{'name': 'a', 'port':"
	              " 8080}, {'name': 'b', 'port': 5353}, {'name': 'c',"
	              " 'port': 9}], 'endpoints': [{'addresses':"
	              " ['10.0.0.2']}, {'addresses': ['10.0.0.1']},"
	              " {'addresses': ['10.0.0.2']}]"),
	};
	struct joined j;

	(void)state;
	join(&j, text, ARRAY_SIZE(text));
	assert_int_equal(j.want.n, 4);
	for (size_t i = 0; i < j.want.n; i++) {
		const struct frontend *f = &j.want.item[i];
		const bool tcp4 = addr_family(&f->key.vip) == FAMILY_V4 &&
		                  f->key.proto == IPPROTO_TCP;

		/* Of b, the slice has a TCP port; the service's is UDP. */
		assert_int_equal(f->n, tcp4 ? 2 : 0);
		if (!tcp4)
			continue;
		assert_int_equal(f->key.port, htons(80));
		assert_int_equal(f->backend[0].port, htons(8080));
		assert_int_equal(f->backend[0].addr.byte[15], 1);
		assert_int_equal(f->backend[1].addr.byte[15], 2);
		assert_int_equal(f->backend[0].tag, service_tag(&f->key));
	}
	assert_int_equal(j.want.n_problems, 0);
	joined_free(&j);
}

#define ENDS(a, b)                                                    \
	SLICE("'addressType': 'IPv4', 'ports': [{'name': 'a', 'port'" \
	      ": 8080}], 'endpoints': [{'addresses': ['10.0.0.1'],"   \
	      " 'conditions': " a "}, {'addresses': ['10.0.0.2'],"    \
	      " 'conditions': " b "}]")
#define GOING "{'ready': false, 'serving': true, 'terminating': true}"
#define GONE  "{'ready': false, 'serving': false, 'terminating': true}"

static void those_that_terminate_serve_when_nobody_is_ready(void **state)
{
	static const struct {
		const char *slice;
		size_t n;
		uint8_t first;
	} cases[] = {
		{ENDS("{}",               "{}"),               2, 1},
		{ENDS("{}",               GOING),              1, 1},
		{ENDS(GONE,               GOING),              1, 2},
		{ENDS(GOING,              GOING),              2, 1},
		{ENDS(GONE,               "{'ready': false}"), 0, 0},
		{ENDS("{'ready': false}", "null"),             1, 2},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const text[] = {
			SERVICE("{'clusterIP': '10.96.0.1', 'ports': [{'name':"
		                " 'a', 'port': 80}]}"),
			cases[i].slice,
		};
		struct joined j;

		join(&j, text, ARRAY_SIZE(text));
		assert_int_equal(j.want.n, 1);
		assert_int_equal(j.want.item[0].n, cases[i].n);
		if (cases[i].n)
			assert_int_equal(
				j.want.item[0].backend[0].addr.byte[15],
				cases[i].first);
		joined_free(&j);
	}
}

#define ONE(ip, proto, port)                                            \
	SERVICE("{'clusterIP': '" ip "', 'ports': [{'port': 80"         \
	        ", 'protocol': '" proto "'}]}"),                        \
		SLICE("'addressType': 'IPv4', 'ports': [{'port': " port \
	              ", 'protocol': '" proto "'}], 'endpoints': [{"    \
	              "'addresses': ['10.0.0.1']}]")

static void what_no_service_may_be_is_refused(void **state)
{
	static const struct {
		const char *text[2], *says;
	} cases[] = {
		{{ONE("192.0.2.1", "TCP", "80")},       "an address of a node"},
		{{ONE("10.0.7.1", "TCP", "80")},        "inside a pod CIDR"   },
		{{ONE("127.1.0.1", "TCP", "80")},       "a loopback address"  },
		{{ONE("169.254.1.1", "TCP", "80")},     "a link-local address"},
		{{ONE("224.0.0.9", "TCP", "80")},       "a multicast address" },
		{{ONE("255.255.255.255", "TCP", "80")}, "reserved"            },
		{{ONE("fe80::7", "TCP", "80")},         "a link-local address"},
		{{ONE("ff02::7", "TCP", "80")},         "a multicast address" },
		{{ONE("::1", "TCP", "80")},             "a loopback address"  },
		{{ONE("10.96.0.1", "SCTP", "81")},      "can not be rewritten"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct joined j;

		join(&j, cases[i].text, 2);
		assert_int_equal(j.want.n, 0);
		assert_int_equal(j.want.n_problems, 1);
		assert_string_equal(j.want.problem[0].object, "Service/shop/w");
		if (!strstr(j.want.problem[0].error, cases[i].says))
			fail_msg("%s: %s", cases[i].says,
			         j.want.problem[0].error);
		joined_free(&j);
	}
}

static void endpoints_nobody_has_get_nothing(void **state)
{
	const char *const text[] = {
		SERVICE("{'clusterIP': '10.96.0.1', 'ports': [{'port': 80}]}"),
		SLICE("'addressType': 'IPv4', 'ports': [{'port': 80}],"
	              " 'endpoints': [{'addresses': ['127.0.0.1']},"
	              " {'addresses': ['169.254.169.254']},"
	              " {'addresses': ['224.0.0.1']},"
	              " {'addresses': ['10.0.0.1']}]"),
	};
	struct joined j;

	(void)state;
	join(&j, text, ARRAY_SIZE(text));
	assert_int_equal(j.want.item[0].n, 1);
	assert_int_equal(j.want.n_problems, 1);
	assert_string_equal(j.want.problem[0].object, "EndpointSlice/shop/w-1");
	joined_free(&j);
}

static void a_key_has_one_owner_and_the_maps_an_end(void **state)
{
#define NAMED(name, ip)                                                       \
	"{'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': '" name \
	"', 'namespace': 'shop'}, 'spec': {'clusterIP': '" ip                 \
	"', 'ports': [{'name': 'a', 'port': 80}]}}"
	const char *const text[] = {
		NAMED("x", "10.96.0.1"),
		NAMED("w", "10.96.0.1"),
		NAMED("v", "10.96.0.2"),
		ENDS("{}", "{}"),
		"{'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice',"
		" 'metadata': {'name': 'v', 'namespace': 'shop', 'labels':"
		" {'kubernetes.io/service-name': 'v'}}, 'addressType': 'IPv4',"
		" 'ports': [{'name': 'a', 'port': 1}], 'endpoints': ["
		"{'addresses': ['10.0.0.1']}, {'addresses': ['10.0.0.2']}]}",
	};
	struct joined j;

	(void)state;
	join(&j, text, ARRAY_SIZE(text)); /* three backends fit */
	assert_int_equal(j.want.n, 1);
	assert_string_equal(j.want.item[0].service->name, "w");
	assert_int_equal(j.want.n_problems, 2);
	assert_string_equal(j.want.problem[0].object, "Service/shop/x");
	assert_non_null(strstr(j.want.problem[0].error, "shop/w"));
	assert_non_null(strstr(j.want.problem[1].error, "do not fit"));
	joined_free(&j);
}

#define OUTER(policy, more)                                                 \
	"{'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'w'," \
	" 'namespace': 'shop'}, 'spec': {'type': 'LoadBalancer',"           \
	" 'clusterIP': '10.96.0.1', 'externalTrafficPolicy': '" policy      \
	"', " more "'ports': [{'name': 'a', 'port': 80, 'nodePort': 30080"  \
	"}]}, 'status': {'loadBalancer': {'ingress': ["                     \
	"{'ip': '203.0.113.1'}, {'ip': '203.0.113.2', 'ipMode': 'Proxy'},"  \
	" {'hostname': 'x'}]}}}"
#define AT(here, there)                                               \
	SLICE("'addressType': 'IPv4', 'ports': [{'name': 'a', 'port'" \
	      ": 8080}], 'endpoints': [{'addresses': ['10.0.0.1'],"   \
	      " 'nodeName': 'there', 'conditions': " there            \
	      "}, {'addresses': ['10.0.0.2'], 'nodeName': 'here',"    \
	      " 'conditions': " here "}]")

/* The frontend at @ip, port @port; NULL: there is none. */
static const struct frontend *frontend_at(const struct joined *j,
                                          const char *ip, uint16_t port)
{
	const struct addr vip = A(ip);

	for (size_t i = 0; i < j->want.n; i++)
		if (!addr_compare(&j->want.item[i].key.vip, &vip) &&
		    j->want.item[i].key.port == htons(port))
			return &j->want.item[i];
	return NULL;
}

static void outside_asks_by_node_ports_and_other_addresses(void **state)
{
	const char *const text[] = {
		OUTER("Cluster", "'externalIPs': ['198.51.100.9', '8.8.8.8'],"
	                         "'sessionAffinity': 'ClientIP',"),
		ENDS("{}", "{}"),
	};
	struct joined j;

	(void)state;
	join_full = false;
	join(&j, text, ARRAY_SIZE(text));
	assert_int_equal(j.want.n, 1); /* the cluster's */
	joined_free(&j);
	join_full = true;
	join(&j, (const char *const[]){text[0]}, 1);
	join_full = false;
	assert_int_equal(j.want.n, 4);
	assert_non_null(frontend_at(&j, "0.0.0.0", 30080));
	assert_non_null(frontend_at(&j, "203.0.113.1", 80));
	assert_non_null(frontend_at(&j, "198.51.100.9", 80));
	for (size_t i = 0; i < j.want.n; i++) {
		assert_int_equal(j.want.item[i].affinity, 10800);
		assert_int_equal(j.want.item[i].id, j.want.item[0].id);
	}
	assert_int_equal(j.want.n_problems, 1);
	assert_non_null(strstr(j.want.problem[0].error, "8.8.8.8"));
	joined_free(&j);
}

static void a_local_policy_asks_for_this_nodes_alone(void **state)
{
	static const struct {
		const char *here, *there;
		size_t n;
		uint32_t local;
		uint8_t flags;
	} cases[] = {
		{"{}",  "{}",  2, 1, SERVICE_OUTER_LOCAL                      },
		{GONE,  "{}",  1, 0, SERVICE_OUTER_LOCAL                      },
		{GOING, "{}",  2, 1, SERVICE_OUTER_LOCAL | SERVICE_LOCAL_APART},
		{GOING, GOING, 2, 1, SERVICE_OUTER_LOCAL                      },
		{GONE,  GONE,  0, 0, SERVICE_OUTER_LOCAL                      },
	};
	char slice[1024];

	(void)state;
	join_full = true;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const text[] = {
			OUTER("Local", "'internalTrafficPolicy': 'Local', "),
			slice,
		};
		const struct frontend *f;
		struct joined j;

		snprintf(slice, sizeof(slice), AT("%s", "%s"), cases[i].there,
		         cases[i].here);
		join(&j, text, 2);
		f = frontend_at(&j, "203.0.113.1", 80);
		assert_non_null(f);
		assert_int_equal(f->n, cases[i].n);
		assert_int_equal(f->local, cases[i].local);
		assert_int_equal(f->flags, cases[i].flags);
		if (f->local)
			assert_int_equal(f->backend[0].addr.byte[15], 2);
		f = frontend_at(&j, "10.96.0.1", 80);
		assert_int_equal(f->n, cases[i].local);
		joined_free(&j);
	}
	join_full = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(services_without_addresses_of_ours),
		cmocka_unit_test(conditions_have_the_apis_defaults),
		cmocka_unit_test(ports_are_matched_by_name_protocol_and_family),
		cmocka_unit_test(
			those_that_terminate_serve_when_nobody_is_ready),
		cmocka_unit_test(what_no_service_may_be_is_refused),
		cmocka_unit_test(endpoints_nobody_has_get_nothing),
		cmocka_unit_test(a_key_has_one_owner_and_the_maps_an_end),
		cmocka_unit_test(
			outside_asks_by_node_ports_and_other_addresses),
		cmocka_unit_test(a_local_policy_asks_for_this_nodes_alone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
