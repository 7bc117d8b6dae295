/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h - the node that bpfrun.h speaks of: devices, routes, pods. */
#pragma once

#include "test/lib/bpfrun.h"

/*
 * The devices and routes, made once in the life of the program.  Ends the
 * program when it is not alone: a network namespace that holds nothing but lo,
 * a bpffs of its own on /sys/fs/bpf.
 */
void rig_devices(uint32_t pod_if[BPFRUN_PODS], uint32_t *uplink_if);

/* Destinations whose route has a smaller MTU than the uplink's 1500. */
#define RIG_NARROW_MTU 1300
#define RIG_NARROW4    "198.51.100.9"
#define RIG_NARROW6    "2001:db8:100::9"
#define RIG_NODE4      "192.0.2.1"
#define RIG_NODE6      "2001:db8:9::1"
#define RIG_WORLD4     "203.0.113.9"
#define RIG_WORLD6     "2001:db8:200::9"
