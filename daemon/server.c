// SPDX-License-Identifier: Apache-2.0
/* server.c - see server.h. */
#include "daemon/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cni/wire.h"
#include "lib/log.h"
#include "lib/util.h"

#define PEERS_MAX  512 /* connections at once */
#define BACKLOG    512
#define READ_FIRST 4096
#define OUT_MAX    (256u << 10) /* queued for one peer; one line may be more */
#define IDLE_BYTES (64u << 10)  /* a larger buffer is given back when empty */

struct buffer {
	char *text; /* owned */
	size_t used, room;
};

/* A connection, and the stream that it may become. */
struct server_stream {
	struct server *server;
	struct server_stream *next, **link;
	struct loop_fd watch;
	struct loop_timer stall; /* neither side has moved a byte */
	struct buffer in, out;
	size_t sent; /* of out */
	void (*closed)(void *user);
	void *user;
	bool streaming; /* an operation holds it */
	bool ending;    /* close when out is empty */
	bool broken;    /* close at the end of this turn */
	bool writing;   /* epoll tells when it can be written */
	bool deaf;      /* it has said its last word, and reads on */
};

struct server {
	struct loop *loop;
	struct daemon *daemon;
	void (*before)(struct daemon *daemon); /* each request; or NULL */
	const struct server_op *const *tables;
	struct loop_fd watch; /* listens */
	struct loop_task reap;
	struct server_stream *peers;
	unsigned n_peers;
	char path[108];
};

/* ---- a peer's end ---- */

static void peer_free(struct server_stream *peer)
{
	struct server *server = peer->server;

	*peer->link = peer->next;
	if (peer->next)
		peer->next->link = peer->link;
	server->n_peers--;
	loop_timer_cancel(server->loop, &peer->stall);
	loop_fd_remove(server->loop, &peer->watch);
	close(peer->watch.fd);
	if (peer->closed)
		peer->closed(peer->user);
	free(peer->in.text);
	free(peer->out.text);
	free(peer);
}

/* Never freed where an operation or a callback may still hold it. */
static void peer_break(struct server_stream *peer)
{
	peer->broken = true;
	loop_task_schedule(peer->server->loop, &peer->server->reap);
}

static void reap_run(struct loop_task *self)
{
	struct server *server = container_of(self, struct server, reap);
	struct server_stream *next;

	for (struct server_stream *peer = server->peers; peer; peer = next) {
		next = peer->next;
		if (peer->broken)
			peer_free(peer);
	}
}

static void stall_due(struct loop_timer *self)
{
	peer_break(container_of(self, struct server_stream, stall));
}

/* A peer that owes us something gets so long for the next byte of it. */
static void stall_set(struct server_stream *peer)
{
	if (peer->out.used || !peer->streaming)
		loop_timer_arm(peer->server->loop, &peer->stall,
		               SERVER_STALL_NS);
	else
		loop_timer_cancel(peer->server->loop, &peer->stall);
}

/* ---- writing ---- */

static int buffer_reserve(struct buffer *buffer, size_t more)
{
	size_t room = buffer->room ? buffer->room : READ_FIRST;
	char *text;

	while (room - buffer->used < more)
		room *= 2;
	if (room == buffer->room)
		return 0;
	text = realloc(buffer->text, room);
	if (!text)
		return -ENOMEM;
	buffer->text = text;
	buffer->room = room;
	return 0;
}

static void watch_set(struct server_stream *peer, bool writing, bool deaf)
{
	const uint32_t events =
		(deaf ? 0u : EPOLLIN | EPOLLRDHUP) | (writing ? EPOLLOUT : 0u);

	if (peer->writing == writing && peer->deaf == deaf)
		return;
	peer->writing = writing;
	peer->deaf = deaf;
	loop_fd_remove(peer->server->loop, &peer->watch);
	if (loop_fd_add(peer->server->loop, &peer->watch, events))
		peer_break(peer);
}

static void out_clear(struct server_stream *peer)
{
	peer->sent = peer->out.used = 0;
	if (peer->out.room > IDLE_BYTES) {
		free(peer->out.text);
		peer->out = (struct buffer){};
	}
	if (peer->ending)
		peer_break(peer);
}

/* Write what the peer takes. */
static void peer_flush(struct server_stream *peer)
{
	while (!peer->broken && peer->sent < peer->out.used) {
		const ssize_t n =
			send(peer->watch.fd, peer->out.text + peer->sent,
		             peer->out.used - peer->sent,
		             MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			peer->sent += (size_t)n;
			stall_set(peer);
		} else if (n < 0 && errno == EAGAIN) {
			watch_set(peer, true, peer->deaf);
			return;
		} else if (n < 0 && errno != EINTR) {
			peer_break(peer);
		}
	}
	if (peer->broken)
		return;
	out_clear(peer);
	watch_set(peer, false, peer->deaf);
	stall_set(peer);
}

static int line_queue(struct server_stream *peer, const json_t *line)
{
	_cleanup_(free_p) char *text = json_dumps(line, JSON_COMPACT);
	struct buffer *out = &peer->out;
	size_t len;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	if (peer->sent > out->used / 2) {
		memmove(out->text, out->text + peer->sent,
		        out->used - peer->sent);
		out->used -= peer->sent;
		peer->sent = 0;
	}
	if (out->used > peer->sent && out->used - peer->sent + len > OUT_MAX)
		return -ENOBUFS;
	if (buffer_reserve(out, len + 1))
		return -ENOMEM;
	memcpy(out->text + out->used, text, len);
	out->text[out->used + len] = '\n';
	out->used += len + 1;
	return 0;
}

bool server_stream_send(struct server_stream *stream, const json_t *line)
{
	if (stream->broken || stream->ending || line_queue(stream, line))
		return false;
	if (!stream->writing)
		peer_flush(stream);
	return !stream->broken;
}

void server_stream_on_close(struct server_stream *stream,
                            void (*closed)(void *user), void *user)
{
	stream->closed = closed;
	stream->user = user;
}

void server_stream_end(struct server_stream *stream)
{
	stream->ending = true;
	if (stream->sent == stream->out.used)
		peer_break(stream);
}

/* ---- requests ---- */

static void peer_reply(struct server_stream *peer, json_t *reply)
{
	_cleanup_(json_decrefp) json_t *line =
		reply ? reply : wire_error(WIRE_OTHER, "out of memory");

	peer->ending = true;
	if (!line || line_queue(peer, line))
		peer_break(peer);
	else
		peer_flush(peer);
}

static const struct server_op *op_find(const struct server *server,
                                       const char *name)
{
	for (const struct server_op *const *table = server->tables; *table;
	     table++)
		for (const struct server_op *op = *table; op->name; op++)
			if (!strcmp(op->name, name))
				return op;
	return NULL;
}

static void request_run(struct server_stream *peer, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "op"));
	const struct server_op *op = name ? op_find(peer->server, name) : NULL;
	char msg[128];

	if (peer->server->before)
		peer->server->before(peer->server->daemon);
	if (!op) {
		snprintf(msg, sizeof(msg),
		         name ? "no operation '%.64s'"
		              : "a request without 'op'",
		         name);
		peer_reply(peer, wire_error(WIRE_OTHER, msg));
	} else if (op->reply) {
		peer_reply(peer, op->reply(peer->server->daemon, request));
	} else {
		peer->streaming = true;
		stall_set(peer);
		op->stream(peer->server->daemon, request, peer);
	}
}

static void line_take(struct server_stream *peer, size_t len)
{
	json_error_t why;
	_cleanup_(json_decrefp) json_t *request =
		json_loadb(peer->in.text, len, JSON_REJECT_DUPLICATES, &why);
	char msg[256];

	/* What follows the line is not ours to answer. */
	free(peer->in.text);
	peer->in = (struct buffer){};
	if (json_is_object(request)) {
		request_run(peer, request);
		return;
	}
	snprintf(msg, sizeof(msg), "the request is no JSON object: %.160s",
	         request ? "it is something else" : why.text);
	peer_reply(peer, wire_error(WIRE_OTHER, msg));
}

/* True while there may be more to read at once. */
static bool peer_read(struct server_stream *peer)
{
	struct buffer *in = &peer->in;
	const char *end;
	ssize_t n;

	if (buffer_reserve(in, READ_FIRST)) {
		peer_break(peer);
		return false;
	}
	n = recv(peer->watch.fd, in->text + in->used, in->room - in->used,
	         MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (!n && peer->ending && peer->out.used) {
		watch_set(peer, peer->writing, true);
		return false;
	}
	if (n <= 0) {
		peer_break(peer);
		return false;
	}
	if (peer->streaming || peer->ending)
		return true; /* a peer has one request; the rest is dropped */
	end = memchr(in->text + in->used, '\n', (size_t)n);
	in->used += (size_t)n;
	stall_set(peer);
	if (end)
		line_take(peer, (size_t)(end - in->text));
	else if (in->used > SERVER_REQUEST_MAX)
		peer_reply(peer,
		           wire_error(WIRE_OTHER,
		                      "the request is longer than 1 MiB"));
	return !peer->broken;
}

static void peer_ready(struct loop_fd *self, uint32_t epoll_events)
{
	struct server_stream *peer =
		container_of(self, struct server_stream, watch);

	if (peer->broken)
		return;
	if (epoll_events & EPOLLOUT)
		peer_flush(peer);
	/* One buffer a turn: nobody holds up the others. */
	if (!peer->broken &&
	    epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		(void)peer_read(peer);
}

/* ---- connections ---- */

static bool peer_allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
	       (!cred.uid || cred.uid == geteuid());
}

static int peer_add(struct server *server, int fd)
{
	struct server_stream *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return -ENOMEM;
	peer->server = server;
	peer->watch.fd = fd;
	peer->watch.ready = peer_ready;
	peer->stall.due = stall_due;
	if (loop_fd_add(server->loop, &peer->watch, EPOLLIN | EPOLLRDHUP)) {
		free(peer);
		return -ENOMEM;
	}
	peer->next = server->peers;
	peer->link = &server->peers;
	if (peer->next)
		peer->next->link = &peer->next;
	server->peers = peer;
	server->n_peers++;
	stall_set(peer);
	/* The request usually came with the connection. */
	while (!peer->ending && !peer->streaming && peer_read(peer))
		;
	return 0;
}

/* Said without waiting; a peer that cannot take one line is not helped. */
static void peer_refuse(int fd, int code, const char *msg)
{
	_cleanup_(json_decrefp) json_t *line = wire_error(code, msg);
	_cleanup_(free_p) char *text =
		line ? json_dumps(line, JSON_COMPACT) : NULL;

	size_t len;

	if (!text)
		return;
	len = strlen(text);
	text[len++] = '\n'; /* in the place of the terminator */
	(void)send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void listen_ready(struct loop_fd *self, uint32_t epoll_events)
{
	struct server *server = container_of(self, struct server, watch);

	(void)epoll_events;
	for (int i = 0; i < BACKLOG; i++) {
		const int fd = accept4(self->fd, NULL, NULL,
		                       SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		if (!peer_allowed(fd))
			peer_refuse(fd, WIRE_OTHER, "only root may ask");
		else if (server->n_peers >= PEERS_MAX)
			peer_refuse(fd, WIRE_AGAIN, "too many connections");
		else if (!peer_add(server, fd))
			continue; /* it is the peer's now */
		close(fd);
	}
}

/* ---- the socket ---- */

static bool somebody_listens(const struct sockaddr_un *addr)
{
	_cleanup_(closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 &&
	       (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ||
	        errno == EAGAIN);
}

static int socket_open(const char *path, int *ret, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_(closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int r;

	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG, "socket '%.120s': too long",
		               path);
	memcpy(addr.sun_path, path, strlen(path));
	if (somebody_listens(&addr))
		return err_set(err, -EADDRINUSE,
		               "another daemon listens on '%s'", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(err, -errno, "remove '%s': %s", path,
		               strerror(errno));
	/* 0600 from the first moment, not by a chmod() that comes later. */
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	(void)umask(mask);
	if (!r && listen(fd, BACKLOG))
		r = -errno;
	if (r)
		return err_set(err, r, "listen on '%s': %s", path,
		               strerror(-r));
	*ret = TAKE_FD(fd);
	return 0;
}

int server_new(struct loop *loop, const char *socket_path,
               const struct server_op *const *tables, struct daemon *daemon,
               struct server **ret, struct err *err)
{
	_cleanup_(free_p) struct server *server = calloc(1, sizeof(*server));
	_cleanup_(closep) int fd = -1;
	int r;

	if (!server)
		return err_set(err, -ENOMEM, "out of memory");
	r = socket_open(socket_path, &fd, err);
	if (r)
		return r;
	snprintf(server->path, sizeof(server->path), "%s", socket_path);
	server->loop = loop;
	server->daemon = daemon;
	server->tables = tables;
	server->watch = (struct loop_fd){.ready = listen_ready, .fd = fd};
	server->reap.run = reap_run;
	r = loop_fd_add(loop, &server->watch, EPOLLIN);
	if (r)
		return err_set(err, r, "watch '%s': %s", socket_path,
		               strerror(-r));
	(void)TAKE_FD(fd); /* the server's now */
	*ret = TAKE(server);
	return 0;
}

void server_before(struct server *server, void (*before)(struct daemon *daemon))
{
	server->before = before;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	while (server->peers)
		peer_free(server->peers);
	loop_task_cancel(server->loop, &server->reap);
	loop_fd_remove(server->loop, &server->watch);
	close(server->watch.fd);
	(void)unlink(server->path);
	free(server);
}
