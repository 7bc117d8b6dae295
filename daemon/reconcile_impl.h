/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile_impl.h - what the reconcile_*.c files share. */
#pragma once

#include "daemon/actual.h"
#include "daemon/apply.h"
#include "daemon/desired.h"
#include "daemon/intent.h"
#include "daemon/last_pods.h"
#include "daemon/numbers.h"
#include "daemon/pace.h"
#include "daemon/reconcile.h"

/* Computed in one go from the same facts; owned by two arenas. */
struct generation {
	struct arena *arena; /* of compiled */
	struct compiled compiled;
	struct arena *work; /* of everything else; gone after the pass */
	struct state want;
	struct plan plan;
	size_t n_refusals; /* by the kernel, when it was applied */
};

struct reconcile {
	struct reconcile_input in;
	struct actual *actual;
	struct numbers numbers;
	struct last_pods last;
	struct intent intent;       /* of the facts that intent_facts hashes */
	struct arena *intent_arena; /* NULL: there is none */
	uint64_t intent_facts;
	struct arena *arena; /* of compiled; NULL before the first pass */
	struct compiled compiled;
	uint64_t facts; /* that are in force; 0: none */
	uint64_t revision;
	bool unread;   /* actual is not what the maps hold */
	bool adopting; /* the first comparison with maps that were there */
	bool again[ENDPOINT_MAX]; /* epochs to be raised once more; [0] node */
	bool again_any;
	uint64_t tend_since_ns; /* the first pass that waits for it; 0: none */
	uint64_t retry_ns;      /* the next delay after a failure */
	size_t n_refusals;      /* by the kernel, in the last pass */
	struct loop_task task;
	struct loop_timer tend, retry, reread, trim;
	struct pace pace;
	uint64_t store_revision;  /* of what is in force */
	char *held[ENDPOINT_MAX]; /* see reconcile_held() */
	char *failure;            /* of the last pass; NULL */
	json_t *problems;         /* [{object, error}] */
};

/* ---- reconcile_want.c --------------------------------------------------- */

/* A hash of all that a pass depends on; never 0. */
uint64_t reconcile_facts(const struct reconcile *rec);
/* Bring intent up to the facts.  0 or -ENOMEM. */
int reconcile_intend(struct reconcile *rec);
/* Compile the intent, compare, plan.  0 or -errno with a sentence. */
int generation_make(struct reconcile *rec, struct generation *ret,
                    struct err *err);
void generation_free(struct generation *gen);
/* Only what closes: before the source has answered. */
int generation_close_only(struct reconcile *rec, struct generation *ret,
                          struct err *err);

/* Take out of the slots what is left of bridges, as read from the kernel. */
void actual_strip(struct actual *actual, const struct compiled *compiled);

/* ---- reconcile_held.c --------------------------------------------------- */

/* "Pod/shop/web", else "endpoint 7".  Returns @buf. */
#define OBJECT_TEXT_MAX 400
const char *endpoint_object(const struct reconcile *rec, uint16_t endpoint,
                            char buf[OBJECT_TEXT_MAX]);
/* After a pass: who is not judged by his policies, and why. */
void held_note(struct reconcile *rec, const struct compiled *compiled,
               const struct apply *apply);
void held_clear(struct reconcile *rec);
/* The pass as a whole failed: it stands beside what was wrong before. */
void failure_note(struct reconcile *rec, const struct err *err);

/* ---- reconcile_tend.c --------------------------------------------------- */

void reconcile_tend_init(struct reconcile *rec);
/* After a pass that did something. */
void reconcile_tend_later(struct reconcile *rec, const struct plan *plan);
/* What is left to do before the loop ends. */
void reconcile_tend_last(struct reconcile *rec);
