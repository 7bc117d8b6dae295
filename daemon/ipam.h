/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipam.h - addresses of this node's pods, from one CIDR a family.
 *
 * Round robin through the range, so that a freed address rests as long as
 * possible, and at least IPAM_QUARANTINE_NS when others are free.  The network
 * and broadcast addresses and the first host address are never given out.
 * Which are in use is derived: at start the endpoints' addresses are taken
 * again.  What was given last, and when each was freed, is kept in a file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "policy/policy.h"

#define IPAM_QUARANTINE_NS (30ull * 1000000000)
#define IPAM_RANGE_MAX     65536u /* addresses used of a larger CIDR */

struct ipam {
	struct prefix cidr;
	uint32_t size, next, used; /* of the range */
	uint64_t *freed_ns; /* by index: 0 never used, 1 in use, else when freed
	                     */
	bool enabled;
	bool resumed;   /* next is of the file */
	char path[300]; /* of the file; empty: none */
};

int ipam_open(struct ipam *ipam, const struct prefix *cidr, struct err *err);
void ipam_close(struct ipam *ipam);
/*
 * Go on from where <state-dir>/@name says that the last daemon was, and keep it
 * up to date; before the first ipam_take().  What another CIDR left there, or
 * somebody else, is overwritten.  Without the file (@err says why) addresses
 * that were freed before the next restart do not rest over it.
 */
int ipam_keep(struct ipam *ipam, const char *state_dir, const char *name,
              uint64_t now_ns, struct err *err);
/* -ENOSPC with a sentence when every address is in use or quarantined. */
int ipam_alloc(struct ipam *ipam, uint64_t now_ns, struct addr *ret,
               struct err *err);
/* -ERANGE when it is none that we give, -EEXIST when it is in use already. */
int ipam_take(struct ipam *ipam, const struct addr *addr);
void ipam_free(struct ipam *ipam, const struct addr *addr, uint64_t now_ns);
/* Would ipam_alloc() find one? */
bool ipam_has_free(const struct ipam *ipam, uint64_t now_ns);
