/* SPDX-License-Identifier: Apache-2.0 */
/* desired.h - what the maps should hold, in the plan's terms.  Pure. */
#pragma once

#include <stdbool.h>

#include "daemon/plan.h"

/* Which other node has an address, or a prefix of pods. */
struct desired_node {
	struct addr addr;
	uint16_t number;
};

struct desired_cidr {
	struct prefix prefix;
	uint16_t number;
};

struct desired_input {
	const struct compiled *compiled;
	const struct endpoint *endpoint; /* ENDPOINT_MAX; ifindex 0: none */
	const bool *keep; /* ENDPOINT_MAX: its slot stays, see plan_endpoint */
	const bool (*shut)[DIR__COUNT]; /* ENDPOINT_MAX: of those; NULL: none */
	struct prefix pool[FAMILY__COUNT]; /* pods' CIDRs of this node */
	bool has_pool[FAMILY__COUNT];
	const struct desired_node *node; /* of whole addresses, sorted */
	size_t n_nodes;
	const struct desired_cidr *cidr; /* other nodes' pods; none overlap */
	size_t n_cidrs;
};

/* Return: 0 or -ENOMEM.  @ret borrows the tables of the compiled world. */
int desired_build(const struct desired_input *input, struct arena *arena,
                  struct state *ret);
