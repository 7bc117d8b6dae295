// SPDX-License-Identifier: Apache-2.0
/* flowlog.c - see flowlog.h. */
#include "daemon/flowlog.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "cni/wire.h"
#include "daemon/daemon.h"
#include "daemon/flow_filter.h"
#include "daemon/flow_json.h"
#include "daemon/flow_names.h"
#include "lib/log.h"

#define NS_PER_MS      1000000ull
#define POLL_IDLE_NS   (250 * NS_PER_MS)
#define POLL_FOLLOW_NS (50 * NS_PER_MS)
#define POLL_SLOW_NS   (10 * NS_PER_MS) /* a reader's buffer is full */
#define PIECE_NS       (5 * NS_PER_MS)  /* work between two looks at the loop */
#define LOST_EVERY_NS  (1000 * NS_PER_MS)

struct follower {
	struct follower *next;
	struct flowlog *log;
	struct server_stream *stream;
	struct flow_filter *filter; /* owned; NULL: everything */
	json_t *line;               /* built, not yet taken by the peer */
	uint64_t at;                /* next event to look at */
	uint64_t end;               /* stop there; UINT64_MAX: follow */
};

struct flowlog {
	struct loop *loop;
	struct dp *dp;
	struct daemon *daemon;
	struct flow_names *names;
	struct ring_buffer *ring;
	struct loop_fd ring_fd;
	struct loop_timer poll;
	struct follower *followers;
	uint64_t first, next;    /* kept events: [first, next) */
	uint64_t piece_until_ns; /* when the callback must stop */
	uint64_t boot_to_wall_ns;
	uint64_t lost, lost_check_ns;
	bool unfinished; /* the ring holds more */
	struct kept kept[FLOWLOG_KEEP];
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static struct kept *kept_at(struct flowlog *log, uint64_t n)
{
	return &log->kept[n % FLOWLOG_KEEP];
}

static struct flow_view view_of(struct flowlog *log, uint64_t n)
{
	const struct kept *kept = kept_at(log, n);
	struct flow_view view = {
		.event = &kept->event,
		.node = log->daemon->config.node_name,
		.why = kept->why ? kept->why->s : NULL,
		.service = kept->service ? kept->service->s : NULL,
		.audit = kept->audit,
	};

	for (int i = 0; i < 2; i++) {
		view.who[i] = kept->who[i] ? kept->who[i]->s : NULL;
		view.rule[i] = kept->rule[i] ? kept->rule[i]->s : NULL;
	}
	return view;
}

/* ---- reading the ring ---------------------------------------------------- */

static void forget_first(struct flowlog *log)
{
	flow_names_drop(log->names, kept_at(log, log->first));
	log->first++;
}

/* A negative answer ends this round; the event itself has been taken. */
static int event_take(void *user, void *data, size_t size)
{
	struct flowlog *log = user;
	struct kept *kept;

	if (size < sizeof(struct event))
		return 0;
	if (log->next - log->first == FLOWLOG_KEEP)
		forget_first(log);
	kept = kept_at(log, log->next);
	*kept = (struct kept){};
	memcpy(&kept->event, data, sizeof(kept->event));
	kept->event.time_ns += log->boot_to_wall_ns;
	flow_names_give(log->names, kept);
	log->next++;
	while (flow_names_bytes(log->names) > FLOWLOG_NAMES_BYTES &&
	       log->first + 1 < log->next)
		forget_first(log);
	return clock_ns(CLOCK_MONOTONIC) < log->piece_until_ns ? 0 : -EAGAIN;
}

static void ring_read(struct flowlog *log)
{
	const uint64_t boot = clock_ns(CLOCK_BOOTTIME);

	log->boot_to_wall_ns = clock_ns(CLOCK_REALTIME) - boot;
	log->piece_until_ns = clock_ns(CLOCK_MONOTONIC) + PIECE_NS;
	flow_names_begin(log->names);
	log->unfinished = ring_buffer__consume(log->ring) == -EAGAIN;
}

/* ---- followers ----------------------------------------------------------- */

static void follower_free(struct follower *follower)
{
	if (!follower)
		return;
	flow_filter_free(follower->filter);
	json_decref(follower->line);
	free(follower);
}
DEFINE_CLEANUP(struct follower *, follower_free)

static void follower_unlink(struct follower *follower)
{
	struct follower **at = &follower->log->followers;

	while (*at && *at != follower)
		at = &(*at)->next;
	if (*at)
		*at = follower->next;
}

static void follower_closed(void *user)
{
	follower_unlink(user);
	follower_free(user);
}

/* The next line for @follower, or NULL when it has seen what there is. */
static json_t *follower_line(struct flowlog *log, struct follower *follower,
                             uint64_t until_ns)
{
	if (follower->at < log->first) {
		const uint64_t missed = log->first - follower->at;

		follower->at = log->first;
		return flow_json_lost(log->daemon->config.node_name,
		                      "HUBBLE_RING_BUFFER", missed,
		                      clock_ns(CLOCK_REALTIME));
	}
	while (follower->at < log->next && follower->at < follower->end) {
		const struct flow_view view = view_of(log, follower->at);

		follower->at++;
		if (flow_filter_match(follower->filter, &view))
			return flow_json(&view);
		if (clock_ns(CLOCK_MONOTONIC) >= until_ns)
			break;
	}
	return NULL;
}

enum pump { PUMP_IDLE, PUMP_SLOW, PUMP_MORE };

/* Send what there is for a while.  The follower is gone when it was the end. */
static enum pump follower_pump(struct flowlog *log, struct follower *follower)
{
	const uint64_t until = clock_ns(CLOCK_MONOTONIC) + PIECE_NS;
	struct server_stream *stream = follower->stream;

	for (;;) {
		if (!follower->line)
			follower->line = follower_line(log, follower, until);
		if (!follower->line)
			break;
		if (!server_stream_send(stream, follower->line))
			return PUMP_SLOW;
		json_decref(TAKE(follower->line));
		if (clock_ns(CLOCK_MONOTONIC) >= until)
			return PUMP_MORE;
	}
	if (follower->at < follower->end)
		return follower->at < log->next ? PUMP_MORE : PUMP_IDLE;
	follower->line = json_pack("{s:b}", "end", 1);
	if (!server_stream_send(stream, follower->line))
		return PUMP_SLOW;
	follower_unlink(follower);
	server_stream_on_close(stream, NULL, NULL);
	follower_free(follower);
	server_stream_end(stream);
	return PUMP_IDLE;
}

/* Events that never reached us: tell the followers once a second at most. */
static void lost_tell(struct flowlog *log)
{
	const uint64_t now = clock_ns(CLOCK_MONOTONIC);
	uint64_t lost;

	if (now < log->lost_check_ns ||
	    dp_counter(log->dp, COUNTER_EVENT_LOST, &lost))
		return;
	log->lost_check_ns = now + LOST_EVERY_NS;
	for (struct follower *f = log->followers; f && lost > log->lost;
	     f = f->next)
		if (f->end == UINT64_MAX && !f->line)
			f->line = flow_json_lost(log->daemon->config.node_name,
			                         "PERF_EVENT_RING_BUFFER",
			                         lost - log->lost,
			                         clock_ns(CLOCK_REALTIME));
	log->lost = lost;
}

static void flowlog_turn(struct flowlog *log)
{
	enum pump worst = log->unfinished ? PUMP_MORE : PUMP_IDLE;
	static const uint64_t wait_ns[] = {
		[PUMP_IDLE] = POLL_FOLLOW_NS,
		[PUMP_SLOW] = POLL_SLOW_NS,
		[PUMP_MORE] = 0,
	};

	if (log->followers)
		lost_tell(log);
	for (struct follower *f = log->followers, *next; f; f = next) {
		enum pump state;

		next = f->next;
		state = follower_pump(log, f);
		worst = state > worst ? state : worst;
	}
	loop_timer_arm(log->loop, &log->poll,
	               log->followers || worst ? wait_ns[worst] : POLL_IDLE_NS);
}

static void poll_due(struct loop_timer *timer)
{
	struct flowlog *log = container_of(timer, struct flowlog, poll);

	ring_read(log);
	flowlog_turn(log);
}

static void ring_ready(struct loop_fd *fd, uint32_t events)
{
	struct flowlog *log = container_of(fd, struct flowlog, ring_fd);

	(void)events;
	ring_read(log);
	flowlog_turn(log);
}

/* ---- the operation ------------------------------------------------------- */

/* Where to begin so that @last matching events, none before @since, follow. */
static uint64_t start_at(struct flowlog *log, const struct flow_filter *filter,
                         uint64_t last, uint64_t since_ns)
{
	uint64_t at = log->next;

	while (at > log->first && last) {
		const struct flow_view view = view_of(log, at - 1);

		if (view.event->time_ns < since_ns)
			break;
		last -= flow_filter_match(filter, &view);
		at--;
	}
	return at;
}

static int follower_new(struct flowlog *log, const json_t *request,
                        struct follower **ret, struct err *err)
{
	const json_t *last = json_object_get(request, "last");
	const json_t *since = json_object_get(request, "since");
	const bool follow = json_is_true(json_object_get(request, "follow"));
	_cleanup_(follower_freep) struct follower *f = calloc(1, sizeof(*f));
	const double since_s = json_number_value(since);
	int r;

	if (!f)
		return err_set(err, -ENOMEM, "out of memory");
	if (last && json_integer_value(last) < 0)
		return err_set(err, -EINVAL, "last: want a number from 0 on");
	r = flow_filter_new(json_object_get(request, "filters"), &f->filter,
	                    err);
	if (r)
		return r;
	ring_read(log); /* what has happened up to now */
	f->log = log;
	f->at = start_at(log, f->filter,
	                 last ? (uint64_t)json_integer_value(last) : UINT64_MAX,
	                 since_s > 0 ? (uint64_t)(since_s * 1e9) : 0);
	f->end = follow ? UINT64_MAX : log->next;
	*ret = TAKE(f);
	return 0;
}

void flowlog_stream(struct flowlog *log, const json_t *request,
                    struct server_stream *stream)
{
	struct follower *follower = NULL;
	struct err err = {};
	int r = follower_new(log, request, &follower, &err);

	if (r) {
		json_t *error = wire_error(WIRE_OTHER, err.text);

		(void)server_stream_send(stream, error);
		json_decref(error);
		server_stream_end(stream);
		return;
	}
	follower->stream = stream;
	server_stream_on_close(stream, follower_closed, follower);
	if (!log->followers)
		(void)dp_counter(log->dp, COUNTER_EVENT_LOST, &log->lost);
	follower->next = log->followers;
	log->followers = follower;
	loop_timer_arm(log->loop, &log->poll, 0);
}

void flowlog_stats(const struct flowlog *log, struct flowlog_stats *ret)
{
	*ret = (struct flowlog_stats){
		.seen = log->next,
		.kept = (unsigned)(log->next - log->first),
		.bytes = (log->next - log->first) * sizeof(struct kept) +
	                 flow_names_bytes(log->names),
	};
	for (const struct follower *f = log->followers; f; f = f->next)
		ret->followers++;
}

/* ---- life ---------------------------------------------------------------- */

int flowlog_new(struct loop *loop, struct dp *dp, struct daemon *daemon,
                struct flowlog **ret, struct err *err)
{
	struct flowlog *log = calloc(1, sizeof(*log));
	int fd = dp_map_fd(dp, "events"), r;

	if (!log)
		return err_set(err, -ENOMEM, "flow log: out of memory");
	log->loop = loop;
	log->dp = dp;
	log->daemon = daemon;
	log->poll.due = poll_due;
	log->ring_fd = (struct loop_fd){.ready = ring_ready, .fd = -1};
	log->names = flow_names_new(daemon);
	if (fd >= 0)
		log->ring = ring_buffer__new(fd, event_take, log, NULL);
	if (!log->names || !log->ring) {
		r = fd < 0 ? fd : -errno;
		flowlog_free(log);
		return err_set(err, r, "flow log: open the ring of events: %s",
		               strerror(-r));
	}
	log->ring_fd.fd = ring_buffer__epoll_fd(log->ring);
	r = loop_fd_add(loop, &log->ring_fd, EPOLLIN);
	if (r) {
		log->ring_fd.fd = -1;
		flowlog_free(log);
		return err_set(err, r, "flow log: watch the ring: %s",
		               strerror(-r));
	}
	loop_timer_arm(loop, &log->poll, POLL_IDLE_NS);
	*ret = log;
	return 0;
}

void flowlog_free(struct flowlog *log)
{
	if (!log)
		return;
	loop_timer_cancel(log->loop, &log->poll);
	if (log->ring_fd.fd >= 0)
		loop_fd_remove(log->loop, &log->ring_fd);
	ring_buffer__free(log->ring);
	while (log->followers) {
		struct follower *follower = log->followers;

		server_stream_on_close(follower->stream, NULL, NULL);
		follower_closed(follower);
	}
	flow_names_free(log->names);
	free(log);
}
