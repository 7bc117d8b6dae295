/* SPDX-License-Identifier: Apache-2.0 */
/*
 * labels.h - which of many label sets a selector matches, without asking all.
 *
 * Inside policy/ only.  For every pair of a key and a value: the ascending
 * list of those that have it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/index.h"
#include "policy/policy.h"

struct label_list {
	const char *key, *value;
	uint32_t first, n; /* in label_index.item */
};

struct label_index {
	const struct labels *const *of; /* borrowed */
	size_t n;
	struct label_list *list;
	size_t n_lists;
	uint32_t *item;
	struct index by_pair;
};

/* @key: the keys worth an index, sorted. */
int label_index_build(const struct labels *const *of, size_t n,
                      const char *const *key, size_t n_keys,
                      struct arena *arena, struct label_index *ret);

/* Those in [lo, hi) that @sel matches go to @ret, which has room for hi - lo
 * of them.  Return: how many. */
size_t label_index_select(const struct label_index *ix,
                          const struct selector *sel, uint32_t lo, uint32_t hi,
                          uint32_t *ret);
