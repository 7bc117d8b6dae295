// SPDX-License-Identifier: Apache-2.0
/*
 * prober.c - a pod that answers, and asks others when it is told to.
 *
 * usage: prober NAME SOCKET PORT…
 *
 * Every PORT is served over TCP and UDP, both families.  A TCP client is
 * greeted with "NAME ADDRESS\n" (the address it is seen under), then its lines
 * come back; a datagram is answered with "NAME ADDRESS DATA".  SOCKET is a UNIX
 * stream socket (in a directory that the test shares with the pod: no network
 * carries it).  One line is one order, an answer begins with the order's ID:
 *
 *   probe ID tcp|udp ADDRESS PORT MS   -> ID ok NAME ADDRESS | ID no WHY
 *   connect ID tcp ADDRESS PORT MS     -> ID ok connected | ID no WHY
 *   flow ID tcp|udp ADDRESS PORT MS    -> nothing; one message every MS
 *   end ID                             -> ID SENT ANSWERED GAP_MS RETRANSMITTED
 *   resolve ID SERVER NAME TYPE MS     -> ID ok ADDRESS… | ID no WHY
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "test/e2e/query.h"

#define SOCKS_MAX 4096
#define LINE_MAX  16384
#define AGAIN_MS  100  /* a datagram without an answer is sent again */
#define DRAIN_MS  1000 /* what an ended flow waits for its last answers */

enum role {
	ROLE_FREE,
	ROLE_TCP_SERVER, /* listens */
	ROLE_TCP_CLIENT, /* accepted: its lines go back */
	ROLE_UDP_SERVER,
	ROLE_CONTROL, /* listens on the UNIX socket */
	ROLE_ORDERS,  /* one who gives orders */
	ROLE_PROBE,
	ROLE_FLOW,
	ROLE_RESOLVE,
};

struct sock {
	enum role role;
	bool udp, connected, ending;
	bool silent; /* being connected is all that is asked */
	int owner;   /* index of the socket that gave the order */
	char id[32];
	long long deadline_ms, next_ms;
	long long sent, answered, gap_ms, last_ms;
	int interval_ms;
	size_t used;
	char *buf; /* LINE_MAX, of roles that read lines */
	unsigned char query[300];
	size_t query_bytes;
};

static struct sock socks[SOCKS_MAX];
static struct pollfd polls[SOCKS_MAX];
static int n_socks;
static const char *my_name;

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static void die(const char *what)
{
	fprintf(stderr, "prober: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int sock_add(int fd, enum role role, short events)
{
	int i = 0;

	while (i < n_socks && socks[i].role)
		i++;
	if (fd < 0 || i == SOCKS_MAX) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (i == n_socks)
		n_socks++;
	memset(&socks[i], 0, sizeof(socks[i]));
	socks[i].role = role;
	socks[i].owner = -1;
	polls[i] = (struct pollfd){.fd = fd, .events = events};
	return i;
}

static void sock_end(int i)
{
	close(polls[i].fd);
	free(socks[i].buf);
	socks[i] = (struct sock){};
	polls[i] = (struct pollfd){.fd = -1};
	/* Who asked is gone: nobody waits for these. */
	for (int k = 0; k < n_socks; k++)
		if (socks[k].role && socks[k].owner == i)
			sock_end(k);
}

/* Answers are short and their readers prompt: a full pipe is an error. */
static void answer(int owner, const char *text)
{
	const size_t len = strlen(text);

	if (owner < 0 || socks[owner].role != ROLE_ORDERS)
		return;
	if (send(polls[owner].fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		sock_end(owner);
}

static void probe_end(int i, const char *verdict, const char *more)
{
	char text[700];

	snprintf(text, sizeof(text), "%s %s %.600s\n", socks[i].id, verdict,
	         more);
	answer(socks[i].owner, text);
	if (socks[i].role)
		sock_end(i);
}

/* ---- serving ---- */

static void address_text(const struct sockaddr_storage *addr, char *ret)
{
	const struct sockaddr_in6 *six = (const void *)addr;

	inet_ntop(AF_INET6, &six->sin6_addr, ret, INET6_ADDRSTRLEN);
	if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], ret,
		          INET6_ADDRSTRLEN);
}

static void tcp_accept(int i)
{
	struct sockaddr_storage addr = {};
	socklen_t len = sizeof(addr);
	char who[INET6_ADDRSTRLEN] = "?", text[200];
	const int fd = accept4(polls[i].fd, (void *)&addr, &len,
	                       SOCK_NONBLOCK | SOCK_CLOEXEC);
	const int at = sock_add(fd, ROLE_TCP_CLIENT, POLLIN);

	if (at < 0)
		return;
	address_text(&addr, who);
	snprintf(text, sizeof(text), "%s %s\n", my_name, who);
	send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void tcp_echo(int i)
{
	char buf[4096];
	const ssize_t n = recv(polls[i].fd, buf, sizeof(buf), 0);

	if (n > 0)
		send(polls[i].fd, buf, (size_t)n, MSG_NOSIGNAL);
	else if (!n || errno != EAGAIN)
		sock_end(i);
}

static void udp_echo(int i)
{
	char buf[2048], text[2400], who[INET6_ADDRSTRLEN] = "?";
	struct sockaddr_storage addr = {};
	/* The answer leaves from the address that was asked. */
	char control[256];
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf) - 1};
	struct msghdr msg = {.msg_name = &addr,
	                     .msg_namelen = sizeof(addr),
	                     .msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = control,
	                     .msg_controllen = sizeof(control)};
	const ssize_t n = recvmsg(polls[i].fd, &msg, 0);
	int len;

	if (n < 0)
		return;
	buf[n] = '\0';
	address_text(&addr, who);
	len = snprintf(text, sizeof(text), "%s %s %s", my_name, who, buf);
	iov = (struct iovec){.iov_base = text, .iov_len = (size_t)len};
	sendmsg(polls[i].fd, &msg, MSG_NOSIGNAL);
}

static int server_open(int port, int type)
{
	const int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 addr = {.sin6_family = AF_INET6,
	                            .sin6_port = htons((uint16_t)port)};
	const int on = 1, off = 0, room = 1 << 20;

	if (fd < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) ||
	    bind(fd, (void *)&addr, sizeof(addr)) ||
	    (type == SOCK_STREAM && listen(fd, 1024)))
		die("a port to serve");
	return fd;
}

/* ---- asking ---- */

/* @host as text -> the length of @ret; 0 when it is no address. */
static socklen_t address_read(const char *host, const char *port,
                              struct sockaddr_storage *ret)
{
	struct sockaddr_in *four = (void *)ret;
	struct sockaddr_in6 *six = (void *)ret;

	if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)atoi(port));
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1)
		return 0;
	six->sin6_family = AF_INET6;
	six->sin6_port = htons((uint16_t)atoi(port));
	return sizeof(*six);
}

/* A connecting socket to @host (an address) and @port: fd or -errno. */
static int client_open(const char *host, const char *port, bool udp)
{
	struct sockaddr_storage addr = {};
	const socklen_t len = address_read(host, port, &addr);
	const int type = udp ? SOCK_DGRAM : SOCK_STREAM;
	int fd, r;

	if (!len)
		return -EINVAL;
	fd = socket(addr.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, (void *)&addr, len) ? errno : 0;
	if (!r || r == EINPROGRESS)
		return fd;
	close(fd);
	return -r;
}

static void refuse(int owner, const char *id, const char *why)
{
	char text[200];

	snprintf(text, sizeof(text), "%s no %s\n", id, why);
	answer(owner, text);
}

static int asker_add(int owner, char **word, enum role role)
{
	const bool udp = !strcmp(word[2], "udp");
	const int fd = client_open(word[3], word[4], udp);
	const int i =
		fd < 0 ? -1
		       : sock_add(fd, role, udp ? POLLIN : POLLIN | POLLOUT);

	if (i < 0) {
		if (role == ROLE_PROBE)
			refuse(owner, word[1], strerror(fd < 0 ? -fd : EMFILE));
		return -1;
	}
	snprintf(socks[i].id, sizeof(socks[i].id), "%s", word[1]);
	socks[i].owner = owner;
	socks[i].udp = udp;
	return i;
}

static void probe_start(int owner, char **word)
{
	const int i = asker_add(owner, word, ROLE_PROBE);

	if (i < 0)
		return;
	socks[i].deadline_ms = now_ms() + atoi(word[5]);
	socks[i].next_ms = now_ms();
	socks[i].silent = !strcmp(word[0], "connect");
}

static void flow_start(int owner, char **word)
{
	const int i = asker_add(owner, word, ROLE_FLOW);

	if (i < 0)
		return;
	socks[i].interval_ms = atoi(word[5]);
	socks[i].next_ms = socks[i].last_ms = now_ms();
	socks[i].connected = socks[i].udp;
	socks[i].buf = calloc(1, LINE_MAX);
}

static void flow_report(int i)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);
	char text[200];

	if (!socks[i].udp)
		getsockopt(polls[i].fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	snprintf(text, sizeof(text), "%s %lld %lld %lld %u\n", socks[i].id,
	         socks[i].sent, socks[i].answered, socks[i].gap_ms,
	         info.tcpi_total_retrans);
	answer(socks[i].owner, text);
	if (socks[i].role)
		sock_end(i);
}

static void flow_end(int owner, const char *id)
{
	for (int i = 0; i < n_socks; i++) {
		if (socks[i].role != ROLE_FLOW || socks[i].owner != owner ||
		    strcmp(socks[i].id, id) != 0)
			continue;
		socks[i].ending = true;
		socks[i].deadline_ms = now_ms() + DRAIN_MS;
		return;
	}
	refuse(owner, id, "no such flow");
}

static void resolve_start(int owner, char **word)
{
	char *as_probe[] = {"probe", word[1], "udp", word[2], "53"};
	const int type = strcmp(word[4], "AAAA") ? 1 : 28;
	const int i = asker_add(owner, as_probe, ROLE_RESOLVE);

	if (i < 0)
		return;
	socks[i].query_bytes = query_make(socks[i].query, word[3], type);
	socks[i].deadline_ms = now_ms() + atoi(word[5]);
	socks[i].next_ms = now_ms();
}

static void resolve_read(int i)
{
	unsigned char buf[1500];
	const ssize_t n = recv(polls[i].fd, buf, sizeof(buf), 0);
	char text[600];

	if (n < 12 || !query_is_mine(buf))
		return;
	if (query_addresses(buf, (size_t)n, socks[i].query_bytes, text))
		probe_end(i, "ok", text);
	else
		probe_end(i, "no", "no address");
}

static void probe_read(int i)
{
	char buf[256];
	const ssize_t n = recv(polls[i].fd, buf, sizeof(buf) - 1, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		/* An ICMP error about a datagram may be older than the next. */
		if (!socks[i].udp || !n)
			probe_end(i, "no", n ? strerror(errno) : "closed");
		return;
	}
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	probe_end(i, "ok", buf);
}

static void flow_read(int i)
{
	struct sock *s = &socks[i];
	char buf[4096];
	const ssize_t n = recv(polls[i].fd, buf, sizeof(buf), 0);
	const long long now = now_ms();
	long long lines = 0;

	if (n < 0 && (errno == EAGAIN || s->udp))
		return;
	if (n <= 0) {
		flow_report(i);
		return;
	}
	for (ssize_t k = 0; k < n && !s->udp; k++)
		lines += buf[k] == '\n';
	if (!s->udp && !s->connected) {
		s->connected = true; /* the greeting */
		lines--;
	}
	s->answered += s->udp ? 1 : lines;
	if (now - s->last_ms > s->gap_ms)
		s->gap_ms = now - s->last_ms;
	s->last_ms = now;
}

/* ---- orders ---- */

static void order(int i, char *line)
{
	char *word[7] = {}, *rest = NULL;
	int n = 0;

	for (char *w = strtok_r(line, " ", &rest); w && n < 7;
	     w = strtok_r(NULL, " ", &rest))
		word[n++] = w;
	if (n == 6 &&
	    (!strcmp(word[0], "probe") || !strcmp(word[0], "connect")))
		probe_start(i, word);
	else if (n == 6 && !strcmp(word[0], "flow"))
		flow_start(i, word);
	else if (n == 6 && !strcmp(word[0], "resolve"))
		resolve_start(i, word);
	else if (n == 2 && !strcmp(word[0], "end"))
		flow_end(i, word[1]);
	else
		refuse(i, n > 1 ? word[1] : "?", "not understood");
}

static void orders_read(int i)
{
	struct sock *s = &socks[i];
	const ssize_t n =
		recv(polls[i].fd, s->buf + s->used, LINE_MAX - s->used - 1, 0);
	char *line, *end;

	if (n <= 0) {
		if (!n || errno != EAGAIN)
			sock_end(i);
		return;
	}
	s->used += (size_t)n;
	s->buf[s->used] = '\0';
	for (line = s->buf; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		order(i, line);
		if (s->role != ROLE_ORDERS)
			return;
	}
	s->used = strlen(line);
	memmove(s->buf, line, s->used + 1);
}

static void control_accept(int i)
{
	const int fd =
		accept4(polls[i].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	const int room = 4 << 20;
	const int at = sock_add(fd, ROLE_ORDERS, POLLIN);

	if (at < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	socks[at].buf = calloc(1, LINE_MAX);
}

static int control_open(const char *path)
{
	const int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(addr.sun_path))
		die("the socket's path is too long");
	memcpy(addr.sun_path, path, strlen(path) + 1);
	unlink(path);
	if (fd < 0 || bind(fd, (void *)&addr, sizeof(addr)) || listen(fd, 64))
		die(path);
	return fd;
}

/* ---- the loop ---- */

static void flow_tick(int i, long long now)
{
	struct sock *s = &socks[i];
	char text[64];

	if (s->ending && (s->answered == s->sent || now >= s->deadline_ms)) {
		flow_report(i);
		return;
	}
	if (s->ending || !s->connected || now < s->next_ms)
		return;
	s->sent++;
	s->next_ms += s->interval_ms;
	snprintf(text, sizeof(text), "%lld\n", s->sent);
	send(polls[i].fd, text, strlen(text), MSG_NOSIGNAL);
}

static void ask_tick(int i, long long now)
{
	struct sock *s = &socks[i];

	if (now >= s->deadline_ms) {
		probe_end(i, "no", "no answer");
		return;
	}
	if (!s->udp || now < s->next_ms)
		return;
	s->next_ms = now + AGAIN_MS;
	if (s->role == ROLE_RESOLVE)
		send(polls[i].fd, s->query, s->query_bytes, MSG_NOSIGNAL);
	else
		send(polls[i].fd, "?", 1, MSG_NOSIGNAL);
}

static void sock_ready(int i)
{
	static void (*const read_of[])(int) = {
		[ROLE_TCP_SERVER] = tcp_accept, [ROLE_TCP_CLIENT] = tcp_echo,
		[ROLE_UDP_SERVER] = udp_echo,   [ROLE_CONTROL] = control_accept,
		[ROLE_ORDERS] = orders_read,    [ROLE_PROBE] = probe_read,
		[ROLE_FLOW] = flow_read,        [ROLE_RESOLVE] = resolve_read,
	};

	if (socks[i].silent && polls[i].revents == POLLOUT) {
		probe_end(i, "ok", "connected");
		return;
	}
	polls[i].events = POLLIN; /* connected, or never */
	if (polls[i].revents & (POLLIN | POLLERR | POLLHUP))
		read_of[socks[i].role](i);
}

static void loop_once(void)
{
	int wait_ms = 1000;
	long long now;

	for (int i = 0; i < n_socks; i++)
		if (socks[i].role >= ROLE_PROBE)
			wait_ms = 5;
	if (poll(polls, (nfds_t)n_socks, wait_ms) < 0 && errno != EINTR)
		die("poll");
	for (int i = 0; i < n_socks; i++)
		if (socks[i].role && polls[i].revents)
			sock_ready(i);
	now = now_ms();
	for (int i = 0; i < n_socks; i++)
		if (socks[i].role == ROLE_FLOW)
			flow_tick(i, now);
		else if (socks[i].role >= ROLE_PROBE)
			ask_tick(i, now);
}

static void end(int number)
{
	_exit(number == SIGTERM ? 0 : 1);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: prober NAME SOCKET PORT…\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, end);
	my_name = argv[1];
	for (int i = 3; i < argc; i++) {
		const int port = atoi(argv[i]);

		sock_add(server_open(port, SOCK_STREAM), ROLE_TCP_SERVER,
		         POLLIN);
		sock_add(server_open(port, SOCK_DGRAM), ROLE_UDP_SERVER,
		         POLLIN);
	}
	sock_add(control_open(argv[2]), ROLE_CONTROL, POLLIN);
	for (;;)
		loop_once();
}
