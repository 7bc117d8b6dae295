// SPDX-License-Identifier: Apache-2.0
/* apply.c - see apply.h. */
#include "daemon/apply.h"

#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/util.h"

#define BATCH 1024

struct runner {
	struct apply *apply;
	int *slot;       /* of each fill: its number, or -errno */
	struct err *why; /* of each fill that failed */
	size_t full;     /* the fill that found no slot, NO_FILL: none did */
};

/* ---- slots -------------------------------------------------------------- */

static int fill_run(struct runner *run, size_t index, struct err *err)
{
	struct apply *apply = run->apply;
	const struct fill *fill = &apply->plan->fill[index];
	int slot;

	/* Slots retire last: what this one waited for in vain, for some 16 ms,
	 * comes for none of the others. */
	if (run->full != NO_FILL) {
		run->slot[index] = -ENOSPC;
		run->why[index] = run->why[run->full];
		return 0;
	}
	slot = dp_slot_fill_spare(apply->dp, &fill->table, fill->n_edits,
	                          &run->why[index]);
	run->slot[index] = slot;
	if (slot == -ENOSPC)
		run->full = index;
	if (slot < 0)
		return 0;
	if (actual_hold(apply->actual, (uint32_t)slot, fill))
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static int settle_run(struct runner *run, size_t index, struct err *err)
{
	const struct fill *fill = &run->apply->plan->fill[index];
	const int slot = run->slot[index];
	int r;

	if (slot < 0)
		return 0;
	r = dp_slot_edit(run->apply->dp, (uint32_t)slot, fill->edit,
	                 fill->n_edits);
	return r ? err_set(err, r, "settle policy slot %d: %s", slot,
	                   strerror(-r))
	         : 0;
}

static int retire_run(struct runner *run, uint32_t slot)
{
	dp_slot_retire(run->apply->dp, slot);
	return actual_hold(run->apply->actual, slot, NULL);
}

/* ---- endpoints ---------------------------------------------------------- */

/* A slot in use that holds the table, or SLOT_MAX. */
static uint32_t slot_holding(const struct actual *actual,
                             const struct table *table)
{
	for (uint32_t slot = SLOT_FIRST; slot < SLOT_MAX; slot++)
		if (actual->slot[slot] &&
		    table_equal(&actual->slot[slot]->table, table))
			return slot;
	return SLOT_MAX;
}

/* A slot for what is left to an endpoint: a small table, often another's. */
static uint32_t shut_slot(struct runner *run, const struct table *shut)
{
	const struct fill fill = {.clean = shut};
	struct apply *apply = run->apply;
	uint32_t same = slot_holding(apply->actual, shut);
	struct err ignored;
	int slot;

	if (same < SLOT_MAX)
		return same;
	if (run->full != NO_FILL)
		return SLOT_CLOSED;
	slot = dp_slot_fill(apply->dp, shut, &ignored);
	if (slot < 0 || actual_hold(apply->actual, (uint32_t)slot, &fill))
		return SLOT_CLOSED;
	return (uint32_t)slot;
}

/*
 * The slot of an endpoint whose table was refused: the one it has.  Where that
 * does not isolate it but its policies do, nothing is allowed.
 */
static uint32_t slot_left(struct runner *run, const struct op *op,
                          bool *ret_closed)
{
	const struct actual *actual = run->apply->actual;
	const uint16_t number = op->endpoint.number;
	const struct endpoint *had = &actual->endpoint[number];
	const struct table *clean =
		run->apply->plan->fill[op->endpoint.fill].clean;
	const struct table *table =
		had->ifindex && had->serial == op->endpoint.value.serial
			? actual_table(actual, number)
			: NULL;
	struct table shut = table ? *table : (struct table){};

	*ret_closed = !table;
	for (int dir = 0; dir < DIR__COUNT; dir++) {
		if (!clean->header.isolated[dir] || shut.header.isolated[dir])
			continue;
		shut.header.isolated[dir] = 1;
		*ret_closed = true;
	}
	return *ret_closed ? shut_slot(run, &shut) : had->slot;
}

static void refusal_put(struct runner *run, uint16_t endpoint, size_t fill,
                        bool closed)
{
	struct apply *apply = run->apply;

	apply->refusal[apply->n_refusals++] = (struct apply_refusal){
		.endpoint = endpoint,
		.closed = closed,
		.why = run->why[fill],
	};
}

static int endpoint_run(struct runner *run, const struct op *op,
                        struct err *err)
{
	const uint16_t number = op->endpoint.number;
	struct endpoint value = op->endpoint.value;
	const size_t fill = op->endpoint.fill;
	int r;

	if (fill != NO_FILL && run->slot[fill] >= 0) {
		value.slot = (uint32_t)run->slot[fill];
	} else if (fill != NO_FILL) {
		bool closed;

		value.slot = slot_left(run, op, &closed);
		refusal_put(run, number, fill, closed);
	}
	r = dp_endpoint_put(run->apply->dp, number, &value);
	if (r)
		return err_set(err, r, "endpoint %u: %s", number, strerror(-r));
	run->apply->actual->endpoint[number] = value;
	return 0;
}

static int endpoint_clear(struct runner *run, uint16_t number, struct err *err)
{
	const struct endpoint none = {};
	int r = dp_endpoint_put(run->apply->dp, number, &none);

	if (r)
		return err_set(err, r, "endpoint %u: %s", number, strerror(-r));
	run->apply->actual->endpoint[number] = none;
	return 0;
}

/* ---- addresses and prefixes --------------------------------------------- */

/* How many operations from @i on are of the same kind, at most a batch. */
static size_t alike(const struct plan *plan, size_t i)
{
	size_t n = 1;

	while (i + n < plan->n_ops && n < BATCH &&
	       plan->op[i + n].kind == plan->op[i].kind)
		n++;
	return n;
}

static int addrs_put(struct runner *run, const struct op *op, size_t n,
                     struct err *err)
{
	struct addr addr[BATCH];
	struct addr_info info[BATCH];
	int r;

	for (size_t i = 0; i < n; i++) {
		addr[i] = op[i].addr.addr;
		info[i] = op[i].addr.info;
	}
	r = dp_addrs_put(run->apply->dp, addr, info, n);
	return r ? err_set(err, r, "put %zu addresses: %s", n, strerror(-r))
	         : 0;
}

static int prefixes_put(struct runner *run, const struct op *op, size_t n,
                        struct err *err)
{
	struct prefix_key key[BATCH];
	struct prefix_info info[BATCH];
	int r;

	for (size_t i = 0; i < n; i++) {
		key[i] = op[i].prefix.key;
		info[i] = op[i].prefix.info;
	}
	r = dp_prefixes_put(run->apply->dp, key, info, n);
	return r ? err_set(err, r, "put %zu prefixes: %s", n, strerror(-r)) : 0;
}

static int removal_run(struct runner *run, const struct op *op, struct err *err)
{
	struct dp *dp = run->apply->dp;
	char text[ADDR_TEXT_MAX];
	int r;

	if (op->kind == OP_ADDR_REMOVE) {
		r = dp_addr_remove(dp, &op->addr.addr);
		return r ? err_set(err, r, "remove address %s: %s",
		                   addr_format(&op->addr.addr, text),
		                   strerror(-r))
		         : 0;
	}
	r = dp_prefix_remove(dp, &op->prefix.key);
	return r ? err_set(err, r, "remove a prefix of %u bits: %s",
	                   op->prefix.key.bits, strerror(-r))
	         : 0;
}

/* ---- all ---------------------------------------------------------------- */

/* One operation, or several alike; returns how many, or -errno. */
static int op_run(struct runner *run, size_t i, struct err *err)
{
	const struct plan *plan = run->apply->plan;
	const struct op *op = &plan->op[i];
	size_t n = 1;
	int r = 0;

	switch (op->kind) {
	case OP_FILL:
		r = fill_run(run, op->fill, err);
		break;
	case OP_SETTLE:
		r = settle_run(run, op->fill, err);
		break;
	case OP_ENDPOINT:
		r = endpoint_run(run, op, err);
		break;
	case OP_ENDPOINT_CLEAR:
		r = endpoint_clear(run, op->endpoint.number, err);
		break;
	case OP_ADDR:
		n = alike(plan, i);
		r = addrs_put(run, op, n, err);
		break;
	case OP_PREFIX:
		n = alike(plan, i);
		r = prefixes_put(run, op, n, err);
		break;
	case OP_ADDR_REMOVE:
	case OP_PREFIX_REMOVE:
		r = removal_run(run, op, err);
		break;
	case OP_RAISE:
		dp_epoch_raise(run->apply->dp, op->raise);
		break;
	case OP_RETIRE:
		r = retire_run(run, op->slot);
		break;
	case OP__COUNT:
		break;
	}
	return r ? r : (int)n;
}

/* Slots that were to retire stay, if a refused endpoint still has them. */
static bool is_held_back(const struct runner *run, const struct op *op)
{
	const struct apply *apply = run->apply;

	for (size_t i = 0; op->kind == OP_RETIRE && i < apply->n_refusals; i++)
		if (apply->actual->endpoint[apply->refusal[i].endpoint].slot ==
		    op->slot)
			return true;
	return false;
}

/* How many operations need a fill, hence may be refused. */
static size_t fillings(const struct plan *plan)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->n_ops; i++)
		n += plan->op[i].kind == OP_ENDPOINT &&
		     plan->op[i].endpoint.fill != NO_FILL;
	return n;
}

int apply_plan(struct apply *apply, struct err *err)
{
	const struct plan *plan = apply->plan;
	struct runner run = {
		.apply = apply,
		.slot = arena_array(apply->arena, plan->n_fills,
	                            sizeof(*run.slot)),
		.why = arena_array(apply->arena, plan->n_fills,
	                           sizeof(*run.why)),
		.full = NO_FILL,
	};

	apply->n_refusals = 0;
	apply->refusal = arena_array(apply->arena, fillings(plan),
	                             sizeof(*apply->refusal));
	if (!run.slot || !run.why || !apply->refusal)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < plan->n_ops;) {
		int n = is_held_back(&run, &plan->op[i]) ? 1
		                                         : op_run(&run, i, err);

		if (n < 0)
			return n;
		i += (size_t)n;
	}
	return 0;
}
