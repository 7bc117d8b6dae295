// SPDX-License-Identifier: Apache-2.0
/* wire.c - see wire.h. */
#include "cni/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "lib/util.h"

#define READ_FIRST 4096

struct reader {
	char *text; /* owned */
	size_t used, room;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What is left until @deadline, as poll() wants it; -1 for none. */
static int time_left(int64_t deadline)
{
	const int64_t left = deadline - now_ms();

	if (deadline < 0)
		return -1;
	return left > 0 ? (int)left : 0;
}

static int fd_wait(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		const int n = poll(&p, 1, time_left(deadline));

		if (n > 0)
			return 0;
		if (!n)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/*
 * A full backlog is EAGAIN on a non-blocking UNIX socket, and nothing to poll
 * for: such a socket waits in connect() as long as its send timeout says.
 */
static int socket_connect(const char *path, int timeout_ms, int *ret)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const struct timeval limit = {.tv_sec = timeout_ms / 1000,
	                              .tv_usec = timeout_ms % 1000 * 1000L};
	_cleanup_(closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	if (timeout_ms > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit,
		                 sizeof(limit));
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if (errno == EAGAIN)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
	*ret = TAKE_FD(fd);
	return 0;
}

static int line_send(int fd, const char *line, size_t len, int64_t deadline)
{
	while (len) {
		const ssize_t n =
			send(fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r = 0;

		if (n >= 0) {
			line += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EAGAIN)
			r = fd_wait(fd, POLLOUT, deadline);
		else if (errno != EINTR)
			r = -errno;
		if (r)
			return r;
	}
	return 0;
}

static int request_send(int fd, const json_t *request, int64_t deadline)
{
	_cleanup_(free_p) char *line = json_dumps(request, JSON_COMPACT);
	size_t len;

	if (!line)
		return -ENOMEM;
	len = strlen(line);
	line[len++] = '\n'; /* in the place of the terminator */
	return line_send(fd, line, len, deadline);
}

static int reader_grow(struct reader *reader)
{
	const size_t room = reader->room ? reader->room * 2 : READ_FIRST;
	char *text;

	if (reader->room >= WIRE_MAX_BYTES)
		return -EMSGSIZE;
	text = realloc(reader->text, room);
	if (!text)
		return -ENOMEM;
	reader->text = text;
	reader->room = room;
	return 0;
}

/* Until a line is whole; its length without the newline in @ret. */
static int line_read(int fd, struct reader *reader, int64_t deadline,
                     size_t *ret)
{
	for (;;) {
		const char *end;
		ssize_t n;
		int r = 0;

		if (reader->used == reader->room)
			r = reader_grow(reader);
		if (!r)
			r = fd_wait(fd, POLLIN, deadline);
		if (r)
			return r;
		n = recv(fd, reader->text + reader->used,
		         reader->room - reader->used, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n ? -errno : -EPROTO;
		end = memchr(reader->text + reader->used, '\n', (size_t)n);
		reader->used += (size_t)n;
		if (!end)
			continue;
		*ret = (size_t)(end - reader->text);
		return 0;
	}
}

static int reply_read(int fd, int64_t deadline, json_t **ret, struct err *err)
{
	struct reader reader = {};
	_cleanup_(free_p) char *text = NULL;
	json_error_t why;
	json_t *reply;
	size_t len;
	int r;

	r = line_read(fd, &reader, deadline, &len);
	text = reader.text;
	if (r == -EPROTO)
		return err_set(err, r, "the daemon closed without a reply");
	if (r)
		return err_set(err, r, "read the daemon's reply: %s",
		               strerror(-r));
	reply = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!reply)
		return err_set(err, -EPROTO,
		               "the daemon's reply is no JSON: %s", why.text);
	if (!json_is_object(reply)) {
		json_decref(reply);
		return err_set(err, -EPROTO,
		               "the daemon's reply is no JSON object");
	}
	*ret = reply;
	return 0;
}

static int wire_start(const char *path, const json_t *request, int timeout_ms,
                      int *ret_fd, struct err *err)
{
	const int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	_cleanup_(closep) int fd = -1;
	int r;

	r = socket_connect(path, timeout_ms, &fd);
	if (r)
		return err_set(err, r, "connect to %s: %s", path, strerror(-r));
	r = request_send(fd, request, deadline);
	if (r)
		return err_set(err, r, "send to %s: %s", path, strerror(-r));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int wire_call(const char *path, const json_t *request, int timeout_ms,
              json_t **ret, struct err *err)
{
	const int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	_cleanup_(closep) int fd = -1;
	int r;

	r = wire_start(path, request, timeout_ms, &fd, err);
	if (!r)
		r = reply_read(fd, deadline, ret, err);
	return r;
}

int wire_open(const char *path, const json_t *request, int *ret_fd,
              struct err *err)
{
	return wire_start(path, request, -1, ret_fd, err);
}

json_t *wire_error(int code, const char *msg)
{
	/* A sentence may quote bytes that are no UTF-8: then say less. */
	json_t *error =
		json_pack("{s:{s:i,s:s}}", "error", "code", code, "msg", msg);

	if (!error)
		error = json_pack("{s:{s:i,s:s}}", "error", "code", code, "msg",
		                  "the error's text is not UTF-8");
	return error;
}

int wire_is_error(const json_t *reply, const char **ret_msg)
{
	const json_t *error = json_object_get(reply, "error");
	const char *msg = json_string_value(json_object_get(error, "msg"));
	const json_int_t code =
		json_integer_value(json_object_get(error, "code"));

	if (!error)
		return 0;
	*ret_msg = msg ? msg : "the daemon gave no reason";
	return code > 0 && code <= INT32_MAX ? (int)code : WIRE_OTHER;
}

/* FNV-1a, 64 bits: names need spreading, not secrecy. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
	return (hash ^ 0xff) * 0x100000001b3u; /* "ab","c" is not "a","bc" */
}

void wire_host_ifname(const char *container_id, const char *ifname,
                      char ret[16])
{
	uint64_t hash = hash_text(0xcbf29ce484222325u, container_id);

	hash = hash_text(hash, ifname);
	/* The last bits of a product are the poorest: fold all into 48. */
	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdu;
	hash ^= hash >> 33;
	snprintf(ret, 16, "stl%012llx",
	         (unsigned long long)(hash & 0xffffffffffffu));
}
