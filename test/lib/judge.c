// SPDX-License-Identifier: Apache-2.0
/* judge.c - see judge.h. */
#include "test/lib/judge.h"

#include <endian.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "test/test.h"

static void add_pod(struct world_gen *gen, unsigned int i, const char *ns,
                    const char *name, const char *rest)
{
	world_add(gen, (uint16_t)i,
	          "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': "
	          "{'name': '%s', 'namespace': '%s', %s, "
	          "'status': {'podIPs': [{'ip': '10.0.0.%u'}, "
	          "{'ip': 'fd00::%x'}]}}",
	          name, ns, rest, i, i);
}

void judge_world(struct world_gen *gen)
{
	world_add(gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Namespace', "
	          "'metadata': {'name': 'shop', 'labels': "
	          "{'team': 'a'}}}");
	world_add(gen, 0,
	          "{'apiVersion': 'v1', 'kind': 'Namespace', "
	          "'metadata': {'name': 'infra', 'labels': "
	          "{'team': 'b'}}}");
	add_pod(gen, 1, "shop", "web",
	        "'labels': {'app': 'web'}}, 'spec': {'containers': [{'ports': "
	        "[{'name': 'http', 'containerPort': 8080}]}]}");
	add_pod(gen, 2, "shop", "db",
	        "'labels': {'app': 'db'}}, 'spec': {'containers': [{'ports': "
	        "[{'name': 'sql', 'containerPort': 5432}]}]}");
	add_pod(gen, 3, "shop", "plain", "'labels': null}, 'spec': {}");
	add_pod(gen, 4, "infra", "dns",
	        "'labels': {'app': 'dns'}}, 'spec': {'containers': [{'ports': "
	        "[{'name': 'dns', 'containerPort': 53, 'protocol': 'UDP'}, "
	        "{'name': 'dns-tcp', 'containerPort': 53}]}]}");
	add_pod(gen, 5, "infra", "web",
	        "'labels': {'app': 'web'}}, 'spec': {'containers': [{'ports': "
	        "[{'name': 'http', 'containerPort': 80}]}]}");
	world_add_node(gen, "10.0.1.1", true);
	world_add_node(gen, "fd00:0:0:1::1", true);
	world_add_node(gen, "10.0.1.2", false);
	world_add_node(gen, "fd00:0:0:1::2", false);
}

void judge_policy(struct world_gen *gen, const char *name, const char *spec,
                  ...)
{
	char *text;
	va_list ap;
	int n;

	va_start(ap, spec);
	n = vasprintf(&text, spec, ap);
	va_end(ap);
	if (n < 0)
		abort();
	world_add(gen, 0,
	          "{'apiVersion': 'networking.k8s.io/v1', "
	          "'kind': 'NetworkPolicy', 'metadata': {'name': '%s', "
	          "'namespace': 'shop'}, 'spec': %s}",
	          name, text);
	free(text);
}

static void ports_read(const char *text, uint8_t *proto, uint16_t *port)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} protos[] = {
		{"tcp",  IPPROTO_TCP },
                {"udp",  IPPROTO_UDP },
		{"sctp", IPPROTO_SCTP},
                {"icmp", IPPROTO_ICMP},
		{"gre",  IPPROTO_GRE },
                {"esp",  IPPROTO_ESP },
	};
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);

	*port = (uint16_t)(slash ? strtoul(slash + 1, NULL, 10) : 0);
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++)
		if (strlen(protos[i].name) == n &&
		    !strncmp(protos[i].name, text, n)) {
			*proto = protos[i].proto;
			return;
		}
	fail_msg("'%s' is no protocol", text);
}

static const struct table *table_of(const struct compiled *compiled,
                                    uint16_t endpoint)
{
	for (size_t i = 0; i < compiled->n_endpoints; i++)
		if (compiled->endpoint[i].endpoint == endpoint)
			return &compiled->table[compiled->endpoint[i].table];
	fail_msg("endpoint %u has no table", endpoint);
	return NULL;
}

struct question {
	const struct world *world;
	const struct compiled *compiled;
	const struct row *row;
	size_t at; /* of the row */
	const struct pod *subject;
	enum dir dir;
};

static void expect(const struct question *q, const char *who,
                   const struct addr *peer, bool got)
{
	char text[ADDR_TEXT_MAX];

	if (got != q->row->want)
		fail_msg("row %zu: %s: %s %s %s %s: %s", q->at, who,
		         q->row->subject, q->row->dir, addr_format(peer, text),
		         q->row->ports, got ? "allowed" : "denied");
}

static void question_ask(const struct question *q, const struct addr *peer)
{
	const struct table *table = table_of(q->compiled, q->subject->endpoint);
	const struct policy_val *val;
	struct verdict verdict;
	uint8_t proto;
	uint16_t port;

	ports_read(q->row->ports, &proto, &port);
	verdict = policy_eval(q->world, q->subject, q->dir, peer, proto, port);
	expect(q, "eval", peer, verdict.allowed);
	/* What is always allowed never comes to the table. */
	if (verdict.isolated && verdict.allowed && !verdict.netpol)
		return;
	val = table_lookup(table, compiled_identity(q->compiled, peer), q->dir,
	                   proto, htobe16(port));
	expect(q, "table", peer,
	       val ? val->allow : !table->header.isolated[q->dir]);
}

static const struct addr *of_family(const struct pod *pod, enum family family)
{
	for (size_t i = 0; i < pod->n_addrs; i++)
		if (addr_family(&pod->addr[i]) == family)
			return &pod->addr[i];
	return NULL;
}

static void row_judge(const struct world_gen *gen, struct question *q)
{
	const struct pod *peer = world_pod(gen, q->row->peer);
	struct addr literal = {};
	bool known = peer || !addr_parse(q->row->peer, &literal);
	int asked = 0;

	q->subject = world_pod(gen, q->row->subject);
	q->dir = strcmp(q->row->dir, IN) != 0 ? DIR_EGRESS : DIR_INGRESS;
	if (!q->subject || !q->subject->endpoint || !known) {
		fail_msg("row %zu: no such end", q->at);
		return;
	}
	for (int family = 0; family < FAMILY__COUNT; family++) {
		const struct addr *other =
			peer ? of_family(peer, (enum family)family) : &literal;

		if (!other || (int)addr_family(other) != family ||
		    !of_family(q->subject, (enum family)family))
			continue;
		question_ask(q, other);
		asked++;
	}
	if (!asked)
		fail_msg("row %zu: the ends have no family in common", q->at);
}

void judge(struct world_gen *gen, const struct row *row, size_t n)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct compiled compiled;
	struct err err = {};

	if (world_build(gen, &err) ||
	    policy_compile(&gen->world, NULL, 0, arena, &compiled, &err))
		fail_msg("%s", err.text);
	for (size_t i = 0; i < n; i++) {
		struct question q = {
			.world = &gen->world,
			.compiled = &compiled,
			.row = &row[i],
			.at = i,
		};

		row_judge(gen, &q);
	}
}
