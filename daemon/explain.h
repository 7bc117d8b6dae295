/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain.h - why a verdict is what it is, rule by rule.
 *
 * Knows nothing about what rules mean: every answer is policy_eval()'s, asked
 * about a world that holds one rule, or one rule relaxed.  Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "policy/policy.h"

/* One side of a flow: what @subject's policies say in direction @dir. */
struct question_side {
	const struct world *world;
	const struct pod *subject;
	struct addr self, peer;
	enum dir dir;
	uint8_t proto;
	uint16_t port; /* destination's, host order */
};

/* A rule of a policy that selects the subject, and what of it fits. */
struct rule_view {
	const struct netpol *netpol;
	size_t index;           /* in netpol->rule[dir] */
	bool peer, proto, port; /* fits when the two others are ignored */
	bool allows;
};

struct explanation {
	struct verdict verdict;
	bool always; /* allowed whatever the rules say: its own node, or itself
	              */
	const struct netpol **isolating; /* that select it in this direction */
	size_t n_isolating;
	struct rule_view *rule; /* of those, in order */
	size_t n_rules;
	size_t n_left_out; /* rules beyond EXPLAIN_RULES_MAX, not looked at */
	const struct rule_view *nearest; /* of a deny: fails the fewest; NULL */
};

#define EXPLAIN_RULES_MAX 4096

/**
 * explain - the verdict, every rule considered, and for a deny the nearest.
 *
 * Nearest is the rule that fails the fewest of peer, protocol and port; the
 * first such one in order of namespace, name and index.  A rule that cannot be
 * read is never the nearest.  When the answer is "always", no rule is looked
 * at.
 *
 * @arena: owns the arrays of @ret, which otherwise borrow from the world.
 * Return: 0 or -ENOMEM.
 */
int explain(const struct question_side *q, struct arena *arena,
            struct explanation *ret);

/* The policies alone; cheap.  Return: 0 or -ENOMEM. */
int explain_isolating(const struct question_side *q, struct arena *arena,
                      struct explanation *ret);

/* "differs in peer and port"; "" when nothing does.  Returns @buf. */
#define DIFFERS_TEXT_MAX 48
const char *rule_view_differs(const struct rule_view *view,
                              char buf[DIFFERS_TEXT_MAX]);
