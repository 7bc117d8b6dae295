// SPDX-License-Identifier: Apache-2.0
/* flow_names.c - see flow_names.h. */
#include "daemon/flow_names.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/daemon.h"
#include "daemon/explain.h"
#include "daemon/names.h"
#include "daemon/words.h"
#include "lib/addr.h"

#define ADDR_CACHE 256u
#define WHY_CACHE  256u
/* Explanations of one batch stop at this time; policies are named still. */
#define EXPLAIN_BUDGET_NS 5000000ull
#define NEAREST_WORDS_MAX 160
/* Isolating policies that an event names; of more, only the number. */
#define POLICIES_NAMED 8
#define PACKED_MAX     2048

struct why_key {
	uint32_t peer; /* identity; 0: of no flow in particular */
	uint16_t endpoint;
	uint16_t port;
	uint8_t dir, proto;
	uint8_t zero[2];
};

struct flow_names {
	struct daemon *daemon;
	struct intern intern;
	uint64_t store_revision, kernel_revision;
	uint32_t age; /* rises when either did */
	uint64_t explain_until_ns;
	struct {
		struct text *who;
		uint32_t age, serial;
	} ep[FAMILY__COUNT][ENDPOINT_MAX];
	struct {
		struct addr addr;
		struct text *who;
		uint32_t age;
	} addr[ADDR_CACHE];
	struct {
		struct why_key key;
		struct text *why;
		uint32_t age;
	} why[WHY_CACHE];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

struct flow_names *flow_names_new(struct daemon *daemon)
{
	struct flow_names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->daemon = daemon;
	names->age = 1;
	return names;
}

void flow_names_free(struct flow_names *names)
{
	if (!names)
		return;
	intern_close(&names->intern);
	free(names);
}

size_t flow_names_bytes(const struct flow_names *names)
{
	return names->intern.bytes;
}

void flow_names_begin(struct flow_names *names)
{
	const struct daemon *d = names->daemon;
	const uint64_t kernel =
		d->reconcile ? reconcile_revision(d->reconcile) : 0;

	names->explain_until_ns = now_ns() + EXPLAIN_BUDGET_NS;
	if (names->store_revision == d->store.revision &&
	    names->kernel_revision == kernel)
		return;
	names->store_revision = d->store.revision;
	names->kernel_revision = kernel;
	names->age++;
}

/* ---- who ----------------------------------------------------------------- */

static void print_labels(FILE *f, const struct who *who)
{
	const char *word = identity_reserved(who->identity);

	if (who->pod)
		for (size_t i = 0; i < who->pod->labels.n; i++)
			fprintf(f, "\nk8s:%s=%s", who->pod->labels.item[i].key,
			        who->pod->labels.item[i].value);
	if (who->ns)
		fprintf(f, "\nk8s:io.kubernetes.pod.namespace=%s", who->ns);
	else if (who->local)
		fputs("\nreserved:host", f);
	else if (word && strcmp(word, "pod") != 0)
		fprintf(f, "\nreserved:%s", word);
	else if (who->identity >> ID_CLASS_SHIFT == CLASS_WORLD4 ||
	         who->identity >> ID_CLASS_SHIFT == CLASS_WORLD6)
		fputs("\nreserved:world", f);
}

/* "ns pod endpoint identity label…", a line each: flow_json.h. */
static struct text *who_pack(struct flow_names *names, const struct who *who)
{
	char packed[PACKED_MAX];
	FILE *f = fmemopen(packed, sizeof(packed), "w");
	long len;

	if (!f)
		return NULL;
	fprintf(f, "%s\n%s\n%u\n%u", who->ns ? who->ns : "",
	        who->name ? who->name : "", who->endpoint, who->identity);
	print_labels(f, who);
	fflush(f); /* what does not fit is lost: labels come last */
	len = ftell(f);
	fclose(f);
	if (len < 0 || (size_t)len > sizeof(packed))
		return NULL;
	return intern_get(&names->intern, packed, strnlen(packed, (size_t)len));
}

static struct text *who_lookup(struct flow_names *names,
                               const struct addr *addr, uint16_t endpoint,
                               uint32_t identity)
{
	const struct daemon *d = names->daemon;
	struct who who = {.addr = *addr};

	who_find(d, &who, 1);
	if (identity)
		who.identity = identity;
	if (endpoint && who.endpoint != endpoint &&
	    d->endpoints.ep[endpoint].state != ENDPOINT_FREE) {
		/* Not its address: a spoofed one, or one just given up. */
		const struct ep *ep = &d->endpoints.ep[endpoint];

		who.endpoint = endpoint;
		who.local = false;
		who.ns = ep->pod_name[0] ? ep->pod_ns : NULL;
		who.name = ep->pod_name[0] ? ep->pod_name : NULL;
		who.pod = store_pod(&d->store, ep->pod_ns, ep->pod_name);
	}
	return who_pack(names, &who);
}

static struct text *who_of_endpoint(struct flow_names *names,
                                    const struct addr *addr, uint16_t endpoint,
                                    uint32_t identity)
{
	const struct ep *ep = &names->daemon->endpoints.ep[endpoint];
	typeof(names->ep[0][0]) *c = &names->ep[addr_family(addr)][endpoint];
	const bool gone = ep->state == ENDPOINT_FREE;

	if (c->who &&
	    (gone || (c->age == names->age && c->serial == ep->serial)))
		return text_ref(c->who);
	intern_drop(&names->intern, c->who);
	c->who = who_lookup(names, addr, endpoint, identity);
	c->age = names->age;
	c->serial = ep->serial;
	return text_ref(c->who);
}

static struct text *who_of_addr(struct flow_names *names,
                                const struct addr *addr, uint32_t identity)
{
	const uint64_t h =
		(addr->half[0] ^ addr->half[1]) * 0x9e3779b97f4a7c15ull;
	typeof(names->addr[0]) *c = &names->addr[(h >> 32) % ADDR_CACHE];

	if (c->who && c->age == names->age && !addr_compare(&c->addr, addr))
		return text_ref(c->who);
	intern_drop(&names->intern, c->who);
	c->who = who_lookup(names, addr, 0, identity);
	c->age = names->age;
	c->addr = *addr;
	return text_ref(c->who);
}

static struct text *who_of(struct flow_names *names, const struct event *ev,
                           int end)
{
	const struct addr *addr = end ? &ev->tuple.daddr : &ev->tuple.saddr;
	uint16_t endpoint = ev->endpoint[end];

	/* What leaves a pod is that pod's, whatever address it claims. */
	if (!endpoint && !end && ev->hook == HOOK_FROM_POD &&
	    ev->type == EVENT_DROP) {
		const struct ep *ep = endpoint_by_ifindex(
			&names->daemon->endpoints, (int)ev->ifindex);

		endpoint = ep ? ep->number : 0;
	}
	if (endpoint && endpoint < ENDPOINT_MAX)
		return who_of_endpoint(names, addr, endpoint,
		                       ev->identity[end]);
	return who_of_addr(names, addr, ev->identity[end]);
}

/* ---- rules --------------------------------------------------------------- */

static int rule_compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a;
	const uint32_t y = ((const struct rule_name *)b)->number;

	return (x > y) - (x < y);
}

static struct text *rule_of(struct flow_names *names, uint32_t number)
{
	const struct reconcile *rec = names->daemon->reconcile;
	const struct compiled *compiled = rec ? reconcile_compiled(rec) : NULL;
	const struct rule_name *rule = NULL;
	char packed[400];
	int n;

	if (!number)
		return NULL;
	if (compiled && compiled->n_rules)
		rule = bsearch(&number, compiled->rule, compiled->n_rules,
		               sizeof(*compiled->rule), rule_compare);
	if (rule)
		n = snprintf(packed, sizeof(packed), "%s\n%s\n%u", rule->ns,
		             rule->name, rule->index);
	else
		n = snprintf(packed, sizeof(packed), "\nno longer in force\n%u",
		             number);
	return intern_get(&names->intern, packed, (size_t)n);
}

/* ---- why ----------------------------------------------------------------- */

static const struct pod *subject_find(const struct world *world,
                                      uint16_t endpoint)
{
	for (size_t i = 0; i < world->n_pods; i++)
		if (world->pod[i]->endpoint == endpoint)
			return world->pod[i];
	return NULL;
}

static void print_nearest(FILE *f, const struct question_side *q,
                          const struct rule_view *near)
{
	const struct rule *rule = &near->netpol->rule[q->dir][near->index];
	_cleanup_(free_p) char *words =
		rule_words(rule, q->dir, near->netpol->ns);
	char differs[DIFFERS_TEXT_MAX];

	fprintf(f, "%s/%s %s[%zu] %.*s%s: %s", near->netpol->ns,
	        near->netpol->name, dir_name(q->dir), near->index,
	        NEAREST_WORDS_MAX, words ? words : "",
	        words && strlen(words) > NEAREST_WORDS_MAX ? "…" : "",
	        rule_view_differs(near, differs));
}

/* "nearest count policy…", a line each; "" when policy would allow. */
static void print_explanation(FILE *f, const struct question_side *q, bool full)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(8u << 20);
	struct explanation ex = {};
	int r;

	if (!arena)
		return;
	r = full ? explain(q, arena, &ex) : explain_isolating(q, arena, &ex);
	if (r || !ex.n_isolating || (full && ex.verdict.allowed))
		return;
	if (ex.nearest)
		print_nearest(f, q, ex.nearest);
	fprintf(f, "\n%zu", ex.n_isolating);
	for (size_t i = 0; i < ex.n_isolating && i < POLICIES_NAMED; i++)
		fprintf(f, "\n%s/%s", ex.isolating[i]->ns,
		        ex.isolating[i]->name);
}

static struct text *why_make(struct flow_names *names, const struct event *ev,
                             const struct why_key *key)
{
	const struct world *world = reconcile_world(names->daemon->reconcile);
	const bool ingress = key->dir == DIR_INGRESS;
	const struct flow_tuple *t = &ev->tuple;
	const struct question_side q = {
		.world = world,
		.subject = world ? subject_find(world, key->endpoint) : NULL,
		.self = ingress ? t->daddr : t->saddr,
		.peer = ingress ? t->saddr : t->daddr,
		.dir = key->dir,
		.proto = t->proto,
		.port = proto_with_ports(t->proto) ? ntohs(t->dport) : 0,
	};
	char *text = NULL;
	struct text *made;
	size_t size = 0;
	FILE *f;

	if (!q.subject)
		return NULL;
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	print_explanation(f, &q, key->peer != 0);
	made = fclose(f) ? NULL : intern_get(&names->intern, text, size);
	free(text);
	return made;
}

static struct text *why_of(struct flow_names *names, const struct event *ev,
                           enum dir dir)
{
	struct why_key key = {
		.endpoint = ev->endpoint[dir == DIR_INGRESS],
		.dir = dir,
	};
	typeof(names->why[0]) *c;
	uint64_t h;

	if (!key.endpoint || !names->daemon->reconcile)
		return NULL;
	if (now_ns() < names->explain_until_ns) {
		key.peer = ev->identity[dir == DIR_EGRESS];
		key.proto = ev->tuple.proto;
		key.port = ev->tuple.dport;
	}
	h = ((uint64_t)key.peer << 32 ^ (uint64_t)key.endpoint << 18 ^
	     (uint64_t)key.port << 2 ^ key.dir ^ (uint64_t)key.proto << 48) *
	    0x9e3779b97f4a7c15ull;
	c = &names->why[(h >> 32) % WHY_CACHE];
	if (c->why && c->age == names->age &&
	    !memcmp(&c->key, &key, sizeof(key)))
		return text_ref(c->why);
	intern_drop(&names->intern, c->why);
	c->why = why_make(names, ev, &key);
	c->key = key;
	c->age = names->age;
	return text_ref(c->why);
}

/* In audit mode: would policy have dropped this flow? */
static void audit(struct flow_names *names, struct kept *kept)
{
	for (int dir = 0; dir < DIR__COUNT && !kept->audit; dir++) {
		/* Without the time to ask, nothing is claimed. */
		if (kept->event.rule[dir] ||
		    now_ns() >= names->explain_until_ns)
			continue;
		kept->why = why_of(names, &kept->event, dir);
		if (kept->why && kept->why->len)
			kept->audit = 1 + (unsigned)dir;
		else
			intern_drop(&names->intern, TAKE(kept->why));
	}
}

/* "shop/web", of the service that was asked for. */
static struct text *service_of(struct flow_names *names, const struct event *ev)
{
	const struct services *services = names->daemon->services;
	char name[400];

	if (addr_is_zero(&ev->vip) || !services ||
	    !services_name(services, &ev->vip, ev->vip_port, ev->tuple.proto,
	                   name, sizeof(name)))
		return NULL;
	return intern_get(&names->intern, name, strlen(name));
}

void flow_names_give(struct flow_names *names, struct kept *kept)
{
	const struct event *ev = &kept->event;

	for (int end = 0; end < 2; end++)
		kept->who[end] = who_of(names, ev, end);
	for (int dir = 0; dir < DIR__COUNT; dir++)
		kept->rule[dir] = rule_of(names, ev->rule[dir]);
	if (ev->type == EVENT_DROP && ev->reason == DROP_POLICY_INGRESS)
		kept->why = why_of(names, ev, DIR_INGRESS);
	if (ev->type == EVENT_DROP && ev->reason == DROP_POLICY_EGRESS)
		kept->why = why_of(names, ev, DIR_EGRESS);
	kept->service = service_of(names, ev);
	if (ev->type == EVENT_FLOW && names->daemon->config.audit)
		audit(names, kept);
}

void flow_names_drop(struct flow_names *names, struct kept *kept)
{
	for (int i = 0; i < 2; i++) {
		intern_drop(&names->intern, TAKE(kept->who[i]));
		intern_drop(&names->intern, TAKE(kept->rule[i]));
	}
	intern_drop(&names->intern, TAKE(kept->why));
	intern_drop(&names->intern, TAKE(kept->service));
}
