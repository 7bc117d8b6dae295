/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* floor.h - what floor.c puts into the maps of floor.bpf.c. */
#pragma once

#include <linux/types.h>

struct floor_pod {
	__u32 ifindex; /* host side of its veth */
	__u32 id;
	__u8 mac[6], host_mac[6];
};

struct floor_rule {
	__u32 pod, peer; /* receiver, sender: floor_pod.id */
	__be16 port;     /* 0 with proto 0: everything */
	__u8 proto;
	__u8 zero;
};
