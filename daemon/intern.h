/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intern.h - equal texts stored once, counted, and forgotten with their last
 * user.  What thousands of events have in common (names, reasons) costs each a
 * pointer.
 */
#pragma once

#include <stddef.h>
#include <uthash.h>

struct text {
	UT_hash_handle hh;
	unsigned refs;
	unsigned len;
	char s[];
};

struct intern {
	struct text *texts;
	size_t bytes; /* taken by all of them, handles included */
};

/* A reference to @s, the caller's to drop; NULL when out of memory. */
struct text *intern_get(struct intern *intern, const char *s, size_t len);
struct text *text_ref(struct text *text); /* NULL is allowed */
void intern_drop(struct intern *intern, struct text *text); /* NULL too */
/* All references must have been dropped. */
void intern_close(struct intern *intern);
