// SPDX-License-Identifier: Apache-2.0
/* table.c - asking a compiled table, as the datapath does. */
#include <endian.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/policy.h"

static int key_compare(const void *key, const void *entry)
{
	return memcmp(key, &((const struct policy_entry *)entry)->key,
	              sizeof(struct policy_key));
}

static int range_compare(const void *key, const void *entry)
{
	return memcmp(key, &((const struct range_entry *)entry)->key,
	              sizeof(struct range_key));
}

static const struct policy_val *hash_find(const struct table *table,
                                          struct policy_key key)
{
	const struct policy_entry *entry =
		bsearch(&key, table->entry, table->n_entries, sizeof(*entry),
	                key_compare);

	return entry ? &entry->val : NULL;
}

/* The longest prefix wins. */
static const struct policy_val *range_find(const struct table *table,
                                           struct policy_key key)
{
	struct range_key range = {
		.peer = key.peer, .dir = key.dir, .proto = key.proto};
	unsigned int port = be16toh(key.port);

	for (unsigned int bits = 16;; bits--) {
		const struct range_entry *entry;

		range.bits = RANGE_BITS_FIXED + bits;
		range.port = htobe16((uint16_t)(port & (0xffff0000u >> bits)));
		entry = bsearch(&range, table->range, table->n_ranges,
		                sizeof(*entry), range_compare);
		if (entry)
			return &entry->val;
		if (!bits)
			return NULL;
	}
}

/* At one level: port, range, protocol, all; the first hit decides. */
static const struct policy_val *level_find(const struct table *table,
                                           enum level level,
                                           struct policy_key key)
{
	uint16_t shapes = table->header.shapes[key.dir];
	const struct policy_val *val = NULL;

	if (shapes & SHAPE_BIT(level, SHAPE_PORT))
		val = hash_find(table, key);
	if (!val && (shapes & SHAPE_BIT(level, SHAPE_RANGE)))
		val = range_find(table, key);
	key.port = 0;
	if (!val && (shapes & SHAPE_BIT(level, SHAPE_PROTO)))
		val = hash_find(table, key);
	key.proto = 0;
	if (!val && (shapes & SHAPE_BIT(level, SHAPE_ALL)))
		val = hash_find(table, key);
	return val;
}

const struct policy_val *table_lookup(const struct table *table, uint32_t peer,
                                      enum dir dir, uint8_t proto, __be16 port)
{
	const uint32_t peers[LEVEL__COUNT] = {
		[LEVEL_ID] = peer,
		[LEVEL_CLASS] = peer & ID_CLASS_MASK,
		[LEVEL_ANY] = 0,
	};
	const struct policy_val *val = NULL;

	for (int level = 0; level < LEVEL__COUNT && !val; level++)
		val = level_find(table, (enum level)level,
		                 (struct policy_key){.peer = peers[level],
		                                     .port = port,
		                                     .proto = proto,
		                                     .dir = (uint8_t)dir});
	return val;
}

static int addr_entry_compare(const void *addr, const void *entry)
{
	return addr_compare(addr, &((const struct addr_entry *)entry)->addr);
}

/* As the trie does it: bits alone, whatever family they mean. */
static bool bits_equal(const struct prefix *prefix, const struct addr *addr)
{
	unsigned int bytes = prefix->bits / 8, rest = prefix->bits % 8;

	if (memcmp(prefix->addr.byte, addr->byte, bytes) != 0)
		return false;
	return !rest || !((prefix->addr.byte[bytes] ^ addr->byte[bytes]) &
	                  (0xff00 >> rest) & 0xff);
}

uint32_t compiled_identity(const struct compiled *compiled,
                           const struct addr *addr)
{
	const struct addr_entry *whole =
		bsearch(addr, compiled->addr, compiled->n_addrs, sizeof(*whole),
	                addr_entry_compare);
	const struct prefix_entry *best = NULL;

	if (whole)
		return whole->identity;
	for (size_t i = 0; i < compiled->n_prefixes; i++) {
		const struct prefix_entry *entry = &compiled->prefix[i];

		if (bits_equal(&entry->prefix, addr) &&
		    (!best || entry->prefix.bits > best->prefix.bits))
			best = entry;
	}
	if (best)
		return best->identity;
	return ID(addr_family(addr) == FAMILY_V4 ? CLASS_WORLD4 : CLASS_WORLD6,
	          ID_SERIAL_PLAIN);
}
