/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hop.h - what hop.c tells hop.bpf.c. */
#pragma once

#include <linux/types.h>

struct hop {
	__u32 pod, exit; /* ifindex of the pod's veth, of the way out */
	__u32 remote;    /* the other node, host order; 0: no tunnel */
	__u8 mac[6];     /* of the pod */
	__u8 zero[2];
};
