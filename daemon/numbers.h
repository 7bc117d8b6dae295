/* SPDX-License-Identifier: Apache-2.0 */
/*
 * numbers.h - which number means which identity, over restarts.
 *
 * A number in force keeps its key; one that went out of force is retired: no
 * key gets it, also not the one that had it, until no slot knows it any more
 * and a file without it has been written.  So a number never changes its
 * meaning under a map, and a killed daemon finds nothing it could mistake.
 *
 * The file, <state-dir>/identities.json, is written after a pass, not in it:
 * {"identities": [[number, "key"], …], "retired": [number, …]}.  What it lacks
 * of the last moments is found in the maps, and retired.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/err.h"
#include "policy/policy.h"

struct numbers {
	char path[300];
	struct arena *arena;             /* of what the file said */
	const struct identity *in_force; /* sorted by number; borrowed */
	size_t n_in_force;
	uint32_t *retired; /* sorted */
	size_t n_retired, room_retired;
	bool dirty; /* the file is behind */
};

/* A file that cannot be read is moved aside; @err then says so (return 0). */
int numbers_open(struct numbers *numbers, const char *state_dir,
                 struct err *err);
void numbers_close(struct numbers *numbers);

/* A number that a map knows: retired, unless it is in force. */
int numbers_seen(struct numbers *numbers, uint32_t number);
/* For policy_compile(): in @arena.  0 or -ENOMEM. */
int numbers_prev(const struct numbers *numbers, struct arena *arena,
                 struct identity **ret, size_t *ret_n);
/* What is in force from now on; borrowed until the next call.  -ENOMEM. */
int numbers_take(struct numbers *numbers, const struct compiled *compiled);
/*
 * Write the file, leaving out retired numbers that @known denies; those are
 * free when it is written.
 */
int numbers_save(struct numbers *numbers,
                 bool (*known)(uint32_t number, void *user), void *user,
                 struct err *err);
