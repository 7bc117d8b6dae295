/* SPDX-License-Identifier: Apache-2.0 */
/* apply.h - doing what a plan says, and what becomes of what cannot be done. */
#pragma once

#include "daemon/actual.h"
#include "daemon/dp.h"
#include "daemon/plan.h"
#include "lib/err.h"

/* A table that the kernel did not take: who is left with what he had. */
struct apply_refusal {
	uint16_t endpoint;
	bool closed; /* it had nothing in a direction that its policies
	              * isolate: there, it is allowed nothing */
	struct err why;
};

struct apply {
	struct dp *dp;
	struct actual *actual;
	const struct plan *plan;
	struct apply_refusal *refusal; /* in @arena */
	size_t n_refusals;
	struct arena *arena;
};

/**
 * apply_plan - do all operations in order, keeping actual up to date.
 *
 * A fill that fails is the affair of its endpoints: they are listed as
 * refusals, the rest goes on.  Any other failure ends it: what has been done
 * is safe but no longer what actual says, which must be read again.
 *
 * Return: 0; -errno with a sentence.
 */
int apply_plan(struct apply *apply, struct err *err);
