// SPDX-License-Identifier: Apache-2.0
#include "daemon/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/endpoint_file.h"
#include "lib/addr.h"
#include "lib/util.h"
#include "test/test.h"

struct fixture {
	char dir[32];
	struct endpoints *eps;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = {};

	strcpy(f->dir, "/tmp/endpoint_test.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->eps = calloc(1, sizeof(*f->eps));
	*state = f;
	return endpoints_open(f->eps, f->dir, &err);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	const char *argv[] = {"rm", "-rf", f->dir, NULL};
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	endpoints_close(f->eps);
	free(f->eps);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	struct err err = {};

	endpoints_close(f->eps);
	memset(f->eps, 0, sizeof(*f->eps));
	if (endpoints_open(f->eps, f->dir, &err))
		fail_msg("%s", err.text);
}

static struct ep *add(struct fixture *f, const char *id)
{
	struct ep *ep = endpoint_new(f->eps);
	struct err err = {};

	assert_non_null(ep);
	ep->state = ENDPOINT_READY;
	strcpy(ep->container_id, id);
	strcpy(ep->ifname, "eth0");
	strcpy(ep->host_ifname, "stl0123456789ab");
	strcpy(ep->netns, "/run/netns/\"quoted\"");
	strcpy(ep->network, "stile");
	strcpy(ep->pod_ns, "shop");
	strcpy(ep->pod_name, "web-1");
	ep->ifindex = 7;
	ep->mtu = 1450;
	assert_int_equal(endpoint_mac_parse("02:00:00:AB:cd:01", ep->mac), 0);
	addr_parse("10.0.0.5", &ep->addr[FAMILY_V4]);
	addr_parse("fd00::5", &ep->addr[FAMILY_V6]);
	ep->own_addr[FAMILY_V6] = true;
	if (endpoint_save(f->eps, ep, &err))
		fail_msg("%s", err.text);
	return ep;
}

static char *path_of(const struct fixture *f, const char *name, char buf[256])
{
	snprintf(buf, 256, "%s/endpoints/%s", f->dir, name);
	return buf;
}

static bool exists(const struct fixture *f, const char *name)
{
	char path[256];

	return !access(path_of(f, name, path), F_OK);
}

static void write_file(const struct fixture *f, const char *name,
                       const char *text, size_t len)
{
	char path[256];
	int fd = open(path_of(f, name, path), O_CREAT | O_WRONLY | O_TRUNC,
	              0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static void endpoints_outlive_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct ep *ep = add(f, "c1"), before = *ep;
	struct stat st;
	char path[256];

	assert_int_equal(stat(path_of(f, "c1:eth0.json", path), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, ENDPOINT_FILE_BYTES);
	snprintf(path, sizeof(path), "%s/endpoints", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);

	reopen(f);
	ep = endpoint_find(f->eps, "c1", "eth0");
	assert_non_null(ep);
	assert_memory_equal(ep, &before, sizeof(before));
	assert_ptr_equal(endpoint_by_ifindex(f->eps, 7), ep);
	assert_ptr_equal(endpoint_by_addr(f->eps, &before.addr[1]), ep);
	assert_null(endpoint_find(f->eps, "c1", "eth1"));
	assert_null(endpoint_find(f->eps, "c", "eth0"));
	assert_true(f->eps->next_serial > ep->serial);
}

static void a_change_is_written_in_place(void **state)
{
	struct fixture *f = *state;
	struct ep *ep = add(f, "c1");
	struct err err = {};

	ep->state = ENDPOINT_CLOSING;
	ep->ifindex = 0;
	memset(&ep->addr[FAMILY_V6], 0, sizeof(struct addr));
	assert_int_equal(endpoint_save(f->eps, ep, &err), 0);
	reopen(f);
	ep = endpoint_find(f->eps, "c1", "eth0");
	assert_int_equal(ep->state, ENDPOINT_CLOSING);
	assert_int_equal(ep->ifindex, 0);
	assert_true(addr_is_zero(&ep->addr[FAMILY_V6]));
	assert_null(endpoint_by_addr(f->eps, &ep->addr[FAMILY_V4]));
}

static void numbers_rest_first_in_first_out(void **state)
{
	struct fixture *f = *state;
	struct ep *first = add(f, "first");
	const uint32_t serial = first->serial;
	const uint16_t number = first->number;

	endpoint_drop(f->eps, first);
	assert_false(exists(f, "first:eth0.json"));
	assert_null(endpoint_find(f->eps, "first", "eth0"));
	for (int i = 0; i < (int)ENDPOINT_MAX - 2; i++)
		assert_int_not_equal(endpoint_new(f->eps)->number, number);
	first = endpoint_new(f->eps);
	assert_int_equal(first->number, number);
	assert_true(first->serial > serial);
	assert_null(endpoint_new(f->eps));
	/* One that never got its name is dropped without a file. */
	endpoint_drop(f->eps, first);
	assert_non_null(endpoint_new(f->eps));
}

static void numbers_of_files_are_not_given_again(void **state)
{
	struct fixture *f = *state;
	struct ep *ep;
	uint16_t number;

	endpoint_drop(f->eps, add(f, "gone"));
	number = add(f, "kept")->number;
	reopen(f);
	while ((ep = endpoint_new(f->eps)))
		assert_int_not_equal(ep->number, number);
	assert_int_equal(f->eps->free_n, 0);
}

static void bad_files_are_moved_aside_and_the_rest_goes_on(void **state)
{
	static const char *const bad[] = {
		"torn:eth0.json",  "text:eth0.json",   "array:eth0.json",
		"other:eth0.json", "number:eth0.json",
	};
	struct fixture *f = *state;
	struct ep *ep = add(f, "good");
	char text[ENDPOINT_FILE_BYTES], path[256];
	struct err err = {};
	struct ep twin = *ep;

	assert_int_equal(endpoint_format(ep, text, &err), 0);
	write_file(f, bad[0], text, 1000);
	write_file(f, bad[1], "hello", 5);
	write_file(f, bad[2], "[]", 2);
	write_file(f, bad[3], text, sizeof(text)); /* speaks for good */
	strcpy(twin.container_id, "number");
	assert_int_equal(endpoint_format(&twin, text, &err), 0);
	write_file(f, bad[4], text, sizeof(text)); /* the number is good's */
	write_file(f, "empty:eth0.json", "", 0);
	write_file(f, "note.txt", "mine", 4);
	assert_int_equal(
		symlink("/etc/passwd", path_of(f, "link:eth0.json", path)), 0);
	assert_int_equal(mkfifo(path_of(f, "fifo:eth0.json", path), 0600), 0);
	reopen(f);

	/* Which of two with one number comes first is the directory's choice */
	assert_true(!!endpoint_find(f->eps, "good", "eth0") ^
	            !!endpoint_find(f->eps, "number", "eth0"));
	for (size_t i = 0; i < ARRAY_SIZE(bad) - 1; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s.bad", bad[i]);
		if (exists(f, bad[i]) || !exists(f, name))
			fail_msg("%s was not moved", bad[i]);
	}
	assert_false(exists(f, "empty:eth0.json"));
	assert_false(exists(f, "empty:eth0.json.bad"));
	assert_true(exists(f, "note.txt"));
	assert_true(exists(f, "link:eth0.json.bad"));
	assert_true(exists(f, "fifo:eth0.json.bad"));
}

static void every_flip_and_truncation_is_found(void **state)
{
	struct fixture *f = *state;
	char text[ENDPOINT_FILE_BYTES + 1], copy[ENDPOINT_FILE_BYTES + 1];
	struct err err = {};
	struct ep ep = *add(f, "c1"), got;
	size_t len;

	assert_int_equal(endpoint_format(&ep, text, &err), 0);
	for (len = ENDPOINT_FILE_BYTES; text[len - 1] != '}'; len--)
		;
	for (size_t i = 0; i < len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(copy, text, sizeof(copy));
			copy[i] ^= (char)(1u << bit);
			memset(&got, 0, sizeof(got));
			/* Two texts of one object: blanks, "A" for "a" in hex
			 * escapes.  Anything else must be found. */
			if (!endpoint_parse(copy, ENDPOINT_FILE_BYTES, &got,
			                    &err) &&
			    memcmp(&got, &ep, sizeof(ep)) != 0)
				fail_msg("byte %zu bit %u", i, bit);
		}
	for (size_t i = 0; i < len; i++)
		assert_int_equal(endpoint_parse(text, i, &got, &err), -EINVAL);
	memset(copy, '{', sizeof(copy));
	assert_int_equal(endpoint_parse(copy, sizeof(copy), &got, &err),
	                 -EINVAL);
}

static void names_that_could_leave_the_directory_are_refused(void **state)
{
	static const struct {
		const char *id, *ifname;
		bool id_ok, ifname_ok;
	} cases[] = {
		{"abc",       "eth0",             true,  true },
		{"0a_.-Z",    "e.th@0%",          true,  true },
		{"",          "",                 false, false},
		{"../x",      "..",               false, false},
		{".",         ".",                false, false},
		{"-a",        "a/b",              false, false},
		{"_a",        "a:b",              false, false},
		{"a/b",       "a b",              false, false},
		{"a:b",       "a\tb",             false, false},
		{"a\n",       "sixteen-bytes-xx", false, false},
		{"a\xc3\xa4", "\xc3\xa4",         false, false},
		{"a b",       "a\x7f",            false, false},
	};
	struct fixture *f = *state;
	struct ep *ep = endpoint_new(f->eps);
	struct err err = {};
	char id[200] = "";

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (endpoint_id_valid(cases[i].id) != cases[i].id_ok)
			fail_msg("container id '%s'", cases[i].id);
		if (endpoint_ifname_valid(cases[i].ifname) !=
		    cases[i].ifname_ok)
			fail_msg("interface '%s'", cases[i].ifname);
	}
	memset(id, 'a', 129);
	assert_true(endpoint_id_valid(id));
	memset(id, 'a', 130);
	assert_false(endpoint_id_valid(id));
	strcpy(ep->container_id, "../evil");
	strcpy(ep->ifname, "eth0");
	assert_int_equal(endpoint_save(f->eps, ep, &err), -EINVAL);
	assert_false(exists(f, "../evil:eth0.json"));
}

static void a_planted_link_is_not_followed(void **state)
{
	struct fixture *f = *state;
	struct ep *ep = endpoint_new(f->eps);
	char path[256], victim[64];
	struct err err = {};

	snprintf(victim, sizeof(victim), "%s/victim", f->dir);
	assert_int_equal(symlink(victim, path_of(f, "c1:eth0.json", path)), 0);
	ep->state = ENDPOINT_READY;
	strcpy(ep->container_id, "c1");
	strcpy(ep->ifname, "eth0");
	assert_int_equal(endpoint_save(f->eps, ep, &err), -ELOOP);
	assert_int_equal(access(victim, F_OK), -1);
}

static void mac_addresses_are_read_strictly(void **state)
{
	static const char *const bad[] = {
		"",
		"02:00:00:00:00",
		"02:00:00:00:00:0g",
		"2:0:0:0:0:1",
		"02-00-00-00-00-01",
		"02:00:00:00:00:01:02",
		"02:00:00:00:00:1 ",
		"+2:00:00:00:00:01",
	};
	uint8_t mac[6];
	char text[ENDPOINT_MAC_TEXT];

	(void)state;
	assert_int_equal(endpoint_mac_parse("0A:fF:00:11:22:33", mac), 0);
	assert_string_equal(endpoint_mac_format(mac, text),
	                    "0a:ff:00:11:22:33");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (endpoint_mac_parse(bad[i], mac) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
}

static void dry_runs_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct err err = {};

	add(f, "c1");
	write_file(f, "bad:eth0.json", "x", 1);
	write_file(f, "empty:eth0.json", "", 0);
	endpoints_close(f->eps);
	memset(f->eps, 0, sizeof(*f->eps));
	f->eps->read_only = true;
	assert_int_equal(endpoints_open(f->eps, f->dir, &err), 0);
	assert_non_null(endpoint_find(f->eps, "c1", "eth0"));
	assert_true(exists(f, "bad:eth0.json"));
	assert_true(exists(f, "empty:eth0.json"));
}

static void a_missing_state_directory_is_said(void **state)
{
	struct endpoints *eps = calloc(1, sizeof(*eps));
	struct err err = {};

	(void)state;
	assert_int_equal(endpoints_open(eps, "/nonexistent", &err), -ENOENT);
	assert_string_equal(err.text, "state directory '/nonexistent': "
	                              "No such file or directory");
	endpoints_close(eps);
	free(eps);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(endpoints_outlive_the_daemon),
		T(a_change_is_written_in_place),
		T(numbers_rest_first_in_first_out),
		T(numbers_of_files_are_not_given_again),
		T(bad_files_are_moved_aside_and_the_rest_goes_on),
		T(every_flip_and_truncation_is_found),
		T(names_that_could_leave_the_directory_are_refused),
		T(a_planted_link_is_not_followed),
		T(mac_addresses_are_read_strictly),
		T(dry_runs_change_nothing),
		T(a_missing_state_directory_is_said),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
