// SPDX-License-Identifier: Apache-2.0
/* yaml.c - see yaml.h.  Events of libyaml in, JSON out, by descent. */
#include "daemon/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "lib/util.h"

#define ANCHORS_MAX 256

struct anchor {
	char *name;    /* owned */
	json_t *value; /* owned */
	size_t nodes;  /* it stands for, aliases written out */
};

struct reader {
	yaml_parser_t parser;
	yaml_event_t event;                /* the current one */
	struct anchor anchor[ANCHORS_MAX]; /* of the current document */
	size_t n_anchors;
	size_t nodes; /* so far, aliases written out */
	struct err *err;
};

/* "line N: …"; @code. */
__attribute__((format(printf, 3, 4))) static int refuse(struct reader *r,
                                                        int code,
                                                        const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(r->err, code, "line %zu: %s",
	               r->event.start_mark.line + 1, text);
}

static int event_next(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;

	yaml_event_delete(&r->event);
	if (yaml_parser_parse(&r->parser, &r->event))
		return 0;
	memset(&r->event, 0, sizeof(r->event));
	if (p->error == YAML_MEMORY_ERROR)
		return err_set(r->err, -ENOMEM, "out of memory");
	return err_set(r->err, -EINVAL, "line %zu: %s%s%s",
	               p->problem_mark.line + 1,
	               p->problem ? p->problem : "not YAML",
	               p->context ? ", " : "", p->context ? p->context : "");
}

static void anchors_clear(struct reader *r)
{
	while (r->n_anchors) {
		struct anchor *anchor = &r->anchor[--r->n_anchors];

		free(anchor->name);
		json_decref(anchor->value);
	}
}

static void reader_close(struct reader *r)
{
	anchors_clear(r);
	yaml_event_delete(&r->event);
	yaml_parser_delete(&r->parser);
}
DEFINE_CLEANUP(struct reader *, reader_close)

/* The event's anchor; the caller owns it now. */
static char *anchor_take(yaml_event_t *event)
{
	yaml_char_t *name = NULL;

	if (event->type == YAML_SCALAR_EVENT)
		name = TAKE(event->data.scalar.anchor);
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		name = TAKE(event->data.sequence_start.anchor);
	else if (event->type == YAML_MAPPING_START_EVENT)
		name = TAKE(event->data.mapping_start.anchor);
	return (char *)name;
}

/* The newest anchor of a name counts.  Takes @name. */
static int anchor_put(struct reader *r, char *name, json_t *value, size_t nodes)
{
	_cleanup_(free_p) char *owned = name;

	if (r->n_anchors == ANCHORS_MAX)
		return refuse(r, -E2BIG, "more than %d anchors in a document",
		              ANCHORS_MAX);
	r->anchor[r->n_anchors++] = (struct anchor){
		.name = TAKE(owned),
		.value = json_incref(value),
		.nodes = nodes,
	};
	return 0;
}

static int nodes_count(struct reader *r, size_t n)
{
	r->nodes += n;
	if (r->nodes > YAML_NODES_MAX)
		return refuse(r, -E2BIG,
		              "more than %u values, aliases written out",
		              YAML_NODES_MAX);
	return 0;
}

/* An anchor is known from its end on: no value can hold itself. */
static int alias_read(struct reader *r, json_t **ret)
{
	const char *name = (const char *)r->event.data.alias.anchor;

	for (size_t i = r->n_anchors; i; i--) {
		const struct anchor *anchor = &r->anchor[i - 1];

		if (strcmp(anchor->name, name) != 0)
			continue;
		*ret = json_incref(anchor->value);
		return nodes_count(r, anchor->nodes);
	}
	return refuse(r, -EINVAL, "alias '%.64s' has no anchor", name);
}

static const char *tag_short(const yaml_char_t *tag)
{
	static const char core[] = "tag:yaml.org,2002:";

	if (!tag || strncmp((const char *)tag, core, sizeof(core) - 1) != 0)
		return (const char *)tag;
	return (const char *)tag + sizeof(core) - 1;
}

/* Is what a scalar became what its tag says? */
static bool tag_agrees(const char *tag, const json_t *value)
{
	if (!strcmp(tag, "int"))
		return json_is_integer(value);
	if (!strcmp(tag, "float"))
		return json_is_number(value);
	if (!strcmp(tag, "bool"))
		return json_is_boolean(value);
	return !strcmp(tag, "null") && json_is_null(value);
}

static int scalar_read(struct reader *r, json_t **ret)
{
	const char *text = (const char *)r->event.data.scalar.value;
	const size_t len = r->event.data.scalar.length;
	const char *tag = tag_short(r->event.data.scalar.tag);
	_cleanup_(json_decrefp) json_t *value = NULL;

	if (memchr(text, '\0', len))
		return refuse(r, -EINVAL, "a NUL character in a string");
	if (tag ? !strcmp(tag, "str") || !strcmp(tag, "!")
	        : !r->event.data.scalar.plain_implicit)
		value = json_stringn_nocheck(text, len);
	else
		value = yaml_scalar(text, len);
	if (!value)
		return refuse(r, -EINVAL, "'%.64s' has no form in JSON", text);
	if (tag && !json_is_string(value) && !tag_agrees(tag, value))
		return refuse(r, -EINVAL, "'%.64s' is no %.64s", text, tag);
	if (tag && json_is_string(value) && strcmp(tag, "str") != 0 &&
	    strcmp(tag, "!") != 0)
		return refuse(r, -EINVAL, "the tag '%.64s' is not understood",
		              tag);
	*ret = TAKE(value);
	return 0;
}

static int node_read(struct reader *r, unsigned depth, json_t **ret);

static int sequence_read(struct reader *r, unsigned depth, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *list = json_array();
	const char *tag = tag_short(r->event.data.sequence_start.tag);

	if (tag && strcmp(tag, "seq") != 0 && strcmp(tag, "!") != 0)
		return refuse(r, -EINVAL, "the tag '%.64s' is not understood",
		              tag);
	for (;;) {
		json_t *item = NULL;
		int code = event_next(r);

		if (code)
			return code;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		code = node_read(r, depth + 1, &item);
		if (code)
			return code;
		if (json_array_append_new(list, item))
			return refuse(r, -ENOMEM, "out of memory");
	}
	*ret = TAKE(list);
	return 0;
}

/* The current scalar as a key, "" and @ret_merge for "<<"; owned by caller. */
static int key_read(struct reader *r, bool *ret_merge, char **ret)
{
	_cleanup_(json_decrefp) json_t *value = NULL;
	char *key = NULL;
	int code;

	if (r->event.type != YAML_SCALAR_EVENT)
		return refuse(r, -EINVAL, "a key that is no scalar");
	code = nodes_count(r, 1);
	if (!code)
		code = scalar_read(r, &value);
	if (code)
		return code;
	*ret_merge = r->event.data.scalar.plain_implicit &&
	             !strcmp((char *)r->event.data.scalar.value, "<<");
	if (json_is_string(value))
		key = strdup(json_string_value(value));
	else if (json_is_boolean(value))
		key = strdup(json_is_true(value) ? "true" : "false");
	else if (json_is_integer(value))
		key = json_dumps(value, JSON_ENCODE_ANY);
	else
		return refuse(r, -EINVAL, "'%.64s' as a key: quote it",
		              r->event.data.scalar.value);
	if (!key)
		return refuse(r, -ENOMEM, "out of memory");
	*ret = key;
	return 0;
}

/* What "<<" gives: a mapping, or several of which the first has its say. */
static int merge_collect(struct reader *r, json_t *from, json_t *merged)
{
	json_t *item;
	size_t i;

	if (json_is_object(from)) {
		if (json_object_update_missing(merged, from))
			return refuse(r, -ENOMEM, "out of memory");
		return 0;
	}
	if (!json_is_array(from))
		return refuse(r, -EINVAL, "'<<' needs a mapping");
	json_array_foreach(from, i, item)
	{
		if (!json_is_object(item))
			return refuse(r, -EINVAL, "'<<' needs mappings");
		if (json_object_update_missing(merged, item))
			return refuse(r, -ENOMEM, "out of memory");
	}
	return 0;
}

static int pair_read(struct reader *r, unsigned depth, json_t *map,
                     json_t *merged)
{
	_cleanup_(json_decrefp) json_t *value = NULL;
	_cleanup_(free_p) char *key = NULL;
	bool merge = false;
	int code = key_read(r, &merge, &key);

	if (!code && !merge && json_object_get(map, key))
		return refuse(r, -EINVAL, "the key '%.64s' a second time", key);
	if (!code)
		code = event_next(r);
	if (!code)
		code = node_read(r, depth + 1, &value);
	if (!code && merge)
		return merge_collect(r, value, merged);
	if (!code && json_object_set_new_nocheck(map, key, TAKE(value)))
		return refuse(r, -ENOMEM, "out of memory");
	return code;
}

static int mapping_read(struct reader *r, unsigned depth, json_t **ret)
{
	_cleanup_(json_decrefp) json_t *map = json_object();
	_cleanup_(json_decrefp) json_t *merged = json_object();
	const char *tag = tag_short(r->event.data.mapping_start.tag);

	if (tag && strcmp(tag, "map") != 0 && strcmp(tag, "!") != 0)
		return refuse(r, -EINVAL, "the tag '%.64s' is not understood",
		              tag);
	for (;;) {
		int code = event_next(r);

		if (code)
			return code;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			break;
		code = pair_read(r, depth, map, merged);
		if (code)
			return code;
	}
	if (json_object_update_missing(map, merged))
		return refuse(r, -ENOMEM, "out of memory");
	*ret = TAKE(map);
	return 0;
}

/* The node that the current event begins; ends on its last event. */
static int node_read(struct reader *r, unsigned depth, json_t **ret)
{
	_cleanup_(free_p) char *anchor = anchor_take(&r->event);
	_cleanup_(json_decrefp) json_t *node = NULL;
	const size_t before = r->nodes;
	int code = nodes_count(r, 1);

	if (!code && depth > YAML_DEPTH_MAX)
		code = refuse(r, -E2BIG, "nested deeper than %u",
		              YAML_DEPTH_MAX);
	if (code)
		return code;
	if (r->event.type == YAML_ALIAS_EVENT)
		code = alias_read(r, &node);
	else if (r->event.type == YAML_SCALAR_EVENT)
		code = scalar_read(r, &node);
	else if (r->event.type == YAML_SEQUENCE_START_EVENT)
		code = sequence_read(r, depth, &node);
	else
		code = mapping_read(r, depth, &node);
	if (!code && anchor)
		code = anchor_put(r, TAKE(anchor), node, r->nodes - before);
	if (!code)
		*ret = TAKE(node);
	return code;
}

/* From document start to document end. */
static int document_read(struct reader *r, json_t *list)
{
	json_t *node = NULL;
	int code = event_next(r);

	if (!code)
		code = node_read(r, 1, &node);
	if (!code && !json_is_null(node) && json_array_append(list, node))
		code = refuse(r, -ENOMEM, "out of memory");
	json_decref(node);
	anchors_clear(r);
	return code ? code : event_next(r);
}

static int text_check(size_t len, struct err *err)
{
	if (len > YAML_BYTES_MAX)
		return err_set(err, -E2BIG, "larger than %u MiB",
		               YAML_BYTES_MAX >> 20);
	return 0;
}

int yaml_load(const char *text, size_t len, json_t **ret, struct err *err)
{
	_cleanup_(json_decrefp) json_t *list = json_array();
	struct reader reader = {.err = err};
	_cleanup_(reader_closep) struct reader *r = &reader;
	int code = text_check(len, err);

	if (!list || !yaml_parser_initialize(&r->parser))
		return err_set(err, -ENOMEM, "out of memory");
	yaml_parser_set_input_string(&r->parser, (const yaml_char_t *)text,
	                             len);
	while (!code) {
		code = event_next(r);
		if (!code && r->event.type == YAML_STREAM_END_EVENT)
			break;
		if (!code && r->event.type == YAML_DOCUMENT_START_EVENT)
			code = document_read(r, list);
	}
	if (!code)
		*ret = TAKE(list);
	return code;
}

static unsigned json_depth(const json_t *value)
{
	unsigned deepest = 0;
	const char *key;
	json_t *item;
	size_t i;

	json_array_foreach(value, i, item)
	{
		unsigned depth = json_depth(item);

		deepest = depth > deepest ? depth : deepest;
	}
	if (json_is_object(value))
		json_object_foreach((json_t *)value, key, item)
		{
			unsigned depth = json_depth(item);

			deepest = depth > deepest ? depth : deepest;
		}
	return deepest + 1;
}

static size_t blanks_skip(const char *text, size_t len, size_t at)
{
	while (at < len && strchr(" \t\r\n", text[at]) && text[at])
		at++;
	return at;
}

static size_t lines_count(const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	return n;
}

int yaml_load_json(const char *text, size_t len, json_t **ret, struct err *err)
{
	_cleanup_(json_decrefp) json_t *list = json_array();
	size_t at = blanks_skip(text, len, 0);
	int code = text_check(len, err);

	while (!code && at < len) {
		json_error_t why;
		json_t *doc = json_loadb(
			text + at, len - at,
			JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &why);

		if (!doc)
			return err_set(err, -EINVAL, "line %zu: %s",
			               lines_count(text, at) + (size_t)why.line,
			               why.text);
		if (json_depth(doc) > YAML_DEPTH_MAX)
			code = err_set(err, -E2BIG, "nested deeper than %u",
			               YAML_DEPTH_MAX);
		if (json_array_append_new(list, doc))
			return err_set(err, -ENOMEM, "out of memory");
		at = blanks_skip(text, len, at + (size_t)why.position);
	}
	if (!code)
		*ret = TAKE(list);
	return code;
}
