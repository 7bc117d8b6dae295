/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emit.h - the policies of one pod become the entries of one table.
 *
 * Inside policy/ only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/builder.h"
#include "policy/identity.h"
#include "policy/peers.h"
#include "policy/policy.h"
#include "policy/rules.h"
#include "policy/vocab.h"

/* A set and ports that the table has already; ports may be a word's number. */
struct seen {
	uint32_t set;
	uint8_t dir, proto;
	uint16_t shape, port, end;
};
_Static_assert(sizeof(struct seen) == 12, "compared and hashed as bytes");

struct emit {
	const struct world *world;
	const struct vocab *vocab;
	const struct identities *ids;
	const struct rules *rules;
	struct peers *peers;
	struct arena *arena; /* of the work */
	struct builder builder;
	struct seen *seen;
	size_t n_seen, cap_seen;
	struct index by_seen;
};

/**
 * emit_table - what @policy (indexes in the world, ascending) mean for @pod.
 *
 * @arena: of the result.  Return: 0, -ENOMEM, -E2BIG.
 */
int emit_table(struct emit *emit, const struct pod *pod, const uint32_t *policy,
               size_t n_policies, struct arena *arena, struct table *ret);
