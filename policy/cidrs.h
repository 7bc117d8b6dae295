/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cidrs.h - the CIDRs of all policies, as a forest in one sorted array.
 *
 * Inside policy/ only.  Sorted by family, address, length, so what lies inside
 * a CIDR stands behind it without a gap: [i, end).  CIDRS_V4 and the root of
 * IPv6 are always there and hold what no policy names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

struct cidr {
	struct prefix prefix;
	uint32_t end;    /* behind the last CIDR inside this one */
	uint32_t parent; /* the innermost around it; a root: itself */
	bool root;       /* the whole family */
};

struct cidrs {
	struct cidr *cidr;
	size_t n;
	uint32_t v6; /* index of IPv6's root; IPv4's is 0 */
};

int cidrs_build(const struct prefix *list, size_t n, struct arena *arena,
                struct cidrs *ret);
/* The innermost CIDR that holds @addr. */
uint32_t cidrs_find(const struct cidrs *cidrs, const struct addr *addr);
/* Where @prefix stands; it must be there. */
uint32_t cidrs_of(const struct cidrs *cidrs, const struct prefix *prefix);
