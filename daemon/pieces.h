/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pieces.h - a long answer in pieces that never hold up the loop.
 *
 * Lines are made while time is left, handed to the stream, and kept when the
 * peer is slow; the last line is {"end": true, …}.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "daemon/loop.h"
#include "daemon/server.h"

struct pieces {
	/*
	 * Make the next line: true, with *ret a new reference, or NULL when
	 * this step yielded none.  False at the end, *ret then what to add to
	 * the last line, or NULL.  One call takes well under a millisecond.
	 */
	bool (*next)(struct pieces *self, json_t **ret);
	void (*free)(struct pieces *self); /* of the object around it */

	struct loop *loop;
	struct loop_timer timer;
	struct server_stream *stream;
	json_t *line;
	bool ended;
};

/* Takes over @self: free is called at the end or when the peer goes away. */
void pieces_start(struct pieces *self, struct loop *loop,
                  struct server_stream *stream);

/* A stream whose whole answer is an error. */
void stream_error(struct server_stream *stream, const char *text);
