/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owners.h - whose each known address is.
 *
 * Inside policy/ only.  A node's address is never a pod's.  Of several pods
 * that claim one address the only one attached here has it; else a pod on its
 * host's network makes it a node's; else nobody has it, and it counts as any
 * other address out there, which no selector matches.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

#define OWNER_NODE UINT32_MAX

struct owned {
	struct addr addr;
	uint32_t pod; /* index in the world, or OWNER_NODE */
	bool local;   /* an address of this node */
};

/* Sorted by address; those of nobody are left out. */
int owners_find(const struct world *world, struct arena *arena,
                struct owned **ret, size_t *ret_n);
