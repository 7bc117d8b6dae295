/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - bytes put one behind the other, to compare and to hash.
 *
 * A failed allocation is remembered: put what you like, then ask text_failed().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/arena.h"

struct text {
	struct arena *arena;
	char *byte; /* not terminated */
	size_t n, cap;
	bool failed;
};

static inline bool text_failed(const struct text *text)
{
	return text->failed;
}

void text_put(struct text *text, const void *bytes, size_t n);
void text_puts(struct text *text, const char *string);
/* All but letters, digits, '-', '_', '.' and @also become %XX. */
void text_escape(struct text *text, const char *string, const char *also);
void text_number(struct text *text, unsigned int number);
