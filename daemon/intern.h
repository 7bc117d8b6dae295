/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intern.h - equal texts stored once, counted, and forgotten with their last
 * user.  What thousands of events have in common (names, reasons) costs each a
 * pointer.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define INTERN_BUCKETS 1024u

struct text {
	struct text *next; /* of its bucket */
	uint32_t hash, refs;
	size_t len;
	char s[];
};

struct intern {
	struct text *bucket[INTERN_BUCKETS];
	size_t bytes; /* taken by all texts */
};

/* A reference to @s, the caller's to drop; NULL when out of memory. */
struct text *intern_get(struct intern *intern, const char *s, size_t len);
struct text *text_ref(struct text *text); /* NULL is allowed */
void intern_drop(struct intern *intern, struct text *text); /* NULL too */
/* Frees what is left, referenced or not. */
void intern_close(struct intern *intern);
