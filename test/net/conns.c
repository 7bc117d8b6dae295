/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conns.c - many TCP connections: held, asked whether they live, or churned.
 *
 *	conns serve PORT [PORT...]   echo; prints "ready"; several may share one
 *	conns hold ADDR PORT N       opens N, prints "open K"; then for each
 *line on stdin sends a word on every connection and prints "alive K" of those
 *that echo it conns churn ADDR PORT N M    connect, echo, close: N times, M at
 *once; prints "done K"
 *
 * An answer that has not come after WAIT_MS is none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 8000
#define EVENTS  256
#define AT_ONCE 200 /* connects in flight while opening */

enum phase { PHASE_NONE, PHASE_CONNECT, PHASE_ECHO, PHASE_DONE };

struct conn {
	int fd;
	enum phase phase;
	uint32_t word; /* whose echo it waits for */
	size_t got;    /* bytes of it */
	uint64_t since_ms;
};

struct client {
	struct sockaddr_storage to;
	socklen_t to_len;
	int epoll;
	struct conn *conn;
	int n;
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- server ----------------------------------------------------------- */

static int listener(uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6,
	                           .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int on = 1, off = 0;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 65535))
		die("listen");
	return fd;
}

static void watch(int epoll, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

static void echo(int fd)
{
	char buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

static void accept_all(int epoll, int listening)
{
	int fd;

	while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		watch(epoll, fd, EPOLLIN, (unsigned)fd);
}

#define LISTENING (1ull << 32) /* beside the descriptor in an event's data */

static _Noreturn void serve(int n_ports, char **port)
{
	struct epoll_event event[EVENTS];
	int epoll = epoll_create1(0);
	int fd, n;

	for (int i = 0; i < n_ports; i++) {
		fd = listener((uint16_t)strtoul(port[i], NULL, 10));
		watch(epoll, fd, EPOLLIN, LISTENING | (unsigned)fd);
	}
	puts("ready");
	(void)fflush(stdout);
	for (;;) {
		n = epoll_wait(epoll, event, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			fd = (int)(uint32_t)event[i].data.u64;
			if (event[i].data.u64 & LISTENING)
				accept_all(epoll, fd);
			else
				echo(fd);
		}
	}
}

/* ---- clients ---------------------------------------------------------- */

static void conn_end(struct conn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	conn->phase = PHASE_NONE;
}

static void conn_open(struct client *client, int i)
{
	struct conn *conn = &client->conn[i];

	conn->fd = socket(client->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (conn->fd < 0)
		die("socket");
	if (connect(conn->fd, (struct sockaddr *)&client->to, client->to_len) &&
	    errno != EINPROGRESS) {
		conn_end(conn);
		return;
	}
	conn->phase = PHASE_CONNECT;
	watch(client->epoll, conn->fd, EPOLLIN | EPOLLOUT | EPOLLET,
	      (unsigned)i);
}

/* Send a new word; its echo ends the phase. */
static bool conn_ask(struct conn *conn)
{
	conn->word++;
	conn->got = 0;
	conn->phase = PHASE_ECHO;
	return send(conn->fd, &conn->word, sizeof(conn->word), MSG_NOSIGNAL) ==
	       sizeof(conn->word);
}

static void conn_event(struct conn *conn)
{
	char buf[sizeof(conn->word)];
	socklen_t len = sizeof(int);
	int error = 0;
	ssize_t n;

	if (conn->phase == PHASE_CONNECT) {
		if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) ||
		    error || !conn_ask(conn)) {
			conn_end(conn);
			return;
		}
	}
	while (conn->phase == PHASE_ECHO) {
		n = recv(conn->fd, buf, sizeof(buf) - conn->got, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || memcmp(buf, (char *)&conn->word + conn->got,
		                     (size_t)n) != 0) {
			conn_end(conn);
			return;
		}
		conn->got += (size_t)n;
		if (conn->got == sizeof(buf))
			conn->phase = PHASE_DONE;
	}
}

/* Handle what comes within @ms. */
static void turn(struct client *client, int ms)
{
	struct epoll_event event[EVENTS];
	int n = epoll_wait(client->epoll, event, EVENTS, ms);
	struct conn *conn;

	for (int i = 0; i < n; i++) {
		conn = &client->conn[event[i].data.u64];
		if (conn->fd >= 0)
			conn_event(conn);
	}
}

static int count(const struct client *client, enum phase phase)
{
	int n = 0;

	for (int i = 0; i < client->n; i++)
		n += client->conn[i].phase == phase;
	return n;
}

/* Until nobody waits for anything, or WAIT_MS have passed. */
static void settle(struct client *client, enum phase waiting, int limit)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (count(client, waiting) > limit && now_ms() < end)
		turn(client, 10);
}

static void hold_open(struct client *client)
{
	for (int i = 0; i < client->n; i++) {
		conn_open(client, i);
		if (i % AT_ONCE == AT_ONCE - 1)
			settle(client, PHASE_CONNECT, 0);
	}
	settle(client, PHASE_CONNECT, 0);
	settle(client, PHASE_ECHO, 0);
	printf("open %d\n", count(client, PHASE_DONE));
	(void)fflush(stdout);
}

static void ask_all(struct client *client)
{
	for (int i = 0; i < client->n; i++) {
		struct conn *conn = &client->conn[i];

		if (conn->phase != PHASE_DONE || !conn_ask(conn))
			conn_end(conn);
	}
}

static int hold(struct client *client)
{
	char line[64];

	hold_open(client);
	while (fgets(line, sizeof(line), stdin)) {
		ask_all(client);
		settle(client, PHASE_ECHO, 0);
		printf("alive %d\n", count(client, PHASE_DONE));
		(void)fflush(stdout);
	}
	return 0;
}

/* End what is done or late; true when it was done. */
static bool churn_end(struct conn *conn)
{
	bool done = conn->phase == PHASE_DONE;

	if (done ||
	    (conn->phase != PHASE_NONE && now_ms() > conn->since_ms + WAIT_MS))
		conn_end(conn);
	return done;
}

static int churn(struct client *client, int total)
{
	int started = 0, done = 0;

	while (started < total || count(client, PHASE_NONE) < client->n) {
		for (int i = 0; i < client->n; i++) {
			struct conn *conn = &client->conn[i];

			done += churn_end(conn);
			if (conn->phase != PHASE_NONE || started == total)
				continue;
			conn->since_ms = now_ms();
			started++;
			conn_open(client, i);
		}
		turn(client, 10);
	}
	printf("done %d\n", done);
	return 0;
}

static struct client client_new(const char *host, const char *port, int n)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	                         .ai_socktype = SOCK_STREAM};
	struct client client = {.epoll = epoll_create1(0), .n = n};
	struct addrinfo *found;

	if (n <= 0 || getaddrinfo(host, port, &hints, &found))
		die("address");
	memcpy(&client.to, found->ai_addr, found->ai_addrlen);
	client.to_len = found->ai_addrlen;
	freeaddrinfo(found);
	client.conn = calloc((size_t)n, sizeof(*client.conn));
	if (!client.conn)
		die("memory");
	for (int i = 0; i < n; i++)
		client.conn[i].fd = -1;
	return client;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	struct client client;

	(void)getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	if (argc >= 3 && !strcmp(argv[1], "serve"))
		serve(argc - 2, argv + 2);
	if (argc == 5 && !strcmp(argv[1], "hold")) {
		client = client_new(argv[2], argv[3], atoi(argv[4]));
		return hold(&client);
	}
	if (argc == 6 && !strcmp(argv[1], "churn")) {
		client = client_new(argv[2], argv[3], atoi(argv[5]));
		return churn(&client, atoi(argv[4]));
	}
	(void)fputs("usage: conns serve PORT... | hold ADDR PORT N | "
	            "churn ADDR PORT N M\n",
	            stderr);
	return 2;
}
