/* SPDX-License-Identifier: Apache-2.0 */
/* services_guard.h - what no service's address, and no backend's, may be. */
#pragma once

#include "daemon/services_want.h"

struct services_guard {
	struct addr *node; /* sorted */
	size_t n_nodes;
	struct prefix *pods; /* sorted, none inside another */
	size_t n_pods;
};

/* Of @in's nodes and pods, in @arena.  0 or -ENOMEM. */
int services_guard_make(const struct services_input *in, struct arena *arena,
                        struct services_guard *ret);
/* What @ip is that no service may have; NULL: one may have it. */
const char *services_guard_says(const struct services_guard *guard,
                                const struct addr *ip);
/* Why no packet is routed to @addr (RFC 6890); NULL: it may be. */
const char *services_unroutable(const struct addr *addr);
