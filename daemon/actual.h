/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actual.h - what the maps hold, as far as this daemon knows.
 *
 * Read from the kernel once (at adoption, and after a failure), then kept up
 * with what is applied, so that a pass reads no map.
 */
#pragma once

#include "daemon/dp.h"
#include "daemon/plan.h"

/* What a slot in use holds; one allocation with its entries. */
struct held {
	struct table table; /* without the bridge */
	size_t n_bridge;
	uint32_t *bridge; /* numbers that it knows beside */
};

struct actual {
	struct plan_addr *addr; /* sorted */
	size_t n_addrs;
	struct plan_prefix *prefix; /* sorted */
	size_t n_prefixes;
	struct endpoint endpoint[ENDPOINT_MAX];
	struct held *slot[SLOT_MAX]; /* NULL: not in use */
};

/* The tables of the two reserved slots. */
extern const struct table table_open, table_closed;

/* Read everything; @actual is freed first.  0 or -errno with a sentence. */
int actual_read(struct actual *actual, struct dp *dp, struct err *err);
void actual_free(struct actual *actual);

/* The same in the plan's terms; @ret borrows.  0 or -ENOMEM. */
int actual_state(const struct actual *actual, struct arena *arena,
                 struct state *ret);

/* Remember what a slot holds (NULL: nothing any more).  0 or -ENOMEM. */
int actual_hold(struct actual *actual, uint32_t slot, const struct fill *fill);
/* Addresses and prefixes are now those of @state.  0 or -ENOMEM. */
int actual_take(struct actual *actual, const struct state *state);

/* Do two readings say the same? */
bool actual_equal(const struct actual *a, const struct actual *b);

/* The table that an endpoint is judged by; NULL when there is none. */
const struct table *actual_table(const struct actual *actual,
                                 uint16_t endpoint);
/* Does a slot in use know the number? */
bool actual_knows(const struct actual *actual, uint32_t identity);
