// SPDX-License-Identifier: Apache-2.0
/* undo_test.c - changes are written down, once, and put back. */
#include "daemon/undo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/util.h"
#include "test/test.h"

static void reserved_ports_are_added_and_removed(void **state)
{
	static const struct {
		const char *name, *before, *after, *back;
		uint16_t first, last;
	} cases[] = {
		{"none before",     "",          "8192-29999",       "",          8192,  29999},
		{"others before",   "80,443",    "80,443,8192-8193", "80,443",    8192,
	         8193									 },
		{"touching",        "8190-8191", "8190-8193",        "8190-8191", 8192,  8193 },
		{"overlapping",     "8000-8200", "8000-8300",        "8000-8200", 8192,
	         8300									 },
		{"held already",    "8000-9000", "8000-9000",        "8000-9000", 8192,
	         8300									 },
		{"top of space",    "65535",     "65534-65535",      "65535",     65534, 65534},
		{"the whole space", "1",         "0-65535",          "1",         0,     65535},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char buf[256], back[256];

		assert_int_equal(port_list_add(cases[i].before, cases[i].first,
		                               cases[i].last, buf, sizeof(buf)),
		                 0);
		if (strcmp(buf, cases[i].after) != 0)
			fail_msg("%s: added is '%s'", cases[i].name, buf);
		assert_int_equal(port_list_remove(buf, cases[i].before,
		                                  cases[i].first, cases[i].last,
		                                  back, sizeof(back)),
		                 0);
		if (strcmp(back, cases[i].back) != 0)
			fail_msg("%s: back is '%s'", cases[i].name, back);
	}
}

static void what_others_reserved_meanwhile_stays(void **state)
{
	char buf[64];

	(void)state;
	assert_int_equal(port_list_remove("80,8192-8200,9999", "80", 8192, 8200,
	                                  buf, sizeof(buf)),
	                 0);
	assert_string_equal(buf, "80,9999");
}

static void what_is_no_list_of_ports_is_refused(void **state)
{
	static const char *const bad[] = {"x",     "1-",  "-1",   "5-3",
	                                  "65536", "1 2", "1,,2", "1;2",
	                                  "1-2-3", "0x10"};
	char buf[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (port_list_add(bad[i], 1, 1, buf, sizeof(buf)) != -EINVAL)
			fail_msg("'%s' was read", bad[i]);
	assert_int_equal(port_list_add("1,3,5,7,9", 11, 11, buf, 5), -ENOSPC);
}

static char dir[] = "/tmp/undo_testXXXXXX";

static int setup(void **state)
{
	(void)state;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/undo", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/undo.bad", dir);
	unlink(path);
	return rmdir(dir);
}

static void a_file_that_is_no_list_is_moved_aside(void **state)
{
	static const char *const bad[] = {"", "{", "{}", "[1,2", "\"undo\""};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = {};
		struct undo undo;
		char path[64];
		FILE *file;

		snprintf(path, sizeof(path), "%s/undo", dir);
		file = fopen(path, "w");
		assert_non_null(file);
		fputs(bad[i], file);
		fclose(file);
		assert_int_equal(undo_open(&undo, dir, &err), 0);
		assert_non_null(strstr(err.text, "undo.bad"));
		assert_int_equal(json_array_size(undo.changes), 0);
		assert_int_equal(access(path, F_OK), -1);
		undo_close(&undo);
	}
}

static void changes_that_make_no_sense_stay_written_down(void **state)
{
	struct err err = {};
	struct undo undo;
	char path[64];

	(void)state;
	assert_int_equal(undo_open(&undo, dir, &err), 0);
	assert_string_equal(err.text, "");
	json_array_append_new(undo.changes, json_pack("{s:s,s:s}", "kind",
	                                              "magic", "name", "hat"));
	json_array_append_new(undo.changes, json_integer(5));
	json_array_append_new(undo.changes,
	                      json_pack("{s:s,s:s,s:s,s:s}", "kind", "sysctl",
	                                "name", "net/../../etc/passwd", "was",
	                                "", "set", ""));
	assert_int_equal(undo_all(&undo, NULL, &err), -EINVAL);
	assert_int_equal(json_array_size(undo.changes), 3);
	undo_close(&undo);
	assert_int_equal(undo_open(&undo, dir, &err), 0);
	assert_int_equal(json_array_size(undo.changes), 3);
	undo_close(&undo);
	snprintf(path, sizeof(path), "%s/undo", dir);
	assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reserved_ports_are_added_and_removed),
		cmocka_unit_test(what_others_reserved_meanwhile_stays),
		cmocka_unit_test(what_is_no_list_of_ports_is_refused),
		T(a_file_that_is_no_list_is_moved_aside),
		T(changes_that_make_no_sense_stay_written_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
