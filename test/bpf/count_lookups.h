/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * count_lookups.h - the datapath, counting its own map lookups by kind of map.
 *
 * Included ahead of bpf/datapath.bpf.c when lookups.bpf.o is built.  The kind
 * is read from the kernel's own struct bpf_map, so inner maps count as what
 * they are, and no lookup can escape by its name.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "test/bpf/lookup_counts.h"

struct bpf_map {
	enum bpf_map_type map_type;
} __attribute__((preserve_access_index));

struct lookup_counts lookup_counts; /* all of .bss */

static __always_inline void *lookup_counted(void *map, const void *key)
{
	__u32 kind = ((struct bpf_map *)map)->map_type;

	if (kind < LOOKUP_KINDS)
		lookup_counts.lookups[kind]++;
	return bpf_map_lookup_elem(map, key);
}

static __always_inline long update_counted(void *map, const void *key,
                                           const void *value, __u64 flags)
{
	__u32 kind = ((struct bpf_map *)map)->map_type;

	if (kind < LOOKUP_KINDS)
		lookup_counts.updates[kind]++;
	return bpf_map_update_elem(map, key, value, flags);
}

/* The helpers are function pointers: a use in parentheses is the helper. */
#define bpf_map_lookup_elem(map, key) lookup_counted(map, key)
#define bpf_map_update_elem(map, key, value, flags) \
	update_counted(map, key, value, flags)
