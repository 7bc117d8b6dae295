// SPDX-License-Identifier: Apache-2.0
/* check_probe.c - see check_probe.h. */
#include "cli/check_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/util.h"

#define AGAIN_MS 400 /* datagrams may be lost */
#define TICK_MS  100
#define UDP_HEAD 8

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static bool is_v6(const struct check_probe *p)
{
	return p->to.sa.sa_family == AF_INET6;
}

const char *check_where(const struct check_probe *probe,
                        char buf[CHECK_WHERE_MAX])
{
	const void *addr = is_v6(probe) ? (const void *)&probe->to.in6.sin6_addr
	                                : (const void *)&probe->to.in.sin_addr;
	char text[INET6_ADDRSTRLEN] = "?";

	(void)inet_ntop(probe->to.sa.sa_family, addr, text, sizeof(text));
	snprintf(buf, CHECK_WHERE_MAX, "%s%s%s:%u/%s", is_v6(probe) ? "[" : "",
	         text, is_v6(probe) ? "]" : "", ntohs(probe->to.in.sin_port),
	         probe->type == SOCK_STREAM ? "tcp" : "udp");
	return buf;
}

static void end(struct check_probe *p, bool answered, const char *why)
{
	p->passed = answered != p->denied;
	if (!p->passed)
		snprintf(p->why, sizeof(p->why), "%s",
		         p->denied ? "answers, though policy denies it" : why);
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

/* Nobody listens there: that is no answer, and proves nothing of a denial. */
static void end_error(struct check_probe *p, int error)
{
	p->passed = false;
	snprintf(p->why, sizeof(p->why), "%s", strerror(error));
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

/* As many bytes as the path takes whole, and may not be cut. */
static int path_mtu_set(struct check_probe *p)
{
	const bool v6 = is_v6(p);
	const int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
	const int whole = IP_PMTUDISC_DO; /* IPV6_PMTUDISC_DO is the same */
	socklen_t len = sizeof(int);
	int mtu = 0;

	if (setsockopt(p->fd, level, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
	               &whole, sizeof(whole)) ||
	    getsockopt(p->fd, level, v6 ? IPV6_MTU : IP_MTU, &mtu, &len))
		return -errno;
	p->bytes = (size_t)mtu - UDP_HEAD - (v6 ? 40 : 20);
	return 0;
}

static void begin(struct check_probe *p, long long now)
{
	const socklen_t len = is_v6(p) ? sizeof(p->to.in6) : sizeof(p->to.in);
	const int size = 1 << 20;

	p->passed = false;
	p->why[0] = '\0';
	p->sent = p->got = 0;
	p->connected = p->type == SOCK_DGRAM;
	p->end_ms = now + p->timeout_ms;
	p->again_ms = 0;
	p->fd = socket(p->to.sa.sa_family,
	               p->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (p->fd < 0 ||
	    (connect(p->fd, &p->to.sa, len) && errno != EINPROGRESS) ||
	    (p->path_mtu && path_mtu_set(p)))
		end_error(p, errno);
}

static void say(struct check_probe *p, long long now)
{
	static const char data[1 << 16];
	size_t want = p->bytes - p->sent;
	ssize_t n;

	if (p->type == SOCK_DGRAM) {
		if (now < p->again_ms)
			return;
		p->again_ms = now + AGAIN_MS;
		want = p->bytes;
	}
	if (want > sizeof(data))
		want = sizeof(data);
	n = want ? send(p->fd, data, want, MSG_NOSIGNAL) : 0;
	if (n < 0 && errno != EAGAIN)
		end_error(p, errno);
	else if (n > 0)
		p->sent += (size_t)n;
}

static void hear(struct check_probe *p)
{
	static char data[1 << 16];
	const ssize_t n = recv(p->fd, data, sizeof(data), 0);

	if (n < 0 && errno != EAGAIN)
		end_error(p, errno);
	else if (!n)
		end(p, false, "closed before all was echoed");
	else if (n > 0)
		p->got += (size_t)n;
	if (p->fd >= 0 && p->got >= p->bytes && p->got)
		end(p, true, NULL);
}

static void turn(struct check_probe *p, short events, long long now)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (!p->connected && events & (POLLOUT | POLLERR | POLLHUP)) {
		(void)getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		p->connected = !error;
		if (error)
			end_error(p, error);
		else if (!p->bytes)
			end(p, true, NULL);
	}
	if (p->fd >= 0 && p->connected && events & (POLLIN | POLLERR | POLLHUP))
		hear(p);
	if (p->fd >= 0 && p->connected &&
	    (p->type == SOCK_DGRAM || p->sent < p->bytes))
		say(p, now);
	if (p->fd >= 0 && now >= p->end_ms)
		end(p, false, p->connected ? "no answer" : "no connection");
}

static short wanted(const struct check_probe *p)
{
	const bool more = p->type == SOCK_STREAM && p->sent < p->bytes;

	return (short)(POLLIN | (!p->connected || more ? POLLOUT : 0));
}

void check_probes_run(struct check_probe *probe, size_t n,
                      void (*tick)(size_t done, size_t n))
{
	struct pollfd *fds = calloc(n ? n : 1, sizeof(*fds));
	size_t open = fds ? n : 0;

	for (size_t i = 0; i < n && fds; i++)
		begin(&probe[i], now_ms());
	while (open) {
		long long now;

		open = 0;
		for (size_t i = 0; i < n; i++) {
			fds[i] = (struct pollfd){.fd = probe[i].fd,
			                         .events = wanted(&probe[i])};
			open += probe[i].fd >= 0;
		}
		if (tick)
			tick(n - open, n);
		if (!open || poll(fds, n, TICK_MS) < 0)
			continue;
		now = now_ms();
		for (size_t i = 0; i < n; i++)
			if (probe[i].fd >= 0)
				turn(&probe[i], fds[i].revents, now);
	}
	free(fds);
}
