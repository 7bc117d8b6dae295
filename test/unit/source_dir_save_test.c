// SPDX-License-Identifier: Apache-2.0
/* source_dir_save_test.c - the ways in which programs save a file, and fail
 * to. */
#include "test/unit/source_dir_fixture.h"

#include <linux/capability.h>
#include <sys/syscall.h>

/* Shell redirections, install(1), git, tar, vim without a rename. */
static int create(const struct fixture *f, const char *name)
{
	char path[128];
	int fd =
		open(path_of(f, name, path), O_CREAT | O_EXCL | O_WRONLY, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void finish(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

static void a_file_moved_away_and_made_anew_never_goes(void **state)
{
	struct fixture *f = *state;
	int fd;

	write_file(f, "a.yaml", POD("web", "one"));
	start(f);
	gap_watch(f);
	for (int i = 0; i < 2; i++) {
		rename_file(f, "a.yaml", "a.yaml~");
		if (i) /* the daemon hears of the one before the other */
			settle(f);
		fd = create(f, "a.yaml");
		pass(f, 300);
		assert_false(f->gap);
		finish(fd, i ? POD("web", "three") : POD("web", "two"));
		REACH(f, label_is, i ? "three" : "two");
	}
	pass(f, 200);
	assert_false(f->gap);
}

static void a_file_removed_and_made_anew_never_goes(void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", POD("web", "even"));
	start(f);
	gap_watch(f);
	for (int i = 1; i < 50; i++) {
		int fd;

		remove_file(f, "a.yaml");
		if (i % 3 == 0)
			settle(f);
		fd = create(f, "a.yaml");
		if (i % 3 == 1)
			settle(f);
		finish(fd, i % 2 ? POD("web", "odd") : POD("web", "even"));
		REACH(f, label_is, i % 2 ? "odd" : "even");
	}
	assert_false(f->gap);
}

static void a_removal_is_in_force_within_100_ms(void **state)
{
	struct fixture *f = *state;
	uint64_t worst = 0;
	int late = 0;

	start(f);
	for (int i = 0; i < 10; i++) {
		uint64_t before;

		write_file(f, "a.yaml", POD("web", "one"));
		REACH(f, label_is, "one");
		before = loop_now_ns();
		if (i % 2)
			remove_file(f, "a.yaml");
		else
			rename_file(f, "a.yaml", "a.off");
		REACH(f, label_is, "none");
		before = loop_now_ns() - before;
		late += before >= 100000000;
		if (before > worst)
			worst = before;
	}
	print_message("# worst of 10: %.2f ms\n", (double)worst / 1e6);
	assert_true(late < 5); /* some, where the machine is slow */
}

/* open(O_TMPFILE), then linkat(): no close tells of its name. */
static void a_file_without_a_name_until_it_is_whole_is_read(void **state)
{
	struct fixture *f = *state;
	char path[128], proc[64];
	int fd;

	start(f);
	fd = open(f->dir, O_TMPFILE | O_WRONLY, 0600);
	if (fd < 0)
		skip();
	assert_int_equal(
		write(fd, POD("web", "one"), strlen(POD("web", "one"))),
		strlen(POD("web", "one")));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	assert_int_equal(linkat(AT_FDCWD, proc, AT_FDCWD,
	                        path_of(f, "a.yaml", path), AT_SYMLINK_FOLLOW),
	                 0);
	settle(f);
	assert_string_equal(label(f), "none"); /* it is open */
	close(fd);
	REACH(f, label_is, "one");
}

static void an_empty_file_keeps_what_it_gave(void **state)
{
	static const char *const blank[] = {"", "\n", " \t\r\n\n"};
	static const char *const meant[] = {"# off\n", "---\n", "{}\n",
	                                    "kind: List\nitems: []\n"};
	struct fixture *f = *state;

	start(f);
	for (size_t i = 0; i < ARRAY_SIZE(meant); i++) {
		write_file(f, "a.yaml", POD("web", "one"));
		REACH(f, label_is, "one");
		for (size_t j = 0; j < ARRAY_SIZE(blank); j++) {
			write_file(f, "a.yaml", blank[j]);
			REACH(f, id_is_refused, "File/a.yaml");
			settle(f);
			assert_string_equal(label(f), "one");
		}
		assert_string_equal(
			store_find(&f->store, "File/a.yaml")->error,
			"empty; to take back what it gave, remove it or write "
			"a comment into it; what it gave before stays in "
			"force");
		write_file(f, "a.yaml", meant[i]);
		REACH(f, label_is, "none");
	}
	remove_file(f, "a.yaml");
	REACH(f, id_is_gone, "File/a.yaml");
	/* One that never gave anything is no mistake. */
	write_file(f, "b.yaml", "");
	settle(f);
	assert_int_equal(f->store.refused, 0);
	write_file(f, "c.json", "{\"kind\": \"List\", \"items\": [{}]}");
	write_file(f, "c.json", "");
	settle(f);
}

static bool origin_is(struct fixture *f)
{
	const struct store_object *object =
		store_find(&f->store, "Pod/shop/web");

	return object && !strcmp(object->origin, f->want);
}

/* x gave it first, then y; x is broken when y goes. */
static void an_heir_that_is_broken_answers_for_the_object(void **state)
{
	struct fixture *f = *state;

	/* Without copies, and with them. */
	for (int i = 0; i < 2; i++) {
		char kept[40];

		memcpy(kept, f->state_dir, sizeof(kept));
		if (!i)
			strcpy(f->state_dir, "/nonexistent");
		restart(f);
		memcpy(f->state_dir, kept, sizeof(kept));
		write_file(f, "x.yaml", POD("web", "x") "---\n" POD("db", "x"));
		REACH(f, label_is, "x");
		write_file(f, "y.yaml", POD("web", "why"));
		REACH(f, label_is, "why");
		write_file(f, "x.yaml", "{ broken");
		REACH(f, id_is_refused, "File/x.yaml");
		gap_watch(f);
		remove_file(f, "y.yaml");
		REACH(f, origin_is, "x.yaml");
		assert_string_equal(label(f), i ? "x" : "why");
		assert_int_equal(!!store_find(&f->store, "Pod/shop/web")->error,
		                 !i);
		assert_false(f->gap);
		/* It is repaired, with and without the object. */
		write_file(f, "x.yaml", POD("web", "z"));
		REACH(f, label_is, "z");
		assert_int_equal(f->store.refused, 0);
		write_file(f, "x.yaml", POD("db", "x"));
		REACH(f, label_is, "none");
		remove_file(f, "x.yaml");
		REACH(f, id_is_gone, "Pod/shop/db");
		f->store.on_change = NULL;
	}
}

static void a_broken_heir_takes_the_object_with_it(void **state)
{
	struct fixture *f = *state;

	strcpy(f->state_dir, "/nonexistent");
	write_file(f, "x.yaml", POD("web", "x"));
	start(f);
	write_file(f, "y.yaml", POD("web", "why"));
	REACH(f, label_is, "why");
	write_file(f, "x.yaml", "{ broken");
	REACH(f, id_is_refused, "File/x.yaml");
	remove_file(f, "y.yaml");
	REACH(f, origin_is, "x.yaml");
	remove_file(f, "x.yaml");
	REACH(f, label_is, "none");
	assert_int_equal(f->store.refused, 0);
}

static void what_a_link_leads_to_is_looked_after(void **state)
{
	struct fixture *f = *state;
	char path[128], other[128];

	write_file(f, ".real", POD("web", "one"));
	assert_int_equal(symlink(".real", path_of(f, "a.yaml", path)), 0);
	start(f);
	gap_watch(f);
	assert_string_equal(label(f), "one");
	write_file(f, ".real", POD("web", "two"));
	REACH(f, label_is, "two");
	remove_file(f, ".real");
	REACH(f, id_is_refused, "File/a.yaml");
	assert_string_equal(label(f), "two");
	write_file(f, ".real", POD("web", "three"));
	REACH(f, label_is, "three");
	REACH(f, id_is_gone, "File/a.yaml");
	assert_false(f->gap);
	remove_file(f, "a.yaml");
	REACH(f, label_is, "none");
	/* The same by another name of the file itself. */
	assert_int_equal(
		link(path_of(f, ".real", other), path_of(f, "a.yaml", path)),
		0);
	REACH(f, label_is, "three");
	write_file(f, ".real", POD("web", "four"));
	REACH(f, label_is, "four");
}

/* For the rest of the program; false: it was without them already. */
static bool capabilities_drop(uint32_t mask)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	if (!(data[0].effective & mask))
		return false;
	data[0].effective &= ~mask;
	assert_int_equal(syscall(SYS_capset, &header, data), 0);
	return true;
}

static void a_file_that_may_not_be_read_is_asked_again(void **state)
{
	struct fixture *f = *state;
	char path[128];

	(void)capabilities_drop(1u << CAP_DAC_OVERRIDE |
	                        1u << CAP_DAC_READ_SEARCH);
	write_file(f, "a.yaml", POD("web", "one"));
	start(f);
	source_dir_close(f->source);
	f->source = NULL;
	assert_int_equal(chmod(path_of(f, "a.yaml", path), 0), 0);
	restart(f);
	gap_watch(f);
	assert_string_equal(label(f), "one"); /* the copy */
	assert_string_equal(store_find(&f->store, "File/a.yaml")->error,
	                    "Permission denied; what it gave before stays in "
	                    "force");
	assert_int_equal(chmod(path, 0600), 0);
	REACH(f, id_is_gone, "File/a.yaml");
	assert_string_equal(label(f), "one");
	assert_false(f->gap);
}

/* Another user's file, without CAP_LEASE: nobody says that it is being
 * written, only that it was changed a moment ago. */
static void without_leases_a_young_file_waits(void **state)
{
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct fixture *f = *state;
	char path[128];

	write_file(f, "a.yaml", POD("web", "one"));
	write_file(f, "b.yaml", POD("db", "x"));
	assert_int_equal(
		utimensat(AT_FDCWD, path_of(f, "b.yaml", path), old, 0), 0);
	if (geteuid() || chown(path_of(f, "a.yaml", path), 1, 1) ||
	    chown(path_of(f, "b.yaml", path), 1, 1) ||
	    chmod(path_of(f, "a.yaml", path), 0666) ||
	    !capabilities_drop(1u << CAP_LEASE))
		skip(); /* it takes root to give a file away */
	start(f);
	assert_false(f->store.synced);
	assert_non_null(store_pod(&f->store, "shop", "db"));
	REACH(f, is_synced, "");
	assert_string_equal(label(f), "one");
	write_file(f, "a.yaml", POD("web", "two"));
	REACH(f, label_is, "two");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_file_moved_away_and_made_anew_never_goes),
		T(a_file_removed_and_made_anew_never_goes),
		T(a_removal_is_in_force_within_100_ms),
		T(a_file_without_a_name_until_it_is_whole_is_read),
		T(an_empty_file_keeps_what_it_gave),
		T(an_heir_that_is_broken_answers_for_the_object),
		T(a_broken_heir_takes_the_object_with_it),
		T(what_a_link_leads_to_is_looked_after),
		/* These give up capabilities. */
		T(without_leases_a_young_file_waits),
		T(a_file_that_may_not_be_read_is_asked_again),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
