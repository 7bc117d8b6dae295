/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_numbers.h - numbers of other nodes, the same over restarts.
 *
 * <state-dir>/nodes.json: {"next": N, "numbers": {NAME: NUMBER, …}}, oldest
 * first.  A node that goes keeps its number until all others were given: no
 * flow can know a number by then whose node is another.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "lib/err.h"

struct peer_numbers {
	char path[300];
	json_t *number; /* {NAME: NUMBER} */
	uint16_t next;
	bool dirty;
	bool used[NODE_MAX]; /* by number */
};

/* A file that is not ours is moved aside, and @err says so (0 all the same). */
int peer_numbers_open(struct peer_numbers *numbers, const char *state_dir,
                      struct err *err);
void peer_numbers_close(struct peer_numbers *numbers);
/*
 * The number of @name, given when it has none: @wanted when that is free (0:
 * any).  @is_here: is a node of that name there now?  0 when all are in use.
 */
uint16_t peer_number(struct peer_numbers *numbers, const char *name,
                     uint16_t wanted,
                     bool (*is_here)(const char *name, void *user), void *user);
/* Write what changed; nothing may know a number that is not written. */
int peer_numbers_save(struct peer_numbers *numbers, struct err *err);
