/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lookup_counts.h - map operations by enum bpf_map_type, for both sides. */
#pragma once

#include <linux/types.h>

#define LOOKUP_KINDS 64 /* more than enum bpf_map_type has */

struct lookup_counts {
	__u64 lookups[LOOKUP_KINDS];
	__u64 updates[LOOKUP_KINDS];
};
