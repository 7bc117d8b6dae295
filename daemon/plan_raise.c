// SPDX-License-Identifier: Apache-2.0
/* plan_raise.c - whose flows may get another answer: their epochs are raised.
 */
#include <string.h>

#include "daemon/plan_impl.h"

static int pair_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pair));
}

void plan_pair(struct planner *p, uint32_t old, uint32_t new)
{
	const struct pair pair = {old, new};

	if (old == new || p->n_pairs > PAIRS_MAX)
		return;
	for (size_t i = 0; i < p->n_pairs; i++)
		if (!pair_compare(&p->pair[i], &pair))
			return;
	if (p->n_pairs < PAIRS_MAX)
		p->pair[p->n_pairs] = pair;
	p->n_pairs++;
}

/* Can the table tell the two numbers of a pair apart? */
static bool pair_matters(const struct table *table, const struct pair *pair)
{
	const uint16_t of_class =
		SHAPE_BIT(LEVEL_CLASS, 0) * ((1u << SHAPE__COUNT) - 1);

	if ((pair->old ^ pair->new) & ID_CLASS_MASK &&
	    (table->header.shapes[0] | table->header.shapes[1]) & of_class)
		return true;
	return table_mentions(table, pair->old) ||
	       table_mentions(table, pair->new);
}

static bool is_concerned(const struct planner *p, const struct table *table)
{
	if (!table->header.isolated[0] && !table->header.isolated[1])
		return false;
	if (p->n_pairs > PAIRS_MAX)
		return true;
	for (size_t i = 0; i < p->n_pairs; i++)
		if (pair_matters(table, &p->pair[i]))
			return true;
	return false;
}

void plan_raise_concerned(struct planner *p)
{
	for (size_t i = 0; i < p->want->n_endpoints && p->n_pairs; i++) {
		const struct plan_endpoint *ep = &p->want->endpoint[i];

		/* One without a table keeps what we would have to look up. */
		if (p->keeps[ep->number] && !p->raise[ep->number] &&
		    (!ep->table || is_concerned(p, ep->table)))
			p->raise[ep->number] = true;
	}
}
