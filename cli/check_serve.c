// SPDX-License-Identifier: Apache-2.0
/* check_serve.c - the other end of the probes: an echo. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/check_probe.h"
#include "lib/util.h"

#define PEERS_MAX   1024
#define CHUNK_BYTES 65536

/* A TCP peer: what came and has not been sent back yet. */
struct peer {
	int fd;
	size_t used, sent;
	char data[CHUNK_BYTES];
};

struct serve {
	int epoll, signals;
	int listener[CHECK_PORTS_MAX], udp[CHECK_PORTS_MAX], n;
	int peers;
};

static int socket_at(int type, int port)
{
	const int off = 0, on = 1;
	const struct sockaddr_in6 at = {.sin6_family = AF_INET6,
	                                .sin6_port = htons((uint16_t)port)};
	const struct sockaddr_in at4 = {.sin_family = AF_INET,
	                                .sin_port = htons((uint16_t)port)};
	_cleanup_(closep) int fd =
		socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const bool six = fd >= 0;
	int r;

	if (!six)
		fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (six)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off,
		                 sizeof(off));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	r = six ? bind(fd, (const struct sockaddr *)&at, sizeof(at))
	        : bind(fd, (const struct sockaddr *)&at4, sizeof(at4));
	if (r || (type == SOCK_STREAM && listen(fd, 128)))
		return -errno;
	return TAKE_FD(fd);
}

static int watch(const struct serve *s, int op, int fd, uint32_t events,
                 uint64_t what)
{
	struct epoll_event ev = {.events = events, .data.u64 = what};

	return epoll_ctl(s->epoll, op, fd, &ev);
}

static void peer_end(struct serve *s, struct peer *peer)
{
	close(peer->fd);
	free(peer);
	s->peers--;
}

static void peer_accept(struct serve *s, int listener)
{
	const int fd =
		accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct peer *peer =
		fd >= 0 && s->peers < PEERS_MAX ? malloc(sizeof(*peer)) : NULL;

	if (!peer) {
		if (fd >= 0)
			close(fd);
		return;
	}
	peer->fd = fd;
	peer->used = peer->sent = 0;
	s->peers++;
	if (watch(s, EPOLL_CTL_ADD, fd, EPOLLIN, (uintptr_t)peer))
		peer_end(s, peer);
}

static void peer_turn(struct serve *s, struct peer *peer)
{
	ssize_t n;

	if (peer->sent == peer->used) {
		n = recv(peer->fd, peer->data, sizeof(peer->data), 0);
		if (!n || (n < 0 && errno != EAGAIN)) {
			peer_end(s, peer);
			return;
		}
		peer->used = n > 0 ? (size_t)n : 0;
		peer->sent = 0;
	}
	n = send(peer->fd, peer->data + peer->sent, peer->used - peer->sent,
	         MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN) {
		peer_end(s, peer);
		return;
	}
	peer->sent += n > 0 ? (size_t)n : 0;
	(void)watch(s, EPOLL_CTL_MOD, peer->fd,
	            peer->sent < peer->used ? EPOLLOUT : EPOLLIN,
	            (uintptr_t)peer);
}

static void udp_turn(int fd)
{
	static char data[CHUNK_BYTES];
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	const ssize_t n = recvfrom(fd, data, sizeof(data), 0,
	                           (struct sockaddr *)&from, &len);

	if (n >= 0)
		(void)sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from,
		             len);
}

/* Small numbers are sockets, 0 the signals, all else is a peer's pointer. */
static bool event_take(struct serve *s, uint64_t what)
{
	const uint64_t i = what - 1;

	if (!what)
		return false;
	if (i < (uint64_t)s->n)
		peer_accept(s, s->listener[i]);
	else if (i < 2 * (uint64_t)s->n)
		udp_turn(s->udp[i - (uint64_t)s->n]);
	else
		peer_turn(s, (struct peer *)(uintptr_t)what);
	return true;
}

static int serve_open(struct serve *s, const int *port, int n)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	s->n = n;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (s->epoll < 0 || s->signals < 0 ||
	    watch(s, EPOLL_CTL_ADD, s->signals, EPOLLIN, 0))
		return -errno;
	for (int i = 0; i < n; i++) {
		s->listener[i] = socket_at(SOCK_STREAM, port[i]);
		if (s->listener[i] < 0)
			return s->listener[i];
		s->udp[i] = socket_at(SOCK_DGRAM, port[i]);
		if (s->udp[i] < 0)
			return s->udp[i];
		if (watch(s, EPOLL_CTL_ADD, s->listener[i], EPOLLIN,
		          (uint64_t)i + 1) ||
		    watch(s, EPOLL_CTL_ADD, s->udp[i], EPOLLIN,
		          (uint64_t)(n + i) + 1))
			return -errno;
	}
	return 0;
}

/* Open sockets end with the program. */
int check_serve(const int *port, int n)
{
	struct epoll_event ev[64];
	struct serve s = {};
	bool on = true;
	int r = n < 1 || n > CHECK_PORTS_MAX ? -EINVAL
	                                     : serve_open(&s, port, n);

	if (r)
		return r;
	puts("ready");
	(void)fflush(stdout);
	while (on) {
		const int got = epoll_wait(s.epoll, ev, 64, -1);

		if (got < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < got && on; i++)
			on = event_take(&s, ev[i].data.u64);
	}
	return 0;
}
