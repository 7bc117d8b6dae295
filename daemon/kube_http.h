/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube_http.h - requests to the API server on the daemon's one loop.
 *
 * libcurl, which never blocks here.  HTTP/2 where it is offered, so that all
 * watches share one connection; after a timeout that one is not trusted and
 * the next request makes another.  TLS 1.2 or later, always verified, against
 * the configured CA alone where there is one.  No redirect is followed and no
 * proxy used, whatever the environment says.  The token is read anew for each
 * request.  What we sent and the peer's kernel does not acknowledge for 20 s,
 * or an idle peer that does not answer for 30 s, ends the connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/kube_config.h"
#include "daemon/loop.h"
#include "lib/err.h"
#include "lib/util.h"

#define KUBE_ERROR_BODY_MAX 16384u /* looked at, of an answer that refuses */

struct kube_http;
struct kube_call;

struct kube_answer {
	int status; /* of HTTP; 0: none came */
	/* NULL: a whole answer with a status of 2xx.  Borrowed, as the rest. */
	const char *error;
	uint64_t retry_ns; /* Retry-After; 0: it does not say */
	const char *body;  /* what was collected; NUL-terminated, maybe "" */
	size_t len;
};

/* Embedded in whom it serves; zeroed before its first use. */
struct kube_request {
	const char *method;      /* NULL: GET */
	const char *path;        /* with its query; borrowed for the call */
	const char *body, *type; /* of the request; NULL: none; borrowed */
	uint64_t limit_ns;       /* for all of it; 0: none */
	uint64_t idle_ns;        /* without a byte; 0: none */
	/* An answer of 2xx begins; or NULL. */
	void (*begun)(struct kube_request *self);
	/* Of such an answer, as it comes: 0, or -errno with a sentence, which
	 * ends the request with that error.  No request may be sent or ended
	 * inside of these two.  NULL: collected, up to KUBE_OBJECT_MAX. */
	int (*data)(struct kube_request *self, const char *data, size_t len,
	            struct err *err);
	/* Once, from the loop; the request is free to be sent again. */
	void (*done)(struct kube_request *self,
	             const struct kube_answer *answer);
	struct kube_call *call; /* private: while it is under way */
};

int kube_http_new(struct loop *loop, const struct kube_config *config,
                  struct kube_http **ret, struct err *err);
/* Requests have been ended before. */
void kube_http_free(struct kube_http *http);
DEFINE_CLEANUP(struct kube_http *, kube_http_free)

/* 0: done() will be called; else -errno with a sentence, and it will not. */
int kube_http_send(struct kube_http *http, struct kube_request *request,
                   struct err *err);
/* Its done() is not called.  What is not under way is left alone. */
void kube_http_cancel(struct kube_request *request);

/* @text as part of a query, owned by the caller; NULL: out of memory. */
char *kube_http_escape(const char *text);
