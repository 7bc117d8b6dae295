// SPDX-License-Identifier: Apache-2.0
/* kube_reflect.c - see kube_reflect.h. */
#include "daemon/kube_reflect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/util.h"

#define NS_PER_SEC 1000000000ull

#define PAGE             500 /* objects of a list's page */
#define LIST_LIMIT_NS    (60 * NS_PER_SEC)
#define LIST_IDLE_NS     (15 * NS_PER_SEC)
#define WATCH_MIN_S      300u
#define WATCH_SPREAD_S   300u /* so that nodes do not all come at once */
#define WATCH_GRACE_S    30u
#define WATCH_IDLE_NS    (150 * NS_PER_SEC) /* a bookmark comes each minute */
#define WATCH_BRIEF_NS   NS_PER_SEC /* one that ends before is a failure */
#define BACKOFF_FIRST_NS (NS_PER_SEC / 4)
#define BACKOFF_MAX_NS   (30 * NS_PER_SEC)
#define RETRY_MAX_NS     (300 * NS_PER_SEC)
#define EXPIRED_MAX      3 /* then the list is asked for whole */
#define WATCH_FAILS_MAX  5 /* answers that refuse a watch, then a list */
#define TOKEN_MAX        4096

static void next_send(struct kube_reflect *reflect);

uint64_t kube_backoff_ns(unsigned fails)
{
	uint64_t wait = BACKOFF_FIRST_NS;

	while (fails-- > 1 && wait < BACKOFF_MAX_NS)
		wait *= 2;
	if (wait > BACKOFF_MAX_NS)
		wait = BACKOFF_MAX_NS;
	return wait * 3 / 4 + wait / 4 * arc4random_uniform(1001) / 1000;
}

/* ---- what comes ---------------------------------------------------------- */

/* A NUL inside some annotation is no reason to refuse all pods. */
static json_t *json_read(const char *text, size_t len, struct err *err)
{
	json_error_t why;
	json_t *doc = json_loadb(text, len, JSON_ALLOW_NUL, &why);

	if (!doc)
		(void)err_set(err, -EINVAL, "an answer that is no JSON: %.120s",
		              why.text);
	return doc;
}

static int list_item(struct kube_split *split, const char *text, size_t len,
                     struct err *err)
{
	struct kube_reflect *reflect =
		container_of(split, struct kube_reflect, split);
	_cleanup_(json_decrefp) json_t *doc = json_read(text, len, err);

	return doc ? kube_cache_list_item(&reflect->cache, doc, err) : -EINVAL;
}

/* "metadata" of the list: its version, and whether there is another page. */
static int list_meta(struct kube_reflect *reflect, const char *text, size_t len,
                     struct err *err)
{
	_cleanup_(json_decrefp) json_t *meta = json_read(text, len, err);
	const char *version = json_string_value(
			   json_object_get(meta, "resourceVersion")),
		   *token =
			   json_string_value(json_object_get(meta, "continue"));

	if (!meta)
		return -EINVAL;
	if (!version || !*version || strlen(version) >= KUBE_VERSION_MAX)
		return err_set(err, -EINVAL, "a list without a version");
	memcpy(reflect->version, version, strlen(version) + 1);
	if (!token || !*token)
		return 0;
	if (strlen(token) > TOKEN_MAX)
		return err_set(err, -EINVAL,
		               "a list's token of more than %d bytes",
		               TOKEN_MAX);
	free(reflect->next_token);
	reflect->next_token = strdup(token);
	return reflect->next_token ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int list_field(struct kube_split *split, const char *key,
                      const char *text, size_t len, struct err *err)
{
	struct kube_reflect *reflect =
		container_of(split, struct kube_reflect, split);

	return strcmp(key, "metadata") != 0
	               ? 0
	               : list_meta(reflect, text, len, err);
}

static int watch_event(struct kube_split *split, const char *text, size_t len,
                       struct err *err)
{
	struct kube_reflect *reflect =
		container_of(split, struct kube_reflect, split);
	_cleanup_(json_decrefp) json_t *event = json_read(text, len, err);
	int r;

	if (!event)
		return -EINVAL;
	r = kube_cache_event(&reflect->cache, event, reflect->version, err);
	if (r == KUBE_EVENT_GONE || r == KUBE_EVENT_ERROR) {
		reflect->relist = true;
		return -EAGAIN;
	}
	if (r < 0)
		return r;
	reflect->expired = 0;
	return 0;
}

static void recovered(struct kube_reflect *reflect)
{
	const bool failed = reflect->fails;

	reflect->fails = 0;
	reflect->renewed = false;
	if (failed && reflect->on_change)
		reflect->on_change(reflect);
}

static int data_take(struct kube_request *request, const char *data, size_t len,
                     struct err *err)
{
	struct kube_reflect *reflect =
		container_of(request, struct kube_reflect, request);
	int r = kube_split_push(&reflect->split, data, len, err);

	/* What cannot be read cannot be passed over. */
	if (r == -EINVAL || r == -E2BIG)
		reflect->relist = true;
	return r;
}

/* A watch that answers has recovered, before it has anything to tell. */
static void request_begun(struct kube_request *request)
{
	struct kube_reflect *reflect =
		container_of(request, struct kube_reflect, request);

	if (reflect->phase == KUBE_WATCH)
		recovered(reflect);
}

/* ---- ends of requests ---------------------------------------------------- */

static void list_restart(struct kube_reflect *reflect)
{
	reflect->phase = KUBE_LIST;
	free(TAKE(reflect->token));
	kube_cache_list_begin(&reflect->cache);
}

static void send_later(struct kube_reflect *reflect, uint64_t retry_ns)
{
	/* Lists that succeed between watches that do not count as nothing. */
	uint64_t wait = kube_backoff_ns(reflect->fails > reflect->expired
	                                        ? reflect->fails
	                                        : reflect->expired);

	if (retry_ns > RETRY_MAX_NS)
		retry_ns = RETRY_MAX_NS;
	if (retry_ns)
		retry_ns += BACKOFF_FIRST_NS * arc4random_uniform(4);
	loop_timer_arm(reflect->loop, &reflect->again,
	               retry_ns > wait ? retry_ns : wait);
}

static void failed(struct kube_reflect *reflect, int status, uint64_t retry_ns)
{
	reflect->fails++;
	reflect->status = status;
	log_debug("kube: %s: %s", reflect->cache.kind->path, reflect->why.text);
	if (reflect->on_change)
		reflect->on_change(reflect);
	send_later(reflect, retry_ns);
}

/*
 * The token of a page, or the version of a watch, is forgotten.  Listed again
 * at once, but not without end, should the server say so of everything.
 */
static void expired(struct kube_reflect *reflect, int status)
{
	log_info("kube: %s: %s; it is listed again", reflect->cache.kind->path,
	         reflect->why.text);
	list_restart(reflect);
	if (++reflect->expired > 1)
		failed(reflect, status, 0);
	else
		next_send(reflect);
}

static void refused(struct kube_reflect *reflect,
                    const struct kube_answer *answer)
{
	const int status = answer->status;

	(void)err_set(&reflect->why, 0, "%s", answer->error);
	if (status == 410 || (status == 400 && reflect->phase == KUBE_WATCH) ||
	    (reflect->relist && reflect->phase == KUBE_WATCH)) {
		expired(reflect, status);
		return;
	}
	/* The token may have been replaced: it is read with each request. */
	if (status == 401 && !reflect->renewed) {
		reflect->renewed = true;
		next_send(reflect);
		return;
	}
	if (reflect->relist || (status >= 404 && reflect->phase == KUBE_WATCH &&
	                        reflect->fails >= WATCH_FAILS_MAX))
		list_restart(reflect);
	failed(reflect, status, answer->retry_ns);
}

static void page_done(struct kube_reflect *reflect)
{
	struct kube_answer cut = {.error = "a list that ends half-way"};

	if (!kube_split_whole(&reflect->split) || !reflect->version[0]) {
		refused(reflect, &cut);
		return;
	}
	free(reflect->token);
	reflect->token = TAKE(reflect->next_token);
	if (!reflect->token) {
		kube_cache_list_end(&reflect->cache, reflect->version);
		reflect->phase = KUBE_WATCH;
		log_debug("kube: %s: %u listed", reflect->cache.kind->path,
		          kube_cache_count(&reflect->cache));
	}
	recovered(reflect);
	if (!reflect->token && !reflect->synced) {
		reflect->synced = true;
		reflect->on_change(reflect);
	}
	next_send(reflect);
}

static void watch_done(struct kube_reflect *reflect)
{
	struct kube_answer brief = {.error = "the watch ended at once"};

	if (loop_now_ns() - reflect->since_ns < WATCH_BRIEF_NS)
		refused(reflect, &brief);
	else
		next_send(reflect);
}

static void request_done(struct kube_request *request,
                         const struct kube_answer *answer)
{
	struct kube_reflect *reflect =
		container_of(request, struct kube_reflect, request);

	if (answer->error)
		refused(reflect, answer);
	else if (reflect->phase == KUBE_LIST)
		page_done(reflect);
	else
		watch_done(reflect);
}

/* ---- requests ------------------------------------------------------------ */

static char *list_path(const struct kube_reflect *reflect)
{
	const char *path = reflect->cache.kind->path;
	_cleanup_(free_p) char *token =
		reflect->token ? kube_http_escape(reflect->token) : NULL;
	char *ret = NULL;
	int n;

	if (reflect->token && !token)
		return NULL;
	if (reflect->expired >= EXPIRED_MAX)
		n = asprintf(&ret, "%s", path);
	else
		n = asprintf(&ret, "%s?limit=%d%s%s", path, PAGE,
		             token ? "&continue=" : "", token ? token : "");
	return n < 0 ? NULL : ret;
}

static char *watch_path(const struct kube_reflect *reflect, unsigned seconds)
{
	_cleanup_(free_p) char *version = kube_http_escape(reflect->version);
	char *ret = NULL;

	if (!version ||
	    asprintf(&ret,
	             "%s?watch=1&allowWatchBookmarks=true&resourceVersion=%s"
	             "&timeoutSeconds=%u",
	             reflect->cache.kind->path, version, seconds) < 0)
		return NULL;
	return ret;
}

static void next_send(struct kube_reflect *reflect)
{
	const bool watch = reflect->phase == KUBE_WATCH;
	const unsigned seconds =
		WATCH_MIN_S + arc4random_uniform(WATCH_SPREAD_S);
	_cleanup_(free_p) char *path =
		watch ? watch_path(reflect, seconds) : list_path(reflect);

	reflect->relist = false;
	free(TAKE(reflect->next_token));
	reflect->split.mode = watch ? KUBE_SPLIT_EVENTS : KUBE_SPLIT_LIST;
	reflect->split.item = watch ? watch_event : list_item;
	reflect->split.field = watch ? NULL : list_field;
	kube_split_reset(&reflect->split);
	if (!watch)
		reflect->version[0] = '\0';
	reflect->since_ns = loop_now_ns();
	reflect->request.path = path;
	reflect->request.limit_ns =
		watch ? (seconds + WATCH_GRACE_S) * NS_PER_SEC : LIST_LIMIT_NS;
	reflect->request.idle_ns = watch ? WATCH_IDLE_NS : LIST_IDLE_NS;
	if (!path)
		(void)err_set(&reflect->why, -ENOMEM, "out of memory");
	if (!path ||
	    kube_http_send(reflect->http, &reflect->request, &reflect->why))
		failed(reflect, 0, 0);
}

static void again_due(struct loop_timer *self)
{
	next_send(container_of(self, struct kube_reflect, again));
}

void kube_reflect_start(struct kube_reflect *reflect)
{
	reflect->request.begun = request_begun;
	reflect->request.data = data_take;
	reflect->request.done = request_done;
	reflect->again.due = again_due;
	list_restart(reflect);
	next_send(reflect);
}

void kube_reflect_stop(struct kube_reflect *reflect)
{
	kube_http_cancel(&reflect->request);
	loop_timer_cancel(reflect->loop, &reflect->again);
	kube_split_free(&reflect->split);
	free(TAKE(reflect->token));
	free(TAKE(reflect->next_token));
	kube_cache_free(&reflect->cache);
}
