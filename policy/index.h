/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.h - find an element of an array by its hash.
 *
 * Open addressing; the values are indexes into an array of the caller's, who
 * compares.  A zeroed index is empty.  Nothing is ever taken out.
 *
 *	size_t at = 0;
 *	uint32_t i;
 *
 *	while (index_next(&ix, hash, &at, &i))
 *		if (same(&array[i], wanted))
 *			return i;
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"

struct index_slot {
	uint64_t hash;
	uint32_t value;
	uint32_t era; /* the index's plus one when it was put; else free */
};

struct index {
	struct index_slot *slot;
	size_t cap, n; /* cap: a power of two */
	uint32_t era;  /* rises when the index is cleared */
};

/* The next candidate; start with *@at 0. */
bool index_next(const struct index *ix, uint64_t hash, size_t *at,
                uint32_t *ret);
/* Does not look whether it is there already.  Return: 0 or -ENOMEM. */
int index_put(struct index *ix, struct arena *arena, uint64_t hash,
              uint32_t value);
/* Forget the elements, keep the memory; costs nothing. */
void index_clear(struct index *ix);

/* The same on every run and machine; not for what strangers may flood. */
uint64_t hash_bytes(const void *bytes, size_t n, uint64_t seed);
uint64_t hash_u64(uint64_t value);
