/* SPDX-License-Identifier: Apache-2.0 */
/* kube_split_fuzz.c - an answer of the API server, however it is cut: the same
 * items, or the same refusal, as in one piece. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/kube_split.h"
#include "lib/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct taken {
	struct kube_split split;
	uint64_t hash; /* of all that came out */
	size_t n;
};

static int take(struct kube_split *self, const char *text, size_t len,
                struct err *err)
{
	struct taken *taken = container_of(self, struct taken, split);

	(void)err;
	if (len > KUBE_OBJECT_MAX) /* an empty one is the parser's to refuse */
		abort();
	for (size_t i = 0; i < len; i++)
		taken->hash =
			(taken->hash ^ (uint8_t)text[i]) * 0x100000001b3ull;
	taken->n++;
	return 0;
}

static int field(struct kube_split *self, const char *key, const char *text,
                 size_t len, struct err *err)
{
	return take(self, key, strlen(key) + 1, err) +
	       take(self, text, len, err);
}

/* In pieces of @step bytes, 0: in one. */
static int split_all(struct taken *taken, const char *text, size_t size,
                     size_t step)
{
	struct err err = {};
	int r = 0;

	kube_split_reset(&taken->split);
	for (size_t at = 0; !r && at < size; at += step ? step : size) {
		const size_t left = size - at;

		r = kube_split_push(&taken->split, text + at,
		                    step && step < left ? step : left, &err);
	}
	if (!r != !err.text[0])
		abort();
	if (!r && kube_split_whole(&taken->split))
		taken->hash++;
	kube_split_free(&taken->split);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(free_p) char *text = malloc(size ? size : 1);

	memcpy(text, data, size);
	for (int mode = KUBE_SPLIT_LIST; mode <= KUBE_SPLIT_EVENTS; mode++) {
		const struct taken empty = {
			.split = {.mode = (enum kube_split_mode)mode,
		                  .item = take,
		                  .field = field}
                };
		struct taken whole = empty;
		const int r = split_all(&whole, text, size, 0);

		for (size_t step = 1; step < 4; step++) {
			struct taken cut = empty;

			if (split_all(&cut, text, size, step) != r ||
			    cut.n != whole.n || cut.hash != whole.hash)
				abort();
		}
	}
	return 0;
}
