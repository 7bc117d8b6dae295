// SPDX-License-Identifier: Apache-2.0
/* pieces.c - see pieces.h. */
#include "daemon/pieces.h"

#include <time.h>

#include "cni/wire.h"
#include "lib/util.h"

#define NS_PER_MS 1000000ull
#define PIECE_NS  (5 * NS_PER_MS)
#define SLOW_NS   (10 * NS_PER_MS)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void closed(void *user)
{
	struct pieces *self = user;

	loop_timer_cancel(self->loop, &self->timer);
	json_decref(self->line);
	self->free(self);
}

static void line_make(struct pieces *self)
{
	if (self->next(self, &self->line))
		return;
	if (!self->line)
		self->line = json_object();
	(void)json_object_set_new(self->line, "end", json_true());
	self->ended = true;
}

static void due(struct loop_timer *timer)
{
	struct pieces *self = container_of(timer, struct pieces, timer);
	struct server_stream *stream = self->stream;
	const uint64_t until = now_ns() + PIECE_NS;

	while (now_ns() < until) {
		if (!self->line)
			line_make(self);
		if (self->line && !server_stream_send(stream, self->line)) {
			loop_timer_arm(self->loop, timer, SLOW_NS);
			return;
		}
		json_decref(TAKE(self->line));
		if (self->ended) {
			server_stream_on_close(stream, NULL, NULL);
			closed(self);
			server_stream_end(stream);
			return;
		}
	}
	loop_timer_arm(self->loop, timer, 0);
}

void pieces_start(struct pieces *self, struct loop *loop,
                  struct server_stream *stream)
{
	self->loop = loop;
	self->stream = stream;
	self->timer.due = due;
	server_stream_on_close(stream, closed, self);
	loop_timer_arm(loop, &self->timer, 0);
}

void stream_error(struct server_stream *stream, const char *text)
{
	json_t *error = wire_error(WIRE_OTHER, text);

	(void)server_stream_send(stream, error);
	json_decref(error);
	server_stream_end(stream);
}
