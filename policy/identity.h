/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity.h - the identities of a world, and which addresses bear them.
 *
 * Inside policy/ only.  An identity is one kind of pod (or a node, this node,
 * a pod of no namespace, the world) in one innermost CIDR and one family.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/cidrs.h"
#include "policy/kinds.h"
#include "policy/owners.h"
#include "policy/policy.h"

enum role { ROLE_POD, ROLE_NODE, ROLE_HOST, ROLE_WORLD, ROLE_INIT };

struct ident {
	uint32_t number;
	uint8_t class; /* enum id_class */
	uint8_t role;  /* enum role */
	uint32_t kind; /* of ROLE_POD; KIND_NONE */
	uint32_t cidr;
	const char *key;
};

/* For each i: the elements item[start[i]] to item[start[i + 1] - 1]. */
struct groups {
	uint32_t *start, *item;
};

struct identities {
	struct kinds kinds;
	struct cidrs cidrs;
	struct owned *owned;
	size_t n_owned;
	uint32_t *of_owned; /* identity of each owned address */
	struct ident *ident;
	size_t n;
	struct groups by_kind, by_cidr;
	uint32_t *of_cidr; /* the world's identity inside each CIDR */
};

/**
 * identities_find - which there are; numbers and keys are still missing.
 *
 * @arena: of the work, not of the result.  Return: 0 or -ENOMEM.
 */
int identities_find(const struct world *world, const struct vocab *vocab,
                    struct arena *arena, struct identities *ret);

/**
 * identities_number - keys and numbers.
 *
 * A key found in @prev keeps its number; others count up from
 * ID_SERIAL_FIRST, past every number in @prev.  What of @prev contradicts
 * itself (a number of another class, or of two keys) is not believed, but its
 * number is not given out either.
 *
 * @arena: of the result: the keys live there.
 * Return: 0, -ENOMEM, -ENOSPC with a sentence.
 */
int identities_number(struct identities *ids, const struct identity *prev,
                      size_t n_prev, struct arena *arena, struct err *err);

/* Fill the identities, addresses and prefixes of @ret.  Return: 0, -ENOMEM. */
int identities_export(const struct world *world, const struct identities *ids,
                      struct arena *arena, struct compiled *ret);
