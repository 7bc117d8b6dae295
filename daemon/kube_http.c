// SPDX-License-Identifier: Apache-2.0
/* kube_http.c - see kube_http.h. */
#include "daemon/kube_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon/kube_split.h"
#include "lib/version.h"

#define CONNECT_MS      10000L
#define USER_TIMEOUT_MS 20000 /* sent, not acknowledged */
#define KEEP_IDLE_S     15L   /* with the two below: dead after 30 s */
#define KEEP_EACH_S     5L
#define KEEP_COUNT      3
#define NS_PER_MS       1000000ull
#define TURN_NS         (10 * NS_PER_MS) /* reading, before others' turn */
#define NS_PER_SEC      1000000000ull

struct kube_http {
	struct loop *loop;
	const struct kube_config *config; /* borrowed */
	CURLM *multi;
	struct loop_timer timer;  /* curl's */
	char *connect_to;         /* with tls-server-name; or NULL */
	char *base;               /* what paths are put behind */
	struct curl_slist *reach; /* connect_to, as curl wants it */
	uint64_t taken;           /* bytes, of all answers */
	bool doubt; /* a request timed out: that connection is not trusted */
};

/* A socket of curl's on our loop. */
struct kube_socket {
	struct loop_fd watch;
	struct kube_http *http;
};

struct kube_call {
	struct kube_http *http;
	struct kube_request *request;
	CURL *easy;
	struct curl_slist *headers;
	struct loop_timer idle;
	uint64_t heard_ns;
	char *body; /* owned */
	size_t used, room;
	struct err err; /* why data() or we ended it */
	char said[CURL_ERROR_SIZE];
};

/* ---- an end -------------------------------------------------------------- */

static void headers_free(struct curl_slist *headers)
{
	for (struct curl_slist *at = headers; at; at = at->next)
		explicit_bzero(at->data, strlen(at->data));
	curl_slist_free_all(headers);
}

static void call_free(struct kube_call *call)
{
	loop_timer_cancel(call->http->loop, &call->idle);
	if (call->easy) {
		(void)curl_multi_remove_handle(call->http->multi, call->easy);
		curl_easy_cleanup(call->easy);
	}
	headers_free(call->headers);
	free(call->body);
	free(call);
}
DEFINE_CLEANUP(struct kube_call *, call_free)

void kube_http_cancel(struct kube_request *request)
{
	if (request->call)
		call_free(TAKE(request->call));
}

/* {"kind": "Status", "message": "…"} of the API server; else the status. */
static void refusal_text(const struct kube_call *call, long status,
                         struct err *ret)
{
	_cleanup_(json_decrefp) json_t *body =
		call->used ? json_loadb(call->body, call->used, 0, NULL) : NULL;
	const char *message =
		json_string_value(json_object_get(body, "message"));

	(void)err_set(ret, 0, "the API server answers %ld%s%.180s", status,
	              message ? ": " : "", message ? message : "");
}

static void answer_fill(struct kube_call *call, CURLcode code,
                        struct kube_answer *answer)
{
	curl_off_t seconds = 0;
	long status = 0;

	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds);
	if (call->err.text[0])
		; /* ours */
	else if (status && (status < 200 || status > 299))
		refusal_text(call, status, &call->err);
	else if (code)
		(void)err_set(&call->err, 0, "%.200s",
		              call->said[0] ? call->said
		                            : curl_easy_strerror(code));
	*answer = (struct kube_answer){
		.status = (int)status,
		.error = call->err.text[0] ? call->err.text : NULL,
		.retry_ns = seconds > 0 ? (uint64_t)seconds * NS_PER_SEC : 0,
		.body = call->body ? call->body : "",
		.len = call->used,
	};
}

static void call_done(struct kube_call *call, CURLcode code)
{
	struct kube_request *request = call->request;
	struct kube_answer answer = {};

	answer_fill(call, code, &answer);
	if (code == CURLE_OPERATION_TIMEDOUT)
		call->http->doubt = true;
	else if (answer.status)
		call->http->doubt = false;
	request->call = NULL;
	loop_timer_cancel(call->http->loop, &call->idle);
	(void)curl_multi_remove_handle(call->http->multi, call->easy);
	request->done(request, &answer);
	call_free(call);
}

static void calls_done(struct kube_http *http)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(http->multi, &left))) {
		struct kube_call *call = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE,
		                        (char **)&call);
		call_done(call, msg->data.result);
	}
}

static void idle_due(struct loop_timer *self)
{
	struct kube_call *call = container_of(self, struct kube_call, idle);
	const uint64_t limit = call->request->idle_ns;
	const uint64_t quiet = loop_now_ns() - call->heard_ns;

	if (quiet < limit) {
		loop_timer_arm(call->http->loop, self, limit - quiet);
		return;
	}
	(void)err_set(&call->err, 0,
	              "the API server has said nothing for %llu s",
	              (unsigned long long)(quiet / NS_PER_SEC));
	call_done(call, CURLE_OPERATION_TIMEDOUT);
}

/* ---- curl on the loop ---------------------------------------------------- */

static void socket_ready(struct loop_fd *self, uint32_t epoll_events)
{
	struct kube_http *http =
		container_of(self, struct kube_socket, watch)->http;
	const uint64_t until = loop_now_ns() + TURN_NS;
	const int fd = self->fd; /* self may be freed */
	int mask = 0, running;
	uint64_t taken;

	if (epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
		mask |= CURL_CSELECT_IN;
	if (epoll_events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (epoll_events & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	/* A turn ends with a pass of the reconciler, which with many pods costs
	 * more than what one read brings: what is there is read first. */
	do {
		taken = http->taken;
		(void)curl_multi_socket_action(http->multi, fd, mask, &running);
	} while (http->taken != taken && loop_now_ns() < until);
	calls_done(http);
}

/* CURLMOPT_SOCKETFUNCTION */
static int socket_set(CURL *easy, curl_socket_t fd, int what, void *user,
                      void *socketp)
{
	struct kube_socket *sock = socketp;
	struct kube_http *http = user;
	const uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) |
	                        (what & CURL_POLL_OUT ? EPOLLOUT : 0u);

	(void)easy;
	if (sock)
		loop_fd_remove(http->loop, &sock->watch);
	if (what == CURL_POLL_REMOVE) {
		free(sock);
		return 0;
	}
	if (!sock) {
		sock = calloc(1, sizeof(*sock));
		if (!sock)
			return -1;
		sock->http = http;
		sock->watch.ready = socket_ready;
		sock->watch.fd = fd;
		(void)curl_multi_assign(http->multi, fd, sock);
	}
	return loop_fd_add(http->loop, &sock->watch, events) ? -1 : 0;
}

static void timer_due(struct loop_timer *self)
{
	struct kube_http *http = container_of(self, struct kube_http, timer);
	int running;

	(void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0,
	                               &running);
	calls_done(http);
}

/* CURLMOPT_TIMERFUNCTION */
static int timer_set(CURLM *multi, long ms, void *user)
{
	struct kube_http *http = user;

	(void)multi;
	if (ms < 0)
		loop_timer_cancel(http->loop, &http->timer);
	else
		loop_timer_arm(http->loop, &http->timer,
		               (uint64_t)ms * NS_PER_MS);
	return 0;
}

/* ---- what comes ---------------------------------------------------------- */

static int body_keep(struct kube_call *call, const char *data, size_t len)
{
	size_t room = call->room ? call->room : 4096;
	char *body;

	if (len > KUBE_OBJECT_MAX - call->used)
		return err_set(&call->err, -E2BIG,
		               "an answer of more than %u MiB",
		               KUBE_OBJECT_MAX >> 20);
	while (room < call->used + len + 1)
		room *= 2;
	if (room != call->room) {
		body = realloc(call->body, room);
		if (!body)
			return err_set(&call->err, -ENOMEM, "out of memory");
		call->body = body;
		call->room = room;
	}
	memcpy(call->body + call->used, data, len);
	call->used += len;
	call->body[call->used] = '\0';
	return 0;
}

/* CURLOPT_WRITEFUNCTION */
static size_t data_take(char *data, size_t size, size_t n, void *user)
{
	struct kube_call *call = user;
	struct kube_request *request = call->request;
	const size_t len = size * n;
	long status = 0;
	int r;

	call->heard_ns = loop_now_ns();
	call->http->taken += len;
	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status > 299)
		r = len > KUBE_ERROR_BODY_MAX - call->used
		            ? 0
		            : body_keep(call, data, len);
	else if (request->data)
		r = request->data(request, data, len, &call->err);
	else
		r = body_keep(call, data, len);
	return r ? 0 : len;
}

/* CURLOPT_HEADERFUNCTION: the empty line ends them. */
static size_t header_take(char *data, size_t size, size_t n, void *user)
{
	struct kube_call *call = user;
	const size_t len = size * n;
	long status = 0;

	call->heard_ns = loop_now_ns();
	if (len > 2 || !call->request->begun)
		return len;
	(void)data;
	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 200 && status <= 299)
		call->request->begun(call->request);
	return len;
}

/* ---- a request ----------------------------------------------------------- */

/* CURLOPT_SOCKOPTFUNCTION */
static int socket_options(void *user, curl_socket_t fd, curlsocktype purpose)
{
	const int timeout_ms = USER_TIMEOUT_MS, count = KEEP_COUNT;

	(void)user;
	(void)purpose;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
	                 sizeof(timeout_ms));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	return CURL_SOCKOPT_OK;
}

static void blob_set(CURL *easy, CURLoption file_option, CURLoption blob_option,
                     const struct kube_secret *secret)
{
	struct curl_blob blob = {
		.data = secret->data,
		.len = secret->len,
		.flags = CURL_BLOB_NOCOPY, /* the configuration outlives us */
	};

	if (secret->data)
		(void)curl_easy_setopt(easy, blob_option, &blob);
	else if (secret->file)
		(void)curl_easy_setopt(easy, file_option, secret->file);
}

static void tls_set(CURL *easy, const struct kube_config *config)
{
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
	(void)curl_easy_setopt(easy, CURLOPT_SSLVERSION,
	                       (long)CURL_SSLVERSION_TLSv1_2);
	(void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	/* A certificate authority's file may be replaced at any time. */
	(void)curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	if (config->ca.file || config->ca.data) {
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
		(void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	blob_set(easy, CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB, &config->ca);
	blob_set(easy, CURLOPT_SSLCERT, CURLOPT_SSLCERT_BLOB, &config->cert);
	blob_set(easy, CURLOPT_SSLKEY, CURLOPT_SSLKEY_BLOB, &config->key);
}

static void connection_set(const struct kube_call *call)
{
	CURL *easy = call->easy;

	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
	                       (long)CURL_HTTP_VERSION_2TLS);
	(void)curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEP_IDLE_S);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEP_EACH_S);
	(void)curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, socket_options);
	if (call->http->doubt)
		(void)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	if (call->http->reach)
		(void)curl_easy_setopt(easy, CURLOPT_CONNECT_TO,
		                       call->http->reach);
}

static int header_add(struct kube_call *call, const char *name,
                      const char *value)
{
	char line[KUBE_TOKEN_MAX + 64];
	struct curl_slist *headers;

	snprintf(line, sizeof(line), "%s: %s", name, value);
	headers = curl_slist_append(call->headers, line);
	explicit_bzero(line, sizeof(line));
	if (!headers)
		return -ENOMEM;
	call->headers = headers;
	return 0;
}

static int headers_set(struct kube_call *call, struct err *err)
{
	char value[KUBE_TOKEN_MAX + 16] = "Bearer ";
	int has = kube_config_token(call->http->config, value + 7, err), r;

	if (has < 0)
		return has;
	r = header_add(call, "Accept", "application/json");
	if (!r && has)
		r = header_add(call, "Authorization", value);
	if (!r && call->request->type)
		r = header_add(call, "Content-Type", call->request->type);
	explicit_bzero(value, sizeof(value));
	(void)curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
	return r ? err_set(err, r, "out of memory") : 0;
}

static int request_set(struct kube_call *call, struct err *err)
{
	struct kube_request *request = call->request;
	_cleanup_(free_p) char *url = NULL;
	CURL *easy = call->easy;

	if (asprintf(&url, "%s%s", call->http->base, request->path) < 0) {
		url = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->said);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, data_take);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_take);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT,
	                       "stiled/" STILE_VERSION);
	if (request->limit_ns)
		(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
		                       (long)(request->limit_ns / NS_PER_MS));
	if (request->body &&
	    curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body))
		return err_set(err, -ENOMEM, "out of memory");
	if (request->method)
		(void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
		                       request->method);
	if (curl_easy_setopt(easy, CURLOPT_URL, url))
		return err_set(err, -EINVAL, "'%.120s' is no address", url);
	return headers_set(call, err);
}

int kube_http_send(struct kube_http *http, struct kube_request *request,
                   struct err *err)
{
	_cleanup_(call_freep) struct kube_call *call = calloc(1, sizeof(*call));
	CURLMcode code;
	int r;

	if (!call)
		return err_set(err, -ENOMEM, "out of memory");
	call->http = http;
	call->request = request;
	call->idle.due = idle_due;
	call->heard_ns = loop_now_ns();
	call->easy = curl_easy_init();
	if (!call->easy)
		return err_set(err, -ENOMEM, "out of memory");
	tls_set(call->easy, http->config);
	connection_set(call);
	r = request_set(call, err);
	if (r)
		return r;
	code = curl_multi_add_handle(http->multi, call->easy);
	if (code)
		return err_set(err, -EIO, "%s", curl_multi_strerror(code));
	if (request->idle_ns)
		loop_timer_arm(http->loop, &call->idle, request->idle_ns);
	request->call = TAKE(call);
	return 0;
}

/* ---- the whole ----------------------------------------------------------- */

/*
 * With tls-server-name it is that name which is asked for and verified, at the
 * server's address: "NAME:PORT:HOST:PORT", port 443 where none is given.
 */
static int name_set(struct kube_http *http, struct err *err)
{
	const struct kube_config *config = http->config;
	const char *host = config->server + strlen("https://");
	const char *path = host + strcspn(host, "/");
	const char *bracket = memchr(host, ']', (size_t)(path - host));
	const char *from = bracket ? bracket : host;
	const char *colon = memchr(from, ':', (size_t)(path - from));
	const char *end = colon ? colon : path;
	const char *port = colon ? colon + 1 : "443";
	const int port_len = colon ? (int)(path - port) : 3;

	if (asprintf(&http->base, "https://%s:%.*s%s", config->tls_server_name,
	             port_len, port, path) < 0 ||
	    asprintf(&http->connect_to, "%s:%.*s:%.*s:%.*s",
	             config->tls_server_name, port_len, port, (int)(end - host),
	             host, port_len, port) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	http->reach = curl_slist_append(NULL, http->connect_to);
	return http->reach ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int kube_http_new(struct loop *loop, const struct kube_config *config,
                  struct kube_http **ret, struct err *err)
{
	_cleanup_(kube_http_freep) struct kube_http *http =
		calloc(1, sizeof(*http));
	int r = 0;

	if (!http)
		return err_set(err, -ENOMEM, "out of memory");
	http->loop = loop;
	http->config = config;
	http->timer.due = timer_due;
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return err_set(err, -ENOMEM, "libcurl does not start");
	http->multi = curl_multi_init();
	if (!http->multi)
		return err_set(err, -ENOMEM, "out of memory");
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION,
	                        socket_set);
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, timer_set);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_PIPELINING,
	                        (long)CURLPIPE_MULTIPLEX);
	if (config->tls_server_name)
		r = name_set(http, err);
	else
		http->base = strdup(config->server);
	if (r || !http->base)
		return r ? r : err_set(err, -ENOMEM, "out of memory");
	*ret = TAKE(http);
	return 0;
}

void kube_http_free(struct kube_http *http)
{
	if (!http)
		return;
	if (http->multi)
		(void)curl_multi_cleanup(http->multi);
	loop_timer_cancel(http->loop, &http->timer);
	curl_slist_free_all(http->reach);
	free(http->connect_to);
	free(http->base);
	free(http);
	curl_global_cleanup();
}

char *kube_http_escape(const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char *ret = malloc(strlen(text) * 3 + 1), *at = ret;

	for (; ret && *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || strchr("-._~", c)) {
			*at++ = *text;
			continue;
		}
		*at++ = '%';
		*at++ = hex[c >> 4];
		*at++ = hex[c & 15];
	}
	if (ret)
		*at = '\0';
	return ret;
}
