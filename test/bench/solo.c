/* SPDX-License-Identifier: Apache-2.0 */
/*
 * solo.c - what a path between two network namespaces costs, alone.
 *
 *	solo MODE ROUNDS COUNT NAME,FROM,TO,ADDR ...
 *
 * One thread owns the sockets of both ends (made by setns), so a packet is
 * delivered inside the sender's system call: no wake-up, no other CPU and no
 * scheduler is in the figure.  All paths take turns in one process, COUNT
 * operations at a time, in reversed order every other round, so that whatever
 * disturbs the machine disturbs all of them.
 *
 * Prints a JSON line a path: the median and the 99th percentile of each round
 * in ns.  Who reads them compares rounds of the same number.
 *
 *	rr      one byte to and fro on a TCP connection
 *	crr     connect, a byte to and fro, close; the server closes first
 *	udp     a 64-byte frame, up to the receiver's queue, by 32 in a call
 *	stream  256 KiB through a TCP connection
 *	ufirst  the first datagram of a new flow
 *
 * FROM and TO are names in /run/netns; ADDR is TO's, of either family.  Let
 * their TCP be reno: bbr and cubic follow clocks that are not the path's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/util.h"

#define PORT         7100
#define PATHS_MAX    32
#define BURST        32
#define STREAM_BYTES (256 << 10)
#define DATAGRAM     18 /* a frame of 64 bytes with its checksum */
#define BUFFER_BYTES (16 << 20)

union dest {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct path {
	const char *name;
	char from[64], to[64], addr[64];
	int from_ns, to_ns;
	union dest dest;
	socklen_t dest_len;
	int listener, client, server; /* TCP */
	int sender, receiver;         /* UDP */
	uint64_t *p50, *p99;          /* of each round */
};

static char buffer[1 << 20];

static _Noreturn void die(const struct path *path, const char *what)
{
	(void)fprintf(stderr, "solo: %s: %s: %s\n", path ? path->name : "-",
	              what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void send_all(const struct path *path, int fd, size_t len)
{
	if (send(fd, buffer, len, 0) != (ssize_t)len)
		die(path, "send");
}

static void recv_all(const struct path *path, int fd, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

		if (n <= 0)
			die(path, "receive");
		got += (size_t)n;
	}
}

/* ---- the operations: each returns what it took, in ns ------------------- */

static uint64_t once_rr(const struct path *path)
{
	const uint64_t begin = now();

	send_all(path, path->client, 1);
	recv_all(path, path->server, 1);
	send_all(path, path->server, 1);
	recv_all(path, path->client, 1);
	return now() - begin;
}

static uint64_t once_crr(const struct path *path)
{
	const uint64_t begin = now();
	int client = socket(path->dest.sa.sa_family, SOCK_STREAM, 0);
	int server;

	if (connect(client, &path->dest.sa, path->dest_len))
		die(path, "connect");
	server = accept(path->listener, NULL, NULL);
	if (server < 0)
		die(path, "accept");
	send_all(path, client, 1);
	recv_all(path, server, 1);
	send_all(path, server, 1);
	close(server);
	recv_all(path, client, 1);
	if (recv(client, buffer, 1, 0) != 0)
		die(path, "end of stream");
	close(client);
	return now() - begin;
}

static uint64_t once_udp(const struct path *path)
{
	static char data[BURST][64];
	struct mmsghdr msg[BURST] = {};
	struct iovec vec[BURST];
	uint64_t took;

	for (int i = 0; i < BURST; i++) {
		vec[i] = (struct iovec){data[i], DATAGRAM};
		msg[i].msg_hdr.msg_iov = &vec[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	took = now();
	if (sendmmsg(path->sender, msg, BURST, 0) != BURST)
		die(path, "send datagrams");
	took = now() - took;
	for (int got = 0; got < BURST;) {
		int n = recvmmsg(path->receiver, msg, BURST - got, 0, NULL);

		if (n <= 0)
			die(path, "receive datagrams");
		got += n;
	}
	return took / BURST;
}

static uint64_t once_stream(const struct path *path)
{
	const uint64_t begin = now();

	send_all(path, path->client, STREAM_BYTES);
	recv_all(path, path->server, STREAM_BYTES);
	return now() - begin;
}

static uint64_t once_ufirst(const struct path *path)
{
	int fd = socket(path->dest.sa.sa_family, SOCK_DGRAM, 0);
	uint64_t took;

	if (connect(fd, &path->dest.sa, path->dest_len))
		die(path, "connect a datagram socket");
	took = now();
	send_all(path, fd, DATAGRAM);
	recv_all(path, path->receiver, DATAGRAM);
	took = now() - took;
	close(fd);
	return took;
}

struct mode {
	const char *name;
	uint64_t (*once)(const struct path *path);
	int warm_up; /* operations before the first round */
	bool connected;
};

static const struct mode modes[] = {
	{"rr",     once_rr,     100, true },
        {"crr",    once_crr,    100, false},
	{"udp",    once_udp,    100, false},
        {"stream", once_stream, 400, true },
	{"ufirst", once_ufirst, 100, false},
};

/* ---- the paths ----------------------------------------------------------- */

static void option(int fd, int level, int name, int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)))
		die(NULL, "setsockopt");
}

static void patience(int fd)
{
	const struct timeval limit = {.tv_sec = 5};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		die(NULL, "setsockopt");
}

static void enter(const struct path *path, int ns)
{
	if (setns(ns, CLONE_NEWNET))
		die(path, "setns");
}

static int socket_new(const struct path *path, int type)
{
	int fd = socket(path->dest.sa.sa_family, type, 0);

	if (fd < 0)
		die(path, "socket");
	option(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES);
	option(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES);
	patience(fd);
	return fd;
}

static int socket_bound(const struct path *path, int type)
{
	int fd = socket_new(path, type);
	union dest any = {.sa.sa_family = path->dest.sa.sa_family};

	any.in.sin_port = htons(PORT); /* at the same place in both */
	option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (any.sa.sa_family == AF_INET6)
		option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (bind(fd, &any.sa, path->dest_len))
		die(path, "bind");
	return fd;
}

static int netns_open(const struct path *path, const char *name)
{
	char file[128];
	int fd;

	(void)snprintf(file, sizeof(file), "/run/netns/%s", name);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path, file);
	return fd;
}

static void path_read(struct path *path, char *text)
{
	char *rest = strchr(text, ',');

	path->name = text;
	if (!rest)
		die(path, "not NAME,FROM,TO,ADDR");
	*rest++ = '\0';
	if (sscanf(rest, "%63[^,],%63[^,],%63s", path->from, path->to,
	           path->addr) != 3)
		die(path, "not NAME,FROM,TO,ADDR");
	path->dest.in.sin_port = htons(PORT);
	path->dest_len = sizeof(path->dest.in);
	path->dest.sa.sa_family = AF_INET;
	if (inet_pton(AF_INET, path->addr, &path->dest.in.sin_addr) == 1)
		return;
	path->dest_len = sizeof(path->dest.in6);
	path->dest.sa.sa_family = AF_INET6;
	if (inet_pton(AF_INET6, path->addr, &path->dest.in6.sin6_addr) != 1)
		die(path, "no address");
}

static void path_connect(struct path *path)
{
	path->client = socket_new(path, SOCK_STREAM);
	if (connect(path->client, &path->dest.sa, path->dest_len))
		die(path, "connect");
	path->server = accept(path->listener, NULL, NULL);
	if (path->server < 0)
		die(path, "accept");
	patience(path->server);
	option(path->client, IPPROTO_TCP, TCP_NODELAY, 1);
	option(path->server, IPPROTO_TCP, TCP_NODELAY, 1);
}

static void path_open(struct path *path, const struct mode *mode, int rounds)
{
	path->from_ns = netns_open(path, path->from);
	path->to_ns = netns_open(path, path->to);
	path->p50 = calloc((size_t)rounds, sizeof(*path->p50));
	path->p99 = calloc((size_t)rounds, sizeof(*path->p99));
	if (!path->p50 || !path->p99)
		die(path, "memory");
	enter(path, path->to_ns);
	path->listener = socket_bound(path, SOCK_STREAM);
	if (listen(path->listener, 1024))
		die(path, "listen");
	path->receiver = socket_bound(path, SOCK_DGRAM);
	enter(path, path->from_ns);
	path->sender = socket_new(path, SOCK_DGRAM);
	if (connect(path->sender, &path->dest.sa, path->dest_len))
		die(path, "connect a datagram socket");
	if (mode->connected)
		path_connect(path);
	for (int i = 0; i < mode->warm_up; i++)
		(void)mode->once(path);
}

/* ---- the rounds ------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void round_run(const struct path *path, const struct mode *mode,
                      int round, uint64_t *took, int count)
{
	enter(path, path->from_ns);
	for (int i = 0; i < 3; i++)
		(void)mode->once(path);
	for (int i = 0; i < count; i++)
		took[i] = mode->once(path);
	qsort(took, (size_t)count, sizeof(*took), compare);
	path->p50[round] = took[count / 2];
	path->p99[round] = took[(count - 1) * 99 / 100];
}

static void list_print(const char *name, const uint64_t *value, int n)
{
	printf(", \"%s\": [", name);
	for (int i = 0; i < n; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)value[i]);
	printf("]");
}

/* The last CPU: interrupts prefer the first. */
static void settle_down(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	if (sched_setaffinity(0, sizeof(set), &set) ||
	    setpriority(PRIO_PROCESS, 0, -15))
		die(NULL, "settle down");
}

static const struct mode *mode_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(modes[i].name, name))
			return &modes[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct mode *mode = argc > 1 ? mode_find(argv[1]) : NULL;
	const int rounds = argc > 2 ? atoi(argv[2]) : 0;
	const int count = argc > 3 ? atoi(argv[3]) : 0;
	const int n = argc - 4;
	static struct path path[PATHS_MAX];
	uint64_t *took;

	if (!mode || rounds < 1 || count < 1 || n < 1 || n > PATHS_MAX) {
		(void)fputs("usage: solo rr|crr|udp|stream|ufirst ROUNDS COUNT "
		            "NAME,FROM,TO,ADDR...\n",
		            stderr);
		return 2;
	}
	settle_down();
	took = calloc((size_t)count, sizeof(*took));
	if (!took)
		die(NULL, "memory");
	for (int i = 0; i < n; i++) {
		path_read(&path[i], argv[i + 4]);
		path_open(&path[i], mode, rounds);
	}
	for (int r = 0; r < rounds; r++)
		for (int i = 0; i < n; i++)
			round_run(&path[r % 2 ? n - 1 - i : i], mode, r, took,
			          count);
	for (int i = 0; i < n; i++) {
		printf("{\"mode\": \"%s\", \"path\": \"%s\"", mode->name,
		       path[i].name);
		list_print("p50", path[i].p50, rounds);
		list_print("p99", path[i].p99, rounds);
		printf("}\n");
	}
	free(took);
	return 0;
}
