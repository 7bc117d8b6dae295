// SPDX-License-Identifier: Apache-2.0
/* plan_bridge.c - the old answers for numbers that addresses move away from. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "daemon/plan_impl.h"

/*
 * A bridge beyond this is not completed.  Numbers that go out of use then fall
 * to what the new table says to their whole class, which allows no more than it
 * allows to whoever takes their place; numbers that stay are refused until
 * their movers have left.
 */
#define BRIDGE_MAX 16384u

/* ---- questions ---------------------------------------------------------- */

size_t table_entries_of(const struct table *table, uint32_t peer,
                        size_t *ret_end)
{
	size_t lo = 0, hi = table->n_entries, end;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (memcmp(&table->entry[mid].key.peer, &peer, sizeof(peer)) <
		    0)
			lo = mid + 1;
		else
			hi = mid;
	}
	end = lo;
	while (end < table->n_entries && table->entry[end].key.peer == peer)
		end++;
	*ret_end = end;
	return lo;
}

static bool ranges_mention(const struct table *table, uint32_t peer)
{
	for (size_t i = 0; i < table->n_ranges; i++)
		if (table->range[i].key.peer == peer)
			return true;
	return false;
}

bool table_mentions(const struct table *table, uint32_t identity)
{
	size_t end;

	return table_entries_of(table, identity, &end) < end ||
	       ranges_mention(table, identity);
}

/* Do both tables have the same entries for @peer?  Ranges, which are few,
 * count as a difference. */
static bool peer_equal(const struct table *a, const struct table *b,
                       uint32_t peer)
{
	size_t end_a, end_b;
	const size_t at_a = table_entries_of(a, peer, &end_a);
	const size_t at_b = table_entries_of(b, peer, &end_b);

	return end_a - at_a == end_b - at_b &&
	       (end_a == at_a || !memcmp(&a->entry[at_a], &b->entry[at_b],
	                                 (end_a - at_a) * sizeof(*a->entry))) &&
	       !ranges_mention(a, peer) && !ranges_mention(b, peer);
}

/* Do both answer the same to all that is only known by its class? */
static bool class_equal(const struct table *a, const struct table *b,
                        uint32_t class)
{
	return !memcmp(a->header.isolated, b->header.isolated,
	               sizeof(a->header.isolated)) &&
	       peer_equal(a, b, class) && peer_equal(a, b, CLASS_ANY);
}

/* ---- copying ------------------------------------------------------------ */

struct build {
	const struct table *from, *to;
	struct arena *arena;
	struct bridge *out;
	struct bridged *number; /* in hand */
	size_t room_entries, room_ranges;
	bool failed;
};

/* Room for one more; the old elements are copied, the arena keeps both. */
static void *array_grow(struct arena *arena, void *old, size_t n, size_t size,
                        size_t *room)
{
	const size_t more = *room ? *room * 2 : 32;
	void *array;

	if (n < *room)
		return old;
	array = arena_array(arena, more, size);
	if (array && n)
		memcpy(array, old, n * size);
	*room = more;
	return array;
}

static enum shape key_shape(const struct policy_key *key)
{
	return key->port ? SHAPE_PORT : key->proto ? SHAPE_PROTO : SHAPE_ALL;
}

static void entry_put(struct build *b, const struct policy_key *like,
                      struct policy_val val)
{
	struct bridge *out = b->out;

	out->entry = array_grow(b->arena, out->entry, out->n_entries,
	                        sizeof(*out->entry), &b->room_entries);
	if (!out->entry) {
		b->failed = true;
		return;
	}
	out->entry[out->n_entries] = (struct policy_entry){*like, val};
	out->entry[out->n_entries++].key.peer = b->number->number;
	out->shapes[like->dir] |= SHAPE_BIT(LEVEL_ID, key_shape(like));
	b->number->n_entries++;
}

static void range_put(struct build *b, const struct range_entry *like)
{
	struct bridge *out = b->out;

	out->range = array_grow(b->arena, out->range, out->n_ranges,
	                        sizeof(*out->range), &b->room_ranges);
	if (!out->range) {
		b->failed = true;
		return;
	}
	out->range[out->n_ranges] = *like;
	out->range[out->n_ranges++].key.peer = b->number->number;
	out->shapes[like->key.dir] |= SHAPE_BIT(LEVEL_ID, SHAPE_RANGE);
	b->number->n_ranges++;
}

/* What has been copied for the number from narrower levels. */
struct copied {
	size_t entries, ranges; /* ends, in the bridge */
};

/*
 * Have narrower levels decided all that this key could say?  @bits: of a
 * port prefix, 64 for a single port; 0 for keys without a port.
 */
static bool key_covered(const struct build *b, const struct copied *copied,
                        const struct policy_key *key, unsigned bits)
{
	for (size_t i = b->number->entry; i < copied->entries; i++) {
		const struct policy_key *have = &b->out->entry[i].key;

		if (have->dir == key->dir &&
		    (!have->proto ||
		     (have->proto == key->proto &&
		      (!have->port ||
		       (bits == 64 && have->port == key->port)))))
			return true;
	}
	for (size_t i = b->number->range; bits && i < copied->ranges; i++) {
		const struct range_key *have = &b->out->range[i].key;
		const unsigned rest = 64 - have->bits;

		if (have->dir == key->dir && have->proto == key->proto &&
		    have->bits <= bits &&
		    be16toh(have->port) >> rest == be16toh(key->port) >> rest)
			return true;
	}
	return false;
}

/* All that the old table says to @peer, as if said to the number in hand. */
static void level_copy(struct build *b, uint32_t peer, enum dir dir)
{
	const struct copied copied = {b->out->n_entries, b->out->n_ranges};
	const struct table *from = b->from;
	size_t end, i = table_entries_of(from, peer, &end);

	for (; i < end && !b->failed; i++) {
		const struct policy_key *key = &from->entry[i].key;

		if (key->dir == dir &&
		    !key_covered(b, &copied, key, key->port ? 64 : 0))
			entry_put(b, key, from->entry[i].val);
	}
	for (i = 0; i < from->n_ranges && !b->failed; i++) {
		const struct range_key *range = &from->range[i].key;
		const struct policy_key key = {.port = range->port,
		                               .proto = range->proto,
		                               .dir = range->dir};

		if (range->peer == peer && range->dir == dir &&
		    !key_covered(b, &copied, &key, range->bits))
			range_put(b, &from->range[i]);
	}
}

/*
 * One direction's answers to the number in hand.  The last word is "all": what
 * the old table allowed to nobody must not fall to the new one's classes.
 */
static void dir_build(struct build *b, enum dir dir, bool brief)
{
	const uint32_t number = b->number->number;
	const uint32_t peers[] = {number, number & ID_CLASS_MASK, CLASS_ANY};
	const struct policy_key all = {.dir = (__u8)dir};

	if (!b->to->header.isolated[dir])
		return; /* everybody is allowed: there is nothing to bridge */
	if (!b->from->header.isolated[dir] && !brief) {
		entry_put(b, &all, (struct policy_val){.allow = 1});
		return;
	}
	for (int level = 0; level < LEVEL__COUNT && !brief; level++)
		level_copy(b, peers[level], dir);
	if (!key_covered(b, &(struct copied){b->out->n_entries, 0}, &all, 0))
		entry_put(b, &all, (struct policy_val){.allow = 0});
}

static void number_build(struct build *b, const struct departure *departure)
{
	struct bridge *out = b->out;
	const bool brief = out->n_entries + out->n_ranges > BRIDGE_MAX;

	if (brief && !departure->stays)
		return;
	b->number = &out->number[out->n_numbers];
	*b->number = (struct bridged){
		.number = departure->number,
		.stays = departure->stays,
		.entry = out->n_entries,
		.range = out->n_ranges,
	};
	for (int dir = 0; dir < DIR__COUNT; dir++)
		dir_build(b, (enum dir)dir, brief);
	out->n_numbers++;
}

int bridge_build(const struct table *from, const struct table *to,
                 const struct planner *p, struct bridge *ret)
{
	struct build b = {
		.from = from, .to = to, .arena = p->arena, .out = ret};
	int8_t wide[CLASS__COUNT] = {}; /* 0: not asked; 1: equal; -1: not */

	*ret = (struct bridge){};
	if (!p->n_departures ||
	    (!to->header.isolated[0] && !to->header.isolated[1]))
		return 0;
	ret->number =
		arena_array(p->arena, p->n_departures, sizeof(*ret->number));
	if (!ret->number)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_departures && !b.failed; i++) {
		const uint32_t number = p->departure[i].number;
		const uint32_t class = number & ID_CLASS_MASK;
		int8_t *equal = &wide[(class >> ID_CLASS_SHIFT) % CLASS__COUNT];

		if (!*equal)
			*equal = class_equal(from, to, class) ? 1 : -1;
		if (*equal < 0 || !peer_equal(from, to, number))
			number_build(&b, &p->departure[i]);
	}
	return b.failed ? -ENOMEM : 0;
}
