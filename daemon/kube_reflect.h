/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube_reflect.h - one kind of objects, listed and then watched, for ever.
 *
 * The list is asked for in pages and without a version: what it says is what
 * etcd holds, never what some API server remembers.  The watch goes on from
 * the list's version, and after each of its ends from the newest version that
 * it told.  Only a version that the API server has forgotten (410, as status
 * or as event) or an answer that cannot be read leads to a new list.  A list
 * that ends half-way removes nothing.
 *
 * Failures wait: 0.25 s, doubled up to 30 s, with jitter, or as long as the
 * server's Retry-After says.  Meanwhile everything stays as it is.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/kube_cache.h"
#include "daemon/kube_http.h"
#include "daemon/kube_split.h"
#include "daemon/loop.h"

enum kube_phase { KUBE_LIST, KUBE_WATCH };

struct kube_reflect {
	struct kube_cache cache; /* kind, store, on_put: set by the owner */
	struct loop *loop;       /* set by the owner, as these two are */
	struct kube_http *http;
	void *owner; /* the owner itself, for on_change */
	/* It is synced now, it has failed, it has recovered.  No request may be
	 * sent inside. */
	void (*on_change)(struct kube_reflect *self);
	/* ---- to be read ---- */
	bool synced;    /* one whole list is in */
	unsigned fails; /* in a row; 0: all is well */
	int status;     /* of HTTP, of the last failure */
	struct err why; /* of the last failure */
	/* ---- private ---- */
	enum kube_phase phase;
	struct kube_request request;
	struct kube_split split;
	struct loop_timer again;
	uint64_t since_ns; /* the request was sent */
	char version[KUBE_VERSION_MAX];
	char *token;      /* continue; owned; NULL: the first page */
	char *next_token; /* of the page that is being read */
	unsigned expired; /* 410 in a row, without an event between them */
	bool renewed;     /* 401: tried again at once already */
	bool relist;      /* the watch told so */
};

void kube_reflect_start(struct kube_reflect *reflect);
void kube_reflect_stop(struct kube_reflect *reflect);

/* How long the @fails-th failure in a row waits; with jitter. */
uint64_t kube_backoff_ns(unsigned fails);
