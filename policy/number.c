// SPDX-License-Identifier: Apache-2.0
/* number.c - keys and numbers of identities. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/identity.h"
#include "policy/index.h"
#include "policy/text.h"

#define SERIAL_MAX (~ID_CLASS_MASK)

struct numbering {
	struct identities *ids;
	const struct identity *prev;
	size_t n_prev;
	struct arena *arena, *scratch;
	struct index by_key; /* of prev */
	struct index given;  /* identities by number */
	struct text text;
};

static void key_text(struct text *text, const struct identities *ids,
                     const struct ident *id)
{
	static const char *const names[] = {
		[CLASS_POD4] = "pod4 ",    [CLASS_POD6] = "pod6 ",
		[CLASS_NODE4] = "node4",   [CLASS_NODE6] = "node6",
		[CLASS_WORLD4] = "world4", [CLASS_WORLD6] = "world6",
	};
	const struct cidr *cidr = &ids->cidrs.cidr[id->cidr];
	char buf[ADDR_TEXT_MAX];

	text->n = 0;
	text_puts(text, names[id->class]);
	if (id->role == ROLE_POD)
		text_put(text, ids->kinds.kind[id->kind].key,
		         ids->kinds.kind[id->kind].key_bytes);
	else if (id->role == ROLE_HOST)
		text_puts(text, " host");
	else if (id->role == ROLE_INIT)
		text_puts(text, " init");
	if (cidr->root)
		return;
	text_puts(text, " cidr=");
	text_puts(text, addr_format(&cidr->prefix.addr, buf));
	text_puts(text, "/");
	text_number(text, id->cidr < ids->cidrs.v6 ? cidr->prefix.bits - 96u
	                                           : cidr->prefix.bits);
}

/* The numbers that everybody knows; 0: to be computed. */
static uint32_t reserved(const struct identities *ids, const struct ident *id)
{
	static const uint32_t serials[] = {
		[ROLE_POD] = 0,
		[ROLE_NODE] = ID_SERIAL_PLAIN,
		[ROLE_HOST] = ID_SERIAL_HOST,
		[ROLE_WORLD] = ID_SERIAL_PLAIN,
		[ROLE_INIT] = ID_SERIAL_INIT,
	};

	if (!serials[id->role] || !ids->cidrs.cidr[id->cidr].root)
		return 0;
	return ID(id->class, serials[id->role]);
}

static bool given_before(const struct numbering *nb, uint32_t number)
{
	size_t at = 0;
	uint32_t i;

	while (index_next(&nb->given, hash_u64(number), &at, &i))
		if (nb->ids->ident[i].number == number)
			return true;
	return false;
}

/* The first of @prev with that key, or NULL. */
static const struct identity *prev_find(const struct numbering *nb,
                                        const char *key, size_t n,
                                        uint64_t hash)
{
	size_t at = 0;
	uint32_t i;

	while (index_next(&nb->by_key, hash, &at, &i))
		if (!strncmp(nb->prev[i].key, key, n) && !nb->prev[i].key[n])
			return &nb->prev[i];
	return NULL;
}

/* The number that @prev has for the key in nb->text, or 0. */
static uint32_t number_before(const struct numbering *nb, uint8_t class)
{
	const struct identity *prev =
		prev_find(nb, nb->text.byte, nb->text.n,
	                  hash_bytes(nb->text.byte, nb->text.n, 0));

	if (!prev || prev->number >> ID_CLASS_SHIFT != class ||
	    (prev->number & ~ID_CLASS_MASK) < ID_SERIAL_FIRST ||
	    given_before(nb, prev->number))
		return 0;
	return prev->number;
}

static int ident_keep(struct numbering *nb, uint32_t i)
{
	struct ident *id = &nb->ids->ident[i];
	char *key;

	key_text(&nb->text, nb->ids, id);
	key = text_failed(&nb->text) ? NULL
	                             : arena_alloc(nb->arena, nb->text.n + 1);
	if (!key)
		return -ENOMEM;
	id->key = memcpy(key, nb->text.byte, nb->text.n);
	id->number = reserved(nb->ids, id);
	if (id->number)
		return 0;
	id->number = number_before(nb, id->class);
	if (!id->number)
		return 0;
	return index_put(&nb->given, nb->scratch, hash_u64(id->number), i);
}

static int u32_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Those without a number count up past @taken, which is sorted. */
static int idents_count_up(struct numbering *nb, const uint32_t *taken,
                           struct err *err)
{
	size_t t = 0;
	uint32_t next = 0;

	/* Sorted by class: one walk through both. */
	for (size_t i = 0; i < nb->ids->n; i++) {
		struct ident *id = &nb->ids->ident[i];

		if (id->number)
			continue;
		if (next < ID(id->class, ID_SERIAL_FIRST))
			next = ID(id->class, ID_SERIAL_FIRST);
		while (t < nb->n_prev && taken[t] <= next) {
			if (taken[t] == next)
				next++;
			t++;
		}
		if (next > ID(id->class, SERIAL_MAX))
			return err_set(
				err, -ENOSPC,
				"no number is left for identity '%.100s'",
				id->key);
		id->number = next++;
	}
	return 0;
}

static int number(struct numbering *nb, struct err *err)
{
	uint32_t *taken = arena_array(nb->scratch, nb->n_prev, sizeof(*taken));

	if (!taken)
		return -ENOMEM;
	for (uint32_t i = 0; i < nb->n_prev; i++) {
		const char *key = nb->prev[i].key;
		size_t n = strlen(key);
		uint64_t hash = hash_bytes(key, n, 0);

		taken[i] = nb->prev[i].number;
		if (!prev_find(nb, key, n, hash) &&
		    index_put(&nb->by_key, nb->scratch, hash, i))
			return -ENOMEM;
	}
	qsort(taken, nb->n_prev, sizeof(*taken), u32_compare);
	for (uint32_t i = 0; i < nb->ids->n; i++)
		if (ident_keep(nb, i))
			return -ENOMEM;
	return idents_count_up(nb, taken, err);
}

int identities_number(struct identities *ids, const struct identity *prev,
                      size_t n_prev, struct arena *arena, struct err *err)
{
	_cleanup_(arena_freep) struct arena *scratch = arena_new(0);
	struct numbering nb = {
		.ids = ids,
		.prev = prev,
		.n_prev = n_prev,
		.arena = arena,
		.scratch = scratch,
		.text = {.arena = scratch},
	};

	return scratch ? number(&nb, err) : -ENOMEM;
}
