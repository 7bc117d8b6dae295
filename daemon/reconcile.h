/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile.h - make the kernel equal to the intent (D11).
 *
 * desired: world (store + endpoints + node addresses) -> policy_compile().
 * actual: what this daemon last applied, read from the maps at adoption.
 * plan: the difference, as data, ordered so that no packet sees half of it:
 * fill slots -> point endpoints -> add addresses/prefixes -> raise epochs ->
 * remove addresses -> retire slots; identities that split go into every slot
 * that knows the old number before their addresses move (D5).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/dp.h"
#include "daemon/endpoint.h"
#include "daemon/loop.h"
#include "daemon/node.h"
#include "daemon/store.h"
#include "lib/err.h"
#include "policy/policy.h"

struct reconcile;

struct reconcile_input {
	const struct config *config;
	struct loop *loop;
	struct dp *dp; /* NULL: plans only (--dry-run) */
	struct store *store;
	struct endpoints *endpoints;
	struct node *node;
};

int reconcile_new(const struct reconcile_input *input, struct reconcile **ret,
                  struct err *err);
void reconcile_free(struct reconcile *rec);

/* Idempotent: one pass at the end of the loop's turn. */
void reconcile_schedule(struct reconcile *rec);
/* One pass now; ADD answers after it.  0: the kernel is as desired. */
int reconcile_now(struct reconcile *rec, struct err *err);

/* What is in force: borrowed until the next pass. */
const struct compiled *reconcile_compiled(const struct reconcile *rec);
const struct world *reconcile_world(const struct reconcile *rec);
/* Rises when a pass changed the kernel; the store revision it holds. */
uint64_t reconcile_revision(const struct reconcile *rec);
/* The table in force of an endpoint (never NULL for a READY one). */
const struct table *reconcile_table(const struct reconcile *rec,
                                    uint16_t endpoint, uint32_t *ret_slot);
/* {differences: [{map, key, want, have}], checked: N}; new reference. */
json_t *reconcile_verify(struct reconcile *rec, struct err *err);
/* The plan of the next pass, as data, not applied. */
json_t *reconcile_plan(struct reconcile *rec, struct err *err);
/* Objects that are not in force and why: [{object, error}]; new reference. */
json_t *reconcile_problems(const struct reconcile *rec);
