/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.h - memory for everything computed in one go, freed in one go.
 *
 * Allocations are zeroed and aligned for any type; there is no free of one.
 * At the cap arena_alloc() returns NULL: the batch is refused as a whole.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "lib/util.h"

struct arena;

/* @cap_bytes 0: no cap.  Return: NULL when out of memory. */
struct arena *arena_new(size_t cap_bytes);
/* The same, its first block holding @first_bytes: for a size that is known. */
struct arena *arena_new_sized(size_t cap_bytes, size_t first_bytes);
void arena_free(struct arena *arena);
DEFINE_CLEANUP(struct arena *, arena_free)

void *arena_alloc(struct arena *arena, size_t bytes);
/* @n elements of @size bytes, overflow checked. */
void *arena_array(struct arena *arena, size_t n, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *arena,
                                                         const char *fmt, ...);
size_t arena_bytes(const struct arena *arena); /* taken from the system */
size_t arena_used(const struct arena *arena);  /* of them, by allocations */
