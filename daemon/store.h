/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - the objects that the source has given, last good version each.
 *
 * A source calls store_put()/store_remove() and, once it has listed everything
 * for the first time, store_synced().  Every change schedules on_change, which
 * is where the daemon reconciles.  Each object owns an arena of its own.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <uthash.h>

#include "lib/arena.h"
#include "lib/err.h"
#include "policy/policy.h"

#define STORE_ID_MAX 512

struct store_object {
	char *id;     /* "NetworkPolicy/shop/web": kind, namespace, name */
	char *origin; /* where it stands now: a file's name, for messages */
	struct arena *arena;
	struct object object; /* OBJECT_NONE: no version could be read */
	bool whole;  /* the version in force was read without an error */
	char *error; /* of the newest version, when refused or partly read */
	uint64_t revision; /* of the store, when it was put */
	UT_hash_handle hh;
};

struct store {
	struct store_object *objects;    /* by id */
	uint64_t revision;               /* rises with every change */
	uint64_t changed[OBJECT__COUNT]; /* the one that changed a kind last */
	bool synced;      /* the source's first full answer is in */
	unsigned refused; /* objects that have an error */
	void (*on_change)(void *user);
	void *user;
};

/**
 * store_put - a new version of an object.
 *
 * @doc: the manifest, borrowed.  @origin: where it came from.
 * A version that cannot be read is refused: the last good one stays, its error
 * field says why, and so does @err.  An object that @origin gave before under
 * another id is the caller's to remove.
 *
 * Return: 0 (also for kinds that are none of ours), -EINVAL, -ENOMEM.
 */
int store_put(struct store *store, json_t *doc, const char *origin,
              struct err *err);
/*
 * The id of a manifest, for store_remove(): 0, or -EINVAL with a sentence.
 * Kinds that are none of ours bear their group: "NetworkPolicy.crd.io/shop/x".
 */
int store_id(json_t *doc, char *buf, size_t size, struct err *err);
void store_remove(struct store *store, const char *id);
/* What could not be read at all, an object or a file ("File/web.yaml"): what
 * stood under @id stays, with @error.  -ENOMEM. */
int store_refuse(struct store *store, const char *id, const char *origin,
                 const char *error);
/* Borrowed until the next change; NULL. */
const struct store_object *store_find(const struct store *store,
                                      const char *id);
void store_synced(struct store *store);
void store_clear(struct store *store);

/* NULL when it is not there (or never had a good version). */
const struct pod *store_pod(const struct store *store, const char *ns,
                            const char *name);
