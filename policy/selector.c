// SPDX-License-Identifier: Apache-2.0
/* selector.c - label selectors: reading and matching. */
#include <errno.h>
#include <string.h>

#include "policy/parse.h"
#include "policy/syntax.h"

static int one_value(struct parse *p, const char *text, const char **ret)
{
	if (!text || !syntax_is_label_value(text))
		return parse_fail(p, "'%.63s' is not a label value",
		                  text ? text : "");
	return parse_copy(p, text, ret);
}

static int match_label_parse(struct parse *p, const char *key, json_t *value,
                             struct requirement *ret)
{
	int r;

	if (!syntax_is_label_key(key))
		return parse_fail(p, "'%.63s' is not a label key", key);
	ret->op = OP_IN;
	ret->values = arena_array(p->arena, 1, sizeof(*ret->values));
	if (!ret->values)
		return parse_nomem(p);
	r = one_value(p, json_string_value(value), &ret->values[0]);
	if (r)
		return r;
	ret->n_values = 1;
	return parse_copy(p, key, &ret->key);
}

static int op_parse(struct parse *p, const char *text, enum selector_op *ret)
{
	static const char *const names[] = {
		[OP_IN] = "In",
		[OP_NOT_IN] = "NotIn",
		[OP_EXISTS] = "Exists",
		[OP_NOT_EXISTS] = "DoesNotExist",
	};

	for (size_t i = 0; text && i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			*ret = (enum selector_op)i;
			return 0;
		}
	return parse_fail(p,
	                  "operator '%.31s' is not In, NotIn, Exists or "
	                  "DoesNotExist",
	                  text ? text : "");
}

static int values_parse(struct parse *p, json_t *list, struct requirement *ret)
{
	bool wanted = ret->op == OP_IN || ret->op == OP_NOT_IN;
	json_t *item;
	size_t i;

	if (wanted != (json_array_size(list) > 0))
		return parse_fail(p, wanted ? "the operator needs values"
		                            : "the operator takes no values");
	ret->values = arena_array(p->arena, json_array_size(list),
	                          sizeof(*ret->values));
	if (!ret->values)
		return parse_nomem(p);
	json_array_foreach(list, i, item)
	{
		int r = one_value(p, json_string_value(item), &ret->values[i]);

		if (r)
			return r;
	}
	ret->n_values = json_array_size(list);
	return 0;
}

static int expression_parse(struct parse *p, json_t *object, void *user)
{
	struct selector *to = user;
	struct requirement *ret = &to->req[to->n];
	static const char *const known[] = {"key", "operator", "values", NULL};
	const char *key = NULL, *op = NULL;
	json_t *values = NULL;
	int r;

	if (!json_is_object(object))
		return parse_fail(p, "not a mapping");
	r = parse_known(p, object, known);
	if (!r)
		r = parse_string(p, object, "key", &key);
	if (!r)
		r = parse_string(p, object, "operator", &op);
	if (!r)
		r = parse_list(p, object, "values", &values);
	if (!r)
		r = op_parse(p, op, &ret->op);
	if (r)
		return r;
	if (!key || !syntax_is_label_key(key))
		return parse_fail(p, "'%.63s' is not a label key",
		                  key ? key : "");
	r = values_parse(p, values, ret);
	if (!r)
		r = parse_copy(p, key, &ret->key);
	to->n += !r;
	return r;
}

static int labels_part(struct parse *p, json_t *labels, struct selector *ret)
{
	size_t mark = parse_enter(p, "matchLabels");
	const char *key;
	json_t *value;

	json_object_foreach(labels, key, value)
	{
		int r = match_label_parse(p, key, value, &ret->req[ret->n]);

		if (r)
			return r;
		ret->n++;
	}
	parse_leave(p, mark);
	return 0;
}

int selector_parse(struct parse *p, json_t *object, struct selector *ret)
{
	static const char *const known[] = {"matchLabels", "matchExpressions",
	                                    NULL};
	json_t *labels = NULL, *list = NULL;
	struct selector sel = {};
	int r = parse_known(p, object, known);

	if (!r)
		r = parse_object(p, object, "matchLabels", &labels);
	if (!r)
		r = parse_list(p, object, "matchExpressions", &list);
	if (r)
		return r;
	sel.req = arena_array(p->arena,
	                      json_object_size(labels) + json_array_size(list),
	                      sizeof(*sel.req));
	if (!sel.req)
		return parse_nomem(p);
	r = labels_part(p, labels, &sel);
	if (!r)
		r = parse_each(p, "matchExpressions", list, expression_parse,
		               &sel);
	if (r)
		return r;
	*ret = sel;
	return 0;
}

static const char *label_value(const struct labels *labels, const char *key)
{
	size_t lo = 0, hi = labels->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(key, labels->item[mid].key);

		if (!cmp)
			return labels->item[mid].value;
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

static bool value_listed(const struct requirement *req, const char *value)
{
	for (size_t i = 0; i < req->n_values; i++)
		if (!strcmp(req->values[i], value))
			return true;
	return false;
}

static bool requirement_match(const struct requirement *req,
                              const struct labels *labels)
{
	const char *value = label_value(labels, req->key);

	switch (req->op) {
	case OP_IN:
		return value && value_listed(req, value);
	case OP_NOT_IN:
		return !value || !value_listed(req, value);
	case OP_EXISTS:
		return value;
	case OP_NOT_EXISTS:
		return !value;
	}
	return false;
}

bool selector_match(const struct selector *sel, const struct labels *labels)
{
	for (size_t i = 0; i < sel->n; i++)
		if (!requirement_match(&sel->req[i], labels))
			return false;
	return true;
}
