// SPDX-License-Identifier: Apache-2.0
/* intern.c - see intern.h. */
#include "daemon/intern.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a. */
static uint32_t hash_of(const char *s, size_t len)
{
	uint32_t hash = 0x811c9dc5u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)s[i]) * 0x01000193u;
	return hash;
}

struct text *intern_get(struct intern *intern, const char *s, size_t len)
{
	const uint32_t hash = hash_of(s, len);
	struct text **bucket = &intern->bucket[hash % INTERN_BUCKETS];
	struct text *text = *bucket;

	while (text && (text->hash != hash || text->len != len ||
	                memcmp(text->s, s, len) != 0))
		text = text->next;
	if (text)
		return text_ref(text);
	text = malloc(sizeof(*text) + len + 1);
	if (!text)
		return NULL;
	*text = (struct text){
		.next = *bucket, .hash = hash, .refs = 1, .len = len};
	memcpy(text->s, s, len);
	text->s[len] = '\0';
	*bucket = text;
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
	struct text **at;

	if (!text || --text->refs)
		return;
	at = &intern->bucket[text->hash % INTERN_BUCKETS];
	while (*at != text)
		at = &(*at)->next;
	*at = text->next;
	intern->bytes -= sizeof(*text) + text->len + 1;
	free(text);
}

void intern_close(struct intern *intern)
{
	for (size_t i = 0; i < INTERN_BUCKETS; i++)
		while (intern->bucket[i]) {
			struct text *text = intern->bucket[i];

			intern->bucket[i] = text->next;
			free(text);
		}
	intern->bytes = 0;
}
