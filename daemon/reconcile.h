/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reconcile.h - make the kernel equal to the intent (D11).
 *
 * desired: world (store + endpoints + node addresses) -> policy_compile().
 * actual: what this daemon last applied, read from the maps at adoption.
 * plan: the difference, as ordered operations, see plan.h.
 *
 * Nothing is done before the source has given its first full answer, except
 * that endpoints which close are closed.  A pass that fails half-way leaves a
 * safe state; the maps are then read again, and it is tried again.  After a
 * pass, when things are quiet, a grace period is waited for: slots that retired
 * are made fresh, and the same epochs are raised once more (D3).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/dp.h"
#include "daemon/endpoint.h"
#include "daemon/loop.h"
#include "daemon/node.h"
#include "daemon/peers.h"
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
	void (*passed)(void *user); /* after each whole pass; or NULL */
	void *user;
	struct peers *peers; /* NULL: no other nodes */
};

int reconcile_new(const struct reconcile_input *input, struct reconcile **ret,
                  struct err *err);
void reconcile_free(struct reconcile *rec);

/* Idempotent: one pass at the end of the loop's turn, or when the last one is
 * long enough ago. */
void reconcile_schedule(struct reconcile *rec);
/* A pass that is scheduled is made now; its failure is noted and logged. */
void reconcile_settle(struct reconcile *rec);
/* The same as scheduling, not believing what we know of the maps: they are read
 * again.  (After a failure, and when the look that is taken once a minute finds
 * them changed, this is done without being asked.) */
void reconcile_reread(struct reconcile *rec);
/*
 * One pass now; ADD answers after it.  0: the kernel is as desired, save for
 * what reconcile_problems() lists; -EAGAIN: the source has not answered yet;
 * -errno with a sentence, what was in force stays in force.
 */
int reconcile_now(struct reconcile *rec, struct err *err);

/* What is in force: borrowed until the next pass; NULL before the first. */
const struct compiled *reconcile_compiled(const struct reconcile *rec);
/* The world as it is now, also between a change and its pass: borrowed until
 * the next change; NULL before the first pass. */
const struct world *reconcile_world(struct reconcile *rec);
/* Rises with every pass that had something to compare. */
uint64_t reconcile_revision(const struct reconcile *rec);
/* The table in force of an endpoint (never NULL for a READY one). */
const struct table *reconcile_table(const struct reconcile *rec,
                                    uint16_t endpoint, uint32_t *ret_slot);
/* Why that table is not the one of the endpoint's policies, in a sentence:
 * refused, or its labels are unknown; NULL: it is.  Borrowed until the next
 * pass. */
const char *reconcile_held(const struct reconcile *rec, uint16_t endpoint);
/* Why the last pass as a whole did not come about; NULL: it did. */
const char *reconcile_failure(const struct reconcile *rec);
/* Is what the store held at that revision of it in force? */
bool reconcile_has(const struct reconcile *rec, uint64_t store_revision);
/* {differences: [{map, key, want, have}], checked: N, not_compared:
 * [{endpoint, object, why}]}: tables that are held are not compared; new
 * reference. */
json_t *reconcile_verify(struct reconcile *rec, struct err *err);
/* The plan of the next pass, as data, not applied. */
json_t *reconcile_plan(struct reconcile *rec, struct err *err);
/* Objects that are not in force and why: [{object, error}]; new reference. */
json_t *reconcile_problems(const struct reconcile *rec);
