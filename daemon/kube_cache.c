// SPDX-License-Identifier: Apache-2.0
/* kube_cache.c - see kube_cache.h. */
#include "daemon/kube_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

#define ORIGIN "kube"
/* A static pod's stand-in in the API has a uid of its own; the runtime knows
 * the pod by this one. */
#define MIRROR "kubernetes.io/config.mirror"

const struct kube_kind kube_kinds[] = {
	{"Namespace",     "v1",                   "/api/v1/namespaces"},
	{"Node",          "v1",                   "/api/v1/nodes"     },
	{"NetworkPolicy", "networking.k8s.io/v1",
         "/apis/networking.k8s.io/v1/networkpolicies"                 },
	{"Service",       "v1",                   "/api/v1/services"  },
	{"EndpointSlice", "discovery.k8s.io/v1",
         "/apis/discovery.k8s.io/v1/endpointslices"                   },
	{"Pod",           "v1",                   "/api/v1/pods"      },
	{NULL,            NULL,                   NULL                },
};

/* An object that the store holds, or has refused. */
struct kube_known {
	UT_hash_handle hh;
	uint64_t version; /* 0: no number */
	uint32_t list;    /* the newest that held it */
	uint32_t fetched; /* the list during which it was asked for */
	const char *uid;  /* behind id */
	char id[];
};

/* ---- versions ------------------------------------------------------------ */

static uint64_t version_parse(const char *text)
{
	char *end = NULL;
	uint64_t version;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	version = strtoull(text, &end, 10);
	return errno || *end ? 0 : version;
}

static const char *meta_text(const json_t *doc, const char *field)
{
	return json_string_value(
		json_object_get(json_object_get(doc, "metadata"), field));
}

static uint64_t version_of(const json_t *doc)
{
	return version_parse(meta_text(doc, "resourceVersion"));
}

static const char *uid_of(const json_t *doc)
{
	const json_t *notes = json_object_get(json_object_get(doc, "metadata"),
	                                      "annotations");
	const char *uid = json_string_value(json_object_get(notes, MIRROR));

	if (!uid)
		uid = meta_text(doc, "uid");
	return uid && strlen(uid) < KUBE_UID_MAX ? uid : "";
}

static bool is_older(uint64_t version, uint64_t than)
{
	return version && than && version < than;
}

/* ---- what is known ------------------------------------------------------- */

static struct kube_known *find(const struct kube_cache *cache, const char *id)
{
	struct kube_known *known;

	HASH_FIND_STR(cache->known, id, known);
	return known;
}

static void forget(struct kube_cache *cache, struct kube_known *known)
{
	HASH_DEL(cache->known, known);
	free(known);
}

static void drop(struct kube_cache *cache, struct kube_known *known)
{
	store_remove(cache->store, known->id);
	forget(cache, known);
}

static struct kube_known *known_new(struct kube_cache *cache, const char *id,
                                    const char *uid)
{
	const size_t id_size = strlen(id) + 1, uid_size = strlen(uid) + 1;
	struct kube_known *known =
		calloc(1, sizeof(*known) + id_size + uid_size);

	if (!known)
		return NULL;
	memcpy(known->id, id, id_size);
	known->uid = memcpy(known->id + id_size, uid, uid_size);
	HASH_ADD_KEYPTR(hh, cache->known, known->id, id_size - 1, known);
	return known;
}

void kube_cache_free(struct kube_cache *cache)
{
	struct kube_known *known, *next;

	HASH_ITER(hh, cache->known, known, next)
	forget(cache, known);
}

const char *kube_cache_uid(const struct kube_cache *cache, const char *id)
{
	const struct kube_known *known = find(cache, id);

	return known ? known->uid : NULL;
}

unsigned kube_cache_count(const struct kube_cache *cache)
{
	return HASH_COUNT(cache->known);
}

/* ---- a version ----------------------------------------------------------- */

/* What list items leave out, and the object's id. */
static int identify(struct kube_cache *cache, json_t *doc,
                    char id[STORE_ID_MAX], struct err *err)
{
	const struct kube_kind *kind = cache->kind;
	const char *said = json_string_value(json_object_get(doc, "kind"));

	if (!json_is_object(doc))
		return err_set(err, -EINVAL, "%s: no object", kind->path);
	if (said && strcmp(said, kind->kind) != 0)
		return err_set(err, -EINVAL, "%s: an object of kind '%.64s'",
		               kind->path, said);
	if (!said && json_object_set_new(doc, "kind", json_string(kind->kind)))
		return err_set(err, -ENOMEM, "out of memory");
	if (!json_object_get(doc, "apiVersion") &&
	    json_object_set_new(doc, "apiVersion", json_string(kind->api)))
		return err_set(err, -ENOMEM, "out of memory");
	return store_id(doc, id, STORE_ID_MAX, err);
}

/*
 * A new version of an object.  One that the store cannot read stands there
 * with its error; that it is refused is no failure of the list or watch.
 */
static int take(struct kube_cache *cache, json_t *doc, const char *id,
                struct kube_known **ret, struct err *err)
{
	struct kube_known *known = find(cache, id), *old = known;
	const char *uid = uid_of(doc);
	struct err refused = {};

	if (old && strcmp(old->uid, uid) != 0)
		known = NULL;
	if (!known) {
		/* Another object of that name: nothing of the old one stays. */
		if (old)
			drop(cache, old);
		known = known_new(cache, id, uid);
	}
	if (!known || store_put(cache->store, doc, ORIGIN, &refused) == -ENOMEM)
		return err_set(err, -ENOMEM, "%s: out of memory", id);
	known->version = version_of(doc);
	if (cache->on_put)
		cache->on_put(cache, doc);
	*ret = known;
	return 0;
}

static bool is_same(const struct kube_known *known, const json_t *doc)
{
	return known && known->version && known->version == version_of(doc) &&
	       !strcmp(known->uid, uid_of(doc));
}

/* ---- lists --------------------------------------------------------------- */

void kube_cache_list_begin(struct kube_cache *cache)
{
	cache->list++;
	cache->listing = true;
}

int kube_cache_list_item(struct kube_cache *cache, json_t *doc, struct err *err)
{
	char id[STORE_ID_MAX] = "";
	struct kube_known *known;
	int r = identify(cache, doc, id, err);

	if (r)
		return r;
	known = find(cache, id);
	/* Asked for after this list was made. */
	if (!is_same(known, doc) &&
	    (!known || known->fetched != cache->list ||
	     !is_older(version_of(doc), known->version)))
		r = take(cache, doc, id, &known, err);
	if (!r)
		known->list = cache->list;
	return r;
}

void kube_cache_list_end(struct kube_cache *cache, const char *version)
{
	const uint64_t number = version_parse(version);
	struct kube_known *known, *next;

	HASH_ITER(hh, cache->known, known, next)
	{
		const bool is_newer = known->fetched == cache->list &&
		                      is_older(number, known->version);

		if (known->list != cache->list && !is_newer)
			drop(cache, known);
	}
	cache->listing = false;
	cache->version = number;
}

/* ---- events -------------------------------------------------------------- */

static int status_event(const json_t *status, struct err *err)
{
	const json_int_t code =
		json_integer_value(json_object_get(status, "code"));
	const char *message =
		json_string_value(json_object_get(status, "message"));
	const char *reason =
		json_string_value(json_object_get(status, "reason"));

	(void)err_set(err, 0, "%.160s", message ? message : "no message");
	return code == 410 || (reason && (!strcmp(reason, "Expired") ||
	                                  !strcmp(reason, "Gone")))
	               ? KUBE_EVENT_GONE
	               : KUBE_EVENT_ERROR;
}

static int object_event(struct kube_cache *cache, json_t *doc, bool deleted,
                        struct err *err)
{
	char id[STORE_ID_MAX] = "";
	struct kube_known *known;
	int r = identify(cache, doc, id, err);

	if (r)
		return r;
	known = find(cache, id);
	/* Told before: what it was about may have gone since. */
	if (is_older(version_of(doc), cache->version) ||
	    (known && is_older(version_of(doc), known->version)))
		return 0;
	if (!deleted)
		return is_same(known, doc) ? 0
		                           : take(cache, doc, id, &known, err);
	if (known && !strcmp(known->uid, uid_of(doc)))
		drop(cache, known);
	return 0;
}

int kube_cache_event(struct kube_cache *cache, json_t *event,
                     char ret_version[KUBE_VERSION_MAX], struct err *err)
{
	const char *type = json_string_value(json_object_get(event, "type"));
	json_t *object = json_object_get(event, "object");
	const char *version = meta_text(object, "resourceVersion");
	bool bookmark, deleted;
	int r = 0;

	if (!type || !json_is_object(object))
		return err_set(err, -EINVAL, "no event of a watch");
	if (!strcmp(type, "ERROR"))
		return status_event(object, err);
	bookmark = !strcmp(type, "BOOKMARK");
	deleted = !strcmp(type, "DELETED");
	if (!bookmark && !deleted && strcmp(type, "ADDED") != 0 &&
	    strcmp(type, "MODIFIED") != 0)
		return err_set(err, -EINVAL, "an event of type '%.32s'", type);
	if (!version || strlen(version) >= KUBE_VERSION_MAX)
		return err_set(err, -EINVAL, "an event without a version");
	if (!bookmark)
		r = object_event(cache, object, deleted, err);
	if (r)
		return r;
	memcpy(ret_version, version, strlen(version) + 1);
	if (version_parse(version) > cache->version)
		cache->version = version_parse(version);
	return bookmark ? KUBE_EVENT_BOOKMARK : KUBE_EVENT_OBJECT;
}

int kube_cache_fetched(struct kube_cache *cache, json_t *doc, struct err *err)
{
	const uint64_t version = version_of(doc);
	char id[STORE_ID_MAX] = "";
	struct kube_known *known;
	int r = identify(cache, doc, id, err);

	if (r)
		return r;
	known = find(cache, id);
	if (known && (is_same(known, doc) || is_older(version, known->version)))
		return 0;
	/* The watch has told all up to here, and this is gone. */
	if (!known && !cache->listing && version && version <= cache->version)
		return err_set(err, -ENOENT, "%s: it has been deleted", id);
	r = take(cache, doc, id, &known, err);
	if (!r)
		known->fetched = cache->list;
	return r;
}
