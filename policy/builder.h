/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builder.h - gathering the entries of one table, each key once.
 *
 * Inside policy/ only.  The first rule that asks for a key gives its name to
 * it; all entries allow, so who comes first decides nothing else.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/index.h"
#include "policy/policy.h"

struct builder {
	struct arena *arena;
	struct policy_entry *entry;
	size_t n_entries, cap_entries;
	struct range_entry *range;
	size_t n_ranges, cap_ranges;
	struct index by_key, by_range;
	struct slot header;
};

/* What of the ports an entry covers. */
struct port_cover {
	enum shape shape;
	uint8_t proto;      /* not for SHAPE_ALL */
	uint16_t port, end; /* host order; SHAPE_PORT: port alone */
};

void builder_reset(struct builder *b);
/* @peer: an identity, a class or 0.  Return: 0, -ENOMEM, -E2BIG. */
int builder_allow(struct builder *b, enum dir dir, uint32_t peer,
                  const struct port_cover *cover, uint32_t rule);
/* Sort, copy to @arena, hash. */
int builder_finish(struct builder *b, struct arena *arena, struct table *ret);
