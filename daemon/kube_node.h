/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube_node.h - what this node's own Node object is told.
 *
 * Once ADD can be served: the condition NetworkUnavailable becomes False, and
 * the taint stile.dev/agent-not-ready goes.  Each time the Node shows another
 * state it is told again; a failure is tried again, a lost permission is said
 * once.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "daemon/kube_http.h"
#include "daemon/loop.h"

#define KUBE_TAINT "stile.dev/agent-not-ready"

struct kube_node {
	struct loop *loop; /* set by the owner, as these are */
	struct kube_http *http;
	const char *name;
	bool ready; /* ADD can be served */
	/* ---- private ---- */
	bool available;     /* the condition is as it should be */
	json_t *taint;      /* ours, as it stands there; owned; or NULL */
	size_t taint_index; /* in spec.taints */
	bool seen;
	bool forbidden; /* said so already */
	unsigned fails;
	struct kube_request request;
	struct loop_timer act;
};

void kube_node_open(struct kube_node *node);
void kube_node_close(struct kube_node *node);

/* A version of some Node; others than our own are passed over.  May be called
 * inside of a request's data(). */
void kube_node_see(struct kube_node *node, json_t *doc);
void kube_node_ready(struct kube_node *node);
