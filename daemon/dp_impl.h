/* SPDX-License-Identifier: Apache-2.0 */
/* dp_impl.h - what the dp_*.c files share, and nobody else sees. */
#pragma once

#include "daemon/dp.h"

struct datapath; /* the skeleton */
struct bpf_object;

enum dp_stub {
	STUB_FROM_POD,
	STUB_TO_POD,
	STUB_FROM_NET,
	STUB_TO_NET,
	STUB_FROM_TUNNEL,
	STUB_TO_TUNNEL,
	STUB__COUNT
};
extern const char *const dp_stub_name[STUB__COUNT];

/*
 * A slot's life: empty (no maps) -> fresh (empty maps) -> live -> retired
 * (nothing points at it, yet a program may still hold its number) -> rested (a
 * grace period later) -> fresh again, with new maps.
 */
enum slot_state {
	SLOT_STATE_EMPTY,
	SLOT_STATE_FRESH,
	SLOT_STATE_LIVE,
	SLOT_STATE_RETIRED,
	SLOT_STATE_RESTED,
};

#define DP_KEPT_MAX 32

/* A map or program once the object is closed. */
struct dp_kept {
	char name[32];
	int fd;
};

struct dp {
	struct datapath *skel;  /* NULL once it is open */
	struct bpf_object *obj; /* of skel */
	struct dp_kept map[DP_KEPT_MAX], prog[DP_KEPT_MAX];
	int n_maps, n_progs;
	char pin_dir[256];
	bool adopted;
	int stub_fd[STUB__COUNT];             /* the pinned ones */
	int policies_fd, ranges_fd, slots_fd; /* borrowed */
	struct epochs *epochs;                /* mapped */
	int n_cpus;
	struct {
		uint8_t state;   /* enum slot_state */
		bool has_ranges; /* its trie was written to */
		uint32_t room;   /* entries that its policy map can hold */
	} slot[SLOT_MAX];
};

/* ---- dp_pin.c ---------------------------------------------------------- */

/* Make a directory on a bpffs, unless it is there. */
int dp_dir_make(const char *path, struct err *err);
/* Before the load: reuse what is pinned; -EEXIST when a layout differs. */
int dp_pins_adopt(struct dp *dp, struct err *err);
/* After it: pin what is not, stubs last. */
int dp_pins_write(struct dp *dp, struct err *err);

/* ---- dp_slot.c: inner maps, when they are renewed ---------------------- */

int dp_policy_map_new(__u32 entries);
int dp_range_map_new(__u32 entries);
/* The inner map at a place of an outer one, to be closed; -ENOENT. */
int dp_inner_fd(int outer, __u32 place);

/* Learn what the slots hold; the reserved two, and fresh ones, are made. */
int dp_slots_open(struct dp *dp, struct err *err);
