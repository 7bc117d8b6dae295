/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube_split.h - the API server's answers, taken apart while they arrive.
 *
 * A list of 10 000 pods is never in memory: each of its items is handed over
 * when its last byte is there, and forgotten.  A watch is a row of objects.
 * Where a value ends is all that is judged here; who gets it parses it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

#define KUBE_OBJECT_MAX (3u << 20) /* bytes; the API server takes no more */

enum kube_split_mode {
	KUBE_SPLIT_LIST,   /* one object; the elements of its "items" */
	KUBE_SPLIT_EVENTS, /* objects, one after another */
};

struct kube_split {
	enum kube_split_mode mode;
	/* An item, or an event: JSON, borrowed; 0 or -errno with a sentence. */
	int (*item)(struct kube_split *self, const char *text, size_t len,
	            struct err *err);
	/* Any other member of a list; NULL: none is wanted. */
	int (*field)(struct kube_split *self, const char *key, const char *text,
	             size_t len, struct err *err);
	/* ---- private ---- */
	int state;
	bool in_items;
	char key[32]; /* of the member; what is longer is none of ours */
	size_t key_len;
	unsigned depth; /* of the value that is being read */
	bool in_string, escaped, scalar;
	char *text; /* the value so far, owned */
	size_t used, room;
};

/* Begin anew, with the mode and the callbacks that are set. */
void kube_split_reset(struct kube_split *split);
void kube_split_free(struct kube_split *split);

/* The next bytes.  0; -EINVAL, -E2BIG, -ENOMEM with a sentence, or what a
 * callback returned: nothing more can be taken then. */
int kube_split_push(struct kube_split *split, const char *data, size_t len,
                    struct err *err);
/* May it end here: a list that is whole, no half event? */
bool kube_split_whole(const struct kube_split *split);
