// SPDX-License-Identifier: Apache-2.0
/* reconcile_show.c - what is in force, for those who ask; and is it? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/reconcile_impl.h"
#include "lib/addr.h"

#define DIFFERENCES_MAX 1000u

const struct compiled *reconcile_compiled(const struct reconcile *rec)
{
	return rec->arena ? &rec->compiled : NULL;
}

const struct world *reconcile_world(struct reconcile *rec)
{
	if (!rec->arena || reconcile_intend(rec))
		return NULL;
	return &rec->intent.world;
}

uint64_t reconcile_revision(const struct reconcile *rec)
{
	return rec->revision;
}

const struct table *reconcile_table(const struct reconcile *rec,
                                    uint16_t endpoint, uint32_t *ret_slot)
{
	const struct endpoint *ep =
		&rec->actual->endpoint[endpoint % ENDPOINT_MAX];
	const struct table *table;

	if (!ep->ifindex)
		return NULL;
	*ret_slot = ep->slot;
	table = actual_table(rec->actual, endpoint);
	return table ? table : &table_closed;
}

json_t *reconcile_plan(struct reconcile *rec, struct err *err)
{
	struct generation gen = {};
	json_t *plan;

	if (generation_make(rec, &gen, err))
		return NULL;
	plan = plan_json(&gen.plan);
	generation_free(&gen);
	return plan;
}

/* ---- verification ------------------------------------------------------- */

struct verify {
	const struct reconcile *rec;
	json_t *differences, *not_compared;
	size_t checked, differing;
};

static void differ(struct verify *v, const char *map, json_t *key, json_t *want,
                   json_t *have)
{
	json_t *line = json_pack("{s:s,s:o,s:o,s:o}", "map", map, "key", key,
	                         "want", want, "have", have);

	if (v->differing++ < DIFFERENCES_MAX)
		json_array_append_new(v->differences, line);
	else
		json_decref(line);
}

static json_t *addr_text(const struct addr *addr)
{
	char text[ADDR_TEXT_MAX];

	return json_string(addr_format(addr, text));
}

static json_t *info_json(const struct addr_info *info)
{
	return json_pack("{s:I,s:i,s:b}", "identity",
	                 (json_int_t)info->identity, "endpoint",
	                 (int)info->endpoint, "local", info->local);
}

static json_t *prefix_text(const struct prefix_key *key)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	memcpy(addr.byte, key->addr, sizeof(addr));
	return json_sprintf("%s/%u", addr_format(&addr, text),
	                    addr_family(&addr) == FAMILY_V4 && key->bits >= 96
	                            ? key->bits - 96
	                            : key->bits);
}

static json_t *where_json(const struct prefix_info *info)
{
	return json_pack("{s:I,s:b,s:b}", "identity",
	                 (json_int_t)info->identity, "pool", info->pool,
	                 "no_masq", info->no_masq);
}

static void addrs_verify(struct verify *v, const struct state *want,
                         const struct state *have)
{
	size_t w = 0, h = 0;

	while (w < want->n_addrs || h < have->n_addrs) {
		const struct plan_addr *a =
			w < want->n_addrs ? &want->addr[w] : NULL;
		const struct plan_addr *b =
			h < have->n_addrs ? &have->addr[h] : NULL;
		const int order = !a   ? 1
		                  : !b ? -1
		                       : addr_compare(&a->addr, &b->addr);

		a = order <= 0 ? a : NULL;
		b = order >= 0 ? b : NULL;
		if (!a || !b ||
		    memcmp(&a->info, &b->info, sizeof(a->info)) != 0)
			differ(v, "addrs",
			       addr_text(order <= 0 ? &want->addr[w].addr
			                            : &have->addr[h].addr),
			       a ? info_json(&a->info) : json_null(),
			       b ? info_json(&b->info) : json_null());
		w += order <= 0;
		h += order >= 0;
		v->checked++;
	}
}

static void prefixes_verify(struct verify *v, const struct state *want,
                            const struct state *have)
{
	size_t w = 0, h = 0;

	while (w < want->n_prefixes || h < have->n_prefixes) {
		const struct plan_prefix *a =
			w < want->n_prefixes ? &want->prefix[w] : NULL;
		const struct plan_prefix *b =
			h < have->n_prefixes ? &have->prefix[h] : NULL;
		const int order = !a   ? 1
		                  : !b ? -1
		                       : plan_prefix_compare(&a->key, &b->key);

		a = order <= 0 ? a : NULL;
		b = order >= 0 ? b : NULL;
		if (!a || !b ||
		    memcmp(&a->info, &b->info, sizeof(a->info)) != 0)
			differ(v, "prefixes",
			       prefix_text(order <= 0 ? &want->prefix[w].key
			                              : &have->prefix[h].key),
			       a ? where_json(&a->info) : json_null(),
			       b ? where_json(&b->info) : json_null());
		w += order <= 0;
		h += order >= 0;
		v->checked++;
	}
}

/* ---- endpoints and their slots ------------------------------------------ */

static json_t *entry_key(uint32_t slot, const struct policy_key *key)
{
	return json_sprintf("slot %u, %s, peer %u, protocol %u, port %u", slot,
	                    key->dir ? "egress" : "ingress", key->peer,
	                    key->proto, __builtin_bswap16(key->port));
}

static json_t *val_json(const struct policy_val *val)
{
	return json_pack("{s:b,s:I}", "allow", val->allow, "rule",
	                 (json_int_t)val->rule);
}

static void entries_verify(struct verify *v, uint32_t slot,
                           const struct table *want, const struct table *have)
{
	size_t w = 0, h = 0;

	while (w < want->n_entries || h < have->n_entries) {
		const struct policy_entry *a =
			w < want->n_entries ? &want->entry[w] : NULL;
		const struct policy_entry *b =
			h < have->n_entries ? &have->entry[h] : NULL;
		const int order =
			!a   ? 1
			: !b ? -1
			     : memcmp(&a->key, &b->key, sizeof(a->key));

		a = order <= 0 ? a : NULL;
		b = order >= 0 ? b : NULL;
		if (!a || !b || memcmp(&a->val, &b->val, sizeof(a->val)) != 0)
			differ(v, "policies",
			       entry_key(slot, order <= 0
			                               ? &want->entry[w].key
			                               : &have->entry[h].key),
			       a ? val_json(&a->val) : json_null(),
			       b ? val_json(&b->val) : json_null());
		w += order <= 0;
		h += order >= 0;
		v->checked++;
	}
}

static json_t *header_json(const struct table *table)
{
	return json_pack("{s:b,s:b,s:I}", "isolated_ingress",
	                 table->header.isolated[DIR_INGRESS], "isolated_egress",
	                 table->header.isolated[DIR_EGRESS], "ranges",
	                 (json_int_t)table->n_ranges);
}

/* A slot may know more shapes than it has entries of, but not fewer. */
static bool header_serves(const struct table *want, const struct table *have)
{
	return !memcmp(want->header.isolated, have->header.isolated,
	               sizeof(want->header.isolated)) &&
	       !(want->header.shapes[0] & ~have->header.shapes[0]) &&
	       !(want->header.shapes[1] & ~have->header.shapes[1]);
}

static bool ranges_equal(const struct table *a, const struct table *b)
{
	return a->n_ranges == b->n_ranges &&
	       (!a->n_ranges ||
	        !memcmp(a->range, b->range, a->n_ranges * sizeof(*a->range)));
}

static json_t *endpoint_json(const struct endpoint *ep)
{
	return json_pack("{s:I,s:i,s:b}", "ifindex", (json_int_t)ep->ifindex,
	                 "mtu", (int)ep->mtu, "closed", ep->closed);
}

/* Its table is not to be that of its policies: why; NULL: it is to be. */
static const char *held_why(const struct reconcile *rec,
                            const struct plan_endpoint *want)
{
	const char *held = reconcile_held(rec, want->number);

	if (held || want->table || want->value.closed)
		return held;
	return "its policies do not fit, or its labels are not known";
}

static void not_compared(struct verify *v, uint16_t endpoint, const char *why)
{
	char object[OBJECT_TEXT_MAX];

	json_array_append_new(
		v->not_compared,
		json_pack("{s:i,s:s,s:s}", "endpoint", (int)endpoint, "object",
	                  endpoint_object(v->rec, endpoint, object), "why",
	                  why));
}

static void endpoint_verify(struct verify *v, const struct plan_endpoint *want,
                            const struct actual *have)
{
	const struct endpoint *ep = &have->endpoint[want->number];
	const struct table *table = actual_table(have, want->number);
	const char *held = held_why(v->rec, want);
	struct endpoint value = want->value;

	value.slot = ep->slot;
	v->checked++;
	if (memcmp(&value, ep, sizeof(value)) != 0)
		differ(v, "endpoints", json_integer(want->number),
		       endpoint_json(&want->value), endpoint_json(ep));
	if (held)
		not_compared(v, want->number, held);
	if (held || !want->table || !ep->ifindex)
		return;
	if (!table)
		table = &table_closed;
	if (!header_serves(want->table, table) ||
	    !ranges_equal(want->table, table))
		differ(v, "slots", json_sprintf("slot %u", ep->slot),
		       header_json(want->table), header_json(table));
	entries_verify(v, ep->slot, want->table, table);
}

static void endpoints_verify(struct verify *v, const struct state *want,
                             const struct actual *have)
{
	bool wanted[ENDPOINT_MAX] = {};

	for (size_t i = 0; i < want->n_endpoints; i++) {
		wanted[want->endpoint[i].number] = true;
		endpoint_verify(v, &want->endpoint[i], have);
	}
	for (unsigned i = 1; i < ENDPOINT_MAX; i++)
		if (have->endpoint[i].ifindex && !wanted[i])
			differ(v, "endpoints", json_integer(i), json_null(),
			       endpoint_json(&have->endpoint[i]));
}

/* Everything computed anew from the source, everything read from the maps. */
json_t *reconcile_verify(struct reconcile *rec, struct err *err)
{
	struct verify v = {.rec = rec,
	                   .differences = json_array(),
	                   .not_compared = json_array()};
	struct actual *have = calloc(1, sizeof(*have));
	struct generation gen = {};
	struct state state;
	int r = have ? 0 : -ENOMEM;

	if (!r)
		r = generation_make(rec, &gen, err);
	if (!r)
		r = actual_read(have, rec->in.dp, err);
	if (!r) {
		actual_strip(have, &gen.compiled);
		r = actual_state(have, gen.work, &state);
	}
	if (!r) {
		addrs_verify(&v, &gen.want, &state);
		prefixes_verify(&v, &gen.want, &state);
		endpoints_verify(&v, &gen.want, have);
	}
	if (have)
		actual_free(have);
	free(have);
	generation_free(&gen);
	if (r) {
		json_decref(v.differences);
		json_decref(v.not_compared);
		return NULL;
	}
	return json_pack("{s:o,s:I,s:o}", "differences", v.differences,
	                 "checked", (json_int_t)v.checked, "not_compared",
	                 v.not_compared);
}
