// SPDX-License-Identifier: Apache-2.0
/* plan_json.c - a plan for people, and for --dry-run. */
#include "daemon/plan.h"
#include "lib/addr.h"

static const char *const op_name[OP__COUNT] = {
	[OP_FILL] = "slot.fill",
	[OP_ENDPOINT] = "endpoint.put",
	[OP_ADDR] = "addr.put",
	[OP_PREFIX] = "prefix.put",
	[OP_SETTLE] = "slot.settle",
	[OP_ADDR_REMOVE] = "addr.remove",
	[OP_PREFIX_REMOVE] = "prefix.remove",
	[OP_RAISE] = "epoch.raise",
	[OP_ENDPOINT_CLEAR] = "endpoint.clear",
	[OP_RETIRE] = "slot.retire",
};

static json_t *addr_json(const struct plan_addr *addr)
{
	char text[ADDR_TEXT_MAX];

	return json_pack("{s:s,s:I,s:i,s:b}", "addr",
	                 addr_format(&addr->addr, text), "identity",
	                 (json_int_t)addr->info.identity, "endpoint",
	                 (int)addr->info.endpoint, "local", addr->info.local);
}

static json_t *prefix_json(const struct plan_prefix *prefix)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;
	unsigned bits = prefix->key.bits;

	__builtin_memcpy(addr.byte, prefix->key.addr, sizeof(addr));
	if (addr_family(&addr) == FAMILY_V4 && bits >= 96)
		bits -= 96;
	return json_pack("{s:s,s:i,s:I,s:b,s:b}", "addr",
	                 addr_format(&addr, text), "bits", (int)bits,
	                 "identity", (json_int_t)prefix->info.identity, "pool",
	                 prefix->info.pool, "no_masq", prefix->info.no_masq);
}

static json_t *endpoint_json(const struct op *op)
{
	const struct endpoint *value = &op->endpoint.value;

	return json_pack("{s:i,s:i,s:b,s:o}", "endpoint",
	                 (int)op->endpoint.number, "ifindex",
	                 (int)value->ifindex, "closed", value->closed,
	                 op->endpoint.fill == NO_FILL ? "slot" : "fill",
	                 op->endpoint.fill == NO_FILL
	                         ? json_integer(value->slot)
	                         : json_integer((json_int_t)op->endpoint.fill));
}

static json_t *fill_json(const struct plan *plan, size_t index)
{
	const struct fill *fill = &plan->fill[index];

	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "fill", (json_int_t)index,
	                 "entries", (json_int_t)fill->table.n_entries, "ranges",
	                 (json_int_t)fill->table.n_ranges, "bridged",
	                 (json_int_t)fill->n_bridge, "edits",
	                 (json_int_t)fill->n_edits);
}

static json_t *op_json(const struct plan *plan, const struct op *op)
{
	switch (op->kind) {
	case OP_FILL:
	case OP_SETTLE:
		return fill_json(plan, op->fill);
	case OP_ENDPOINT:
		return endpoint_json(op);
	case OP_ENDPOINT_CLEAR:
		return json_pack("{s:i}", "endpoint", (int)op->endpoint.number);
	case OP_ADDR:
	case OP_ADDR_REMOVE:
		return addr_json(&op->addr);
	case OP_PREFIX:
	case OP_PREFIX_REMOVE:
		return prefix_json(&op->prefix);
	case OP_RAISE:
		return json_pack("{s:i}", "endpoint", (int)op->raise);
	case OP_RETIRE:
		return json_pack("{s:i}", "slot", (int)op->slot);
	case OP__COUNT:
		break;
	}
	return NULL;
}

json_t *plan_json(const struct plan *plan)
{
	json_t *list = json_array();

	for (size_t i = 0; i < plan->n_ops; i++) {
		const struct op *op = &plan->op[i];
		json_t *item = json_pack("{s:s}", "op", op_name[op->kind]);
		json_t *rest = op_json(plan, op);

		(void)json_object_update(item, rest);
		json_decref(rest);
		json_array_append_new(list, item);
	}
	return list;
}
