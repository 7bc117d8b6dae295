// SPDX-License-Identifier: Apache-2.0
#include "daemon/server.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "test/test.h"

#define LIMIT_NS 30000000000ull

struct daemon {
	struct loop *loop;
	struct server *server;
	char path[64];
	struct server_stream *stream;
	int closed;
	struct loop_timer limit, once;
};

/* ---- operations ---- */

static json_t *echo(struct daemon *daemon, const json_t *request)
{
	(void)daemon;
	return json_pack("{s:O}", "said", json_object_get(request, "say"));
}

static json_t *large(struct daemon *daemon, const json_t *request)
{
	_cleanup_(free_p) char *text = malloc((size_t)1 << 20);

	(void)daemon, (void)request;
	memset(text, 'x', (size_t)1 << 20);
	return json_pack("{s:s%}", "text", text, (size_t)1 << 20);
}

static json_t *nothing(struct daemon *daemon, const json_t *request)
{
	(void)daemon, (void)request;
	return NULL;
}

static void closed(void *user)
{
	struct daemon *d = user;

	d->closed++;
	d->stream = NULL;
}

static void follow(struct daemon *daemon, const json_t *request,
                   struct server_stream *stream)
{
	_cleanup_(json_decrefp) json_t *line = json_pack("{s:i}", "n", 1);

	(void)request;
	daemon->stream = stream;
	server_stream_on_close(stream, closed, daemon);
	(void)server_stream_send(stream, line); /* it may have left already */
}

static const struct server_op some[] = {
	{"echo",    echo,    NULL},
	{"large",   large,   NULL},
	{"nothing", nothing, NULL},
	{NULL,      NULL,    NULL},
};
static const struct server_op more[] = {
	{"follow", NULL, follow},
	{NULL,     NULL, NULL  },
};
static const struct server_op *const tables[] = {some, more, NULL};

/* ---- fixture ---- */

static void limit_due(struct loop_timer *self)
{
	(void)self;
	fail_msg("it took longer than 5 s");
}

static void once_due(struct loop_timer *self)
{
	loop_stop(container_of(self, struct daemon, once)->loop);
}

static int setup(void **state)
{
	struct daemon *d = calloc(1, sizeof(*d));
	struct err err = {};

	snprintf(d->path, sizeof(d->path), "/tmp/server_test.%d", getpid());
	d->limit.due = limit_due;
	d->once.due = once_due;
	*state = d;
	if (loop_new(&d->loop))
		return -1;
	if (server_new(d->loop, d->path, tables, d, &d->server, &err))
		fail_msg("%s", err.text);
	return 0;
}

static int teardown(void **state)
{
	struct daemon *d = *state;

	server_free(d->server);
	loop_free(d->loop);
	free(d);
	return 0;
}

/* One turn, or more. */
static void turn(struct daemon *d)
{
	loop_timer_arm(d->loop, &d->once, 0);
	assert_int_equal(loop_run(d->loop), 0);
}

static int dial(const struct daemon *d)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, d->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
	                 0);
	return fd;
}

static void say(int fd, const char *text, size_t len)
{
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* What the peer gets until a newline or the end; turns the loop meanwhile. */
static char *hear(struct daemon *d, int fd)
{
	const uint64_t until = loop_now_ns() + LIMIT_NS;
	size_t used = 0, room = (size_t)4 << 20;
	char *text = malloc(room);

	while (loop_now_ns() < until) {
		ssize_t n = recv(fd, text + used, 1, MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			turn(d);
			continue;
		}
		if (n <= 0 || text[used] == '\n')
			break;
		n = recv(fd, text + used + 1, room - used - 2,
		         MSG_DONTWAIT | MSG_PEEK);
		if (n > 0) {
			const char *end =
				memchr(text + used + 1, '\n', (size_t)n);
			size_t take = end ? (size_t)(end - text - used - 1)
			                  : (size_t)n;

			take = (size_t)recv(fd, text + used + 1, take,
			                    MSG_DONTWAIT);
			used += take;
		}
		used++;
	}
	text[used] = '\0';
	return text;
}

static void want(struct daemon *d, int fd, const char *reply)
{
	_cleanup_(free_p) char *text = hear(d, fd);

	if (strcmp(text, reply) != 0)
		fail_msg("'%.200s', want '%s'", text, reply);
}

/* ---- tests ---- */

static void a_request_gets_its_reply_and_the_end(void **state)
{
	struct daemon *d = *state;
	int fd = dial(d);

	say(fd, "{\"op\":\"echo\",\"say\":[1]}\n", 24);
	want(d, fd, "{\"said\":[1]}");
	want(d, fd, ""); /* closed */
	close(fd);
}

static void a_request_may_come_byte_by_byte(void **state)
{
	static const char text[] = "{\"op\":\"echo\",\"say\":2}\n";
	struct daemon *d = *state;
	int fd = dial(d);

	for (const char *c = text; *c; c++) {
		say(fd, c, 1);
		turn(d);
	}
	want(d, fd, "{\"said\":2}");
	close(fd);
}

static void bad_requests_are_answered(void **state)
{
#define ERROR(msg) "{\"error\":{\"code\":100,\"msg\":\"" msg "\"}}"
	static const struct {
		const char *text, *reply;
	} cases[] = {
		{"{}\n",                   ERROR("a request without 'op'")},
		{"{\"op\":7}\n",           ERROR("a request without 'op'")},
		{"{\"op\":\"rm\"}\n",      ERROR("no operation 'rm'")     },
		{"[1]\n",                  ERROR("the request is no JSON object: it is "
	                        "something else")},
		{"{\"op\":\"nothing\"}\n", ERROR("out of memory")         },
	};
	static const char *const torn[] = {
		"\n",
		"{\n",
		"nonsense\n",
		"{\"op\":\"echo\",\"op\":\"echo\"}\n",
		"{\"op\":\"\xff\"}\n",
		"{\"op\":\"a\\u0000b\"}\n",
	};
	struct daemon *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = dial(d);

		say(fd, cases[i].text, strlen(cases[i].text));
		want(d, fd, cases[i].reply);
		close(fd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(torn); i++) {
		int fd = dial(d);
		char *text;

		say(fd, torn[i], strlen(torn[i]));
		text = hear(d, fd);
		if (!strstr(text, "the request is no JSON object: "))
			fail_msg("%s: '%s'", torn[i], text);
		free(text);
		close(fd);
	}
}

static void long_requests_are_refused(void **state)
{
	struct daemon *d = *state;
	int fd = dial(d);
	char block[4096];

	memset(block, 'x', sizeof(block));
	for (size_t n = 0; n <= SERVER_REQUEST_MAX + sizeof(block);) {
		ssize_t sent = send(fd, block, sizeof(block), MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			break;
		n += sent > 0 ? (size_t)sent : 0;
		turn(d);
	}
	want(d, fd, ERROR("the request is longer than 1 MiB"));
	close(fd);
}

static void a_large_reply_waits_for_its_reader(void **state)
{
	struct daemon *d = *state;
	int slow = dial(d), quick = dial(d);
	char *text;

	say(slow, "{\"op\":\"large\"}\n", 15);
	turn(d);
	/* Others are served meanwhile. */
	say(quick, "{\"op\":\"echo\",\"say\":3}\n", 22);
	want(d, quick, "{\"said\":3}");
	text = hear(d, slow);
	assert_int_equal(strlen(text), ((size_t)1 << 20) + 11);
	free(text);
	close(slow);
	close(quick);
}

static void a_peer_that_said_its_last_word_still_gets_all(void **state)
{
	struct daemon *d = *state;
	int fd = dial(d);
	char *text;

	say(fd, "{\"op\":\"large\"}\n", 15);
	shutdown(fd, SHUT_WR);
	text = hear(d, fd);
	assert_int_equal(strlen(text), ((size_t)1 << 20) + 11);
	free(text);
	close(fd);
}

static void a_stream_goes_on_until_the_peer_leaves(void **state)
{
	struct daemon *d = *state;
	_cleanup_(json_decrefp) json_t *line = json_pack("{s:i}", "n", 2);
	const uint64_t until = loop_now_ns() + LIMIT_NS;
	int fd = dial(d);

	say(fd, "{\"op\":\"follow\"}\n", 16);
	want(d, fd, "{\"n\":1}");
	assert_true(server_stream_send(d->stream, line));
	want(d, fd, "{\"n\":2}");
	assert_int_equal(d->closed, 0);
	close(fd);
	while (!d->closed && loop_now_ns() < until)
		turn(d);
	assert_int_equal(d->closed, 1);
}

static void a_stream_ends_after_what_is_queued(void **state)
{
	struct daemon *d = *state;
	_cleanup_(json_decrefp) json_t *line = json_pack("{s:i}", "n", 2);
	int fd = dial(d);

	say(fd, "{\"op\":\"follow\"}\n", 16);
	want(d, fd, "{\"n\":1}");
	assert_true(server_stream_send(d->stream, line));
	server_stream_end(d->stream);
	assert_false(server_stream_send(d->stream, line));
	assert_int_equal(d->closed, 0); /* never inside a call */
	want(d, fd, "{\"n\":2}");
	want(d, fd, "");
	assert_int_equal(d->closed, 1);
	close(fd);
}

static void a_stream_whose_peer_does_not_read_refuses_lines(void **state)
{
	struct daemon *d = *state;
	char text[4096] = "";
	_cleanup_(json_decrefp) json_t *line = NULL;
	int fd = dial(d), sent = 0;

	memset(text, 'y', sizeof(text) - 1);
	line = json_pack("{s:s}", "t", text);
	say(fd, "{\"op\":\"follow\"}\n", 16);
	want(d, fd, "{\"n\":1}");
	while (server_stream_send(d->stream, line) && sent < 10000)
		sent++;
	assert_in_range(sent, 10, 1000);
	/* It reads one: there is room again. */
	for (int i = 0; i <= sent / 2; i++)
		free(hear(d, fd));
	turn(d);
	assert_true(server_stream_send(d->stream, line));
	close(fd);
}

static void peers_that_vanish_leave_nothing(void **state)
{
	static const char *const said[] = {"",
	                                   "{\"op\":", "{\"op\":\"large\"}\n",
	                                   "{\"op\":\"follow\"}\n"};
	struct daemon *d = *state;

	for (int i = 0; i < 200; i++) {
		int fd = dial(d);

		say(fd, said[i % 4], strlen(said[i % 4]));
		if (i % 3)
			turn(d);
		close(fd);
		turn(d);
	}
	turn(d);
	a_request_gets_its_reply_and_the_end(state);
}

static void too_many_peers_are_told_to_come_again(void **state)
{
	struct daemon *d = *state;
	int fd[600], refused = 0;

	for (int i = 0; i < 600; i++) {
		fd[i] = dial(d);
		turn(d);
	}
	for (int i = 0; i < 600; i++) {
		char text[128] = "";

		if (recv(fd[i], text, sizeof(text) - 1, MSG_DONTWAIT) > 0) {
			assert_string_equal(
				text, "{\"error\":{\"code\":11,\"msg\":\"too "
				      "many connections\"}}\n");
			refused++;
		}
		close(fd[i]);
	}
	assert_int_equal(refused, 600 - 512);
	turn(d);
	a_request_gets_its_reply_and_the_end(state);
}

static void the_socket_is_roots_alone(void **state)
{
	struct daemon *d = *state;
	struct stat st;
	int status = 0;
	pid_t pid;

	assert_int_equal(stat(d->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	if (geteuid())
		skip();
	/* Even if the mode were wider, the peer's uid is asked. */
	assert_int_equal(chmod(d->path, 0666), 0);
	pid = fork();
	if (!pid) {
		char text[128] = "";
		int fd;

		if (setgid(65534) || setuid(65534))
			_exit(2);
		fd = dial(d);
		if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1,
		         5000) != 1 ||
		    recv(fd, text, sizeof(text) - 1, 0) <= 0)
			_exit(3);
		_exit(strstr(text, "only root may ask") ? 0 : 4);
	}
	while (!waitpid(pid, &status, WNOHANG))
		turn(d);
	assert_int_equal(status, 0);
}

static void a_second_server_is_refused_and_a_stale_socket_is_not(void **state)
{
	struct daemon *d = *state;
	struct server *second = NULL;
	struct err err = {};
	int fd;

	assert_int_equal(server_new(d->loop, d->path, tables, d, &second, &err),
	                 -EADDRINUSE);
	assert_non_null(strstr(err.text, "another daemon listens on"));
	server_free(d->server);
	d->server = NULL;
	assert_int_equal(access(d->path, F_OK), -1);

	/* What a killed daemon leaves. */
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	{
		struct sockaddr_un addr = {.sun_family = AF_UNIX};

		strcpy(addr.sun_path, d->path);
		assert_int_equal(
			bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	}
	close(fd);
	assert_int_equal(
		server_new(d->loop, d->path, tables, d, &d->server, &err), 0);
	a_request_gets_its_reply_and_the_end(state);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_request_gets_its_reply_and_the_end),
		T(a_request_may_come_byte_by_byte),
		T(bad_requests_are_answered),
		T(long_requests_are_refused),
		T(a_large_reply_waits_for_its_reader),
		T(a_peer_that_said_its_last_word_still_gets_all),
		T(a_stream_goes_on_until_the_peer_leaves),
		T(a_stream_ends_after_what_is_queued),
		T(a_stream_whose_peer_does_not_read_refuses_lines),
		T(peers_that_vanish_leave_nothing),
		T(too_many_peers_are_told_to_come_again),
		T(the_socket_is_roots_alone),
		T(a_second_server_is_refused_and_a_stale_socket_is_not),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
