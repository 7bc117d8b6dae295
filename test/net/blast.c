/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blast.c - numbered UDP datagrams, sent at a rate and counted on arrival.
 *
 *	blast send ADDR PORT RATE   RATE a second until SIGTERM
 *	blast spray PREFIX PORT RATE the same, to 256 addresses in turn: PREFIX
 *	                            is all of an address but its last number
 *	blast recv PORT             until SIGTERM, then what is queued
 *
 * Prints "ready", and at the end one JSON object: {"sent", "refused"}, or
 * {"received", "repeated", "socket_drops"}; what the receiver's own socket
 * had no room for is nobody's loss.
 */
#include <linux/sock_diag.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define PAYLOAD    26 /* makes a frame of 68 bytes over IPv4 */
#define SEQ_MAX    (1u << 28)
#define TICK_NS    1000000
#define SPRAY_MAX  256
#define RECV_BATCH 64

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static void ready(void)
{
	puts("ready");
	(void)fflush(stdout);
}

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_storage address(const char *host, const char *port,
                                       socklen_t *ret_len)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	                         .ai_socktype = SOCK_DGRAM};
	struct sockaddr_storage ret = {};
	struct addrinfo *found;

	if (getaddrinfo(host, port, &hints, &found)) {
		(void)fprintf(stderr, "blast: %s port %s?\n", host, port);
		exit(2);
	}
	memcpy(&ret, found->ai_addr, found->ai_addrlen);
	*ret_len = found->ai_addrlen;
	freeaddrinfo(found);
	return ret;
}

/* Sockets connected to one address, or to every last number of a prefix. */
static int connect_all(const char *where, const char *port, bool spray,
                       int fd[SPRAY_MAX])
{
	struct sockaddr_storage to;
	char host[INET6_ADDRSTRLEN + 8];
	socklen_t len;
	int n = spray ? SPRAY_MAX : 1;

	for (int i = 0; i < n; i++) {
		bool v6 = strchr(where, ':') != NULL;

		(void)snprintf(host, sizeof(host), v6 ? "%s%x" : "%s%d", where,
		               (unsigned)i);
		to = address(spray ? host : where, port, &len);
		fd[i] = socket(to.ss_family, SOCK_DGRAM, 0);
		if (fd[i] < 0)
			die("socket");
		if (connect(fd[i], (struct sockaddr *)&to, len)) {
			close(fd[i]); /* a broadcast address */
			fd[i] = fd[0];
		}
	}
	return n;
}

static int blast_send(const char *where, const char *port, unsigned rate,
                      bool spray)
{
	struct timespec at;
	char payload[PAYLOAD] = {};
	uint64_t sent = 0, refused = 0, due = 0;
	uint64_t ticks = 0;
	int fd[SPRAY_MAX];
	int n = connect_all(where, port, spray, fd);

	ready();
	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	while (!stop && sent < SEQ_MAX) {
		due = ++ticks * rate / (1000000000 / TICK_NS);
		while (sent + refused < due) {
			memcpy(payload, &sent, sizeof(sent));
			if (send(fd[(sent + refused) % (unsigned)n], payload,
			         sizeof(payload), 0) < 0)
				refused++;
			else
				sent++;
		}
		at.tv_nsec += TICK_NS;
		if (at.tv_nsec >= 1000000000) {
			at.tv_nsec -= 1000000000;
			at.tv_sec++;
		}
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at,
		                      NULL);
	}
	printf("{\"sent\": %llu, \"refused\": %llu}\n",
	       (unsigned long long)sent, (unsigned long long)refused);
	return 0;
}

static int receiver(const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	int off = 0, room = 64 << 20;
	/* Wakes up to see whether it should stop. */
	struct timeval wait = {.tv_usec = 100000};

	any.sin6_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (fd < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) ||
	    bind(fd, (struct sockaddr *)&any, sizeof(any)))
		die("receiver");
	return fd;
}

static int blast_recv(const char *port)
{
	uint32_t mem[SK_MEMINFO_VARS] = {};
	char buf[RECV_BATCH][PAYLOAD];
	struct mmsghdr msg[RECV_BATCH] = {};
	struct iovec iov[RECV_BATCH];
	socklen_t len = sizeof(mem);
	uint64_t received = 0, repeated = 0, seq;
	uint8_t *seen = calloc(SEQ_MAX / 8, 1);
	int fd = receiver(port);
	int n;

	ready();
	for (int i = 0; i < RECV_BATCH; i++) {
		iov[i] = (struct iovec){buf[i], PAYLOAD};
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	/* After the signal, until nothing has come for a while. */
	for (;;) {
		n = recvmmsg(fd, msg, RECV_BATCH, MSG_WAITFORONE, NULL);
		if (n < 0 && errno == EAGAIN && stop)
			break;
		for (int i = 0; seen && i < n; i++) {
			memcpy(&seq, buf[i], sizeof(seq));
			if (seq >= SEQ_MAX)
				continue;
			repeated += seen[seq / 8] >> (seq % 8) & 1;
			seen[seq / 8] |= (uint8_t)(1 << (seq % 8));
			received++;
		}
	}
	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len))
		die("SO_MEMINFO");
	printf("{\"received\": %llu, \"repeated\": %llu, "
	       "\"socket_drops\": %u}\n",
	       (unsigned long long)(received - repeated),
	       (unsigned long long)repeated, mem[SK_MEMINFO_DROPS]);
	free(seen);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = on_signal};

	(void)sigaction(SIGTERM, &act, NULL);
	(void)sigaction(SIGINT, &act, NULL);
	if (argc == 3 && !strcmp(argv[1], "recv")) {
		return blast_recv(argv[2]);
	}
	if (argc == 5 &&
	    (!strcmp(argv[1], "send") || !strcmp(argv[1], "spray"))) {
		return blast_send(argv[2], argv[3],
		                  (unsigned)strtoul(argv[4], NULL, 10),
		                  !strcmp(argv[1], "spray"));
	}
	(void)fputs("usage: blast send|spray ADDR PORT RATE | recv PORT\n",
	            stderr);
	return 2;
}
