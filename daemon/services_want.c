// SPDX-License-Identifier: Apache-2.0
/* services_want.c - see services_want.h. */
#include "daemon/services_want.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/services_guard.h"
#include "lib/addr.h"
#include "lib/util.h"
#include "policy/index.h"

struct found {
	struct backend backend;
	const struct slice_endpoint *endpoint;
	bool local; /* on this node */
};

/* By what it is reached. */
enum service_kind {
	SERVICE_CLUSTER_IP,
	SERVICE_NODE_PORT,
	SERVICE_BALANCER,
	SERVICE_EXTERNAL
};

static const char *const kind_word[] = {
	[SERVICE_CLUSTER_IP] = "clusterIP",
	[SERVICE_NODE_PORT] = "node port",
	[SERVICE_BALANCER] = "load balancer",
	[SERVICE_EXTERNAL] = "externalIP",
};

struct make {
	struct services_input *input;
	struct arena *arena;
	struct services_guard guard;
	struct found *found; /* of one port; grown */
	size_t n_found, room;
	size_t n_backends, room_items, room_problems;
	struct services_want want;
};

int service_key_compare(const struct service_key *a,
                        const struct service_key *b)
{
	return memcmp(a, b, sizeof(*a));
}

uint64_t backends_hash(const struct backend *backend, size_t n)
{
	const uint64_t *word = (const uint64_t *)backend;
	uint64_t hash = 0x9e3779b97f4a7c15ull + n;

	for (size_t i = 0; i < n * sizeof(*backend) / sizeof(*word); i++) {
		hash = (hash ^ word[i]) * 0xc2b2ae3d27d4eb4full;
		hash ^= hash >> 29;
	}
	return hash ? hash : 1;
}

/* Room for one more element of an array in the arena; NULL: no memory. */
static void *grown(struct arena *arena, void *array, size_t n, size_t *room,
                   size_t size)
{
	void *more;

	if (n < *room)
		return array;
	more = arena_array(arena, *room ? *room * 2 : 16, size);
	if (!more)
		return NULL;
	if (n)
		memcpy(more, array, n * size);
	*room = *room ? *room * 2 : 16;
	return more;
}

/* ---- problems ----------------------------------------------------------- */

static int problem_add(struct make *m, const char *object, const char *error)
{
	struct services_want *want = &m->want;

	want->problem = grown(m->arena, want->problem, want->n_problems,
	                      &m->room_problems, sizeof(*want->problem));
	if (!want->problem || !object || !error)
		return -ENOMEM;
	want->problem[want->n_problems++] =
		(struct services_problem){object, error};
	return 0;
}

static int service_problem(struct make *m, const struct service_object *service,
                           const char *error)
{
	return problem_add(m,
	                   arena_printf(m->arena, "Service/%s/%s", service->ns,
	                                service->name),
	                   error);
}

/* ---- backends ----------------------------------------------------------- */

static int found_order(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->local != y->local)
		return x->local ? -1 : 1;
	return memcmp(&x->backend, &y->backend, sizeof(x->backend));
}

static bool is_local(const struct make *m, const struct slice_endpoint *e)
{
	return e->node && m->input->node_name &&
	       !strcmp(e->node, m->input->node_name);
}

static int found_add(struct make *m, const struct slice_endpoint *endpoint,
                     const struct frontend *f, uint16_t port)
{
	m->found = grown(m->arena, m->found, m->n_found, &m->room,
	                 sizeof(*m->found));
	if (!m->found)
		return -ENOMEM;
	m->found[m->n_found++] = (struct found){
		.backend = {.addr = endpoint->addr,
	                    .port = htons(port),
	                    .tag = service_tag(&f->key)},
		.endpoint = endpoint,
		.local = is_local(m, endpoint),
	};
	return 0;
}

/* Whom of a service's endpoints one look at its slices takes. */
struct look {
	bool last_resort; /* who serves while he terminates; else who is ready
	                   */
	bool only_local;  /* those of this node */
};

static bool is_usable(const struct make *m,
                      const struct slice_endpoint *endpoint,
                      const struct look *look)
{
	if (look->only_local && !is_local(m, endpoint))
		return false;
	if (!look->last_resort)
		return endpoint->ready;
	return endpoint->serving && endpoint->terminating;
}

static const struct slice_port *slice_port_of(const struct slice_object *slice,
                                              const struct frontend *f)
{
	for (size_t i = 0; i < slice->n_ports; i++)
		if (slice->port[i].proto == f->key.proto &&
		    !strcmp(slice->port[i].name, f->port_name))
			return &slice->port[i];
	return NULL;
}

/* The endpoints of one slice that answer at @f's port. */
static int slice_take(struct make *m, const struct slice_object *slice,
                      const struct frontend *f, const struct look *look)
{
	const struct slice_port *port = slice_port_of(slice, f);
	int r = 0;

	for (size_t i = 0; port && i < slice->n_endpoints && !r; i++) {
		const struct slice_endpoint *endpoint = &slice->endpoint[i];

		if (addr_family(&endpoint->addr) != addr_family(&f->key.vip))
			break;
		if (is_usable(m, endpoint, look) &&
		    !services_unroutable(&endpoint->addr))
			r = found_add(m, endpoint, f, port->port);
	}
	return r;
}

/* Sorted, each once, into the arena. */
static int found_keep(struct make *m, struct frontend *f)
{
	f->backend = arena_array(m->arena, m->n_found, sizeof(*f->backend));
	f->endpoint = arena_array(m->arena, m->n_found, sizeof(*f->endpoint));
	if (!f->backend || !f->endpoint)
		return -ENOMEM;
	if (m->n_found)
		qsort(m->found, m->n_found, sizeof(*m->found), found_order);
	for (size_t i = 0; i < m->n_found; i++) {
		if (f->n && !memcmp(&f->backend[f->n - 1], &m->found[i].backend,
		                    sizeof(*f->backend)))
			continue;
		f->local += m->found[i].local;
		f->endpoint[f->n] = m->found[i].endpoint;
		f->backend[f->n++] = m->found[i].backend;
	}
	f->hash = backends_hash(f->backend, f->n);
	return 0;
}

/* SCTP's checksum is over its ports: they can not be rewritten. */
static bool is_rewritable(const struct frontend *f)
{
	for (size_t i = 0; f->key.proto == IPPROTO_SCTP && i < f->n; i++)
		if (f->backend[i].port != f->key.port)
			return false;
	return true;
}

/* ---- services ----------------------------------------------------------- */

static int service_order(const void *a, const void *b)
{
	const struct service_object *x =
		*(const struct service_object *const *)a;
	const struct service_object *y =
		*(const struct service_object *const *)b;
	const int cmp = strcmp(x->ns, y->ns);

	return cmp ? cmp : strcmp(x->name, y->name);
}

static int slice_order(const void *a, const void *b)
{
	const struct slice_object *x = *(const struct slice_object *const *)a;
	const struct slice_object *y = *(const struct slice_object *const *)b;
	int cmp = strcmp(x->ns, y->ns);

	if (!cmp)
		cmp = strcmp(x->service ? x->service : "",
		             y->service ? y->service : "");
	return cmp ? cmp : strcmp(x->name, y->name);
}

static int slice_of(const struct slice_object *slice,
                    const struct service_object *service)
{
	const int cmp = strcmp(slice->ns, service->ns);

	return cmp ? cmp
	           : strcmp(slice->service ? slice->service : "",
	                    service->name);
}

/* The first of the service's slices. */
static size_t slices_at(const struct make *m,
                        const struct service_object *service)
{
	size_t lo = 0, hi = m->input->n_slices;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (slice_of(m->input->slice[mid], service) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int slices_look(struct make *m, const struct frontend *f,
                       const struct look *look)
{
	int r = 0;

	for (size_t i = slices_at(m, f->service);
	     !r && i < m->input->n_slices &&
	     !slice_of(m->input->slice[i], f->service);
	     i++)
		r = slice_take(m, m->input->slice[i], f, look);
	return r;
}

/* Those that are ready; when none is, those that still serve. */
static int slices_take(struct make *m, const struct frontend *f,
                       bool only_local)
{
	const size_t before = m->n_found;
	struct look look = {.only_local = only_local};
	int r = slices_look(m, f, &look);

	look.last_resort = true;
	return r || m->n_found != before ? r : slices_look(m, f, &look);
}

static bool found_local(const struct make *m)
{
	for (size_t i = 0; i < m->n_found; i++)
		if (m->found[i].local)
			return true;
	return false;
}

static int backends_find(struct make *m, struct frontend *f, bool only_local)
{
	int r;

	m->n_found = 0;
	r = slices_take(m, f, only_local);
	if (!r && f->flags & SERVICE_OUTER_LOCAL && !found_local(m)) {
		const size_t all = m->n_found;

		r = slices_take(m, f, true);
		if (all && m->n_found > all)
			f->flags |= SERVICE_LOCAL_APART;
	}
	return r ? r : found_keep(m, f);
}

/* The same for all that one port of a service, of one family, is reached by. */
static uint32_t port_id(const struct frontend *f)
{
	const char *part[] = {f->service->ns, f->service->name, f->port_name};
	uint64_t hash = (uint64_t)addr_family(&f->key.vip) << 8 | f->key.proto;

	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		hash = hash_bytes(part[i], strlen(part[i]), hash);
	return (uint32_t)hash ? (uint32_t)hash : 1;
}

static int frontend_add(struct make *m, const struct service_object *service,
                        enum service_kind kind, const struct addr *ip,
                        const struct service_port *port)
{
	struct frontend f = {
		.key = {.vip = *ip,
	                .port = htons(kind == SERVICE_NODE_PORT
	                                      ? port->node_port
	                                      : port->port),
	                .proto = port->proto},
		.service = service,
		.port_name = port->name,
	};
	const bool inner = kind == SERVICE_CLUSTER_IP;
	int r;

	if (!inner && service->outer_local)
		f.flags = SERVICE_OUTER_LOCAL;
	f.affinity = service->affinity;
	if (f.affinity)
		f.id = port_id(&f);
	r = backends_find(m, &f, inner && service->inner_local);
	if (r)
		return r;
	if (!is_rewritable(&f))
		return service_problem(
			m, service,
			arena_printf(m->arena,
		                     "port %u of SCTP has a targetPort that "
		                     "differs, and SCTP's ports can not be "
		                     "rewritten; it is not translated",
		                     port->port));
	m->want.item = grown(m->arena, m->want.item, m->want.n, &m->room_items,
	                     sizeof(*m->want.item));
	if (!m->want.item)
		return -ENOMEM;
	m->want.item[m->want.n++] = f;
	return 0;
}

/* Anybody who may write a Service could take an address that others use. */
static bool is_external(const struct make *m, const struct addr *ip)
{
	for (size_t i = 0; i < m->input->n_externals; i++)
		if (prefix_contains(&m->input->external[i], ip))
			return true;
	return false;
}

static int address_add(struct make *m, const struct service_object *service,
                       enum service_kind kind, const struct addr *ip)
{
	char text[ADDR_TEXT_MAX];
	const char *why = services_guard_says(&m->guard, ip);
	int r = 0;

	if (!why && kind == SERVICE_EXTERNAL && !is_external(m, ip))
		why = "in none of --external-ips";

	if (why)
		return service_problem(
			m, service,
			arena_printf(
				m->arena, "%s %s is %s; it is not translated",
				kind_word[kind], addr_format(ip, text), why));
	for (size_t p = 0; p < service->n_ports && !r; p++)
		r = frontend_add(m, service, kind, ip, &service->port[p]);
	return r;
}

/* On every address of the node, of the families that the service has. */
static int node_ports_add(struct make *m, const struct service_object *service)
{
	bool done[FAMILY__COUNT] = {};
	int r = 0;

	for (size_t i = 0; i < service->n_ips && !r; i++) {
		const enum family family = addr_family(&service->ip[i]);
		const struct addr any = addr_any(family);

		for (size_t p = 0; p < service->n_ports && !r; p++)
			if (service->port[p].node_port && !done[family])
				r = frontend_add(m, service, SERVICE_NODE_PORT,
				                 &any, &service->port[p]);
		done[family] = true;
	}
	return r;
}

/* Who may ask is not looked at yet: then nobody may. */
static int balancers_add(struct make *m, const struct service_object *service)
{
	int r = 0;

	if (service->ranged && service->n_balancers)
		return service_problem(
			m, service,
			"loadBalancerSourceRanges are not supported; its load "
			"balancer's addresses are not translated");
	for (size_t i = 0; i < service->n_balancers && !r; i++)
		r = address_add(m, service, SERVICE_BALANCER,
		                &service->balancer[i]);
	return r;
}

static int service_add(struct make *m, const struct service_object *service)
{
	int r = 0;

	for (size_t i = 0; i < service->n_ips && !r; i++)
		r = address_add(m, service, SERVICE_CLUSTER_IP,
		                &service->ip[i]);
	if (r || !m->input->full || !service->n_ips)
		return r;
	r = node_ports_add(m, service);
	for (size_t i = 0; i < service->n_externals && !r; i++)
		r = address_add(m, service, SERVICE_EXTERNAL,
		                &service->external[i]);
	return r ? r : balancers_add(m, service);
}

/* Endpoints that can be nobody's are said once a slice. */
static int slice_check(struct make *m, const struct slice_object *slice)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < slice->n_endpoints; i++) {
		const char *why = services_unroutable(&slice->endpoint[i].addr);

		if (why)
			return problem_add(
				m,
				arena_printf(m->arena, "EndpointSlice/%s/%s",
			                     slice->ns, slice->name),
				arena_printf(
					m->arena,
					"endpoint %s is %s; it gets "
					"nothing, the others do",
					addr_format(&slice->endpoint[i].addr,
			                            text),
					why));
	}
	return 0;
}

/* ---- all together ------------------------------------------------------- */

static int frontend_order(const void *a, const void *b)
{
	const struct frontend *x = a, *y = b;
	const int cmp = service_key_compare(&x->key, &y->key);

	return cmp ? cmp : service_order(&x->service, &y->service);
}

static const char *key_text(struct make *m, const struct frontend *f)
{
	const struct addr any = addr_any(addr_family(&f->key.vip));
	char text[ADDR_TEXT_MAX];

	if (!addr_compare(&f->key.vip, &any))
		return arena_printf(m->arena, "node port %u",
		                    ntohs(f->key.port));
	return arena_printf(m->arena, "address %s port %u",
	                    addr_format(&f->key.vip, text), ntohs(f->key.port));
}

/* One owner a key, and no more than the maps hold. */
static int items_keep(struct make *m)
{
	struct frontend *const item = m->want.item;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < m->want.n && !r; i++) {
		const struct frontend *f = &item[i];
		const struct frontend *last = n ? &item[n - 1] : NULL;

		if (last && !service_key_compare(&last->key, &f->key)) {
			if (last->service != f->service)
				r = service_problem(
					m, f->service,
					arena_printf(
						m->arena,
						"%s is Service %s/%s's; it is "
						"not translated",
						key_text(m, f),
						last->service->ns,
						last->service->name));
			continue;
		}
		if (n >= m->input->most_services ||
		    m->n_backends + f->n > m->input->most_backends) {
			r = service_problem(
				m, f->service,
				arena_printf(m->arena,
			                     "%s and its %zu backends do not "
			                     "fit the maps; it is not "
			                     "translated",
			                     key_text(m, f), f->n));
			continue;
		}
		m->n_backends += f->n;
		item[n++] = *f;
	}
	m->want.n = n;
	return r;
}

int services_want(struct services_input *input, struct arena *arena,
                  struct services_want *ret)
{
	struct make m = {.input = input, .arena = arena};
	int r = services_guard_make(input, arena, &m.guard);

	if (input->n_services)
		qsort(input->service, input->n_services,
		      sizeof(struct service_object *), service_order);
	if (input->n_slices)
		qsort(input->slice, input->n_slices,
		      sizeof(struct slice_object *), slice_order);
	for (size_t i = 0; i < input->n_services && !r; i++)
		r = service_add(&m, input->service[i]);
	for (size_t i = 0; i < input->n_slices && !r; i++)
		r = slice_check(&m, input->slice[i]);
	if (r)
		return r;
	if (m.want.n)
		qsort(m.want.item, m.want.n, sizeof(*m.want.item),
		      frontend_order);
	r = items_keep(&m);
	if (!r)
		*ret = m.want;
	return r;
}
