/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube_cache.h - lists and events of one kind, made into puts and removals.
 *
 * The store holds the objects; here is only what tells a version from another:
 * uid and resourceVersion.  So a list that brings nothing new changes nothing,
 * and what comes late (an event after a get, a get after an event, an event
 * twice) does no harm.
 *
 * Versions of one kind are numbers that rise (Kubernetes: KEP 5504); one that
 * is no number counts as new.  A whole list is the truth whatever its versions
 * are: etcd may have been put back to an older state.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "daemon/store.h"
#include "lib/err.h"

#define KUBE_VERSION_MAX 64 /* bytes of a resourceVersion's text */
#define KUBE_UID_MAX     64

struct kube_kind {
	const char *kind, *api; /* "Pod", "v1" */
	const char *path;       /* of all of them: "/api/v1/pods" */
};

/* Every kind that is watched, in one place; NULL ends it. */
extern const struct kube_kind kube_kinds[];

struct kube_known;

struct kube_cache {
	const struct kube_kind *kind; /* set by the owner, as these are */
	struct store *store;
	/* Each version that is put; may be NULL. */
	void (*on_put)(struct kube_cache *self, json_t *doc);
	/* ---- private ---- */
	struct kube_known *known; /* by id */
	uint32_t list;            /* number of the list; 0: none yet */
	bool listing;
	uint64_t version; /* everything up to it has been seen */
};

void kube_cache_free(struct kube_cache *cache);

/* A list begins: from its first page, or again. */
void kube_cache_list_begin(struct kube_cache *cache);
/* An item lacks kind and apiVersion: they are added to @doc.
 * 0; -EINVAL for what is no object of ours; -ENOMEM. */
int kube_cache_list_item(struct kube_cache *cache, json_t *doc,
                         struct err *err);
/* It is whole: what it did not hold goes.  @version: the list's own. */
void kube_cache_list_end(struct kube_cache *cache, const char *version);

enum kube_event {
	KUBE_EVENT_OBJECT,   /* taken */
	KUBE_EVENT_BOOKMARK, /* only a version */
	KUBE_EVENT_GONE,     /* 410: the watch is too old, list again */
	KUBE_EVENT_ERROR,    /* any other ERROR; @err has its message */
};

/**
 * kube_cache_event - one event of a watch.
 *
 * @ret_version: the version to go on from; untouched by errors.
 *
 * Return: what it was; -EINVAL for what is no event, -ENOMEM.
 */
int kube_cache_event(struct kube_cache *cache, json_t *event,
                     char ret_version[KUBE_VERSION_MAX], struct err *err);

/* An object that was asked for by itself.  0: it is in the store now, or
 * something newer is; -ENOENT: it has been deleted since; -EINVAL; -ENOMEM. */
int kube_cache_fetched(struct kube_cache *cache, json_t *doc, struct err *err);

/* The uid of an object; NULL when it is not known.  Borrowed. */
const char *kube_cache_uid(const struct kube_cache *cache, const char *id);
unsigned kube_cache_count(const struct kube_cache *cache);
