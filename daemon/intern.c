// SPDX-License-Identifier: Apache-2.0
/* intern.c - see intern.h. */
#include "daemon/intern.h"

#include <stdlib.h>
#include <string.h>

struct text *intern_get(struct intern *intern, const char *s, size_t len)
{
	struct text *text;

	HASH_FIND(hh, intern->texts, s, len, text);
	if (text)
		return text_ref(text);
	text = malloc(sizeof(*text) + len + 1);
	if (!text)
		return NULL;
	text->refs = 1;
	text->len = (unsigned)len;
	memcpy(text->s, s, len);
	text->s[len] = '\0';
	HASH_ADD_KEYPTR(hh, intern->texts, text->s, len, text);
	intern->bytes += sizeof(*text) + len + 1;
	return text;
}

struct text *text_ref(struct text *text)
{
	if (text)
		text->refs++;
	return text;
}

void intern_drop(struct intern *intern, struct text *text)
{
	if (!text || --text->refs)
		return;
	intern->bytes -= sizeof(*text) + text->len + 1;
	HASH_DEL(intern->texts, text);
	free(text);
}

void intern_close(struct intern *intern)
{
	struct text *text, *next;

	HASH_ITER(hh, intern->texts, text, next)
	{
		HASH_DEL(intern->texts, text);
		free(text);
	}
	intern->bytes = 0;
}
