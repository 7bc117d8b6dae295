// SPDX-License-Identifier: Apache-2.0
/* services_test.c - Services and EndpointSlices: read, joined, planned. */
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

static void join(struct joined *j, const char *const *text, size_t n)
{
	static const struct prefix pods = {.bits = 96 + 16};
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
		.most_backends = 3,
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

/* ---- planning ----------------------------------------------------------- */

#define KEYS   12
#define SEED   20261126u
#define PLACES 65536 /* that the test has; it uses low ones only */

/* The maps, as the kernel would have them, and what programs may still hold. */
struct maps {
	struct backend backend[PLACES];
	bool put[PLACES], resting[PLACES];
	struct service service[KEYS];
	bool there[KEYS];
};

static struct service_key key_of(unsigned int n)
{
	struct service_key key = {.port = htons(80), .proto = IPPROTO_TCP};

	key.vip = A("10.96.0.0");
	key.vip.byte[15] = (uint8_t)n;
	return key;
}

static uint32_t place(uint32_t at)
{
	return at % PLACES;
}

/* Every service has, whole, one of the two sets. */
static void maps_check(const struct maps *m, const struct services_want *old,
                       const struct services_want *new)
{
	for (unsigned int k = 0; k < KEYS; k++) {
		const struct services_want *sides[] = {old, new};
		const struct service_key key = key_of(k);
		struct backend got[16];
		bool ok = false;

		for (uint32_t i = 0; m->there[k] && i < m->service[k].count;
		     i++) {
			const uint32_t at = place(m->service[k].first + i);

			assert_true(m->put[at]);
			got[i] = m->backend[at];
		}
		for (int side = 0; side < 2; side++) {
			const struct frontend *f = NULL;

			for (size_t i = 0; i < sides[side]->n; i++)
				if (!service_key_compare(
					    &sides[side]->item[i].key, &key))
					f = &sides[side]->item[i];
			ok |= !f ? !m->there[k]
			         : m->there[k] && f->n == m->service[k].count &&
			                      !memcmp(f->backend, got,
			                              f->n * sizeof(*got));
		}
		assert_true(ok);
	}
}

static unsigned int key_number(const struct service_key *key)
{
	return key->vip.byte[15];
}

/* One write after another, looking between. */
static void plan_run(struct maps *m, const struct services_plan *p,
                     const struct services_want *old,
                     const struct services_want *new)
{
	for (size_t i = 0; i < p->n_backends; i++) {
		const uint32_t at = place(p->place[i]);

		assert_false(m->put[at] || m->resting[at]);
		m->put[at] = true;
		m->backend[at] = p->backend[i];
		maps_check(m, old, new);
	}
	for (size_t i = 0; i < p->n_services; i++) {
		const unsigned int k = key_number(&p->key[i]);

		m->there[k] = true;
		m->service[k] = p->value[i];
		maps_check(m, old, new);
	}
	for (size_t i = 0; i < p->n_gone; i++) {
		m->there[key_number(&p->gone[i])] = false;
		maps_check(m, old, new);
	}
	for (size_t i = 0; i < p->n_retired; i++)
		for (uint32_t n = 0; n < p->retired[i].count; n++)
			m->resting[place(p->retired[i].first + n)] = true;
	maps_check(m, new, new);
}

static void want_random(struct rng *rng, const struct services_want *old,
                        struct arena *arena, struct services_want *ret)
{
	ret->item = arena_array(arena, KEYS, sizeof(*ret->item));
	ret->n = 0;
	for (unsigned int k = 0; k < KEYS; k++) {
		struct frontend *f = &ret->item[ret->n];

		if (rng_below(rng, 4) == 0)
			continue;
		*f = (struct frontend){.key = key_of(k)};
		f->n = rng_below(rng, 6);
		f->backend = arena_array(arena, f->n, sizeof(*f->backend));
		for (size_t i = 0; i < f->n; i++) {
			f->backend[i].addr = A("10.0.0.0");
			f->backend[i].addr.byte[15] =
				(uint8_t)(i * 4 + rng_below(rng, 4));
			f->backend[i].tag = service_tag(&f->key);
		}
		/* Half of them as they were. */
		for (size_t i = 0; rng_below(rng, 2) && i < old->n; i++)
			if (!service_key_compare(&old->item[i].key, &f->key))
				*f = old->item[i];
		f->hash = backends_hash(f->backend, f->n);
		ret->n++;
	}
}

static void no_half_made_service_is_ever_seen(void **state)
{
	struct rng rng = {.state = SEED};
	static struct maps m;
	struct services_have have = {};
	struct services_want old = {};
	struct arena *arena = arena_new(0);
	struct service *resting = NULL;
	size_t n_resting = 0, kept = 0;

	(void)state;
	memset(&m, 0, sizeof(m));
	for (int round = 0; round < 400; round++) {
		struct services_want want;
		struct services_plan p;

		want_random(&rng, &old, arena, &want);
		if (round % 50 == 49)
			have.next = UINT32_MAX - 10; /* round it goes */
		assert_int_equal(services_plan(&have, &want, resting, n_resting,
		                               arena, &p),
		                 0);
		plan_run(&m, &p, &old, &want);
		kept += want.n - p.n_services;
		resting = p.retired;
		n_resting = p.n_retired;
		/* A grace period: what rested before this pass is free. */
		if (round % 3 == 0) {
			for (size_t i = 0; i < PLACES; i++)
				if (m.resting[i])
					m.put[i] = m.resting[i] = false;
			n_resting = 0;
		} else {
			struct service *all;

			/* Nothing was freed: all of it rests on. */
			n_resting = 0;
			for (size_t i = 0; i < PLACES; i++)
				n_resting += m.resting[i];
			all = arena_array(arena, n_resting, sizeof(*all));
			n_resting = 0;
			for (uint32_t i = 0; i < PLACES; i++)
				if (m.resting[i])
					all[n_resting++] = (struct service){
						.first = i, .count = 1};
			resting = all;
		}
		have = p.then;
		old = want;
	}
	assert_true(kept > 100); /* what is equal is not written again */
	assert_true(have.wrapped);
	arena_free(arena);
}

static void what_is_equal_is_left_alone(void **state)
{
	struct rng rng = {.state = SEED};
	struct services_have have = {};
	struct services_want want;
	struct services_plan p;
	struct arena *arena = arena_new(0);

	(void)state;
	want_random(&rng, &(struct services_want){}, arena, &want);
	services_plan(&have, &want, NULL, 0, arena, &p);
	have = p.then;
	services_plan(&have, &want, NULL, 0, arena, &p);
	assert_int_equal(p.n_backends + p.n_services + p.n_gone + p.n_retired,
	                 0);
	/* Found broken in the maps: written anew. */
	have.item[0].hash = 0;
	services_plan(&have, &want, NULL, 0, arena, &p);
	assert_int_equal(p.n_services, 1);
	arena_free(arena);
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
		cmocka_unit_test(no_half_made_service_is_ever_seen),
		cmocka_unit_test(what_is_equal_is_left_alone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
