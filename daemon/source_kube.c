// SPDX-License-Identifier: Apache-2.0
/* source_kube.c - see source_kube.h. */
#include "daemon/source_kube.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/kube_cache.h"
#include "daemon/kube_config.h"
#include "daemon/kube_event.h"
#include "daemon/kube_http.h"
#include "daemon/kube_node.h"
#include "daemon/kube_reflect.h"
#include "lib/log.h"

#define KINDS_MAX      16
#define AWAY_ID        "Source/kube"
#define AWAY_FAILS     3u /* in a row, before it is said */
#define FETCH_LIMIT_NS 2000000000ull

struct source_kube {
	struct loop *loop;
	struct store *store;
	struct kube_config config;
	struct kube_http *http;
	struct kube_reflect reflect[KINDS_MAX];
	int n;
	struct kube_node node;
	struct kube_events events;
	struct kube_fetch *fetches;
	void (*on_synced)(void *user);
	void *user;
	bool read_only;
	bool away; /* said so already */
};

struct kube_fetch {
	struct source_kube *source;
	struct kube_fetch *next, **link;
	struct kube_request request;
	char id[STORE_ID_MAX], uid[KUBE_UID_MAX];
	void (*done)(void *user, const char *why);
	void *user;
};

static struct kube_reflect *reflect_find(struct source_kube *source,
                                         const char *kind)
{
	for (int i = 0; i < source->n; i++)
		if (!strcmp(source->reflect[i].cache.kind->kind, kind))
			return &source->reflect[i];
	return NULL;
}

/* ---- how it is ----------------------------------------------------------- */

static bool all_synced(const struct source_kube *source)
{
	for (int i = 0; i < source->n; i++)
		if (!source->reflect[i].synced)
			return false;
	return true;
}

static void synced(struct source_kube *source)
{
	unsigned n = 0;

	for (int i = 0; i < source->n; i++)
		n += kube_cache_count(&source->reflect[i].cache);
	log_info("kube: %u objects read from %s", n, source->config.server);
	if (source->node.name && !source->node.seen)
		log_warn("kube: there is no Node '%s'; --node-name must be the "
		         "kubelet's",
		         source->node.name);
	store_synced(source->store);
	/* Reading them all took more than keeping them does. */
	(void)malloc_trim(0);
	if (source->on_synced)
		source->on_synced(source->user);
}

/* The kind that has failed most often in a row. */
static const struct kube_reflect *worst(const struct source_kube *source)
{
	const struct kube_reflect *found = &source->reflect[0];

	for (int i = 1; i < source->n; i++)
		if (source->reflect[i].fails > found->fails)
			found = &source->reflect[i];
	return found;
}

static void away_say(struct source_kube *source,
                     const struct kube_reflect *reflect)
{
	struct err err;

	(void)err_set(&err, 0, "%s of %.60s: %.110s; all it gave stays",
	              reflect->cache.kind->path, source->config.server,
	              reflect->why.text);
	log_err("kube: %s", err.text);
	(void)store_refuse(source->store, AWAY_ID, source->config.server,
	                   err.text);
	source->away = true;
}

static void reflect_changed(struct kube_reflect *reflect)
{
	struct source_kube *source = reflect->owner;
	const struct kube_reflect *bad = worst(source);

	/* A lost permission does not come back by waiting. */
	if (!source->away &&
	    (bad->fails >= AWAY_FAILS || (bad->fails && bad->status == 403)))
		away_say(source, bad);
	if (source->away && !bad->fails) {
		source->away = false;
		log_info("kube: %s answers again", source->config.server);
		store_remove(source->store, AWAY_ID);
	}
	if (!source->store->synced && all_synced(source))
		synced(source);
}

static void node_put(struct kube_cache *cache, json_t *doc)
{
	struct source_kube *source =
		container_of(cache, struct kube_reflect, cache)->owner;

	kube_node_see(&source->node, doc);
}

/* ---- one pod ------------------------------------------------------------- */

static int pod_id(const struct kube_pod_key *key, char ret[STORE_ID_MAX])
{
	const int n =
		snprintf(ret, STORE_ID_MAX, "Pod/%s/%s", key->ns, key->name);

	return n > 0 && n < STORE_ID_MAX ? 0 : -EINVAL;
}

static const char *pod_uid(const struct source_kube *source, const char *id)
{
	for (int i = 0; i < source->n; i++) {
		const struct kube_cache *cache = &source->reflect[i].cache;

		if (!strcmp(cache->kind->kind, "Pod"))
			return kube_cache_uid(cache, id);
	}
	return NULL;
}

bool source_kube_knows(const struct source_kube *source,
                       const struct kube_pod_key *key)
{
	const char *uid;
	char id[STORE_ID_MAX];

	if (pod_id(key, id))
		return false;
	uid = pod_uid(source, id);
	return uid && (!*key->uid || !strcmp(uid, key->uid));
}

static void fetch_free(struct kube_fetch *fetch)
{
	*fetch->link = fetch->next;
	if (fetch->next)
		fetch->next->link = fetch->link;
	kube_http_cancel(&fetch->request);
	free(fetch);
}

void source_kube_fetch_cancel(struct kube_fetch *fetch)
{
	if (fetch)
		fetch_free(fetch);
}

/* It is in the store now, or @err says why not. */
static int fetch_take(struct kube_fetch *fetch,
                      const struct kube_answer *answer, struct err *err)
{
	struct kube_reflect *pods = reflect_find(fetch->source, "Pod");
	_cleanup_(json_decrefp) json_t *doc = NULL;
	const char *uid;
	int r;

	if (answer->error)
		return err_set(err, -EAGAIN, "%s", answer->error);
	doc = json_loadb(answer->body, answer->len, JSON_ALLOW_NUL, NULL);
	if (!doc)
		return err_set(err, -EINVAL, "an answer that is no JSON");
	r = kube_cache_fetched(&pods->cache, doc, err);
	if (r)
		return r;
	uid = kube_cache_uid(&pods->cache, fetch->id);
	if (!uid)
		return err_set(err, -EINVAL, "another pod was answered");
	if (*fetch->uid && strcmp(uid, fetch->uid) != 0)
		return err_set(err, -ESTALE,
		               "the API server has another pod of that name "
		               "(uid %s, not %s)",
		               uid, fetch->uid);
	return 0;
}

static void fetch_done(struct kube_request *request,
                       const struct kube_answer *answer)
{
	struct kube_fetch *fetch =
		container_of(request, struct kube_fetch, request);
	struct err err = {};
	const int r = fetch_take(fetch, answer, &err);

	fetch->done(fetch->user, r ? err.text : NULL);
	fetch_free(fetch);
}

struct kube_fetch *source_kube_fetch(struct source_kube *source,
                                     const struct kube_pod_key *key,
                                     void (*done)(void *user, const char *why),
                                     void *user, struct err *err)
{
	struct kube_fetch *fetch = calloc(1, sizeof(*fetch));
	char path[512];

	if (!fetch || pod_id(key, fetch->id)) {
		free(fetch);
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	snprintf(fetch->uid, sizeof(fetch->uid), "%s", key->uid);
	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/pods/%s", key->ns,
	         key->name);
	fetch->source = source;
	fetch->done = done;
	fetch->user = user;
	fetch->request.path = path;
	fetch->request.limit_ns = FETCH_LIMIT_NS;
	fetch->request.done = fetch_done;
	fetch->next = source->fetches;
	fetch->link = &source->fetches;
	if (fetch->next)
		fetch->next->link = &fetch->next;
	source->fetches = fetch;
	if (kube_http_send(source->http, &fetch->request, err)) {
		fetch_free(fetch);
		return NULL;
	}
	return fetch;
}

/* ---- the whole ----------------------------------------------------------- */

void source_kube_ready(struct source_kube *source)
{
	if (!source->read_only)
		kube_node_ready(&source->node);
}

uint64_t source_kube_policy_version(const struct source_kube *source)
{
	for (size_t i = 0; kube_kinds[i].kind; i++)
		if (!strcmp(kube_kinds[i].kind, "NetworkPolicy"))
			return source->reflect[i].cache.version;
	return 0;
}

static void reflects_start(struct source_kube *source)
{
	for (const struct kube_kind *kind = kube_kinds;
	     kind->kind && source->n < KINDS_MAX; kind++) {
		struct kube_reflect *reflect = &source->reflect[source->n++];

		reflect->cache.kind = kind;
		reflect->cache.store = source->store;
		if (!strcmp(kind->kind, "Node"))
			reflect->cache.on_put = node_put;
		reflect->loop = source->loop;
		reflect->http = source->http;
		reflect->owner = source;
		reflect->on_change = reflect_changed;
	}
	for (int i = 0; i < source->n; i++)
		kube_reflect_start(&source->reflect[i]);
}

int source_kube_open(struct loop *loop, struct store *store,
                     const struct source_kube_config *config,
                     struct source_kube **ret, struct err *err)
{
	_cleanup_(source_kube_closep) struct source_kube *source =
		calloc(1, sizeof(*source));
	int r;

	if (!source)
		return err_set(err, -ENOMEM, "out of memory");
	source->loop = loop;
	source->store = store;
	source->on_synced = config->on_synced;
	source->user = config->user;
	source->read_only = config->read_only;
	r = kube_config_read(config->kubeconfig, &source->config, err);
	if (!r)
		r = kube_http_new(loop, &source->config, &source->http, err);
	if (r)
		return r;
	source->node.loop = loop;
	source->node.http = source->http;
	source->node.name = config->node_name;
	kube_node_open(&source->node);
	reflects_start(source);
	source->events = (struct kube_events){
		.loop = loop,
		.http = source->http,
		.store = store,
		.netpols = &reflect_find(source, "NetworkPolicy")->cache,
		.pods = &reflect_find(source, "Pod")->cache,
		.node_name = config->node_name,
		.problems = config->problems,
		.user = config->user,
	};
	if (!config->read_only)
		kube_events_open(&source->events);
	*ret = TAKE(source);
	return 0;
}

void source_kube_close(struct source_kube *source)
{
	if (!source)
		return;
	while (source->fetches)
		fetch_free(source->fetches);
	kube_events_close(&source->events);
	if (source->node.loop)
		kube_node_close(&source->node);
	for (int i = 0; i < source->n; i++)
		kube_reflect_stop(&source->reflect[i]);
	kube_http_free(source->http);
	kube_config_free(&source->config);
	free(source);
}
