/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - a small HTTP/1.1 listener on the loop, for probes and scrapers.
 *
 * GET and HEAD of fixed paths.  libmicrohttpd does the protocol; nobody who
 * connects can hold up the loop: connections, their memory and their time are
 * limited.
 */
#pragma once

#include <stdio.h>

#include "daemon/loop.h"
#include "lib/err.h"
#include "lib/util.h"

struct daemon;
struct http;

struct http_route {
	const char *path; /* NULL ends a table */
	const char *type; /* of the content */
	/* Writes the body; the HTTP status. */
	unsigned (*answer)(struct daemon *daemon, FILE *out);
};

/* "10.0.0.1:9577", "[2001:db8::1]:9577"; ":9577" for all addresses. */
#define HTTP_WHERE_MAX 64
/* Is @where of that form?  0 or -EINVAL. */
int http_where_check(const char *where);

/* @routes: static.  -errno with a sentence. */
int http_open(struct loop *loop, const char *where,
              const struct http_route *routes, struct daemon *daemon,
              struct http **ret, struct err *err);
void http_close(struct http *http);
DEFINE_CLEANUP(struct http *, http_close)
