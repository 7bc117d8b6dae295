/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules.h - a number for every rule of every policy.
 *
 * Inside policy/ only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"
#include "policy/vocab.h"

struct rule_ref {
	uint32_t number;
	uint32_t first_peer; /* its peers, counted through all rules */
};

struct rules {
	struct rule_ref *ref; /* in the order of the policies, dir, index */
	size_t n;
	uint32_t (*first)[DIR__COUNT]; /* by policy: place of its first rule */
	struct rule_name *name;        /* sorted by number; in the result */
};

/* @work: for what only the compiler needs; @arena: for the names. */
int rules_number(const struct world *world, const struct vocab *vocab,
                 struct arena *work, struct arena *arena, struct rules *ret);
