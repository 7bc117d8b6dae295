// SPDX-License-Identifier: Apache-2.0
/* walk.c - fields of a manifest by type, and the sentence when one is wrong. */
#include "policy/parse.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/syntax.h"

__attribute__((format(printf, 2, 3))) static size_t step(struct parse *p,
                                                         const char *fmt, ...)
{
	size_t mark = p->depth, room = sizeof(p->path) - mark;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->path + mark, room, fmt, ap);
	va_end(ap);
	/* A path too long to say is cut; it serves the sentence only. */
	if (n > 0)
		p->depth += (size_t)n < room ? (size_t)n : room - 1;
	return mark;
}

size_t parse_enter(struct parse *p, const char *field)
{
	return step(p, "%s%.64s", p->depth ? "." : "", field);
}

size_t parse_enter_item(struct parse *p, const char *field, size_t i)
{
	return step(p, "%s%.64s[%zu]", p->depth ? "." : "", field, i);
}

void parse_leave(struct parse *p, size_t mark)
{
	p->depth = mark;
	p->path[mark] = 0;
}

int parse_each(struct parse *p, const char *field, json_t *list,
               int (*each)(struct parse *p, json_t *item, void *user),
               void *user)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const size_t mark = parse_enter_item(p, field, i);
		const int r = each(p, item, user);

		if (r)
			return r;
		parse_leave(p, mark);
	}
	return 0;
}

int parse_text(struct parse *p, json_t *item, const char **ret)
{
	*ret = json_string_value(item);
	return *ret ? 0 : parse_fail(p, "not a string");
}

int parse_fail(struct parse *p, const char *fmt, ...)
{
	char what[160];
	va_list ap;

	if (p->err->text[0])
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(p->err, -EINVAL, "%.63s %s%s%.99s: %s%s%s", p->kind,
	               p->ns ? p->ns : "", p->ns ? "/" : "",
	               p->name ? p->name : "(no name)", p->path,
	               p->depth ? ": " : "", what);
}

int parse_nomem(struct parse *p)
{
	return err_set(p->err, -ENOMEM,
	               "%.63s %s%s%.99s: no memory to read it; it is refused",
	               p->kind, p->ns ? p->ns : "", p->ns ? "/" : "",
	               p->name ? p->name : "(no name)");
}

void parse_conclude(struct parse *p, const char *text)
{
	size_t room = sizeof(p->err->text), n = strlen(text) + 3;
	size_t at = strlen(p->err->text);

	if (p->concluded)
		return;
	p->concluded = true;
	if (at > room - n)
		at = room - n;
	snprintf(p->err->text + at, room - at, "; %s", text);
}

json_t *parse_field(json_t *object, const char *field)
{
	json_t *value = json_object_get(object, field);

	return json_is_null(value) ? NULL : value;
}

static bool is_known(const char *field, const char *const *known)
{
	for (; *known; known++)
		if (!strcmp(field, *known))
			return true;
	return false;
}

int parse_known(struct parse *p, json_t *object, const char *const *known)
{
	const char *field;
	json_t *value;

	json_object_foreach(object, field, value)
	{
		if (!is_known(field, known))
			return parse_fail(p, "unknown field '%.63s'", field);
	}
	return 0;
}

int parse_object(struct parse *p, json_t *object, const char *field,
                 json_t **ret)
{
	json_t *value = parse_field(object, field);

	if (value && !json_is_object(value))
		return parse_fail(p, "'%s' is not a mapping", field);
	*ret = value;
	return 0;
}

int parse_list(struct parse *p, json_t *object, const char *field, json_t **ret)
{
	json_t *value = parse_field(object, field);

	if (value && !json_is_array(value))
		return parse_fail(p, "'%s' is not a list", field);
	*ret = value;
	return 0;
}

int parse_string(struct parse *p, json_t *object, const char *field,
                 const char **ret)
{
	json_t *value = parse_field(object, field);

	if (value && !json_is_string(value))
		return parse_fail(p, "'%s' is not a string", field);
	*ret = value ? json_string_value(value) : NULL;
	return 0;
}

int parse_copy(struct parse *p, const char *text, const char **ret)
{
	char *copy = arena_strdup(p->arena, text);

	if (!copy)
		return parse_nomem(p);
	*ret = copy;
	return 0;
}

int parse_bool(struct parse *p, json_t *object, const char *field,
               bool otherwise, bool *ret)
{
	json_t *value = parse_field(object, field);

	if (value && !json_is_boolean(value))
		return parse_fail(p, "'%s' is not true or false", field);
	*ret = value ? json_is_true(value) : otherwise;
	return 0;
}

int parse_addr(struct parse *p, const char *text, struct addr *list, size_t *n)
{
	struct addr addr;

	if (!text || addr_parse(text, &addr))
		return parse_fail(p, "'%.63s' is not an address",
		                  text ? text : "");
	for (size_t i = 0; i < *n; i++)
		if (!addr_compare(&list[i], &addr))
			return 0;
	list[(*n)++] = addr;
	return 0;
}

int parse_port(struct parse *p, json_t *value, uint16_t *ret)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value))
		return parse_fail(p, "not a whole number");
	if (n < 1 || n > 65535)
		return parse_fail(p, "%lld is not a port (1 to 65535)",
		                  (long long)n);
	*ret = (uint16_t)n;
	return 0;
}

int parse_protocol(struct parse *p, json_t *object, uint8_t *ret)
{
	const char *text = NULL;
	int r = parse_string(p, object, "protocol", &text);

	if (r)
		return r;
	if (!text || !strcmp(text, "TCP"))
		*ret = IPPROTO_TCP;
	else if (!strcmp(text, "UDP"))
		*ret = IPPROTO_UDP;
	else if (!strcmp(text, "SCTP"))
		*ret = IPPROTO_SCTP;
	else
		return parse_fail(p, "protocol '%.31s' is not TCP, UDP or SCTP",
		                  text);
	return 0;
}

static int label_compare(const void *a, const void *b)
{
	const struct label *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static int label_parse(struct parse *p, const char *key, json_t *value,
                       struct label *ret)
{
	int r;

	if (!syntax_is_label_key(key))
		return parse_fail(p, "'%.63s' is not a label key", key);
	if (!json_is_string(value))
		return parse_fail(p, "the value of '%.63s' is not a string",
		                  key);
	if (!syntax_is_label_value(json_string_value(value)))
		return parse_fail(p, "'%.63s' is not a label value",
		                  json_string_value(value));
	r = parse_copy(p, key, &ret->key);
	if (r)
		return r;
	return parse_copy(p, json_string_value(value), &ret->value);
}

int parse_labels(struct parse *p, json_t *object, struct labels *ret)
{
	struct labels labels = {};
	const char *key;
	json_t *value;
	int r;

	labels.item = arena_array(p->arena, json_object_size(object),
	                          sizeof(*labels.item));
	if (!labels.item)
		return parse_nomem(p);
	json_object_foreach(object, key, value)
	{
		r = label_parse(p, key, value, &labels.item[labels.n]);
		if (r)
			return r;
		labels.n++;
	}
	qsort(labels.item, labels.n, sizeof(*labels.item), label_compare);
	*ret = labels;
	return 0;
}
