// SPDX-License-Identifier: Apache-2.0
/* services_want.c - see services_want.h. */
#include "daemon/services_want.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"

struct found {
	struct backend backend;
	const struct slice_endpoint *endpoint;
};

struct make {
	struct services_input *input;
	struct arena *arena;
	struct addr *node;   /* sorted */
	struct prefix *pods; /* sorted, none inside another */
	size_t n_pods;
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

/* ---- what no address may be --------------------------------------------- */

static int addr_order(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static int prefix_order(const void *a, const void *b)
{
	const struct prefix *x = a, *y = b;
	const int cmp = addr_compare(&x->addr, &y->addr);

	return cmp ? cmp : (int)x->bits - (int)y->bits;
}

static int guards_make(struct make *m)
{
	const struct services_input *in = m->input;

	m->node = arena_array(m->arena, in->n_nodes, sizeof(*m->node));
	m->pods = arena_array(m->arena, in->n_pods, sizeof(*m->pods));
	if (!m->node || !m->pods)
		return -ENOMEM;
	if (in->n_nodes) {
		memcpy(m->node, in->node, in->n_nodes * sizeof(*m->node));
		qsort(m->node, in->n_nodes, sizeof(*m->node), addr_order);
	}
	if (in->n_pods) {
		memcpy(m->pods, in->pods, in->n_pods * sizeof(*m->pods));
		qsort(m->pods, in->n_pods, sizeof(*m->pods), prefix_order);
	}
	/* The wider of two sorts first. */
	for (size_t i = 0; i < in->n_pods; i++)
		if (!m->n_pods ||
		    !prefix_contains(&m->pods[m->n_pods - 1], &m->pods[i].addr))
			m->pods[m->n_pods++] = m->pods[i];
	return 0;
}

static bool is_pods(const struct make *m, const struct addr *addr)
{
	size_t lo = 0, hi = m->n_pods;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (addr_compare(&m->pods[mid].addr, addr) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && prefix_contains(&m->pods[lo - 1], addr);
}

/* Why no packet is routed to @addr (RFC 6890); NULL: it may be. */
static const char *unroutable(const struct addr *addr)
{
	const uint8_t *b = addr->byte;
	static const uint8_t zero[15];

	if (addr_family(addr) == FAMILY_V4)
		return !b[12]                         ? "unspecified"
		       : b[12] == 127                 ? "a loopback address"
		       : b[12] == 169 && b[13] == 254 ? "a link-local address"
		       : b[12] >= 240                 ? "reserved"
		       : b[12] >= 224                 ? "a multicast address"
		                                      : NULL;
	if (!memcmp(b, zero, sizeof(zero)))
		return b[15] ? "a loopback address" : "unspecified";
	return b[0] == 0xff                            ? "a multicast address"
	       : b[0] == 0xfe && (b[1] & 0xc0) == 0x80 ? "a link-local address"
	       : !memcmp(b, zero, 12)                  ? "reserved"
	                                               : NULL;
}

/* NULL: @ip may be a service's. */
static const char *ip_refused(const struct make *m, const struct addr *ip)
{
	if (bsearch(ip, m->node, m->input->n_nodes, sizeof(*ip), addr_order))
		return "an address of a node";
	return is_pods(m, ip) ? "inside a pod CIDR" : unroutable(ip);
}

/* ---- backends ----------------------------------------------------------- */

static int found_order(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return memcmp(&x->backend, &y->backend, sizeof(x->backend));
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
	};
	return 0;
}

static bool is_usable(const struct slice_endpoint *endpoint, bool last_resort)
{
	if (!last_resort)
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
                      const struct frontend *f, bool last_resort)
{
	const struct slice_port *port = slice_port_of(slice, f);
	int r = 0;

	for (size_t i = 0; port && i < slice->n_endpoints && !r; i++) {
		const struct slice_endpoint *endpoint = &slice->endpoint[i];

		if (addr_family(&endpoint->addr) != addr_family(&f->key.vip))
			break;
		if (is_usable(endpoint, last_resort) &&
		    !unroutable(&endpoint->addr))
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

static int backends_find(struct make *m, struct frontend *f)
{
	int r = 0;

	for (int last_resort = 0; last_resort < 2 && !r; last_resort++) {
		m->n_found = 0;
		for (size_t i = slices_at(m, f->service);
		     !r && i < m->input->n_slices &&
		     !slice_of(m->input->slice[i], f->service);
		     i++)
			r = slice_take(m, m->input->slice[i], f, last_resort);
		if (m->n_found)
			break;
	}
	return r ? r : found_keep(m, f);
}

static int frontend_add(struct make *m, const struct service_object *service,
                        const struct addr *ip, const struct service_port *port)
{
	struct frontend f = {
		.key = {.vip = *ip,
	                .port = htons(port->port),
	                .proto = port->proto},
		.service = service,
		.port_name = port->name,
	};
	int r = backends_find(m, &f);

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

static int service_add(struct make *m, const struct service_object *service)
{
	char text[ADDR_TEXT_MAX];
	int r = 0;

	for (size_t i = 0; i < service->n_ips && !r; i++) {
		const char *why = ip_refused(m, &service->ip[i]);

		if (why)
			r = service_problem(
				m, service,
				arena_printf(m->arena,
			                     "clusterIP %s is %s; it is not "
			                     "translated",
			                     addr_format(&service->ip[i], text),
			                     why));
		for (size_t p = 0; !why && p < service->n_ports && !r; p++)
			r = frontend_add(m, service, &service->ip[i],
			                 &service->port[p]);
	}
	return r;
}

/* Endpoints that can be nobody's are said once a slice. */
static int slice_check(struct make *m, const struct slice_object *slice)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < slice->n_endpoints; i++) {
		const char *why = unroutable(&slice->endpoint[i].addr);

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
	char text[ADDR_TEXT_MAX];

	return arena_printf(m->arena, "clusterIP %s port %u",
	                    addr_format(&f->key.vip, text), ntohs(f->key.port));
}

/* One owner a key, and no more than the maps hold. */
static int items_keep(struct make *m)
{
	struct services_want *want = &m->want;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < want->n && !r; i++) {
		const struct frontend *f = &want->item[i];
		const struct frontend *last = n ? &want->item[n - 1] : NULL;

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
		want->item[n++] = *f;
	}
	want->n = n;
	return r;
}

int services_want(struct services_input *input, struct arena *arena,
                  struct services_want *ret)
{
	struct make m = {.input = input, .arena = arena};
	int r = guards_make(&m);

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
