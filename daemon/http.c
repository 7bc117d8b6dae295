// SPDX-License-Identifier: Apache-2.0
/* http.c - see http.h. */
#include "daemon/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/addr.h"

#define CONNECTIONS_MAX 64u
#define FROM_ONE_MAX    8u    /* address: one cannot take them all */
#define CONNECTION_S    10u   /* without a byte */
#define MEMORY_BYTES    8192u /* for the headers of one */
#define BACKLOG         32
#define MS              1000000ull

struct http {
	struct loop *loop;
	struct daemon *daemon;
	const struct http_route *routes;
	struct MHD_Daemon *mhd;
	struct loop_fd watch; /* its own epoll */
	struct loop_timer timeout;
};

/* ---- where -------------------------------------------------------------- */

/* @where as a socket address of IPv6, IPv4 being mapped. */
static int where_parse(const char *where, struct sockaddr_in6 *ret)
{
	const char *colon = strrchr(where, ':');
	char host[HTTP_WHERE_MAX], *name = host;
	struct addr addr = {}; /* all of them */
	unsigned long port;
	size_t len;
	char *end;

	if (!colon || strlen(where) >= sizeof(host))
		return -EINVAL;
	len = (size_t)(colon - where);
	memcpy(host, where, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		name++;
	} else if (strchr(host, ':')) {
		return -EINVAL;
	}
	port = strtoul(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || !port || port > 65535 ||
	    (*name && strcmp(name, "0.0.0.0") != 0 && addr_parse(name, &addr)))
		return -EINVAL;
	*ret = (struct sockaddr_in6){
		.sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port),
	};
	memcpy(&ret->sin6_addr, addr.byte, sizeof(addr.byte));
	return 0;
}

int http_where_check(const char *where)
{
	struct sockaddr_in6 ignored;

	return where_parse(where, &ignored);
}

/* A socket of both families; of IPv4 alone where there is no other. */
static int socket_listen(const struct sockaddr_in6 *at)
{
	const int off = 0, on = 1;
	const struct sockaddr_in v4 = {
		.sin_family = AF_INET,
		.sin_port = at->sin6_port,
		.sin_addr.s_addr = at->sin6_addr.s6_addr32[3],
	};
	_cleanup_(closep) int fd =
		socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const bool six = fd >= 0;
	int r;

	if (!six)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		            0);
	if (fd < 0)
		return -errno;
	if (six)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off,
		                 sizeof(off));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	r = six ? bind(fd, (const struct sockaddr *)at, sizeof(*at))
	        : bind(fd, (const struct sockaddr *)&v4, sizeof(v4));
	if (r || listen(fd, BACKLOG))
		return -errno;
	return TAKE_FD(fd);
}

/* ---- answers ------------------------------------------------------------ */

static enum MHD_Result text_send(struct MHD_Connection *connection,
                                 unsigned status, const char *type, char *text,
                                 size_t len)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		len, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result r = MHD_NO;

	if (!response) {
		free(text);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
	                            type) == MHD_YES)
		r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

static unsigned not_found(struct daemon *daemon, FILE *out)
{
	(void)daemon;
	(void)fputs("there is no such page\n", out);
	return MHD_HTTP_NOT_FOUND;
}

static unsigned not_allowed(struct daemon *daemon, FILE *out)
{
	(void)daemon;
	(void)fputs("only GET and HEAD\n", out);
	return MHD_HTTP_METHOD_NOT_ALLOWED;
}

/* NOLINTNEXTLINE(readability-function-size): MHD_AccessHandlerCallback's */
static enum MHD_Result asked(void *user, struct MHD_Connection *connection,
                             const char *url, const char *method,
                             const char *version, const char *upload,
                             size_t *upload_size, void **state)
{
	static const struct http_route none = {NULL, "text/plain", not_found};
	static const struct http_route other = {NULL, "text/plain",
	                                        not_allowed};
	const struct http *http = user;
	const struct http_route *route = http->routes;
	unsigned status;
	char *text = NULL;
	size_t len = 0;
	FILE *out;

	(void)version;
	(void)upload;
	if (!*state) { /* its headers are read; a body may follow */
		*state = connection;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0; /* nobody wants it */
		return MHD_YES;
	}
	while (route->path && strcmp(route->path, url) != 0)
		route++;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		route = &other;
	else if (!route->path)
		route = &none;
	out = open_memstream(&text, &len);
	if (!out)
		return MHD_NO;
	status = route->answer(http->daemon, out);
	if (fclose(out)) {
		free(text);
		return MHD_NO;
	}
	return text_send(connection, status, route->type, text, len);
}

/* ---- on the loop -------------------------------------------------------- */

static void turn(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG ms;

	(void)MHD_run(http->mhd);
	if (MHD_get_timeout(http->mhd, &ms) == MHD_YES)
		loop_timer_arm(http->loop, &http->timeout, ms * MS);
	else
		loop_timer_cancel(http->loop, &http->timeout);
}

static void watch_ready(struct loop_fd *self, uint32_t epoll_events)
{
	(void)epoll_events;
	turn(container_of(self, struct http, watch));
}

static void timeout_due(struct loop_timer *self)
{
	turn(container_of(self, struct http, timeout));
}

static int mhd_start(struct http *http, int fd)
{
	const union MHD_DaemonInfo *info;

	http->mhd = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, asked, http,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		FROM_ONE_MAX, MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES,
		MHD_OPTION_END);
	if (!http->mhd) {
		close(fd);
		return -EIO;
	}
	info = MHD_get_daemon_info(http->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -EIO;
	http->watch.fd = info->epoll_fd;
	return loop_fd_add(http->loop, &http->watch, EPOLLIN);
}

int http_open(struct loop *loop, const char *where,
              const struct http_route *routes, struct daemon *daemon,
              struct http **ret, struct err *err)
{
	_cleanup_(http_closep) struct http *http = calloc(1, sizeof(*http));
	struct sockaddr_in6 at;
	int fd, r;

	if (!http)
		return err_set(err, -ENOMEM, "out of memory");
	http->loop = loop;
	http->daemon = daemon;
	http->routes = routes;
	http->watch.fd = -1;
	http->watch.ready = watch_ready;
	http->timeout.due = timeout_due;
	if (where_parse(where, &at))
		return err_set(err, -EINVAL, "'%s' is not ADDR:PORT", where);
	fd = socket_listen(&at);
	if (fd < 0)
		return err_set(err, fd, "listen on %s: %s", where,
		               strerror(-fd));
	r = mhd_start(http, fd);
	if (r)
		return err_set(err, r, "listen on %s: %s", where, strerror(-r));
	*ret = TAKE(http);
	return 0;
}

void http_close(struct http *http)
{
	if (!http)
		return;
	loop_timer_cancel(http->loop, &http->timeout);
	if (http->watch.fd >= 0)
		loop_fd_remove(http->loop, &http->watch);
	if (http->mhd)
		MHD_stop_daemon(http->mhd);
	free(http);
}
