// SPDX-License-Identifier: Apache-2.0
/* kube_node.c - see kube_node.h. */
#include "daemon/kube_node.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/kube_reflect.h"
#include "lib/log.h"
#include "lib/util.h"

#define LIMIT_NS     10000000000ull
#define FORBIDDEN_NS 300000000000ull

static const char *text_of(const json_t *object, const char *field)
{
	const char *text = json_string_value(json_object_get(object, field));

	return text ? text : "";
}

/* ---- what it shows ------------------------------------------------------- */

static bool is_available(const json_t *doc)
{
	json_t *condition;
	size_t i;

	json_array_foreach(
		json_object_get(json_object_get(doc, "status"), "conditions"),
		i, condition)
	{
		if (!strcmp(text_of(condition, "type"), "NetworkUnavailable"))
			return !strcmp(text_of(condition, "status"), "False");
	}
	return false;
}

static void taint_see(struct kube_node *node, const json_t *doc)
{
	json_t *taint;
	size_t i;

	json_decref(node->taint);
	node->taint = NULL;
	json_array_foreach(
		json_object_get(json_object_get(doc, "spec"), "taints"), i,
		taint)
	{
		if (strcmp(text_of(taint, "key"), KUBE_TAINT) != 0)
			continue;
		node->taint = json_deep_copy(taint);
		node->taint_index = i;
		return;
	}
}

void kube_node_see(struct kube_node *node, json_t *doc)
{
	const json_t *meta = json_object_get(doc, "metadata");

	if (strcmp(text_of(meta, "name"), node->name) != 0)
		return;
	node->seen = true;
	node->available = is_available(doc);
	taint_see(node, doc);
	if (node->ready && !node->act.armed)
		loop_timer_arm(node->loop, &node->act, 0);
}

/* ---- what it is told ----------------------------------------------------- */

/* RFC 6902; the test keeps us from somebody else's taint when the list has
 * changed meanwhile. */
static json_t *taint_patch(const struct kube_node *node)
{
	char path[48];

	snprintf(path, sizeof(path), "/spec/taints/%zu", node->taint_index);
	return json_pack("[{s:s, s:s, s:O}, {s:s, s:s}]", "op", "test", "path",
	                 path, "value", node->taint, "op", "remove", "path",
	                 path);
}

static json_t *condition_patch(void)
{
	char now[32];
	struct tm tm;
	const time_t t = time(NULL);

	if (!gmtime_r(&t, &tm) ||
	    !strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return NULL;
	return json_pack("{s:{s:[{s:s, s:s, s:s, s:s, s:s, s:s}]}}", "status",
	                 "conditions", "type", "NetworkUnavailable", "status",
	                 "False", "reason", "StileIsUp", "message",
	                 "Stile serves pods on this node", "lastHeartbeatTime",
	                 now, "lastTransitionTime", now);
}

static void try_later(struct kube_node *node, int status, const char *error)
{
	uint64_t wait = kube_backoff_ns(++node->fails);

	if (status == 403) {
		wait = FORBIDDEN_NS;
		if (!node->forbidden)
			log_warn("kube: node %s cannot be told that its "
			         "network is there: %s",
			         node->name, error);
		node->forbidden = true;
	} else {
		log_debug("kube: node %s: %s", node->name, error);
	}
	loop_timer_arm(node->loop, &node->act, wait);
}

/* @patch: taken. */
static void patch_send(struct kube_node *node, json_t *patch, const char *what,
                       const char *type)
{
	_cleanup_(json_decrefp) json_t *doc = patch;
	_cleanup_(free_p) char *body =
		doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	char path[320];
	struct err err = {};

	snprintf(path, sizeof(path), "/api/v1/nodes/%s%s", node->name, what);
	node->request.method = "PATCH";
	node->request.path = path;
	node->request.body = body;
	node->request.type = type;
	node->request.limit_ns = LIMIT_NS;
	if (!body)
		try_later(node, 0, "out of memory");
	else if (kube_http_send(node->http, &node->request, &err))
		try_later(node, 0, err.text);
}

/* The condition first: who tolerates no taint waits for both. */
static void act_due(struct loop_timer *self)
{
	struct kube_node *node = container_of(self, struct kube_node, act);

	if (!node->ready || !node->seen || node->request.call)
		return;
	if (!node->available)
		patch_send(node, condition_patch(), "/status",
		           "application/strategic-merge-patch+json");
	else if (node->taint)
		patch_send(node, taint_patch(node), "",
		           "application/json-patch+json");
}

/* The answer is the Node as it is now. */
static void request_done(struct kube_request *request,
                         const struct kube_answer *answer)
{
	struct kube_node *node =
		container_of(request, struct kube_node, request);
	_cleanup_(json_decrefp) json_t *doc =
		answer->error ? NULL
			      : json_loadb(answer->body, answer->len,
	                                   JSON_ALLOW_NUL, NULL);

	if (answer->error) {
		try_later(node, answer->status, answer->error);
		return;
	}
	node->fails = 0;
	node->forbidden = false;
	if (doc)
		kube_node_see(node, doc);
	if (node->available && !node->taint)
		log_info("kube: node %s is told that its network is there",
		         node->name);
}

void kube_node_ready(struct kube_node *node)
{
	if (node->ready)
		return;
	node->ready = true;
	loop_timer_arm(node->loop, &node->act, 0);
}

void kube_node_open(struct kube_node *node)
{
	node->request.done = request_done;
	node->act.due = act_due;
}

void kube_node_close(struct kube_node *node)
{
	kube_http_cancel(&node->request);
	loop_timer_cancel(node->loop, &node->act);
	json_decref(node->taint);
	node->taint = NULL;
}
