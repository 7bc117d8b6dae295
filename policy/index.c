// SPDX-License-Identifier: Apache-2.0
/* index.c - see index.h. */
#include "policy/index.h"

#include <errno.h>
#include <string.h>

#define PRIME1 0x9e3779b97f4a7c15ull
#define PRIME2 0xbf58476d1ce4e5b9ull
#define PRIME3 0x94d049bb133111ebull

/* The finaliser of splitmix64 (Vigna, public domain). */
uint64_t hash_u64(uint64_t value)
{
	value += PRIME1;
	value = (value ^ value >> 30) * PRIME2;
	value = (value ^ value >> 27) * PRIME3;
	return value ^ value >> 31;
}

uint64_t hash_bytes(const void *bytes, size_t n, uint64_t seed)
{
	const unsigned char *p = bytes;
	uint64_t hash = seed ^ n * PRIME1, word;

	for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		hash = (hash ^ word) * PRIME2;
		hash ^= hash >> 32;
	}
	word = 0;
	memcpy(&word, p, n);
	return hash_u64(hash ^ word);
}

bool index_next(const struct index *ix, uint64_t hash, size_t *at,
                uint32_t *ret)
{
	if (!ix->cap)
		return false;
	for (;;) {
		const struct index_slot *slot =
			&ix->slot[(hash + *at) & (ix->cap - 1)];

		if (slot->era != ix->era + 1)
			return false;
		(*at)++;
		if (slot->hash == hash) {
			*ret = slot->value;
			return true;
		}
	}
}

static void place(struct index *ix, uint64_t hash, uint32_t value)
{
	size_t at = hash & (ix->cap - 1);

	while (ix->slot[at].era == ix->era + 1)
		at = (at + 1) & (ix->cap - 1);
	ix->slot[at] = (struct index_slot){hash, value, ix->era + 1};
}

static int grow(struct index *ix, struct arena *arena)
{
	struct index old = *ix;
	size_t cap = old.cap ? old.cap * 2 : 64;
	struct index_slot *slot = arena_array(arena, cap, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	ix->slot = slot;
	ix->cap = cap;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slot[i].era == old.era + 1)
			place(ix, old.slot[i].hash, old.slot[i].value);
	return 0;
}

int index_put(struct index *ix, struct arena *arena, uint64_t hash,
              uint32_t value)
{
	/* At most half full: a search then looks at two slots or so. */
	if (ix->n >= ix->cap / 2 && grow(ix, arena))
		return -ENOMEM;
	place(ix, hash, value);
	ix->n++;
	return 0;
}

void index_clear(struct index *ix)
{
	ix->era++;
	ix->n = 0;
}
