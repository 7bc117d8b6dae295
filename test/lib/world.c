// SPDX-License-Identifier: Apache-2.0
/* world.c - manifests become a world; packets worth sending through it. */
#include "test/lib/world.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"

static void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	abort();
}

static json_t *doc_vtext(const char *fmt, va_list ap)
{
	json_error_t error;
	json_t *doc;
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		die("doc_text", "no memory");
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	doc = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
	                 &error);
	if (!doc)
		die(text, error.text);
	free(text);
	return doc;
}

json_t *doc_text(const char *fmt, ...)
{
	json_t *doc;
	va_list ap;

	va_start(ap, fmt);
	doc = doc_vtext(fmt, ap);
	va_end(ap);
	return doc;
}

struct parsed manifest_parse(const char *text)
{
	struct parsed p = {.arena = arena_new(0)};
	json_t *doc = doc_text("%s", text);

	p.object.kind = (enum object_kind)99;
	p.r = object_parse(doc, p.arena, &p.object, &p.err);
	json_decref(doc);
	return p;
}

void world_add(struct world_gen *gen, uint16_t endpoint, const char *fmt, ...)
{
	va_list ap;

	if (gen->n_docs == WORLD_DOCS_MAX)
		die("world_add", "too many manifests");
	va_start(ap, fmt);
	gen->doc[gen->n_docs++] = (struct world_doc){.json = doc_vtext(fmt, ap),
	                                             .endpoint = endpoint};
	va_end(ap);
}

void world_add_node(struct world_gen *gen, const char *addr, bool local)
{
	struct node_addr *node = &gen->node[gen->n_nodes];

	if (gen->n_nodes == WORLD_NODES_MAX || addr_parse(addr, &node->addr))
		die("world_add_node", addr);
	node->local = local;
	gen->n_nodes++;
}

void world_remove(struct world_gen *gen, size_t doc)
{
	json_decref(gen->doc[doc].json);
	gen->n_docs--;
	memmove(&gen->doc[doc], &gen->doc[doc + 1],
	        (gen->n_docs - doc) * sizeof(gen->doc[0]));
}

/* ---- building ---------------------------------------------------------- */

static int ns_compare(const void *a, const void *b)
{
	const struct namespace *x = *(const struct namespace *const *)a;
	const struct namespace *y = *(const struct namespace *const *)b;

	return strcmp(x->name, y->name);
}

static int netpol_compare(const void *a, const void *b)
{
	const struct netpol *x = *(const struct netpol *const *)a;
	const struct netpol *y = *(const struct netpol *const *)b;
	int cmp = strcmp(x->ns, y->ns);

	return cmp ? cmp : strcmp(x->name, y->name);
}

static void *array(struct world_gen *gen, size_t size)
{
	void *p = arena_array(gen->arena, WORLD_DOCS_MAX, size);

	if (!p)
		die("world_build", "no memory");
	return p;
}

static int doc_build(struct world_gen *gen, const struct world_doc *doc,
                     struct err *err)
{
	struct world *world = &gen->world;
	struct object *object = array(gen, sizeof(*object));
	int r = object_parse(doc->json, gen->arena, object, err);

	if (r)
		return r;
	switch (object->kind) {
	case OBJECT_POD:
		object->pod.endpoint = doc->endpoint;
		if (doc->no_namespace)
			object->pod.ns = NULL;
		world->pod[world->n_pods++] = &object->pod;
		break;
	case OBJECT_NAMESPACE:
		world->ns[world->n_ns++] = &object->ns;
		break;
	case OBJECT_NETPOL:
		world->netpol[world->n_netpols++] = &object->netpol;
		break;
	default: /* no policy asks for it */
		break;
	}
	return 0;
}

static void note_addr(struct world_gen *gen, struct addr addr)
{
	if (gen->n_notes < WORLD_NOTES_MAX)
		gen->note[gen->n_notes++] = addr;
}

static void note_port(struct world_gen *gen, unsigned int port)
{
	if (gen->n_ports < WORLD_NOTES_MAX && port < 65536)
		gen->port[gen->n_ports++] = (uint16_t)port;
}

/* First and last inside, and their neighbours outside. */
static void note_prefix(struct world_gen *gen, const struct prefix *prefix)
{
	struct addr last = prefix->addr, before = prefix->addr;
	int i = 15;

	for (unsigned int bit = prefix->bits; bit < 128; bit++)
		last.byte[bit / 8] |= (__u8)(0x80 >> bit % 8);
	while (i >= 0 && !before.byte[i]--)
		i--;
	note_addr(gen, prefix->addr);
	note_addr(gen, before);
	note_addr(gen, last);
	note_addr(gen, addr_add(&last, 1));
}

static void note_rule(struct world_gen *gen, const struct rule *rule)
{
	for (size_t i = 0; i < rule->n_peers; i++) {
		const struct peer *peer = &rule->peer[i];

		if (!peer->is_block)
			continue;
		note_prefix(gen, &peer->block);
		for (size_t e = 0; e < peer->n_except; e++)
			note_prefix(gen, &peer->except[e]);
	}
	for (size_t i = 0; i < rule->n_ports; i++) {
		const struct port_spec *spec = &rule->port[i];

		if (!spec->has_port)
			continue;
		note_port(gen, spec->port - 1u);
		note_port(gen, spec->port);
		note_port(gen, spec->end);
		note_port(gen, spec->end + 1u);
	}
}

static void notes_take(struct world_gen *gen)
{
	const struct world *world = &gen->world;

	gen->n_notes = gen->n_ports = 0;
	note_port(gen, 0);
	note_port(gen, 80);
	note_port(gen, 65535);
	for (size_t i = 0; i < world->n_nodes; i++)
		note_addr(gen, world->node[i].addr);
	for (size_t i = 0; i < world->n_pods; i++) {
		const struct pod *pod = world->pod[i];

		for (size_t a = 0; a < pod->n_addrs; a++)
			note_addr(gen, pod->addr[a]);
		for (size_t p = 0; p < pod->n_ports; p++)
			note_port(gen, pod->port[p].port);
	}
	for (size_t i = 0; i < world->n_netpols; i++)
		for (int dir = 0; dir < DIR__COUNT; dir++)
			for (size_t r = 0; r < world->netpol[i]->n_rules[dir];
			     r++)
				note_rule(gen, &world->netpol[i]->rule[dir][r]);
}

int world_build(struct world_gen *gen, struct err *err)
{
	struct world *world = &gen->world;

	arena_free(gen->arena);
	gen->arena = arena_new(0);
	if (!gen->arena)
		die("world_build", "no memory");
	*world = (struct world){
		.ns = array(gen, sizeof(*world->ns)),
		.pod = array(gen, sizeof(*world->pod)),
		.netpol = array(gen, sizeof(*world->netpol)),
		.node = gen->node,
		.n_nodes = gen->n_nodes,
	};
	for (size_t i = 0; i < gen->n_docs; i++) {
		int r = doc_build(gen, &gen->doc[i], err);

		if (r)
			return r;
	}
	qsort(world->ns, world->n_ns, sizeof(*world->ns), ns_compare);
	qsort(world->netpol, world->n_netpols, sizeof(*world->netpol),
	      netpol_compare);
	notes_take(gen);
	return 0;
}

void world_copy(struct world_gen *to, const struct world_gen *from)
{
	*to = *from;
	to->arena = NULL;
	to->world = (struct world){};
	for (size_t i = 0; i < to->n_docs; i++)
		json_incref(to->doc[i].json);
}

void world_clear(struct world_gen *gen)
{
	while (gen->n_docs)
		world_remove(gen, gen->n_docs - 1);
	arena_free(gen->arena);
	*gen = (struct world_gen){};
}

void world_print(const struct world_gen *gen, FILE *out)
{
	char buf[ADDR_TEXT_MAX];

	fprintf(out, "# seed %llu\n", (unsigned long long)gen->seed);
	for (size_t i = 0; i < gen->n_nodes; i++)
		fprintf(out, "# node %s%s\n",
		        addr_format(&gen->node[i].addr, buf),
		        gen->node[i].local ? " (this one)" : "");
	for (size_t i = 0; i < gen->n_docs; i++) {
		char *text = json_dumps(gen->doc[i].json, JSON_COMPACT);

		fprintf(out, "# endpoint %u%s: %s\n", gen->doc[i].endpoint,
		        gen->doc[i].no_namespace ? ", of no namespace" : "",
		        text ? text : "(no memory)");
		free(text);
	}
}

/* ---- packets ----------------------------------------------------------- */

static struct addr addr_of_family(struct world_gen *gen, enum family family)
{
	struct addr addr = {};

	for (int i = 0; i < 64 && gen->n_notes; i++) {
		addr = gen->note[rng_below(&gen->rng,
		                           (unsigned int)gen->n_notes)];
		if (addr_family(&addr) == family && !rng_percent(&gen->rng, 5))
			return addr;
	}
	if (addr_parse(family == FAMILY_V4 ? "198.51.100.0" : "2001:db8::",
	               &addr))
		die("addr_of_family", "no address");
	addr.byte[15] = (__u8)rng_next(&gen->rng);
	return addr;
}

static bool addr_here(struct world_gen *gen, struct addr *ret)
{
	const struct world *world = &gen->world;
	unsigned int at;

	if (!world->n_pods)
		return false;
	at = rng_below(&gen->rng, (unsigned int)world->n_pods);
	for (size_t i = 0; i < world->n_pods; i++) {
		const struct pod *pod = world->pod[(at + i) % world->n_pods];

		if (!pod->endpoint || !pod->n_addrs)
			continue;
		*ret = pod->addr[rng_below(&gen->rng,
		                           (unsigned int)pod->n_addrs)];
		return true;
	}
	return false;
}

struct probe world_probe(struct world_gen *gen)
{
	static const uint8_t portless[] = {IPPROTO_ICMP, IPPROTO_ICMPV6,
	                                   IPPROTO_GRE, IPPROTO_ESP};
	static const uint8_t ported[] = {IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP,
	                                 IPPROTO_UDP, IPPROTO_SCTP};
	struct rng *rng = &gen->rng;
	struct probe probe = {};
	struct addr here;

	if (!addr_here(gen, &here))
		here = addr_of_family(gen, (enum family)rng_below(rng, 2));
	probe.src = here;
	probe.dst = addr_of_family(gen, addr_family(&here));
	if (rng_percent(rng, 50)) {
		probe.src = probe.dst;
		probe.dst = here;
	}
	if (rng_percent(rng, 10)) {
		probe.proto = portless[rng_below(rng, ARRAY_SIZE(portless))];
		return probe;
	}
	probe.proto = ported[rng_below(rng, ARRAY_SIZE(ported))];
	probe.port =
		gen->n_ports && !rng_percent(rng, 10)
			? gen->port[rng_below(rng, (unsigned int)gen->n_ports)]
			: (uint16_t)rng_next(rng);
	return probe;
}

const struct pod *world_pod(const struct world_gen *gen, const char *name)
{
	const char *slash = strchr(name, '/');

	for (size_t i = 0; i < gen->world.n_pods; i++) {
		const struct pod *pod = gen->world.pod[i];
		size_t n = pod->ns ? strlen(pod->ns) : 0;

		if (n && n == (size_t)(slash - name) &&
		    !strncmp(name, pod->ns, n) && !strcmp(pod->name, slash + 1))
			return pod;
	}
	return NULL;
}

const struct pod *world_endpoint(const struct world_gen *gen, uint16_t endpoint)
{
	for (size_t i = 0; i < gen->world.n_pods; i++)
		if (gen->world.pod[i]->endpoint == endpoint)
			return gen->world.pod[i];
	return NULL;
}
