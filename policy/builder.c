// SPDX-License-Identifier: Apache-2.0
/* builder.c - see builder.h. */
#include "policy/builder.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "policy/ports.h"

void builder_reset(struct builder *b)
{
	b->n_entries = 0;
	b->n_ranges = 0;
	b->header = (struct slot){};
	index_clear(&b->by_key);
	index_clear(&b->by_range);
}

static enum level level_of(uint32_t peer)
{
	if (!peer)
		return LEVEL_ANY;
	return peer & ~ID_CLASS_MASK ? LEVEL_ID : LEVEL_CLASS;
}

/* Room for one more of @size bytes; @array may move. */
static int room(struct arena *arena, void **array, size_t n, size_t *cap,
                size_t size)
{
	size_t wanted = *cap ? *cap * 2 : 64;
	void *grown;

	if (n < *cap)
		return 0;
	grown = arena_array(arena, wanted, size);
	if (!grown)
		return -ENOMEM;
	if (n)
		memcpy(grown, *array, n * size);
	*array = grown;
	*cap = wanted;
	return 0;
}

static int entry_put(struct builder *b, struct policy_key key, uint32_t rule)
{
	uint64_t bytes, hash;
	void *array = b->entry;
	size_t at = 0;
	uint32_t i;

	memcpy(&bytes, &key, sizeof(bytes));
	hash = hash_u64(bytes);
	while (index_next(&b->by_key, hash, &at, &i))
		if (!memcmp(&b->entry[i].key, &key, sizeof(key)))
			return 0;
	if (b->n_entries == SLOT_LARGE)
		return -E2BIG;
	if (room(b->arena, &array, b->n_entries, &b->cap_entries,
	         sizeof(*b->entry)))
		return -ENOMEM;
	b->entry = array;
	b->entry[b->n_entries] = (struct policy_entry){
		.key = key, .val = {.rule = rule, .allow = 1}
        };
	return index_put(&b->by_key, b->arena, hash, (uint32_t)b->n_entries++);
}

static int range_put(struct builder *b, struct range_key key, uint32_t rule)
{
	uint64_t hash = hash_bytes(&key, sizeof(key), 0);
	void *array = b->range;
	size_t at = 0;
	uint32_t i;

	while (index_next(&b->by_range, hash, &at, &i))
		if (!memcmp(&b->range[i].key, &key, sizeof(key)))
			return 0;
	if (b->n_ranges == RANGE_LARGE)
		return -E2BIG;
	if (room(b->arena, &array, b->n_ranges, &b->cap_ranges,
	         sizeof(*b->range)))
		return -ENOMEM;
	b->range = array;
	b->range[b->n_ranges] = (struct range_entry){
		.key = key, .val = {.rule = rule, .allow = 1}
        };
	return index_put(&b->by_range, b->arena, hash, (uint32_t)b->n_ranges++);
}

static int ranges_allow(struct builder *b, struct range_key key,
                        const struct port_cover *cover, uint32_t rule)
{
	struct port_prefix prefix[PORT_PREFIX_MAX];
	int n = port_range_split(cover->port, cover->end, prefix);

	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		int r;

		key.bits = RANGE_BITS_FIXED + prefix[i].bits;
		key.port = htobe16(prefix[i].port);
		r = range_put(b, key, rule);
		if (r)
			return r;
	}
	return 0;
}

int builder_allow(struct builder *b, enum dir dir, uint32_t peer,
                  const struct port_cover *cover, uint32_t rule)
{
	struct policy_key key = {.peer = peer, .dir = (uint8_t)dir};

	b->header.shapes[dir] |=
		(uint16_t)SHAPE_BIT(level_of(peer), cover->shape);
	if (cover->shape == SHAPE_RANGE)
		return ranges_allow(b,
		                    (struct range_key){.peer = peer,
		                                       .dir = (uint8_t)dir,
		                                       .proto = cover->proto},
		                    cover, rule);
	if (cover->shape != SHAPE_ALL)
		key.proto = cover->proto;
	if (cover->shape == SHAPE_PORT)
		key.port = htobe16(cover->port);
	return entry_put(b, key, rule);
}

static int entry_compare(const void *a, const void *b)
{
	const struct policy_entry *x = a, *y = b;

	return memcmp(&x->key, &y->key, sizeof(x->key));
}

static int range_compare(const void *a, const void *b)
{
	const struct range_entry *x = a, *y = b;

	return memcmp(&x->key, &y->key, sizeof(x->key));
}

int builder_finish(struct builder *b, struct arena *arena, struct table *ret)
{
	struct table table = {
		.header = b->header,
		.entry = arena_array(arena, b->n_entries, sizeof(*table.entry)),
		.n_entries = b->n_entries,
		.range = arena_array(arena, b->n_ranges, sizeof(*table.range)),
		.n_ranges = b->n_ranges,
	};

	if (!table.entry || !table.range)
		return -ENOMEM;
	if (b->n_entries)
		memcpy(table.entry, b->entry, b->n_entries * sizeof(*b->entry));
	if (b->n_ranges)
		memcpy(table.range, b->range, b->n_ranges * sizeof(*b->range));
	qsort(table.entry, table.n_entries, sizeof(*table.entry),
	      entry_compare);
	qsort(table.range, table.n_ranges, sizeof(*table.range), range_compare);
	table.hash = hash_bytes(&table.header, sizeof(table.header), 0);
	table.hash =
		hash_bytes(table.entry, table.n_entries * sizeof(*table.entry),
	                   table.hash);
	table.hash = hash_bytes(
		table.range, table.n_ranges * sizeof(*table.range), table.hash);
	*ret = table;
	return 0;
}
