/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube_event.h - Events on NetworkPolicies that are not in force as written.
 *
 * PolicyInvalid when it cannot be read (the same for all nodes: its name is
 * the same on each, so that the first node's stands for all), PolicyNotInForce
 * when it does not fit here.  Each once an hour at most while it lasts, one at
 * a time, a few a second at most.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <uthash.h>

#include "daemon/kube_cache.h"
#include "daemon/kube_http.h"
#include "daemon/loop.h"
#include "daemon/store.h"

struct kube_note;

struct kube_events {
	struct loop *loop; /* set by the owner, as these are */
	struct kube_http *http;
	const struct store *store;
	const struct kube_cache *netpols, *pods;
	const char *node_name;
	json_t *(*problems)(void *user); /* may be NULL, and may return NULL */
	void *user;
	/* ---- private ---- */
	struct kube_note *notes; /* by name */
	struct kube_note *sending;
	struct kube_request request;
	struct loop_timer look;
	unsigned fails;
	bool forbidden; /* said so already */
};

void kube_events_open(struct kube_events *events);
/* Also of one that was never opened. */
void kube_events_close(struct kube_events *events);
