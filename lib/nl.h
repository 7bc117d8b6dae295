/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nl.h - rtnetlink: build messages, send them in one go, read answers.
 *
 * Ours because the plugin is static and Debian has no static libmnl; the
 * daemon uses the same code.  A batch holds several requests that the kernel
 * executes in order; nl_batch_run() sends it in one system call and reads what
 * went wrong, and the acknowledgement of the last.  See rtnetlink(7),
 * linux/rtnetlink.h.
 */
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define NL_BATCH_BYTES 16384
#define NL_BATCH_MAX   32

struct nl {
	int fd; /* NETLINK_ROUTE, CLOEXEC, extended acknowledgements on */
	uint32_t seq;
};

/* A socket in the caller's network namespace. */
int nl_open(struct nl *nl, struct err *err);
/*
 * A socket in the namespace that @netns_fd names; the caller stays where it is.
 * -ENOTRECOVERABLE: it could not go back, and must exit.
 */
int nl_open_in(int netns_fd, struct nl *nl, struct err *err);
void nl_close(struct nl *nl);

/* The number of the device @name in the socket's namespace; -ENODEV: none. */
int nl_ifindex(const struct nl *nl, const char *name);

struct nl_batch {
	struct nl *nl;
	size_t used; /* bytes of buf */
	size_t last; /* where in buf the request being built begins */
	int n;
	bool full; /* something did not fit: the run sends nothing */
	struct {
		const char *what; /* for the error sentence: "route 10.0.0.5" */
		int ignore;       /* errno that counts as success, or 0 */
	} item[NL_BATCH_MAX];
	char buf[NL_BATCH_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
};

void nl_batch_begin(struct nl_batch *batch, struct nl *nl);
/* What a request begins with; its attributes follow. */
struct nl_request {
	const char *what; /* must live until the run */
	int ignore;       /* as in item */
	uint16_t type, flags;
	const void *body;
	size_t body_len;
};

/*
 * Start a request: nl_put(batch, what, ignore, type, flags, body, body_len).
 * NULL when the batch is full; what follows is then ignored, the run refused.
 */
struct nlmsghdr *nl_put_request(struct nl_batch *batch,
                                const struct nl_request *request);
#define nl_put(batch, ...) \
	nl_put_request(batch, &(const struct nl_request){__VA_ARGS__})

void nl_attr(struct nl_batch *batch, uint16_t type, const void *data,
             size_t len);
void nl_attr_u8(struct nl_batch *batch, uint16_t type, uint8_t value);
void nl_attr_u32(struct nl_batch *batch, uint16_t type, uint32_t value);
void nl_attr_str(struct nl_batch *batch, uint16_t type, const char *text);
/* Bytes that are no attribute: VETH_INFO_PEER begins with a struct. */
void nl_raw(struct nl_batch *batch, const void *data, size_t len);
/* Nested attributes: begin returns an offset for the matching end. */
size_t nl_nest(struct nl_batch *batch, uint16_t type);
void nl_nest_end(struct nl_batch *batch, size_t nest);

/**
 * nl_batch_run - send the batch, wait until all of it is done.
 *
 * Return: 0, or the first error as -errno, @err saying "WHAT: reason" with the
 * kernel's extended message when it gave one.  Later requests of the batch are
 * executed all the same (the kernel does not stop), their errors are dropped.
 * -EMSGSIZE, nothing sent: more than a batch holds.  The batch is empty again.
 */
int nl_batch_run(struct nl_batch *batch, struct err *err);

/* A question, and who hears the answers. */
struct nl_query {
	uint16_t type;
	const void *body;
	size_t body_len;
	/* 0 to go on; anything else ends it and is returned */
	int (*each)(const struct nlmsghdr *msg, void *user);
	void (*restart)(void *user); /* forget what was heard; may be NULL */
	void *user;
};

/**
 * nl_dump - one dump request; each is called for every answer.
 *
 * nl_dump(nl, type, body, body_len, each, restart, user, err).  Restarted when
 * the kernel says that it was interrupted (NLM_F_DUMP_INTR); each must
 * therefore tolerate repeats (restart is called first).  -EINTR when the
 * answer changed under every try.
 */
int nl_dump_query(struct nl *nl, const struct nl_query *query, struct err *err);
#define nl_dump(nl, type, body, len, each, restart, user, err)                 \
	nl_dump_query(nl,                                                      \
	              &(const struct nl_query){type, body, len, each, restart, \
	                                       user},                          \
	              err)

/*
 * nl_get(nl, type, body, body_len, each, user, err) - one request that is
 * answered (RTM_GETLINK, …), without a dump.  -ENODEV, -ENOENT, … as the
 * kernel says.
 */
int nl_get_query(struct nl *nl, const struct nl_query *query, struct err *err);
#define nl_get(nl, type, body, len, each, user, err)                         \
	nl_get_query(                                                        \
		nl,                                                          \
		&(const struct nl_query){type, body, len, each, NULL, user}, \
		err)

/**
 * nl_join - hear of changes: @group is one of enum rtnetlink_groups.
 * nl_hear - give what is heard to @each, until that returns non-zero.
 *
 * A socket that has joined is for hearing only.
 * Return: what @each returned, or -errno with a sentence; -ETIMEDOUT when the
 * time is up, -ENOBUFS when something was missed.
 */
int nl_join(struct nl *nl, unsigned group, struct err *err);
int nl_hear(struct nl *nl, int timeout_ms,
            int (*each)(const struct nlmsghdr *msg, void *user), void *user,
            struct err *err);

/* The attribute @type among those behind a body of @body_len, or NULL. */
const struct rtattr *nl_find(const struct nlmsghdr *msg, size_t body_len,
                             uint16_t type);
/* The same inside @nest; NULL when that is NULL. */
const struct rtattr *nl_find_in(const struct rtattr *nest, uint16_t type);
/* An attribute's value; @otherwise when it is NULL or too short. */
uint32_t nl_u32(const struct rtattr *attr, uint32_t otherwise);
/* Its text; false, @buf untouched, when it is NULL or does not fit. */
bool nl_text(const struct rtattr *attr, char *buf, size_t size);
