// SPDX-License-Identifier: Apache-2.0
/* conntrack.c - see conntrack.h. */
#include "daemon/conntrack.h"

#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/daemon.h"
#include "daemon/map_json.h"
#include "daemon/mapwalk.h"
#include "daemon/names.h"
#include "daemon/pieces.h"
#include "lib/addr.h"

#define CHUNK      64u  /* flows named at once, with one walk over the pods */
#define CHUNK_MOST 256u /* elements looked at in one step */

static const char *const tables[] = {"flows", "flows_new"};

struct conntrack {
	struct pieces pieces;
	struct daemon *daemon;
	struct mapwalk walk;
	bool walking;
	size_t table; /* index of tables */
	bool all, flush;
	bool by_pod;
	struct addr pod_addr[FAMILY__COUNT]; /* zero: none of that family */
	struct {
		struct flow_tuple opener;
		struct flow flow;
	} row[CHUNK];
	int shard_fd[FLOW_SHARDS]; /* -1: not opened; for the far sides */
	json_t *line[CHUNK];
	size_t n_lines, at;
	uint64_t flushed;
};

static void conntrack_free(struct pieces *pieces)
{
	struct conntrack *ct = container_of(pieces, struct conntrack, pieces);

	if (ct->walking)
		mapwalk_close(&ct->walk);
	for (; ct->at < ct->n_lines; ct->at++)
		json_decref(ct->line[ct->at]);
	for (size_t i = 0; i < FLOW_SHARDS; i++)
		closep(&ct->shard_fd[i]);
	free(ct);
}

static struct flow_tuple reversed(const struct flow_tuple *t)
{
	return (struct flow_tuple){
		.saddr = t->daddr,
		.daddr = t->saddr,
		.sport = t->dport,
		.dport = t->sport,
		.proto = t->proto,
	};
}

/* The opener's tuple as this entry sees it. */
static struct flow_tuple opener_of(const struct flow_key *key,
                                   const struct flow *flow)
{
	return flow->flags & FLOW_REVERSED ? reversed(&key->ends) : key->ends;
}

static bool tuple_has(const struct flow_tuple *t, const struct addr *addr)
{
	return !addr_is_zero(addr) && (!addr_compare(&t->saddr, addr) ||
	                               !addr_compare(&t->daddr, addr));
}

static bool wanted(const struct conntrack *ct, const struct flow_tuple *opener,
                   const struct flow *flow)
{
	if (!ct->all && !ct->flush &&
	    flow->flags & (FLOW_DEAD | FLOW_XLATE_OUT))
		return false;
	if (ct->flush && flow->flags & FLOW_DEAD)
		return false;
	if (!ct->by_pod)
		return true;
	for (int i = 0; i < FAMILY__COUNT; i++)
		if (tuple_has(opener, &ct->pod_addr[i]) ||
		    tuple_has(&flow->other, &ct->pod_addr[i]))
			return true;
	return false;
}

/* ---- a line -------------------------------------------------------------- */

static json_t *end_json(const struct who *who, __be16 port)
{
	char text[ADDR_TEXT_MAX], name[WHO_TEXT_MAX];
	json_t *end = json_pack("{s:s, s:i, s:s}", "address",
	                        addr_format(&who->addr, text), "port",
	                        (int)ntohs(port), "name", who_text(who, name));

	if (end && who->name) {
		(void)json_object_set_new(end, "namespace",
		                          json_string(who->ns ? who->ns : ""));
		(void)json_object_set_new(end, "pod", json_string(who->name));
	}
	return end;
}

static double ticks_seconds(uint32_t ticks)
{
	return (double)((uint64_t)ticks << FLOW_TICK_SHIFT) / 1e9;
}

static uint32_t ticks_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint32_t)(((uint64_t)ts.tv_sec * 1000000000ull +
	                   (uint64_t)ts.tv_nsec) >>
	                  FLOW_TICK_SHIFT);
}

/* Since the last packet either way; the younger of two ages that may wrap. */
static uint32_t idle_ticks(const struct flow *flow, uint32_t now)
{
	const int32_t there = (int32_t)(now - flow->way[0].seen);
	const int32_t back = (int32_t)(now - flow->way[1].seen);
	const int32_t idle =
		back < there && flow->count[1].packets ? back : there;

	return idle > 0 ? (uint32_t)idle : 0;
}

static void put_rules(json_t *line, const struct daemon *daemon,
                      const struct flow *flow)
{
	static const char *const key[DIR__COUNT] = {"ingress_rule",
	                                            "egress_rule"};
	char text[RULE_TEXT_MAX];

	for (int dir = 0; dir < DIR__COUNT; dir++)
		if (flow->rule[dir])
			(void)json_object_set_new(
				line, key[dir],
				json_string(rule_text(daemon, flow->rule[dir],
			                              text)));
}

static json_t *tuple_json(const struct flow_tuple *t)
{
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

	return json_pack("{s:{s:s, s:i}, s:{s:s, s:i}}", "source", "address",
	                 addr_format(&t->saddr, from), "port",
	                 (int)ntohs(t->sport), "destination", "address",
	                 addr_format(&t->daddr, to), "port",
	                 (int)ntohs(t->dport));
}

static const char *side_word(uint32_t flags)
{
	if (flags & FLOW_XLATE_IN)
		return "pod";
	return flags & FLOW_XLATE_OUT ? "far" : "whole";
}

static json_t *flow_line(const struct conntrack *ct, size_t n,
                         const struct who who[2], uint32_t now)
{
	const struct flow *flow = &ct->row[n].flow;
	const struct flow_tuple *t = &ct->row[n].opener;
	const struct ep *ep = flow->owner < ENDPOINT_MAX
	                              ? &ct->daemon->endpoints.ep[flow->owner]
	                              : NULL;
	const uint32_t idle = idle_ticks(flow, now);
	char proto[PROTO_TEXT_MAX];
	json_t *line = json_pack(
		"{s:o, s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:f}",
		"source", end_json(&who[0], t->sport), "destination",
		end_json(&who[1], t->dport), "protocol",
		proto_name(t->proto, proto), "state",
		flow_state(flow, t->proto), "table",
		flow->flags & FLOW_MAIN ? "main" : "half-open", "side",
		side_word(flow->flags), "packets",
		(json_int_t)flow->count[0].packets, "bytes",
		(json_int_t)flow->count[0].bytes, "reply_packets",
		(json_int_t)flow->count[1].packets, "reply_bytes",
		(json_int_t)flow->count[1].bytes, "idle_seconds",
		ticks_seconds(idle), "age_seconds",
		ticks_seconds(now - flow->opened));

	if (!line)
		return NULL;
	if (flow->flags & (FLOW_XLATE_IN | FLOW_XLATE_OUT))
		(void)json_object_set_new(line, "translated_to",
		                          tuple_json(&flow->other));
	if (ep && ep->state != ENDPOINT_FREE && flow->owner)
		(void)json_object_set_new(line, "owner",
		                          json_pack("{s:i, s:s, s:s}", "id",
		                                    (int)flow->owner,
		                                    "namespace", ep->pod_ns,
		                                    "pod", ep->pod_name));
	put_rules(line, ct->daemon, flow);
	return line;
}

static void chunk_name(struct conntrack *ct, size_t n)
{
	struct who who[2 * CHUNK];
	const uint32_t now = ticks_now();

	for (size_t i = 0; i < n; i++) {
		who[2 * i].addr = ct->row[i].opener.saddr;
		who[2 * i + 1].addr = ct->row[i].opener.daddr;
	}
	who_find(ct->daemon, who, 2 * n);
	ct->at = 0;
	for (size_t i = 0; i < n; i++) {
		json_t *line = flow_line(ct, i, &who[2 * i], now);

		if (line)
			ct->line[ct->n_lines++] = line;
	}
}

/* ---- the far side -------------------------------------------------------- */

static int shard_open(struct conntrack *ct, uint32_t shard)
{
	const int outer = dp_map_fd(ct->daemon->dp, "flows");
	uint32_t id;

	if (ct->shard_fd[shard] < 0 && outer >= 0 &&
	    !bpf_map_lookup_elem(outer, &shard, &id))
		ct->shard_fd[shard] = bpf_map_get_fd_by_id(id);
	return ct->shard_fd[shard];
}

/*
 * The other entry of a translated flow.  Which shard it is in, only the
 * datapath computes; there are few enough to ask them all.
 */
static bool far_find(struct conntrack *ct, const struct flow_key *key,
                     struct flow *ret)
{
	const int young = dp_map_fd(ct->daemon->dp, "flows_new");

	for (uint32_t i = 0; i < FLOW_SHARDS; i++) {
		const int fd = shard_open(ct, i);

		if (fd >= 0 && !bpf_map_lookup_elem(fd, key, ret))
			return true;
	}
	return young >= 0 && !bpf_map_lookup_elem(young, key, ret);
}

/*
 * A translated flow's answers meet its far side first: they are counted, and
 * what TCP shows is seen, there.
 */
static void far_merge(struct conntrack *ct, struct flow *flow)
{
	const uint32_t seen_there =
		FLOW_ANSWERED | FLOW_SYNACK | FLOW_FIN0 | FLOW_FIN1 | FLOW_RST;
	const struct flow_key there = {.ends = flow->other};
	const struct flow_key back = {.ends = reversed(&flow->other)};
	struct flow far;

	/* Its key is one of the two, as its ends sort. */
	if (!(flow->flags & FLOW_XLATE_IN) ||
	    (!far_find(ct, &there, &far) && !far_find(ct, &back, &far)))
		return;
	flow->flags |= far.flags & seen_there;
	flow->count[1] = far.count[1];
	flow->way[1].seen = far.way[1].seen;
}

/* ---- the walk ------------------------------------------------------------ */

/* Mark it dead, from what stands there now. */
static void flow_kill(struct conntrack *ct, const struct flow_key *key)
{
	const int fd = mapwalk_fd(&ct->walk);
	struct flow flow;

	if (bpf_map_lookup_elem(fd, key, &flow) || flow.flags & FLOW_DEAD)
		return;
	flow.flags |= FLOW_DEAD;
	if (!bpf_map_update_elem(fd, key, &flow, BPF_EXIST) &&
	    !(flow.flags & FLOW_XLATE_OUT))
		ct->flushed++;
}

/* Take elements for one step: false when the walk is over. */
static bool chunk_take(struct conntrack *ct, size_t *n)
{
	for (unsigned i = 0; i < CHUNK_MOST && *n < CHUNK; i++) {
		const void *key, *value;
		const int r = mapwalk_next(&ct->walk, &key, &value);
		struct flow_tuple opener;

		if (r < 0)
			return false;
		if (!r)
			continue;
		opener = opener_of(key, value);
		if (!wanted(ct, &opener, value))
			continue;
		if (ct->flush) {
			flow_kill(ct, key);
			continue;
		}
		ct->row[*n].opener = opener;
		ct->row[*n].flow = *(const struct flow *)value;
		far_merge(ct, &ct->row[*n].flow);
		++*n;
	}
	return true;
}

static bool table_open(struct conntrack *ct)
{
	for (; ct->table < ARRAY_SIZE(tables); ct->table++) {
		const int fd = dp_map_fd(ct->daemon->dp, tables[ct->table]);
		struct err err;

		if (fd >= 0 && !mapwalk_open(&ct->walk, fd, &err)) {
			ct->walking = true;
			return true;
		}
	}
	return false;
}

static bool conntrack_next(struct pieces *pieces, json_t **ret)
{
	struct conntrack *ct = container_of(pieces, struct conntrack, pieces);
	size_t n = 0;

	*ret = NULL;
	if (ct->at < ct->n_lines) {
		*ret = ct->line[ct->at++];
		return true;
	}
	ct->n_lines = ct->at = 0;
	if (!ct->walking && !table_open(ct)) {
		if (ct->flush)
			*ret = json_pack("{s:I}", "flushed",
			                 (json_int_t)ct->flushed);
		return false;
	}
	if (!chunk_take(ct, &n)) {
		mapwalk_close(&ct->walk);
		ct->walking = false;
		ct->table++;
	}
	if (n)
		chunk_name(ct, n);
	return true;
}

/* ---- the operations ------------------------------------------------------ */

static int pod_filter(struct conntrack *ct, const json_t *request,
                      struct err *err)
{
	const char *pod = json_string_value(json_object_get(request, "pod"));
	int found = 0;

	if (!pod)
		return 0;
	if (!strchr(pod, '/'))
		return err_set(err, -EINVAL, "pod: '%s' is not NS/NAME", pod);
	ct->by_pod = true;
	for (int i = 0; i < FAMILY__COUNT; i++) {
		struct who who;

		if (who_parse(ct->daemon, pod, i, &who, err))
			continue;
		ct->pod_addr[i] = who.addr;
		found++;
	}
	return found ? 0 : -ENOENT;
}

static void conntrack_start(struct daemon *daemon, const json_t *request,
                            struct server_stream *stream, bool flush)
{
	struct conntrack *ct = calloc(1, sizeof(*ct));
	struct err err = {};

	if (!ct) {
		stream_error(stream, "out of memory");
		return;
	}
	ct->daemon = daemon;
	ct->flush = flush;
	ct->all = json_is_true(json_object_get(request, "all"));
	for (size_t i = 0; i < FLOW_SHARDS; i++)
		ct->shard_fd[i] = -1;
	ct->pieces.next = conntrack_next;
	ct->pieces.free = conntrack_free;
	if (pod_filter(ct, request, &err)) {
		stream_error(stream, err.text);
		conntrack_free(&ct->pieces);
		return;
	}
	pieces_start(&ct->pieces, daemon->loop, stream);
}

void conntrack_list(struct daemon *daemon, const json_t *request,
                    struct server_stream *stream)
{
	conntrack_start(daemon, request, stream, false);
}

void conntrack_flush(struct daemon *daemon, const json_t *request,
                     struct server_stream *stream)
{
	conntrack_start(daemon, request, stream, true);
}
