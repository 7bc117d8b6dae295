// SPDX-License-Identifier: Apache-2.0
/* nl.c - see nl.h. */
#include "lib/nl.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/util.h"

#define ANSWER_BYTES  32768 /* the kernel never fills more at once */
#define DUMP_RESTARTS 16

int nl_open(struct nl *nl, struct err *err)
{
	_cleanup_(closep) int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	const int on = 1;

	if (fd < 0)
		return err_set(err, -errno, "netlink socket: %s",
		               strerror(errno));
	/* Sentences in errors, and no copy of the request: both optional. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));

	*nl = (struct nl){.fd = TAKE_FD(fd)};
	return 0;
}

int nl_open_in(int netns_fd, struct nl *nl, struct err *err)
{
	_cleanup_(closep) int here =
		open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int r;

	if (here < 0)
		return err_set(err, -errno, "own network namespace: %s",
		               strerror(errno));
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_set(err, -errno, "enter network namespace: %s",
		               strerror(errno));
	r = nl_open(nl, err);
	if (setns(here, CLONE_NEWNET) < 0) {
		if (!r)
			nl_close(nl);
		return err_set(err, -ENOTRECOVERABLE,
		               "return to own network namespace: %s",
		               strerror(errno));
	}
	return r;
}

void nl_close(struct nl *nl)
{
	if (nl->fd >= 0)
		close(nl->fd);
	nl->fd = -1;
}

int nl_ifindex(const struct nl *nl, const char *name)
{
	struct ifreq req = {};

	if (strlen(name) >= sizeof(req.ifr_name))
		return -ENODEV;
	memcpy(req.ifr_name, name, strlen(name));
	/* Devices answer on any socket, in that socket's namespace. */
	if (ioctl(nl->fd, SIOCGIFINDEX, &req) < 0)
		return -errno;
	return req.ifr_ifindex;
}

void nl_batch_begin(struct nl_batch *batch, struct nl *nl)
{
	batch->nl = nl;
	batch->used = 0;
	batch->last = 0;
	batch->n = 0;
	batch->full = false;
}

/* @len zeroed bytes at the batch's end, aligned; NULL when it is full. */
static void *batch_grow(struct nl_batch *batch, size_t len)
{
	const size_t need = NLMSG_ALIGN(len);
	char *at = batch->buf + batch->used;

	if (batch->full || len > NL_BATCH_BYTES ||
	    need > NL_BATCH_BYTES - batch->used) {
		batch->full = true;
		return NULL;
	}
	memset(at, 0, need);
	batch->used += need;
	return at;
}

struct nlmsghdr *nl_put_request(struct nl_batch *batch,
                                const struct nl_request *request)
{
	struct nlmsghdr *msg;

	if (batch->n == NL_BATCH_MAX)
		batch->full = true;
	batch->last = batch->used;
	msg = batch_grow(batch, NLMSG_LENGTH(request->body_len));
	if (!msg)
		return NULL;
	batch->item[batch->n].what = request->what;
	batch->item[batch->n].ignore = request->ignore;
	batch->n++;
	msg->nlmsg_len = (uint32_t)NLMSG_LENGTH(request->body_len);
	msg->nlmsg_type = request->type;
	msg->nlmsg_flags = request->flags | NLM_F_REQUEST;
	msg->nlmsg_seq = ++batch->nl->seq;
	memcpy(NLMSG_DATA(msg), request->body, request->body_len);
	return msg;
}

void nl_attr(struct nl_batch *batch, uint16_t type, const void *data,
             size_t len)
{
	struct rtattr *attr = NULL;

	if (batch->n && len <= UINT16_MAX - RTA_LENGTH(0))
		attr = batch_grow(batch, RTA_LENGTH(len));
	if (!attr) {
		batch->full = true;
		return;
	}
	attr->rta_type = type;
	attr->rta_len = (uint16_t)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(attr), data, len);
	((struct nlmsghdr *)(batch->buf + batch->last))->nlmsg_len =
		(uint32_t)(batch->used - batch->last);
}

void nl_raw(struct nl_batch *batch, const void *data, size_t len)
{
	void *at = batch->n ? batch_grow(batch, len) : NULL;

	if (!at) {
		batch->full = true;
		return;
	}
	memcpy(at, data, len);
	((struct nlmsghdr *)(batch->buf + batch->last))->nlmsg_len =
		(uint32_t)(batch->used - batch->last);
}

void nl_attr_u8(struct nl_batch *batch, uint16_t type, uint8_t value)
{
	nl_attr(batch, type, &value, sizeof(value));
}

void nl_attr_u32(struct nl_batch *batch, uint16_t type, uint32_t value)
{
	nl_attr(batch, type, &value, sizeof(value));
}

void nl_attr_str(struct nl_batch *batch, uint16_t type, const char *text)
{
	nl_attr(batch, type, text, strlen(text) + 1);
}

size_t nl_nest(struct nl_batch *batch, uint16_t type)
{
	const size_t at = batch->used;

	nl_attr(batch, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void nl_nest_end(struct nl_batch *batch, size_t nest)
{
	if (!batch->full)
		((struct rtattr *)(batch->buf + nest))->rta_len =
			(uint16_t)(batch->used - nest);
}

/* The kernel's own words, NULL when there are none: RFC 3549, NETLINK_EXT_ACK.
 */
static const char *answer_text(const struct nlmsghdr *msg)
{
	const struct nlmsgerr *answer = NLMSG_DATA(msg);
	size_t skip = sizeof(*answer);
	const struct rtattr *attr;

	if (!(msg->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(msg->nlmsg_flags & NLM_F_CAPPED))
		skip += NLMSG_ALIGN(answer->msg.nlmsg_len) - NLMSG_HDRLEN;
	attr = nl_find(msg, skip, NLMSGERR_ATTR_MSG);
	if (!attr || !RTA_PAYLOAD(attr) ||
	    ((const char *)RTA_DATA(attr))[RTA_PAYLOAD(attr) - 1])
		return NULL;
	return RTA_DATA(attr);
}

/* The outcome of one request: the first failure is the batch's. */
static int batch_answer(const struct nl_batch *batch,
                        const struct nlmsghdr *msg, int index, int r,
                        struct err *err)
{
	const struct nlmsgerr *answer = NLMSG_DATA(msg);
	const char *text = answer_text(msg);
	const int code = answer->error;

	if (r || !code || -code == batch->item[index].ignore)
		return r;
	if (text)
		return err_set(err, code, "%s: %s (%s)",
		               batch->item[index].what, strerror(-code), text);
	return err_set(err, code, "%s: %s", batch->item[index].what,
	               strerror(-code));
}

/* One datagram into @buf: its length or -errno. */
static ssize_t answer_read(const struct nl *nl, char *buf, struct err *err)
{
	for (;;) {
		const ssize_t n = recv(nl->fd, buf, ANSWER_BYTES, MSG_TRUNC);

		if (n >= 0 && n <= ANSWER_BYTES)
			return n;
		if (n > ANSWER_BYTES)
			return err_set(err, -EMSGSIZE,
			               "netlink answer of %zd bytes", n);
		if (errno != EINTR)
			return err_set(err, -errno, "netlink answer: %s",
			               strerror(errno));
	}
}

/* Step through the messages of a datagram; @at is where the next begins. */
static const struct nlmsghdr *answer_next(const char *buf, size_t got,
                                          size_t *at)
{
	const struct nlmsghdr *msg = (const void *)(buf + *at);

	if (*at >= got || got - *at < sizeof(*msg) ||
	    msg->nlmsg_len < sizeof(*msg) || msg->nlmsg_len > got - *at)
		return NULL;
	*at += NLMSG_ALIGN(msg->nlmsg_len);
	return msg;
}

/* Answers to the @n requests from @first on, until that of the last. */
static int batch_read(const struct nl_batch *batch, uint32_t first, uint32_t n,
                      struct err *err)
{
	char buf[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool done = false;
	int r = 0;

	while (!done) {
		const ssize_t got = answer_read(batch->nl, buf, err);
		const struct nlmsghdr *msg;
		size_t at = 0;

		if (got < 0)
			return (int)got;
		while ((msg = answer_next(buf, (size_t)got, &at))) {
			const uint32_t index = msg->nlmsg_seq - first;

			if (msg->nlmsg_type != NLMSG_ERROR || index >= n)
				continue;
			r = batch_answer(batch, msg, (int)index, r, err);
			done = index == n - 1;
		}
	}
	return r;
}

int nl_batch_run(struct nl_batch *batch, struct err *err)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct nlmsghdr *last = (struct nlmsghdr *)(batch->buf + batch->last);
	const uint32_t n = (uint32_t)batch->n;
	const size_t bytes = batch->used;
	const bool full = batch->full;

	nl_batch_begin(batch, batch->nl);
	if (full)
		return err_set(err, -EMSGSIZE, "netlink batch is too large");
	if (!n)
		return 0;
	/* Failures are always answered, and in order: one success will do. */
	last->nlmsg_flags |= NLM_F_ACK;
	if (sendto(batch->nl->fd, batch->buf, bytes, 0,
	           (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return err_set(err, -errno, "netlink send: %s",
		               strerror(errno));
	return batch_read(batch, last->nlmsg_seq - n + 1, n, err);
}

struct answers {
	const struct nl_query *query;
	uint32_t seq;
	int result;       /* what each returned */
	bool done;        /* the kernel has said all */
	bool interrupted; /* what it said does not fit together */
};

/* A request on its own, not through a batch; @flags say what it wants back. */
static int query_send(struct nl *nl, const struct nl_query *query,
                      uint16_t flags, struct err *err)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct nlmsghdr head = {
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(query->body_len),
		.nlmsg_type = query->type,
		.nlmsg_flags = NLM_F_REQUEST | flags,
		.nlmsg_seq = ++nl->seq,
	};
	struct iovec iov[] = {
		{&head,               NLMSG_HDRLEN   },
		{(void *)query->body, query->body_len},
	};
	const struct msghdr msg = {.msg_name = (void *)&kernel,
	                           .msg_namelen = sizeof(kernel),
	                           .msg_iov = iov,
	                           .msg_iovlen = 2};

	if (sendmsg(nl->fd, &msg, 0) < 0)
		return err_set(err, -errno, "netlink send: %s",
		               strerror(errno));
	return 0;
}

/* A failed each is remembered, and the rest read and dropped. */
static int answers_take(struct answers *answers, const struct nlmsghdr *msg,
                        struct err *err)
{
	const struct nl_query *query = answers->query;
	int code = 0;

	if (msg->nlmsg_seq != answers->seq)
		return 0;
	if (msg->nlmsg_flags & NLM_F_DUMP_INTR)
		answers->interrupted = true;
	if (msg->nlmsg_type == NLMSG_DONE || msg->nlmsg_type == NLMSG_ERROR) {
		answers->done = true;
		if (msg->nlmsg_len >= NLMSG_LENGTH(sizeof(code)))
			memcpy(&code, NLMSG_DATA(msg), sizeof(code));
		return code < 0 ? err_set(err, code, "netlink request: %s",
		                          strerror(-code))
		                : 0;
	}
	if (!answers->result)
		answers->result = query->each(msg, query->user);
	return 0;
}

static int answers_read(struct nl *nl, struct answers *answers, struct err *err)
{
	char buf[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));

	while (!answers->done) {
		const ssize_t got = answer_read(nl, buf, err);
		const struct nlmsghdr *msg;
		size_t at = 0;

		if (got < 0)
			return (int)got;
		while ((msg = answer_next(buf, (size_t)got, &at))) {
			int r = answers_take(answers, msg, err);

			if (r)
				return r;
		}
	}
	return 0;
}

static int query_run(struct nl *nl, struct answers *answers, uint16_t flags,
                     struct err *err)
{
	int r = query_send(nl, answers->query, flags, err);

	answers->seq = nl->seq;
	if (!r)
		r = answers_read(nl, answers, err);
	return r ? r : answers->result;
}

int nl_dump_query(struct nl *nl, const struct nl_query *query, struct err *err)
{
	for (int i = 0; i < DUMP_RESTARTS; i++) {
		struct answers answers = {.query = query};
		int r = query_run(nl, &answers, NLM_F_DUMP, err);

		if (r || !answers.interrupted)
			return r;
		if (query->restart)
			query->restart(query->user);
	}
	return err_set(err, -EINTR, "netlink dump: interrupted %d times",
	               DUMP_RESTARTS);
}

int nl_get_query(struct nl *nl, const struct nl_query *query, struct err *err)
{
	struct answers answers = {.query = query};

	return query_run(nl, &answers, NLM_F_ACK, err);
}

int nl_join(struct nl *nl, unsigned group, struct err *err)
{
	const struct sockaddr_nl self = {.nl_family = AF_NETLINK};

	/* One without an address of its own hears nothing. */
	if (bind(nl->fd, (const struct sockaddr *)&self, sizeof(self)) < 0 ||
	    setsockopt(nl->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
	               sizeof(group)) < 0)
		return err_set(err, -errno, "netlink group %u: %s", group,
		               strerror(errno));
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int nl_hear(struct nl *nl, int timeout_ms,
            int (*each)(const struct nlmsghdr *msg, void *user), void *user,
            struct err *err)
{
	const int64_t deadline = now_ms() + timeout_ms;
	char buf[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));

	for (;;) {
		struct pollfd p = {.fd = nl->fd, .events = POLLIN};
		const int64_t left = deadline - now_ms();
		const int ready = poll(&p, 1, left > 0 ? (int)left : 0);
		const struct nlmsghdr *msg;
		size_t at = 0;
		ssize_t got;

		if (!ready)
			return err_set(err, -ETIMEDOUT,
			               "netlink: nothing "
			               "heard");
		if (ready < 0 && errno == EINTR)
			continue;
		got = answer_read(nl, buf, err);
		if (got < 0)
			return (int)got;
		while ((msg = answer_next(buf, (size_t)got, &at))) {
			const int r = each(msg, user);

			if (r)
				return r;
		}
	}
}

static const struct rtattr *attr_find(const struct rtattr *attr, int left,
                                      uint16_t type)
{
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left))
		if ((attr->rta_type & NLA_TYPE_MASK) == type)
			return attr;
	return NULL;
}

const struct rtattr *nl_find(const struct nlmsghdr *msg, size_t body_len,
                             uint16_t type)
{
	const size_t skip = NLMSG_SPACE(body_len);

	return attr_find((const void *)((const char *)msg + skip),
	                 (int)msg->nlmsg_len - (int)skip, type);
}

const struct rtattr *nl_find_in(const struct rtattr *nest, uint16_t type)
{
	if (!nest)
		return NULL;
	return attr_find(RTA_DATA(nest), (int)RTA_PAYLOAD(nest), type);
}

uint32_t nl_u32(const struct rtattr *attr, uint32_t otherwise)
{
	uint32_t value = otherwise;

	if (attr && RTA_PAYLOAD(attr) >= sizeof(value))
		memcpy(&value, RTA_DATA(attr), sizeof(value));
	return value;
}

bool nl_text(const struct rtattr *attr, char *buf, size_t size)
{
	const size_t len =
		attr ? strnlen(RTA_DATA(attr), RTA_PAYLOAD(attr)) : size;

	if (len >= size)
		return false;
	memcpy(buf, RTA_DATA(attr), len);
	buf[len] = '\0';
	return true;
}
