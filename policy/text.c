// SPDX-License-Identifier: Apache-2.0
/* text.c - see text.h. */
#include "policy/text.h"

#include <stdio.h>
#include <string.h>

void text_put(struct text *text, const void *bytes, size_t n)
{
	if (text->cap - text->n < n) {
		size_t cap = (text->cap + n) * 2;
		char *grown = arena_alloc(text->arena, cap);

		if (!grown) {
			text->failed = true;
			return;
		}
		if (text->n)
			memcpy(grown, text->byte, text->n);
		text->byte = grown;
		text->cap = cap;
	}
	if (n)
		memcpy(text->byte + text->n, bytes, n);
	text->n += n;
}

void text_puts(struct text *text, const char *string)
{
	text_put(text, string, strlen(string));
}

static bool plain(char c, const char *also)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
	       strchr(also, c);
}

void text_escape(struct text *text, const char *string, const char *also)
{
	const char *from = string;

	for (; *string; string++) {
		char hex[4];

		if (plain(*string, also))
			continue;
		text_put(text, from, (size_t)(string - from));
		snprintf(hex, sizeof(hex), "%%%02X", (unsigned char)*string);
		text_put(text, hex, 3);
		from = string + 1;
	}
	text_put(text, from, (size_t)(string - from));
}

void text_number(struct text *text, unsigned int number)
{
	char digits[12];

	text_put(text, digits,
	         (size_t)snprintf(digits, sizeof(digits), "%u", number));
}
