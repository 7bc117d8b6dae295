// SPDX-License-Identifier: Apache-2.0
/* kube_split.c - see kube_split.h. */
#include "daemon/kube_split.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

#define ROOM_FIRST ((size_t)8192)
#define ROOM_KEPT  ((size_t)65536) /* what is larger is given back */

enum state {
	STATE_BEFORE, /* an object is to come */
	STATE_MEMBER, /* of the list: a key, or its end */
	STATE_KEY,
	STATE_COLON,
	STATE_START, /* of a member's value */
	STATE_ITEM,  /* an item, or the end of them */
	STATE_VALUE,
	STATE_DONE,
};

void kube_split_reset(struct kube_split *split)
{
	split->state = STATE_BEFORE;
	split->in_items = false;
	split->used = 0;
}

void kube_split_free(struct kube_split *split)
{
	free(split->text);
	split->text = NULL;
	split->used = split->room = 0;
}

bool kube_split_whole(const struct kube_split *split)
{
	return split->state ==
	       (split->mode == KUBE_SPLIT_LIST ? STATE_DONE : STATE_BEFORE);
}

/* ---- a value ------------------------------------------------------------- */

static void value_begin(struct kube_split *split, char first)
{
	split->state = STATE_VALUE;
	split->depth = 0;
	split->in_string = split->escaped = false;
	split->scalar = first != '{' && first != '[' && first != '"';
	split->used = 0;
}

static bool is_after_scalar(char c)
{
	return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' ||
	       c == '\r' || c == '\n';
}

/* A byte inside a string; is it the last of a string that is the value? */
static bool string_step(struct kube_split *split, char c)
{
	if (split->escaped)
		split->escaped = false;
	else if (c == '\\')
		split->escaped = true;
	else if (c == '"')
		split->in_string = false;
	return !split->in_string && !split->depth;
}

/* How many of the bytes are the value's. */
static size_t value_scan(struct kube_split *split, const char *data, size_t len,
                         bool *ret_ended)
{
	for (size_t i = 0; i < len; i++) {
		const char c = data[i];
		bool ended = false;

		if (split->scalar && is_after_scalar(c)) {
			*ret_ended = true;
			return i;
		}
		if (split->in_string) {
			ended = string_step(split, c);
		} else if (c == '"') {
			split->in_string = true;
		} else if (c == '{' || c == '[') {
			split->depth++;
		} else if ((c == '}' || c == ']') && split->depth) {
			ended = !--split->depth;
		}
		if (ended) {
			*ret_ended = true;
			return i + 1;
		}
	}
	return len;
}

static int value_keep(struct kube_split *split, const char *data, size_t len,
                      struct err *err)
{
	size_t room = split->room ? split->room : ROOM_FIRST;
	char *text;

	if (len > KUBE_OBJECT_MAX - split->used)
		return err_set(err, -E2BIG, "an object of more than %u MiB",
		               KUBE_OBJECT_MAX >> 20);
	while (room < split->used + len)
		room *= 2;
	if (room != split->room) {
		text = realloc(split->text, room);
		if (!text)
			return err_set(err, -ENOMEM, "out of memory");
		split->text = text;
		split->room = room;
	}
	memcpy(split->text + split->used, data, len);
	split->used += len;
	return 0;
}

static int value_end(struct kube_split *split, struct err *err)
{
	const bool is_item =
		split->in_items || split->mode == KUBE_SPLIT_EVENTS;
	int r = 0;

	if (is_item)
		r = split->item(split, split->text, split->used, err);
	else if (split->field)
		r = split->field(split, split->key, split->text, split->used,
		                 err);
	split->used = 0;
	if (split->room > ROOM_KEPT)
		kube_split_free(split);
	if (split->mode == KUBE_SPLIT_EVENTS)
		split->state = STATE_BEFORE;
	else
		split->state = split->in_items ? STATE_ITEM : STATE_MEMBER;
	return r;
}

/* ---- what is around it --------------------------------------------------- */

static int unexpected(char c, struct err *err)
{
	return err_set(err, -EINVAL, "no JSON: a byte 0x%02x where none may be",
	               (unsigned char)c);
}

static int member_step(struct kube_split *split, char c, struct err *err)
{
	if (c == ',')
		return 0;
	if (c != '"' && c != '}')
		return unexpected(c, err);
	split->state = c == '"' ? STATE_KEY : STATE_DONE;
	split->key_len = 0;
	return 0;
}

static int key_step(struct kube_split *split, char c)
{
	if (c == '"') {
		split->key[split->key_len] = '\0';
		split->state = STATE_COLON;
	} else if (split->key_len + 1 < sizeof(split->key)) {
		split->key[split->key_len++] = c;
	}
	return 0;
}

static int item_step(struct kube_split *split, char c, struct err *err)
{
	if (c == ',')
		return 0;
	if (c == ']') {
		split->in_items = false;
		split->state = STATE_MEMBER;
		return 0;
	}
	if (c != '{')
		return unexpected(c, err);
	value_begin(split, c);
	return 0;
}

static int start_step(struct kube_split *split, char c)
{
	if (c == '[' && !strcmp(split->key, "items")) {
		split->in_items = true;
		split->state = STATE_ITEM;
	} else {
		value_begin(split, c);
	}
	return 0;
}

/* One byte outside of a value.  The first byte of a value leads to it and is
 * taken with it. */
static int step(struct kube_split *split, char c, struct err *err)
{
	if (split->state == STATE_KEY)
		return key_step(split, c);
	if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
		return 0;
	switch (split->state) {
	case STATE_BEFORE:
		if (c != '{')
			return unexpected(c, err);
		if (split->mode == KUBE_SPLIT_EVENTS)
			value_begin(split, c);
		else
			split->state = STATE_MEMBER;
		return 0;
	case STATE_MEMBER:
		return member_step(split, c, err);
	case STATE_COLON:
		split->state = STATE_START;
		return c == ':' ? 0 : unexpected(c, err);
	case STATE_START:
		return start_step(split, c);
	case STATE_ITEM:
		return item_step(split, c, err);
	default:
		return unexpected(c, err);
	}
}

int kube_split_push(struct kube_split *split, const char *data, size_t len,
                    struct err *err)
{
	size_t at = 0;
	int r = 0;

	while (!r && at < len) {
		bool ended = false;
		size_t n;

		if (split->state != STATE_VALUE) {
			r = step(split, data[at], err);
			at += split->state != STATE_VALUE;
			continue;
		}
		n = value_scan(split, data + at, len - at, &ended);
		r = value_keep(split, data + at, n, err);
		at += n;
		if (!r && ended)
			r = value_end(split, err);
	}
	return r;
}
