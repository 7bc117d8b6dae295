// SPDX-License-Identifier: Apache-2.0
/* labels.c - see labels.h. */
#include "policy/labels.h"

#include <errno.h>
#include <string.h>

static uint64_t pair_hash(const char *key, const char *value)
{
	return hash_bytes(value, strlen(value),
	                  hash_bytes(key, strlen(key), 0));
}

static struct label_list *list_find(const struct label_index *ix,
                                    const char *key, const char *value)
{
	uint64_t hash = pair_hash(key, value);
	size_t at = 0;
	uint32_t i;

	while (index_next(&ix->by_pair, hash, &at, &i))
		if (!strcmp(ix->list[i].key, key) &&
		    !strcmp(ix->list[i].value, value))
			return &ix->list[i];
	return NULL;
}

/* What to do with each label that is worth an index. */
struct pass {
	struct label_index *ix;
	struct arena *arena;
	int (*label)(struct pass *pass, const struct label *label, uint32_t of);
};

/* Both sorted: one walk. */
static int labels_walk(struct pass *pass, uint32_t of, const char *const *key,
                       size_t n_keys)
{
	const struct labels *labels = pass->ix->of[of];
	size_t k = 0;

	for (size_t i = 0; i < labels->n && k < n_keys;) {
		int cmp = strcmp(labels->item[i].key, key[k]);
		int r;

		if (cmp > 0) {
			k++;
			continue;
		}
		r = cmp ? 0 : pass->label(pass, &labels->item[i], of);
		if (r)
			return r;
		i++;
	}
	return 0;
}

static int pass_run(struct pass *pass, const char *const *key, size_t n_keys)
{
	for (size_t i = 0; i < pass->ix->n; i++) {
		int r = labels_walk(pass, (uint32_t)i, key, n_keys);

		if (r)
			return r;
	}
	return 0;
}

static int count_label(struct pass *pass, const struct label *label,
                       uint32_t of)
{
	struct label_index *ix = pass->ix;
	struct label_list *list = list_find(ix, label->key, label->value);

	(void)of;
	if (list) {
		list->n++;
		return 0;
	}
	ix->list[ix->n_lists] =
		(struct label_list){label->key, label->value, 0, 1};
	return index_put(&ix->by_pair, pass->arena,
	                 pair_hash(label->key, label->value),
	                 (uint32_t)ix->n_lists++);
}

static int place_label(struct pass *pass, const struct label *label,
                       uint32_t of)
{
	struct label_list *list = list_find(pass->ix, label->key, label->value);

	pass->ix->item[list->first + list->n++] = of;
	return 0;
}

int label_index_build(const struct labels *const *of, size_t n,
                      const char *const *key, size_t n_keys,
                      struct arena *arena, struct label_index *ret)
{
	struct label_index ix = {.of = of, .n = n};
	struct pass pass = {&ix, arena, count_label};
	size_t most = 0;
	uint32_t total = 0;

	for (size_t i = 0; i < n; i++)
		most += of[i]->n < n_keys ? of[i]->n : n_keys;
	ix.list = arena_array(arena, most, sizeof(*ix.list));
	ix.item = arena_array(arena, most, sizeof(*ix.item));
	if (!ix.list || !ix.item || pass_run(&pass, key, n_keys))
		return -ENOMEM;
	for (size_t i = 0; i < ix.n_lists; i++) {
		ix.list[i].first = total;
		total += ix.list[i].n;
		ix.list[i].n = 0;
	}
	pass.label = place_label;
	pass_run(&pass, key, n_keys);
	*ret = ix;
	return 0;
}

/* The first of @list that is not below @lo. */
static uint32_t list_from(const struct label_index *ix,
                          const struct label_list *list, uint32_t lo)
{
	uint32_t a = list->first, b = list->first + list->n;

	while (a < b) {
		uint32_t mid = a + (b - a) / 2;

		if (ix->item[mid] < lo)
			a = mid + 1;
		else
			b = mid;
	}
	return a;
}

static size_t list_select(const struct label_index *ix,
                          const struct label_list *list,
                          const struct selector *sel, const uint32_t range[2],
                          uint32_t *ret)
{
	size_t n = 0;

	for (uint32_t i = list_from(ix, list, range[0]);
	     i < list->first + list->n && ix->item[i] < range[1]; i++)
		if (selector_match(sel, ix->of[ix->item[i]]))
			ret[n++] = ix->item[i];
	return n;
}

static bool value_repeated(const struct requirement *req, size_t v)
{
	for (size_t i = 0; i < v; i++)
		if (!strcmp(req->values[i], req->values[v]))
			return true;
	return false;
}

size_t label_index_select(const struct label_index *ix,
                          const struct selector *sel, uint32_t lo, uint32_t hi,
                          uint32_t *ret)
{
	const struct requirement *in = NULL;
	const uint32_t range[2] = {lo, hi};
	size_t n = 0;

	/* What is In can only be where the value is. */
	for (size_t i = 0; i < sel->n; i++)
		if (sel->req[i].op == OP_IN &&
		    (!in || sel->req[i].n_values < in->n_values))
			in = &sel->req[i];
	for (uint32_t i = lo; i < hi && !in; i++)
		if (selector_match(sel, ix->of[i]))
			ret[n++] = i;
	for (size_t v = 0; in && v < in->n_values; v++) {
		const struct label_list *list =
			list_find(ix, in->key, in->values[v]);

		if (list && !value_repeated(in, v))
			n += list_select(ix, list, sel, range, ret + n);
	}
	return n;
}
