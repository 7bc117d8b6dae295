// SPDX-License-Identifier: Apache-2.0
/* arena.c - blocks in a list, each filled from its start. */
#include "lib/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Blocks double: thousands of small arenas live beside a few large ones. */
#define BLOCK_FIRST ((size_t)448)
#define BLOCK_LAST  ((size_t)32 * 1024)
#define ALIGN       ((size_t)16)

struct block {
	struct block *next;
	size_t size, used; /* of data */
	size_t tail;       /* at its end: text, which needs no alignment */
	char data[] __attribute__((aligned(16)));
};

struct arena {
	struct block *blocks; /* the one being filled first */
	size_t cap, taken;
	size_t next; /* bytes of the next block */
};

struct arena *arena_new(size_t cap_bytes)
{
	return arena_new_sized(cap_bytes, BLOCK_FIRST);
}

struct arena *arena_new_sized(size_t cap_bytes, size_t first_bytes)
{
	struct arena *arena = calloc(1, sizeof(*arena));

	if (!arena)
		return NULL;
	arena->cap = cap_bytes;
	arena->next = (first_bytes + ALIGN - 1) & ~(ALIGN - 1);
	return arena;
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	for (struct block *b = arena->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(arena);
}

static struct block *block_add(struct arena *arena, size_t bytes)
{
	const size_t room = arena->cap ? arena->cap - arena->taken : SIZE_MAX;
	size_t size = arena->next;
	struct block *b;

	if (size < bytes || size > room)
		size = bytes;
	if (size > room)
		return NULL;
	b = malloc(sizeof(*b) + size);
	if (!b)
		return NULL;
	b->size = size;
	b->used = b->tail = 0;
	b->next = arena->blocks;
	arena->blocks = b;
	arena->taken += size;
	arena->next = size < BLOCK_LAST / 2 ? size * 2 : BLOCK_LAST;
	return b;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	struct block *b = arena->blocks;
	char *p;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + ALIGN - 1) & ~(ALIGN - 1);
	if (!b || b->size - b->used - b->tail < bytes)
		b = block_add(arena, bytes);
	if (!b)
		return NULL;
	p = b->data + b->used;
	b->used += bytes;
	return memset(p, 0, bytes);
}

void *arena_array(struct arena *arena, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return arena_alloc(arena, bytes ? bytes : 1);
}

/* Room for text of @bytes, unaligned and not zeroed. */
static char *text_alloc(struct arena *arena, size_t bytes)
{
	struct block *b = arena->blocks;

	if (!b || b->size - b->used - b->tail < bytes)
		b = block_add(arena, bytes);
	if (!b)
		return NULL;
	b->tail += bytes;
	return b->data + b->size - b->tail;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	size_t n = strlen(text) + 1;
	char *p = text_alloc(arena, n);

	return p ? memcpy(p, text, n) : NULL;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return NULL;
	p = text_alloc(arena, (size_t)n + 1);
	if (!p)
		return NULL;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

size_t arena_bytes(const struct arena *arena)
{
	return arena->taken;
}

size_t arena_used(const struct arena *arena)
{
	size_t used = 0;

	for (const struct block *b = arena->blocks; b; b = b->next)
		used += b->used + b->tail;
	return used;
}
