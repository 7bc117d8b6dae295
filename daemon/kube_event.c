// SPDX-License-Identifier: Apache-2.0
/* kube_event.c - see kube_event.h. */
#include "daemon/kube_event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/kube_reflect.h"
#include "lib/log.h"
#include "lib/util.h"

#define NS_PER_SEC     1000000000ull
#define LOOK_NS        (2 * NS_PER_SEC)
#define GAP_NS         (NS_PER_SEC / 4)    /* between two */
#define AGAIN_NS       (3600 * NS_PER_SEC) /* the API server forgets them then */
#define FORBIDDEN_NS   (300 * NS_PER_SEC)
#define LIMIT_NS       (10 * NS_PER_SEC)
#define NOTES_MAX      1024u
#define EVENT_NAME_MAX 280

/* One that was told, or is to be. */
struct kube_note {
	UT_hash_handle hh;
	uint64_t due_ns; /* to be told then */
	bool current;    /* this look has found it */
	json_t *event;   /* owned */
	char name[EVENT_NAME_MAX];
};

static uint64_t hash_text(uint64_t hash, const char *text)
{
	/* FNV-1a, the NUL included: "a", "bc" is not "ab", "c". */
	do {
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3ull;
	} while (*text++);
	return hash;
}

static void note_free(struct kube_events *events, struct kube_note *note)
{
	HASH_DEL(events->notes, note);
	if (events->sending == note)
		events->sending = NULL;
	json_decref(note->event);
	free(note);
}

/* The object of an id: "NetworkPolicy/shop/web", "Pod/shop/web-0". */
struct subject {
	const char *kind, *api;
	const char *uid; /* "" when it is not known */
	char ns[64], name[254];
};

/* False for any other object. */
static bool subject_read(const struct kube_events *events, const char *id,
                         struct subject *ret)
{
	const struct kube_cache *const caches[] = {events->netpols,
	                                           events->pods};
	const char *slash = strchr(id, '/');

	for (size_t i = 0; slash && i < ARRAY_SIZE(caches); i++) {
		const char *kind = caches[i]->kind->kind;

		if (strlen(kind) != (size_t)(slash - id) ||
		    strncmp(kind, id, strlen(kind)) != 0 ||
		    sscanf(slash + 1, "%63[^/]/%253s", ret->ns, ret->name) != 2)
			continue;
		ret->kind = kind;
		ret->api = caches[i]->kind->api;
		ret->uid = kube_cache_uid(caches[i], id);
		ret->uid = ret->uid ? ret->uid : "";
		return true;
	}
	return false;
}

/* ---- an event ------------------------------------------------------------ */

struct found {
	const char *id, *reason, *text;
	const char *where; /* the node; "": it is the same on all */
};

static json_t *event_make(const struct kube_events *events,
                          const struct subject *subject,
                          const struct found *found, const char *name)
{
	char now[32], message[600];
	const time_t t = time(NULL);
	struct tm tm;

	if (!gmtime_r(&t, &tm) ||
	    !strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return NULL;
	snprintf(message, sizeof(message), "%s%s%s%s", found->text,
	         *found->where ? " (on node " : "", found->where,
	         *found->where ? ")" : "");
	return json_pack(
		"{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s},"
		" s:s, s:s, s:s, s:s, s:s, s:i, s:{s:s, s:s}, s:s, s:s}",
		"kind", "Event", "apiVersion", "v1", "metadata", "name", name,
		"namespace", subject->ns, "involvedObject", "kind",
		subject->kind, "apiVersion", subject->api, "namespace",
		subject->ns, "name", subject->name, "uid", subject->uid,
		"reason", found->reason, "message", message, "type", "Warning",
		"firstTimestamp", now, "lastTimestamp", now, "count", 1,
		"source", "component", "stiled", "host", events->node_name,
		"reportingComponent", "stile.dev/stiled", "reportingInstance",
		events->node_name);
}

static void note_name(const struct subject *subject, const struct found *found,
                      char ret[EVENT_NAME_MAX])
{
	uint64_t hash = 0xcbf29ce484222325ull;

	hash = hash_text(hash, subject->uid);
	hash = hash_text(hash, found->reason);
	hash = hash_text(hash, found->text);
	hash = hash_text(hash, found->where);
	snprintf(ret, EVENT_NAME_MAX, "%.220s.%016llx", subject->name,
	         (unsigned long long)hash);
}

static void found_note(struct kube_events *events, const struct found *found)
{
	struct kube_note *note;
	char name[EVENT_NAME_MAX];
	struct subject subject;

	if (!subject_read(events, found->id, &subject))
		return;
	note_name(&subject, found, name);
	HASH_FIND_STR(events->notes, name, note);
	if (note) {
		note->current = true;
		return;
	}
	if (HASH_COUNT(events->notes) >= NOTES_MAX)
		return;
	note = calloc(1, sizeof(*note));
	if (!note)
		return;
	memcpy(note->name, name, sizeof(note->name));
	note->event = event_make(events, &subject, found, name);
	note->current = true;
	/* All nodes find it in the same moment; one of them may be first. */
	note->due_ns =
		loop_now_ns() + NS_PER_SEC / 1000 * arc4random_uniform(1000);
	HASH_ADD_STR(events->notes, name, note);
	if (!note->event)
		note_free(events, note);
}

/* ---- looking ------------------------------------------------------------- */

static void problems_find(struct kube_events *events)
{
	_cleanup_(json_decrefp) json_t *problems =
		events->problems ? events->problems(events->user) : NULL;
	const json_t *problem;
	size_t i;

	json_array_foreach(problems, i, problem)
	{
		struct found found = {
			.id = json_string_value(
				json_object_get(problem, "object")),
			.text = json_string_value(
				json_object_get(problem, "error")),
			.reason = "PolicyNotInForce",
			.where = events->node_name,
		};

		if (found.id && found.text)
			found_note(events, &found);
	}
}

static void refused_find(struct kube_events *events)
{
	const struct store_object *object = events->store->objects;

	if (!events->store->refused)
		return;
	for (; object; object = object->hh.next) {
		const struct found found = {
			.id = object->id,
			.text = object->error,
			.reason = "PolicyInvalid",
			.where = "",
		};

		if (object->error)
			found_note(events, &found);
	}
}

/* What is over is forgotten: should it come back, it is news. */
static void notes_sweep(struct kube_events *events)
{
	struct kube_note *note, *next;

	HASH_ITER(hh, events->notes, note, next)
	{
		if (!note->current && note != events->sending)
			note_free(events, note);
		else
			note->current = false;
	}
}

static struct kube_note *note_due(const struct kube_events *events)
{
	const uint64_t now = loop_now_ns();

	for (struct kube_note *note = events->notes; note; note = note->hh.next)
		if (note->due_ns <= now)
			return note;
	return NULL;
}

/* ---- telling ------------------------------------------------------------- */

static void note_failed(struct kube_events *events, int status,
                        const char *error)
{
	struct kube_note *note = TAKE(events->sending);
	uint64_t wait = kube_backoff_ns(++events->fails);

	if (status == 403) {
		wait = FORBIDDEN_NS;
		if (!events->forbidden)
			log_warn("kube: Events cannot be written: %s", error);
		events->forbidden = true;
	}
	/* What the API server does not want now it will not want later. */
	if (note && status >= 400 && status < 500 && status != 403 &&
	    status != 401 && status != 429)
		note->due_ns = loop_now_ns() + AGAIN_NS;
	loop_timer_arm(events->loop, &events->look, wait);
}

static void note_done(struct kube_request *request,
                      const struct kube_answer *answer)
{
	struct kube_events *events =
		container_of(request, struct kube_events, request);

	/* 409: another node has said it already. */
	if (answer->error && answer->status != 409) {
		note_failed(events, answer->status, answer->error);
		return;
	}
	events->fails = 0;
	events->forbidden = false;
	if (events->sending)
		events->sending->due_ns = loop_now_ns() + AGAIN_NS;
	events->sending = NULL;
	loop_timer_arm(events->loop, &events->look, GAP_NS);
}

static void note_send(struct kube_events *events, struct kube_note *note)
{
	_cleanup_(free_p) char *body = json_dumps(note->event, JSON_COMPACT);
	const char *ns = json_string_value(json_object_get(
		json_object_get(note->event, "metadata"), "namespace"));
	struct err err = {};
	char path[160];

	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/events", ns);
	events->sending = note;
	events->request.method = "POST";
	events->request.path = path;
	events->request.body = body;
	events->request.type = "application/json";
	events->request.limit_ns = LIMIT_NS;
	if (!body || kube_http_send(events->http, &events->request, &err))
		note_failed(events, 0, body ? err.text : "out of memory");
}

static void look_due(struct loop_timer *self)
{
	struct kube_events *events =
		container_of(self, struct kube_events, look);
	struct kube_note *note;

	loop_timer_arm(events->loop, self, LOOK_NS);
	if (!events->store->synced || events->request.call)
		return;
	refused_find(events);
	problems_find(events);
	notes_sweep(events);
	note = note_due(events);
	if (note)
		note_send(events, note);
}

void kube_events_open(struct kube_events *events)
{
	events->look.due = look_due;
	events->request.done = note_done;
	loop_timer_arm(events->loop, &events->look, LOOK_NS);
}

void kube_events_close(struct kube_events *events)
{
	struct kube_note *note, *next;

	if (!events->loop)
		return;
	kube_http_cancel(&events->request);
	loop_timer_cancel(events->loop, &events->look);
	HASH_ITER(hh, events->notes, note, next)
	note_free(events, note);
}
