/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpfworld.h - a compiled world in the kernel's maps, and packets through it.
 *
 * Endpoint N stands on the rig's device of pod N.
 */
#pragma once

#include "policy/policy.h"
#include "test/lib/bpfrun.h"
#include "test/lib/world.h"

/* A datapath without masquerade, whose only uplink is the rig's. */
void bpfworld_open(struct bpfrun *run);
/* Put all of @compiled; endpoints that it does not name are closed. */
void bpfworld_load(struct bpfrun *run, const struct compiled *compiled);
/* Remove what bpfworld_load() put; its slots retire. */
void bpfworld_unload(struct bpfrun *run, const struct compiled *compiled);

/* How a probe's packet meets the datapath, and what policy decides on it. */
struct visit {
	enum hook hook;
	uint32_t ifindex;
	struct spec spec;
	const struct pod *pod[2]; /* source, destination; NULL: no pod here */
	uint16_t endpoint[2];
};

/*
 * @way: even or odd, one of two ways where there are two: through the stack,
 * or off the wire.  @sport: of the packet, or its echo id.
 * False: no such packet exists (a martian, ICMP of the other family, …) or
 * none of its ends is a pod here.
 */
bool visit_make(const struct bpfrun *run, const struct world *world,
                const struct compiled *compiled, const struct probe *probe,
                unsigned int way, uint16_t sport, struct visit *ret);
