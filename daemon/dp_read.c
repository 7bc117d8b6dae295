// SPDX-License-Identifier: Apache-2.0
/* dp_read.c - what the kernel holds of a slot, in the compiler's terms. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "daemon/dp_impl.h"
#include "lib/arena.h"
#include "policy/policy.h"

/* Entries of one map as they come; grown by doubling. */
struct collect {
	size_t key_size, size; /* of the key, of key and value */
	char *item;
	size_t n, room;
};

static int collect_one(const void *key, const void *value, void *user)
{
	struct collect *c = user;
	char *at;

	if (c->n == c->room) {
		const size_t room = c->room ? c->room * 2 : 64;
		char *item = reallocarray(c->item, room, c->size);

		if (!item)
			return -ENOMEM;
		c->item = item;
		c->room = room;
	}
	at = c->item + c->n++ * c->size;
	memcpy(at, key, c->key_size);
	memcpy(at + c->key_size, value, sizeof(struct policy_val));
	return 0;
}

static int policy_entry_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct policy_key));
}

static int range_entry_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct range_key));
}

/* The sorted entries of an inner map, copied into the arena. */
static int part_read(int outer, uint32_t slot, struct collect *c,
                     struct arena *arena, void **ret)
{
	_cleanup_(closep) int fd = -1;
	__u32 id;
	int r = bpf_map_lookup_elem(outer, &slot, &id);

	if (r)
		return r;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return fd;
	r = dp_map_each(fd, collect_one, c);
	if (r)
		return r;
	*ret = arena_array(arena, c->n, c->size);
	if (!*ret)
		return -ENOMEM;
	if (c->n) {
		qsort(c->item, c->n, c->size,
		      c->key_size == sizeof(struct policy_key)
		              ? policy_entry_order
		              : range_entry_order);
		memcpy(*ret, c->item, c->n * c->size);
	}
	return 0;
}

int dp_slot_read(struct dp *dp, uint32_t slot, struct arena *arena,
                 struct table *ret)
{
	struct collect policies = {.key_size = sizeof(struct policy_key),
	                           .size = sizeof(struct policy_entry)};
	struct collect ranges = {.key_size = sizeof(struct range_key),
	                         .size = sizeof(struct range_entry)};
	struct table table = {};
	void *entries = NULL, *range_entries = NULL;
	int r = bpf_map_lookup_elem(dp->slots_fd, &slot, &table.header);

	if (!r)
		r = part_read(dp->policies_fd, slot, &policies, arena,
		              &entries);
	if (!r)
		r = part_read(dp->ranges_fd, slot, &ranges, arena,
		              &range_entries);
	free(policies.item);
	free(ranges.item);
	if (r)
		return r;
	table.entry = entries;
	table.n_entries = policies.n;
	table.range = range_entries;
	table.n_ranges = ranges.n;
	table.hash = dp_table_hash(&table);
	*ret = table;
	return 0;
}

int dp_slot_hash(struct dp *dp, uint32_t slot, uint64_t *ret)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	struct table table;
	int r;

	if (!arena)
		return -ENOMEM;
	r = dp_slot_read(dp, slot, arena, &table);
	if (!r)
		*ret = table.hash;
	return r;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t n)
{
	const unsigned char *byte = data;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ byte[i]) * 0x100000001b3ull;
	return hash;
}

uint64_t dp_table_hash(const struct table *table)
{
	uint64_t hash = 0xcbf29ce484222325ull;

	hash = hash_bytes(hash, &table->header, sizeof(table->header));
	hash = hash_bytes(hash, table->entry,
	                  table->n_entries * sizeof(*table->entry));
	return hash_bytes(hash, table->range,
	                  table->n_ranges * sizeof(*table->range));
}
