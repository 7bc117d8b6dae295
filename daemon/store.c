// SPDX-License-Identifier: Apache-2.0
/* store.c - see store.h. */
#include "daemon/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

#define OBJECT_SMALL     ((size_t)8192)
#define OBJECT_BYTES_MAX ((size_t)64 << 20) /* of one object, read */

static void object_free(struct store_object *object)
{
	arena_free(object->arena);
	free(object->origin);
	free(object->error);
	free(object);
}

static void changed(struct store *store)
{
	store->revision++;
	if (store->on_change)
		store->on_change(store->user);
}

/* ---- ids ------------------------------------------------------------------
 */

/* The groups whose kinds we read need no saying. */
static bool is_own_group(const char *group, size_t len)
{
	static const char *const own[] = {"", "networking.k8s.io", "extensions",
	                                  "discovery.k8s.io"};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strlen(own[i]) == len && !memcmp(own[i], group, len))
			return true;
	return false;
}

static const char *text_of(const json_t *object, const char *field)
{
	return json_string_value(json_object_get(object, field));
}

int store_id(json_t *doc, char *buf, size_t size, struct err *err)
{
	const json_t *meta = json_object_get(doc, "metadata");
	const char *kind = text_of(doc, "kind"),
		   *ns = text_of(meta, "namespace");
	const char *api = text_of(doc, "apiVersion"),
		   *name = text_of(meta, "name");
	const char *slash = api ? strchr(api, '/') : NULL;
	const size_t group = slash ? (size_t)(slash - api) : 0;
	bool own;
	int n;

	if (!kind || !*kind)
		return err_set(err, -EINVAL, "a manifest without 'kind'");
	if (!api || !*api)
		return err_set(err, -EINVAL, "%.64s: 'apiVersion' is missing",
		               kind);
	if (!name || !*name)
		return err_set(err, -EINVAL, "%.64s: metadata.name is missing",
		               kind);
	if (strchr(name, '/') || strchr(kind, '/') || (ns && strchr(ns, '/')))
		return err_set(err, -EINVAL, "%.64s %.64s: a '/' in a name",
		               kind, name);
	own = is_own_group(api, group);
	if (own && !strcmp(kind, "Namespace"))
		ns = NULL;
	else if (!ns || !*ns)
		ns = "default";
	n = snprintf(buf, size, "%s%s%.*s%s%s/%s", kind, own ? "" : ".",
	             own ? 0 : (int)group, api, ns ? "/" : "", ns ? ns : "",
	             name);
	if (n < 0 || (size_t)n >= size)
		return err_set(err, -EINVAL, "%.64s: names longer than %zu",
		               kind, size);
	return 0;
}

/* ---- changes --------------------------------------------------------------
 */

static struct store_object *find(const struct store *store, const char *id)
{
	struct store_object *object;

	HASH_FIND_STR(store->objects, id, object);
	return object;
}

const struct store_object *store_find(const struct store *store, const char *id)
{
	return find(store, id);
}

/* The object of that id, made when it is new; NULL: out of memory. */
static struct store_object *object_at(struct store *store, const char *id)
{
	struct store_object *object = find(store, id);
	const size_t len = strlen(id);

	if (object)
		return object;
	object = calloc(1, sizeof(*object) + len + 1);
	if (!object)
		return NULL;
	object->id = memcpy(object + 1, id, len + 1);
	HASH_ADD_KEYPTR(hh, store->objects, object->id, len, object);
	return object;
}

/* Where the newest version stands and what is wrong with it; 0 or -ENOMEM. */
static int object_note(struct store *store, struct store_object *object,
                       const char *origin, const char *error)
{
	_cleanup_(free_p) char *where = NULL, *what = NULL;

	if (!object->origin || strcmp(object->origin, origin) != 0) {
		where = strdup(origin);
		if (!where)
			return -ENOMEM;
	}
	if (error) {
		what = strdup(error);
		if (!what)
			return -ENOMEM;
	}
	if (where) {
		free(object->origin);
		object->origin = TAKE(where);
	}
	store->refused += !!what;
	store->refused -= !!object->error;
	free(object->error);
	object->error = TAKE(what);
	object->revision = store->revision + 1;
	return 0;
}

static void object_remove(struct store *store, struct store_object *object)
{
	store->refused -= !!object->error;
	store->changed[object->object.kind] = store->revision + 1;
	HASH_DEL(store->objects, object);
	object_free(object);
}

int store_refuse(struct store *store, const char *id, const char *origin,
                 const char *error)
{
	struct store_object *object = object_at(store, id);

	if (!object)
		return -ENOMEM;
	if (object_note(store, object, origin, error)) {
		if (object->object.kind == OBJECT_NONE)
			object_remove(store, object);
		return -ENOMEM;
	}
	changed(store);
	return 0;
}

/*
 * Say what was kept: a version in force stays.  The parser's own conclusion
 * ("; it is refused", "; that rule allows nothing") is for new objects.
 */
static void conclude(struct err *err)
{
	static const char kept[] = "; the last good version stays in force";
	char *at = err->text;

	for (char *next = at; (next = strstr(next, "; ")); next++)
		at = next;
	if (at == err->text)
		at += strlen(at);
	if ((size_t)(at - err->text) > sizeof(err->text) - sizeof(kept))
		at = err->text + sizeof(err->text) - sizeof(kept);
	memcpy(at, kept, sizeof(kept));
}

/* @arena and @got take the place of what was in force. */
static int object_replace(struct store *store, const char *id,
                          const char *origin, struct arena *arena,
                          const struct object *got, const struct err *why)
{
	struct store_object *object = object_at(store, id);
	const char *error = why->text[0] ? why->text : NULL;

	if (!object || object_note(store, object, origin, error)) {
		if (object && object->object.kind == OBJECT_NONE)
			object_remove(store, object);
		arena_free(arena);
		return -ENOMEM;
	}
	arena_free(object->arena);
	object->arena = arena;
	object->object = *got;
	object->whole = !error;
	store->changed[got->kind] = store->revision + 1;
	changed(store);
	return 0;
}

/*
 * Thousands of small objects stay: each is read twice, the second time into
 * memory of its very size.
 */
static int object_read(json_t *doc, struct arena **ret_arena,
                       struct object *ret, struct err *err)
{
	_cleanup_(arena_freep) struct arena *arena =
		arena_new(OBJECT_BYTES_MAX);
	int r = arena ? object_parse(doc, arena, ret, err) : -ENOMEM;
	size_t used;

	if (r)
		return r;
	used = arena_used(arena);
	if (used <= OBJECT_SMALL) {
		arena_free(arena);
		arena = arena_new_sized(OBJECT_BYTES_MAX, used);
		r = arena ? object_parse(doc, arena, ret, err) : -ENOMEM;
	}
	if (!r)
		*ret_arena = TAKE(arena);
	return r;
}

int store_put(struct store *store, json_t *doc, const char *origin,
              struct err *err)
{
	_cleanup_(arena_freep) struct arena *arena = NULL;
	const struct store_object *old;
	struct object got = {};
	char id[STORE_ID_MAX];
	struct err why = {};
	int r = store_id(doc, id, sizeof(id), err);

	if (r)
		return r;
	r = object_read(doc, &arena, &got, &why);
	if (!r && got.kind == OBJECT_NONE)
		return 0;
	old = find(store, id);
	if (!r && why.text[0] && old && old->whole)
		r = -EINVAL;
	if (r && old && old->object.kind != OBJECT_NONE)
		conclude(&why);
	if (why.text[0])
		*err = why;
	if (!r)
		r = object_replace(store, id, origin, TAKE(arena), &got, &why);
	else if (store_refuse(store, id, origin, why.text))
		r = -ENOMEM;
	if (r == -ENOMEM && !why.text[0])
		err_set(err, r, "%s: out of memory", id);
	return r;
}

void store_remove(struct store *store, const char *id)
{
	struct store_object *object = find(store, id);

	if (!object)
		return;
	object_remove(store, object);
	changed(store);
}

void store_synced(struct store *store)
{
	if (store->synced)
		return;
	store->synced = true;
	changed(store);
}

void store_clear(struct store *store)
{
	struct store_object *object, *next;

	HASH_ITER(hh, store->objects, object, next)
	object_remove(store, object);
	store->synced = false;
}

const struct pod *store_pod(const struct store *store, const char *ns,
                            const char *name)
{
	const struct store_object *object;
	char id[STORE_ID_MAX];
	const int n = snprintf(id, sizeof(id), "Pod/%s/%s", ns, name);

	if (n < 0 || (size_t)n >= sizeof(id))
		return NULL;
	object = find(store, id);
	return object && object->object.kind == OBJECT_POD ? &object->object.pod
	                                                   : NULL;
}
