/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the daemon's socket: one request line, one reply line.
 *
 * 0600, owner root, and the peer's uid is checked.  Never blocks on a peer:
 * replies are buffered and written when the peer reads; who does not read for
 * SERVER_STALL_NS is closed.  Requests over SERVER_REQUEST_MAX are refused.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "daemon/loop.h"
#include "lib/err.h"

#define SERVER_REQUEST_MAX (1u << 20)
#define SERVER_STALL_NS    (30ull * 1000000000)

struct server;
struct server_stream; /* a connection that gets lines until it closes */
struct daemon;        /* daemon.h */

/* An operation of wire.h or of the CLI; replies with a new reference.  One of
 * the two is set; a stream op keeps @stream until its closed callback. */
struct server_op {
	const char *name; /* "cni.add", "endpoint.list", … */
	json_t *(*reply)(struct daemon *daemon, const json_t *request);
	void (*stream)(struct daemon *daemon, const json_t *request,
	               struct server_stream *stream);
};

int server_new(struct loop *loop, const char *socket_path,
               const struct server_op *const *tables, struct daemon *daemon,
               struct server **ret, struct err *err);
void server_free(struct server *server);
/* Called before each request: what is pending is settled first, so that an
 * answer is never behind what the asker has seen done. */
void server_before(struct server *server,
                   void (*before)(struct daemon *daemon));

/* Queue one line; false when the peer is too slow or gone, and the line was
 * not taken. */
bool server_stream_send(struct server_stream *stream, const json_t *line);
/* @closed runs once when the peer goes away, or has got all after
 * server_stream_end(), from the loop and never inside a call of ours; the
 * stream is gone after it.  NULL: no callback. */
void server_stream_on_close(struct server_stream *stream,
                            void (*closed)(void *user), void *user);
void server_stream_end(struct server_stream *stream); /* after what is queued */
