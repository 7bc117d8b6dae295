// SPDX-License-Identifier: Apache-2.0
/* nl_test.c - batches, dumps and attributes, on the namespace we stand in. */
#include "lib/nl.h"

#include <linux/if.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"
#include "test/test.h"

#define NO_DEVICE 0x7ffffff0

static int setup(void **state)
{
	static struct nl nl;

	*state = &nl;
	return nl_open(&nl, NULL);
}

static int teardown(void **state)
{
	nl_close(*state);
	return 0;
}

static void put_link(struct nl_batch *batch, const char *what, int ignore,
                     int ifindex)
{
	const struct ifinfomsg body = {.ifi_index = ifindex};

	nl_put(batch, what, ignore, RTM_GETLINK, 0, &body, sizeof(body));
}

static void an_empty_batch_is_done(void **state)
{
	struct nl_batch batch;

	nl_batch_begin(&batch, *state);
	assert_int_equal(nl_batch_run(&batch, NULL), 0);
}

static void the_first_failure_of_a_batch_is_told_by_name(void **state)
{
	struct nl_batch batch;
	struct err err = {};

	nl_batch_begin(&batch, *state);
	put_link(&batch, "loopback", 0, 1);
	put_link(&batch, "the missing one", 0, NO_DEVICE);
	put_link(&batch, "another", 0, NO_DEVICE + 1);
	assert_int_equal(nl_batch_run(&batch, &err), -ENODEV);
	assert_int_equal(strncmp(err.text, "the missing one: ", 17), 0);
}

static void an_ignored_failure_is_none_and_the_next_counts(void **state)
{
	struct nl_batch batch;
	struct err err = {};

	nl_batch_begin(&batch, *state);
	put_link(&batch, "may be gone", ENODEV, NO_DEVICE);
	put_link(&batch, "loopback", 0, 1);
	assert_int_equal(nl_batch_run(&batch, &err), 0);
	put_link(&batch, "may be gone", ENODEV, NO_DEVICE);
	put_link(&batch, "must not", EEXIST, NO_DEVICE);
	put_link(&batch, "loopback", 0, 1);
	assert_int_equal(nl_batch_run(&batch, &err), -ENODEV);
	assert_int_equal(strncmp(err.text, "must not: ", 10), 0);
}

static void a_socket_is_clean_after_a_failed_batch(void **state)
{
	struct nl_batch batch;

	for (int i = 0; i < 100; i++) {
		nl_batch_begin(&batch, *state);
		put_link(&batch, "a", 0, NO_DEVICE);
		put_link(&batch, "b", 0, NO_DEVICE);
		assert_int_equal(nl_batch_run(&batch, NULL), -ENODEV);
		put_link(&batch, "c", 0, 1);
		assert_int_equal(nl_batch_run(&batch, NULL), 0);
	}
}

static void a_batch_of_too_many_requests_sends_nothing(void **state)
{
	struct nl_batch batch;
	struct err err = {};

	nl_batch_begin(&batch, *state);
	for (int i = 0; i <= NL_BATCH_MAX; i++)
		put_link(&batch, "one", 0, NO_DEVICE);
	nl_attr_str(&batch, IFLA_IFNAME, "x");
	assert_int_equal(nl_batch_run(&batch, &err), -EMSGSIZE);
	put_link(&batch, "one", 0, 1); /* it is empty again */
	assert_int_equal(nl_batch_run(&batch, &err), 0);
}

static void a_batch_of_too_many_bytes_sends_nothing(void **state)
{
	static const char big[NL_BATCH_BYTES];
	static const size_t sizes[] = {NL_BATCH_BYTES, NL_BATCH_BYTES - 1,
	                               NL_BATCH_BYTES - 32, 65536, 1 << 20};
	struct nl_batch batch;
	size_t nest;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		nl_batch_begin(&batch, *state);
		put_link(&batch, "one", 0, 1);
		nest = nl_nest(&batch, IFLA_LINKINFO);
		nl_attr(&batch, IFLA_IFALIAS, big, sizes[i]);
		nl_nest_end(&batch, nest);
		assert_true(batch.full);
		assert_int_equal(nl_batch_run(&batch, NULL), -EMSGSIZE);
	}
}

static void an_attribute_without_a_request_is_refused(void **state)
{
	struct nl_batch batch;

	nl_batch_begin(&batch, *state);
	nl_attr_u32(&batch, IFLA_MTU, 1);
	assert_int_equal(nl_batch_run(&batch, NULL), -EMSGSIZE);
}

static void what_is_put_is_found(void **state)
{
	const struct ifinfomsg body = {};
	const struct rtattr *nest, *attr;
	struct nlmsghdr *msg;
	struct nl_batch batch;
	char text[8];
	size_t at;

	nl_batch_begin(&batch, *state);
	put_link(&batch, "first", 0, 1);
	msg = nl_put(&batch, "second", 0, RTM_GETLINK, 0, &body, sizeof(body));
	nl_attr_str(&batch, IFLA_IFNAME, "eth0");
	nl_attr_u8(&batch, IFLA_CARRIER, 7);
	at = nl_nest(&batch, IFLA_LINKINFO);
	nl_attr_str(&batch, IFLA_INFO_KIND, "veth");
	nl_attr_u32(&batch, IFLA_INFO_DATA, 0x01020304);
	nl_nest_end(&batch, at);
	nl_attr_u32(&batch, IFLA_MTU, 1500);

	assert_int_equal(msg->nlmsg_len % NLMSG_ALIGNTO, 0);
	assert_int_equal(nl_u32(nl_find(msg, sizeof(body), IFLA_MTU), 0), 1500);
	nest = nl_find(msg, sizeof(body), IFLA_LINKINFO);
	assert_non_null(nest);
	assert_true(nl_text(nl_find_in(nest, IFLA_INFO_KIND), text, 5));
	assert_string_equal(text, "veth");
	assert_int_equal(nl_u32(nl_find_in(nest, IFLA_INFO_DATA), 0),
	                 0x01020304);
	attr = nl_find(msg, sizeof(body), IFLA_CARRIER);
	assert_int_equal(*(const uint8_t *)RTA_DATA(attr), 7);
}

static void what_is_not_there_is_not_found(void **state)
{
	const struct ifinfomsg body = {};
	struct nlmsghdr *msg;
	struct nl_batch batch;
	char text[5] = "keep";

	nl_batch_begin(&batch, *state);
	msg = nl_put(&batch, "x", 0, RTM_GETLINK, 0, &body, sizeof(body));
	assert_null(nl_find(msg, sizeof(body), IFLA_MTU));
	nl_attr_u8(&batch, IFLA_MTU, 1);
	nl_attr_str(&batch, IFLA_IFNAME, "eth00");
	assert_null(nl_find_in(NULL, IFLA_MTU));
	assert_int_equal(nl_u32(NULL, 9), 9);
	assert_int_equal(nl_u32(nl_find(msg, sizeof(body), IFLA_MTU), 9), 9);
	assert_false(nl_text(NULL, text, sizeof(text)));
	assert_false(nl_text(nl_find(msg, sizeof(body), IFLA_IFNAME), text,
	                     sizeof(text)));
	assert_string_equal(text, "keep");
}

/* A length that points beyond the message, or stands still, ends the search. */
static void broken_attributes_end_the_search(void **state)
{
	static const uint16_t lengths[] = {0, 1, 3, 9, 12, 0xffff};
	const struct ifinfomsg body = {};
	struct nlmsghdr *msg;
	struct nl_batch batch;

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct rtattr *attr;

		nl_batch_begin(&batch, *state);
		msg = nl_put(&batch, "x", 0, RTM_GETLINK, 0, &body,
		             sizeof(body));
		nl_attr_u32(&batch, IFLA_MTU, 1);
		attr = (struct rtattr *)(batch.buf + batch.used - 8);
		attr->rta_len = lengths[i];
		assert_null(nl_find(msg, sizeof(body), IFLA_GROUP));
		assert_null(nl_find(msg, sizeof(body) + 64, IFLA_GROUP));
	}
}

struct seen {
	int n, loopback, stop_at;
};

static int see(const struct nlmsghdr *msg, void *user)
{
	const struct ifinfomsg *link = NLMSG_DATA(msg);
	struct seen *seen = user;

	seen->n++;
	seen->loopback += link->ifi_index == 1;
	return seen->n == seen->stop_at ? 42 : 0;
}

static void a_dump_holds_the_loopback_device_once(void **state)
{
	const struct ifinfomsg body = {};
	struct seen seen = {};

	assert_int_equal(nl_dump(*state, RTM_GETLINK, &body, sizeof(body), see,
	                         NULL, &seen, NULL),
	                 0);
	assert_int_equal(seen.loopback, 1);
}

static void a_dump_that_is_stopped_leaves_a_clean_socket(void **state)
{
	const struct rtgenmsg body = {};
	const struct ifinfomsg links = {};

	for (int i = 0; i < 20; i++) {
		struct seen seen = {.stop_at = 1}, all = {};

		assert_int_equal(nl_dump(*state, RTM_GETADDR, &body,
		                         sizeof(body), see, NULL, &seen, NULL),
		                 42);
		assert_int_equal(seen.n, 1);
		assert_int_equal(nl_dump(*state, RTM_GETLINK, &links,
		                         sizeof(links), see, NULL, &all, NULL),
		                 0);
		assert_int_equal(all.loopback, 1);
	}
}

static void one_device_is_had_by_its_number(void **state)
{
	struct ifinfomsg body = {.ifi_index = 1};
	struct seen seen = {};
	struct err err = {};

	assert_int_equal(nl_get(*state, RTM_GETLINK, &body, sizeof(body), see,
	                        &seen, &err),
	                 0);
	assert_int_equal(seen.n, 1);
	body.ifi_index = NO_DEVICE;
	assert_int_equal(nl_get(*state, RTM_GETLINK, &body, sizeof(body), see,
	                        &seen, &err),
	                 -ENODEV);
	assert_int_equal(seen.n, 1);
	assert_true(err.text[0]);
}

static void a_device_is_found_by_its_name(void **state)
{
	assert_int_equal(nl_ifindex(*state, "lo"), 1);
	assert_int_equal(nl_ifindex(*state, "no-such-device"), -ENODEV);
	assert_int_equal(nl_ifindex(*state, "a-name-that-is-too-long"),
	                 -ENODEV);
}

static void a_closed_socket_fails_in_words(void **state)
{
	const struct ifinfomsg body = {};
	struct nl nl = {.fd = -1};
	struct nl_batch batch;
	struct err err = {};

	(void)state;
	nl_close(&nl);
	nl_batch_begin(&batch, &nl);
	put_link(&batch, "x", 0, 1);
	assert_int_equal(nl_batch_run(&batch, &err), -EBADF);
	assert_true(err.text[0]);
	assert_int_equal(nl_dump(&nl, RTM_GETLINK, &body, sizeof(body), see,
	                         NULL, NULL, &err),
	                 -EBADF);
}

/* Needs a namespace of its own: one that a user may make, or root. */
static void a_socket_inside_leaves_the_caller_outside(void **state)
{
	_cleanup_(closep) int home = open("/proc/self/ns/net", O_RDONLY);
	_cleanup_(closep) int away = -1;
	struct stat before, after;
	struct nl inside;

	if (geteuid() || unshare(CLONE_NEWNET) < 0)
		skip();
	away = open("/proc/self/ns/net", O_RDONLY);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	assert_int_equal(stat("/proc/self/ns/net", &before), 0);
	assert_int_equal(nl_open_in(away, &inside, NULL), 0);
	assert_int_equal(stat("/proc/self/ns/net", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(nl_ifindex(&inside, "lo"), 1);
	nl_close(&inside);
	assert_int_not_equal(nl_open_in(STDIN_FILENO, &inside, NULL), 0);
	(void)state;
}

static int hear_up(const struct nlmsghdr *msg, void *user)
{
	const struct ifinfomsg *link = NLMSG_DATA(msg);

	(void)user;
	return msg->nlmsg_type == RTM_NEWLINK && (link->ifi_flags & IFF_UP)
	               ? link->ifi_index
	               : 0;
}

/* Also in a namespace of its own. */
static void a_change_is_heard_by_who_joined(void **state)
{
	_cleanup_(closep) int home = open("/proc/self/ns/net", O_RDONLY);
	const struct ifinfomsg up = {
		.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct nl ear, nl;
	struct nl_batch batch;

	(void)state;
	if (geteuid() || unshare(CLONE_NEWNET) < 0)
		skip();
	assert_int_equal(nl_open(&ear, NULL) | nl_open(&nl, NULL), 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	assert_int_equal(nl_join(&ear, RTNLGRP_LINK, NULL), 0);
	assert_int_equal(nl_hear(&ear, 0, hear_up, NULL, NULL), -ETIMEDOUT);
	nl_batch_begin(&batch, &nl);
	nl_put(&batch, "lo", 0, RTM_NEWLINK, 0, &up, sizeof(up));
	assert_int_equal(nl_batch_run(&batch, NULL), 0);
	assert_int_equal(nl_hear(&ear, 5000, hear_up, NULL, NULL), 1);
	assert_int_equal(nl_hear(&ear, 10, hear_up, NULL, NULL), -ETIMEDOUT);
	nl_close(&ear);
	nl_close(&nl);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_empty_batch_is_done),
		T(the_first_failure_of_a_batch_is_told_by_name),
		T(an_ignored_failure_is_none_and_the_next_counts),
		T(a_socket_is_clean_after_a_failed_batch),
		T(a_batch_of_too_many_requests_sends_nothing),
		T(a_batch_of_too_many_bytes_sends_nothing),
		T(an_attribute_without_a_request_is_refused),
		T(what_is_put_is_found),
		T(what_is_not_there_is_not_found),
		T(broken_attributes_end_the_search),
		T(a_dump_holds_the_loopback_device_once),
		T(a_dump_that_is_stopped_leaves_a_clean_socket),
		T(one_device_is_had_by_its_number),
		T(a_device_is_found_by_its_name),
		T(a_closed_socket_fails_in_words),
		T(a_socket_inside_leaves_the_caller_outside),
		T(a_change_is_heard_by_who_joined),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
