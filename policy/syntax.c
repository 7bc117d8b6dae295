// SPDX-License-Identifier: Apache-2.0
/* syntax.c - see syntax.h. */
#include "policy/syntax.h"

#include <stddef.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static bool in(char c, const char *set)
{
	return c && strchr(set, c);
}

/* The @n bytes at @text: all from @all, first and last from @ends. */
static bool made_of(const char *text, size_t n, const char *all,
                    const char *ends)
{
	if (!n || !in(text[0], ends) || !in(text[n - 1], ends))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!in(text[i], all))
			return false;
	return true;
}

static bool is_dns_label(const char *text, size_t n)
{
	return n <= 63 && made_of(text, n, LOWER DIGIT "-", LOWER DIGIT);
}

static bool is_dns_name(const char *text, size_t n)
{
	const char *end = text + n;

	if (n > 253)
		return false;
	for (;;) {
		const char *dot = memchr(text, '.', (size_t)(end - text));
		size_t part = (size_t)((dot ? dot : end) - text);

		/* A name's parts may be longer than a label's 63. */
		if (!made_of(text, part, LOWER DIGIT "-", LOWER DIGIT))
			return false;
		if (!dot)
			return true;
		text = dot + 1;
	}
}

/* The part of a label key behind the prefix, and a value that is not empty. */
static bool is_qualified(const char *text)
{
	size_t n = strlen(text);

	return n <= 63 &&
	       made_of(text, n, LOWER UPPER DIGIT "-_.", LOWER UPPER DIGIT);
}

bool syntax_is_dns_label(const char *text)
{
	return is_dns_label(text, strlen(text));
}

bool syntax_is_dns_name(const char *text)
{
	return is_dns_name(text, strlen(text));
}

bool syntax_is_label_key(const char *text)
{
	const char *slash = strchr(text, '/');

	if (slash && !is_dns_name(text, (size_t)(slash - text)))
		return false;
	return is_qualified(slash ? slash + 1 : text);
}

bool syntax_is_label_value(const char *text)
{
	return !*text || is_qualified(text);
}

bool syntax_is_port_name(const char *text)
{
	size_t n = strlen(text);

	return n <= 15 && made_of(text, n, LOWER DIGIT "-", LOWER DIGIT) &&
	       strcspn(text, LOWER) < n && !strstr(text, "--");
}
