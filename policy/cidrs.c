// SPDX-License-Identifier: Apache-2.0
/* cidrs.c - see cidrs.h. */
#include "policy/cidrs.h"

#include <errno.h>

#include "lib/addr.h"

static int prefix_compare(const void *a, const void *b)
{
	const struct prefix *x = a, *y = b;
	int cmp = (int)addr_family(&x->addr) - (int)addr_family(&y->addr);

	if (!cmp)
		cmp = addr_compare(&x->addr, &y->addr);
	return cmp ? cmp : x->bits - y->bits;
}

static const struct prefix roots[FAMILY__COUNT] = {
	[FAMILY_V4] = {{{{[10] = 0xff, [11] = 0xff}}}, 96},
	[FAMILY_V6] = {{{{0}}},                        0 },
};

/* Sorted, so a CIDR's parent is among those that the one before lies in. */
static void link_parents(struct cidrs *cidrs)
{
	uint32_t open = 0;

	for (uint32_t i = 0; i < cidrs->n; i++) {
		struct cidr *c = &cidrs->cidr[i];

		while (i && !cidrs->cidr[open].root &&
		       !prefix_contains(&cidrs->cidr[open].prefix,
		                        &c->prefix.addr))
			open = cidrs->cidr[open].parent;
		c->parent = c->root ? i : open;
		c->end = i + 1;
		open = i;
	}
	/* Children stand behind their parents: from the back, all is known. */
	for (uint32_t i = (uint32_t)cidrs->n; i-- > 0;) {
		struct cidr *parent = &cidrs->cidr[cidrs->cidr[i].parent];

		if (cidrs->cidr[i].end > parent->end)
			parent->end = cidrs->cidr[i].end;
	}
}

int cidrs_build(const struct prefix *list, size_t n, struct arena *arena,
                struct cidrs *ret)
{
	struct prefix *all =
		arena_array(arena, n + FAMILY__COUNT, sizeof(*all));
	struct cidrs cidrs = {
		.cidr = arena_array(arena, n + FAMILY__COUNT,
	                            sizeof(*cidrs.cidr)),
	};

	if (!all || !cidrs.cidr)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		all[i] = list[i];
	for (int family = 0; family < FAMILY__COUNT; family++)
		all[n + (size_t)family] = roots[family];
	qsort(all, n + FAMILY__COUNT, sizeof(*all), prefix_compare);
	for (size_t i = 0; i < n + FAMILY__COUNT; i++) {
		enum family family = addr_family(&all[i].addr);
		bool root = all[i].bits == roots[family].bits;

		if (i && !prefix_compare(&all[i], &all[i - 1]))
			continue;
		if (root && family == FAMILY_V6)
			cidrs.v6 = (uint32_t)cidrs.n;
		cidrs.cidr[cidrs.n++] =
			(struct cidr){.prefix = all[i], .root = root};
	}
	link_parents(&cidrs);
	*ret = cidrs;
	return 0;
}

/* The last CIDR that does not sort behind @prefix. */
static uint32_t last_not_above(const struct cidrs *cidrs,
                               const struct prefix *prefix)
{
	size_t lo = 0, hi = cidrs->n;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (prefix_compare(&cidrs->cidr[mid].prefix, prefix) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return (uint32_t)lo;
}

uint32_t cidrs_find(const struct cidrs *cidrs, const struct addr *addr)
{
	const struct prefix whole = {*addr, 128};
	uint32_t i = last_not_above(cidrs, &whole);

	while (!cidrs->cidr[i].root &&
	       !prefix_contains(&cidrs->cidr[i].prefix, addr))
		i = cidrs->cidr[i].parent;
	return i;
}

uint32_t cidrs_of(const struct cidrs *cidrs, const struct prefix *prefix)
{
	return last_not_above(cidrs, prefix);
}
