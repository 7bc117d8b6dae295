/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapwalk.h - every element of a BPF map, a batch at a time.
 *
 * A map of maps is walked through its inner maps.  What changes meanwhile may
 * be seen or missed, as always with the kernel's maps; nothing is seen torn
 * beyond what the datapath itself writes in place.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

#define MAPWALK_BATCH 256u

struct mapwalk {
	struct bpf_map_info info; /* of the map, or of the inner one walked */
	uint32_t value_size;      /* in memory: per-CPU maps have one a CPU */
	uint32_t n_cpus;          /* values an element; 1: not per CPU */
	bool nested;
	uint32_t outer; /* index of the inner map walked, when nested */

	/* private */
	int fd, inner_fd; /* borrowed; owned or -1 */
	uint32_t outer_n;
	uint8_t *keys, *values, *cursor;
	uint32_t n, at; /* of the batch */
	bool outer_begun, begun, drained, single;
	uint64_t steps, steps_max;
};

/* @fd: borrowed until the close.  Return: 0 or -errno with a sentence. */
int mapwalk_open(struct mapwalk *walk, int fd, struct err *err);
void mapwalk_close(struct mapwalk *walk);

/*
 * Return: 1 with key and value borrowed until the next call; 0 when this step
 * found none (call again); -ENODATA at the end; another -errno when the kernel
 * refused, the walk being over.
 */
int mapwalk_next(struct mapwalk *walk, const void **key, const void **value);

/* The map that the last element came from; borrowed. */
int mapwalk_fd(const struct mapwalk *walk);

/* "lru_hash" */
const char *map_type_name(uint32_t type);
