// SPDX-License-Identifier: Apache-2.0
/* ops_service.c - the operations that list services and their backends. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/names.h"
#include "daemon/pieces.h"
#include "lib/addr.h"

#define CHUNK 64u /* backends named at once, with one walk over the pods */

/*
 * The strings of a listing are its own: the store may change between lines.
 */
struct line {
	const struct frontend *frontend;
	size_t backend; /* index in it; of a service: how many */
};

struct listing {
	struct pieces pieces;
	struct daemon *daemon;
	bool of_backends;
	struct arena *arena;
	struct services_want want;
	size_t at, backend; /* next */
	json_t *line[CHUNK];
	size_t n_lines, line_at;
};

static void listing_free(struct pieces *pieces)
{
	struct listing *list = container_of(pieces, struct listing, pieces);

	for (; list->line_at < list->n_lines; list->line_at++)
		json_decref(list->line[list->line_at]);
	arena_free(list->arena);
	free(list);
}

/* What lines need of the store's objects, kept. */
static int strings_own(struct listing *list)
{
	for (size_t i = 0; i < list->want.n; i++) {
		struct frontend *f = &list->want.item[i];
		struct service_object *service =
			arena_alloc(list->arena, sizeof(*service));

		if (!service)
			return -1;
		service->ns = arena_strdup(list->arena, f->service->ns);
		service->name = arena_strdup(list->arena, f->service->name);
		f->port_name = arena_strdup(list->arena, f->port_name);
		f->service = service;
		if (!service->ns || !service->name || !f->port_name)
			return -1;
		for (size_t b = 0; list->of_backends && b < f->n; b++) {
			struct slice_endpoint *endpoint =
				arena_alloc(list->arena, sizeof(*endpoint));

			if (!endpoint)
				return -1;
			*endpoint = *f->endpoint[b];
			if (endpoint->node)
				endpoint->node = arena_strdup(list->arena,
				                              endpoint->node);
			f->endpoint[b] = endpoint;
		}
	}
	return 0;
}

static json_t *frontend_json(const struct frontend *f)
{
	char addr[ADDR_TEXT_MAX], proto[PROTO_TEXT_MAX];

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:i, s:s, s:I}", "namespace",
		f->service->ns, "name", f->service->name, "port_name",
		f->port_name, "address", addr_format(&f->key.vip, addr), "port",
		(int)ntohs(f->key.port), "protocol",
		proto_name(f->key.proto, proto), "backends", (json_int_t)f->n);
}

static json_t *backend_json(const struct frontend *f, size_t at,
                            const struct who *who)
{
	const struct slice_endpoint *endpoint = f->endpoint[at];
	char addr[ADDR_TEXT_MAX], proto[PROTO_TEXT_MAX], name[WHO_TEXT_MAX];

	return json_pack(
		"{s:{s:s, s:s, s:s}, s:s, s:s, s:i, s:s, s:s, s:s, s:b}",
		"service", "namespace", f->service->ns, "name",
		f->service->name, "port_name", f->port_name, "name",
		who->name || who->local ? who_text(who, name) : "", "address",
		addr_format(&endpoint->addr, addr), "port",
		(int)ntohs(f->backend[at].port), "protocol",
		proto_name(f->key.proto, proto), "node",
		endpoint->node ? endpoint->node : "", "state",
		endpoint->ready ? "ready" : "terminating", "here",
		who->endpoint != 0);
}

static int service_compare(const struct frontend *a, const struct frontend *b)
{
	const int cmp = strcmp(a->service->ns, b->service->ns);

	return cmp ? cmp : strcmp(a->service->name, b->service->name);
}

static bool same_backends(const struct frontend *a, const struct frontend *b)
{
	if (strcmp(a->port_name, b->port_name) || a->n != b->n ||
	    a->key.proto != b->key.proto ||
	    addr_family(&a->key.vip) != addr_family(&b->key.vip))
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->backend[i].port != b->backend[i].port ||
		    addr_compare(&a->backend[i].addr, &b->backend[i].addr))
			return false;
	return true;
}

/* By another address of the same service, which stands before it? */
static bool is_told(const struct services_want *want, size_t at)
{
	for (size_t i = at;
	     i && !service_compare(&want->item[i - 1], &want->item[at]); i--)
		if (same_backends(&want->item[i - 1], &want->item[at]))
			return true;
	return false;
}

/* The next backends, named with one walk over the pods. */
static void backends_fill(struct listing *list)
{
	struct line line[CHUNK];
	struct who who[CHUNK];
	size_t n = 0;

	while (n < CHUNK && list->at < list->want.n) {
		const struct frontend *f = &list->want.item[list->at];

		if (list->backend >= f->n ||
		    (!list->backend && is_told(&list->want, list->at))) {
			list->at++;
			list->backend = 0;
			continue;
		}
		line[n] = (struct line){f, list->backend};
		who[n++].addr = f->endpoint[list->backend++]->addr;
	}
	who_find(list->daemon, who, n);
	list->n_lines = list->line_at = 0;
	for (size_t i = 0; i < n; i++) {
		json_t *made = backend_json(line[i].frontend, line[i].backend,
		                            &who[i]);

		if (made)
			list->line[list->n_lines++] = made;
	}
}

static bool listing_next(struct pieces *pieces, json_t **ret)
{
	struct listing *list = container_of(pieces, struct listing, pieces);

	*ret = NULL;
	if (list->line_at < list->n_lines) {
		*ret = list->line[list->line_at++];
		return true;
	}
	if (list->at >= list->want.n)
		return false;
	if (list->of_backends)
		backends_fill(list);
	else
		*ret = frontend_json(&list->want.item[list->at++]);
	return true;
}

static int by_name(const void *a, const void *b)
{
	const struct frontend *x = a, *y = b;
	const int cmp = service_compare(x, y);

	return cmp ? cmp : service_key_compare(&x->key, &y->key);
}

static void listing_start(struct daemon *daemon, struct server_stream *stream,
                          bool of_backends)
{
	struct listing *list = calloc(1, sizeof(*list));

	if (list)
		list->arena = arena_new(0);
	if (!list || !list->arena ||
	    services_desired(daemon->services, list->arena, &list->want)) {
		stream_error(stream, "out of memory");
		if (list)
			listing_free(&list->pieces);
		return;
	}
	list->daemon = daemon;
	list->of_backends = of_backends;
	if (list->want.n)
		qsort(list->want.item, list->want.n, sizeof(*list->want.item),
		      by_name);
	if (strings_own(list)) {
		stream_error(stream, "out of memory");
		listing_free(&list->pieces);
		return;
	}
	list->pieces.next = listing_next;
	list->pieces.free = listing_free;
	pieces_start(&list->pieces, daemon->loop, stream);
}

static void service_list(struct daemon *daemon, const json_t *request,
                         struct server_stream *stream)
{
	(void)request;
	listing_start(daemon, stream, false);
}

static void backend_list(struct daemon *daemon, const json_t *request,
                         struct server_stream *stream)
{
	(void)request;
	listing_start(daemon, stream, true);
}

const struct server_op service_ops[] = {
	{.name = "service.list", .stream = service_list},
	{.name = "backend.list", .stream = backend_list},
	{.name = NULL},
};
