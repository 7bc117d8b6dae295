/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latency.c - from the rename of a manifest to the first packet judged by it.
 *
 *	latency COUNT FROM TO ADDR PORT ALLOW DENY TARGET
 *
 * FROM and TO are names in /run/netns.  ALLOW and DENY are files of manifests:
 * they take turns under the name TARGET, in the directory that stiled watches.
 * Meanwhile one thread sends a datagram every GAP_US and looks whether it has
 * arrived, which it has when send() returns.  A change counts from just before
 * the rename to just before the first datagram with the new verdict, and must
 * then hold for SETTLED datagrams.
 *
 * Prints a JSON line: what each change took, in us.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/util.h"

#define GAP_US     50
#define SETTLED    20
#define LIMIT_NS   5000000000ull /* a change that takes longer is an error */
#define PAUSE_MS   60            /* between two changes, and up to twice it */
#define FILE_BYTES (8 << 20)
#define LATE_NS    2000000ull /* a datagram may arrive so late */

struct probe {
	int sender, receiver;
	uint64_t number; /* of the last datagram sent */
};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "latency: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pause_us(long us)
{
	const struct timespec t = {us / 1000000, us % 1000000 * 1000};

	(void)nanosleep(&t, NULL);
}

static int socket_in(const char *netns, int family)
{
	char path[128];
	int ns, fd;

	(void)snprintf(path, sizeof(path), "/run/netns/%s", netns);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET))
		die(path);
	close(ns);
	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die("socket");
	return fd;
}

static struct probe probe_new(char **argv)
{
	struct sockaddr_in6 to = {.sin6_port = htons((uint16_t)atoi(argv[4]))};
	struct sockaddr_in *to4 = (struct sockaddr_in *)&to;
	const bool six = strchr(argv[3], ':');
	struct probe probe = {};
	struct sockaddr_in6 any;

	to.sin6_family = six ? AF_INET6 : AF_INET;
	if (inet_pton(to.sin6_family, argv[3],
	              six ? (void *)&to.sin6_addr : &to4->sin_addr) != 1)
		die(argv[3]);
	any = (struct sockaddr_in6){.sin6_family = to.sin6_family,
	                            .sin6_port = to.sin6_port};
	probe.receiver = socket_in(argv[2], to.sin6_family);
	if (bind(probe.receiver, (struct sockaddr *)&any,
	         six ? sizeof(any) : sizeof(*to4)))
		die("bind");
	probe.sender = socket_in(argv[1], to.sin6_family);
	if (connect(probe.sender, (struct sockaddr *)&to,
	            six ? sizeof(to) : sizeof(*to4)))
		die("connect");
	return probe;
}

static bool probe_arrived(const struct probe *probe)
{
	uint64_t number = 0;

	while (recv(probe->receiver, &number, sizeof(number), 0) > 0)
		if (number == probe->number)
			return true;
	return false;
}

/* Send one datagram; does it arrive?  *@sent is the time before. */
static bool probe_once(struct probe *probe, bool expected, uint64_t *sent)
{
	bool arrived;

	probe->number++;
	*sent = now();
	if (send(probe->sender, &probe->number, sizeof(probe->number), 0) < 0)
		die("send");
	arrived = probe_arrived(probe);
	while (!arrived && expected && now() < *sent + LATE_NS)
		arrived = probe_arrived(probe);
	return arrived;
}

/* Until datagrams are treated as @allow says; the time of the first one. */
static uint64_t probe_until(struct probe *probe, bool allow)
{
	const uint64_t end = now() + LIMIT_NS;
	uint64_t first = 0, sent;
	int settled = 0;

	while (settled < SETTLED) {
		if (probe_once(probe, settled ? allow : !allow, &sent) !=
		    allow) {
			settled = 0;
		} else if (!settled++) {
			first = sent;
		}
		if (now() > end) {
			errno = ETIMEDOUT;
			die(allow ? "it stays denied" : "it stays allowed");
		}
		pause_us(GAP_US);
	}
	return first;
}

/* Put a copy of @from under the name @target, as it should be done. */
static uint64_t change(const char *from, const char *target)
{
	static char text[FILE_BYTES];
	char dir[256], tmp[300];
	const char *slash = strrchr(target, '/');
	_cleanup_(closep) int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_(closep) int out = -1;
	uint64_t begin;
	ssize_t n;

	if (in < 0 || !slash)
		die(from);
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - target), target);
	(void)snprintf(tmp, sizeof(tmp), "%s/.latency", dir);
	out = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	n = read(in, text, sizeof(text));
	if (out < 0 || n <= 0 || write(out, text, (size_t)n) != n)
		die(tmp);
	begin = now();
	if (rename(tmp, target))
		die(target);
	return begin;
}

int main(int argc, char **argv)
{
	const int count = argc == 9 ? atoi(argv[1]) : 0;
	struct probe probe;

	if (count < 1) {
		(void)fputs("usage: latency COUNT FROM TO ADDR PORT ALLOW DENY "
		            "TARGET\n",
		            stderr);
		return 2;
	}
	(void)prctl(PR_SET_TIMERSLACK, 1);
	srandom(1);
	probe = probe_new(argv + 1);
	(void)change(argv[6], argv[8]);
	(void)probe_until(&probe, true);
	printf("[");
	for (int i = 0; i < count; i++) {
		const bool allow = i % 2;
		uint64_t begin;

		pause_us(1000 * (PAUSE_MS + random() % PAUSE_MS));
		begin = change(argv[allow ? 6 : 7], argv[8]);
		printf("%s%.1f", i ? ", " : "",
		       (double)(probe_until(&probe, allow) - begin) / 1e3);
	}
	printf("]\n");
	return 0;
}
