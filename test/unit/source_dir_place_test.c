// SPDX-License-Identifier: Apache-2.0
/* source_dir_place_test.c - the directory itself is removed, made again,
 * swapped. */
#include "test/unit/source_dir_fixture.h"

#define BELOW                                                          \
	"/m" /* the source; beside it the state, and other directories \
	      */

static int setup_below(void **state)
{
	struct fixture *f;

	if (setup(state))
		return -1;
	f = *state;
	strcat(f->dir, BELOW);
	return 0;
}

static int teardown_below(void **state)
{
	struct fixture *f = *state;

	f->dir[strlen(f->dir) - strlen(BELOW)] = '\0';
	return teardown(state);
}

/* The path of a neighbour of the source. */
static const char *beside(const struct fixture *f, const char *name,
                          char buf[64])
{
	snprintf(buf, 64, "%.*s/%s", (int)(strlen(f->dir) - strlen(BELOW)),
	         f->dir, name);
	return buf;
}

static void write_beside(const struct fixture *f, const char *name,
                         const char *text)
{
	struct fixture top = *f;

	top.dir[strlen(top.dir) - strlen(BELOW)] = '\0';
	write_file(&top, name, text);
}

static void make_beside(const struct fixture *f, const char *name)
{
	char path[64];

	assert_int_equal(mkdir(beside(f, name, path), 0700), 0);
}

/* The link @name is made to lead to @to, in one step. */
static void link_beside(const struct fixture *f, const char *name,
                        const char *to)
{
	char made[64], path[64];

	assert_int_equal(symlink(to, beside(f, "made", made)), 0);
	assert_int_equal(rename(made, beside(f, name, path)), 0);
}

static void remove_beside(const struct fixture *f, const char *name)
{
	char path[64];

	remove_tree(beside(f, name, path));
}

static void start_with_two(struct fixture *f)
{
	write_file(f, "a.yaml", POD("web", "one"));
	write_file(f, "b.yaml", POD("db", "x"));
	start(f);
	gap_watch(f);
}

static void a_directory_made_anew_is_read(void **state)
{
	struct fixture *f = *state;

	make_beside(f, "m");
	start_with_two(f);
	for (int i = 0; i < 3; i++) {
		const char *want = i % 2 ? "odd" : "even";

		remove_tree(f->dir);
		if (i) /* unseen between, or seen */
			REACH(f, id_is_refused, "Source/dir");
		assert_string_equal(label(f),
		                    i ? (i % 2 ? "even" : "odd") : "one");
		make_beside(f, "m");
		write_file(f, "b.yaml", POD("db", "x"));
		write_file(f, "a.yaml",
		           i % 2 ? POD("web", "odd") : POD("web", "even"));
		REACH(f, label_is, want);
		REACH(f, id_is_gone, "Source/dir");
	}
	remove_file(f, "a.yaml");
	assert_false(f->gap);
	REACH(f, label_is, "none");
	assert_non_null(store_pod(&f->store, "shop", "db"));
}

static void what_a_new_directory_lacks_goes_when_it_is_quiet(void **state)
{
	struct fixture *f = *state;
	char name[16];

	make_beside(f, "m");
	start_with_two(f);
	remove_tree(f->dir);
	make_beside(f, "m");
	/* As slowly as over a network. */
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "c%d.yaml", i);
		write_file(f, name, POD("c", "x"));
		pass(f, 400);
		assert_true(id_is_refused((f->want = "Source/dir", f)));
	}
	write_file(f, "a.yaml", POD("web", "two"));
	REACH(f, label_is, "two");
	assert_non_null(store_pod(&f->store, "shop", "db"));
	REACH(f, id_is_gone, "Pod/shop/db");
	REACH(f, id_is_gone, "Source/dir");
	assert_false(f->gap);
}

static void a_new_directory_that_is_empty_takes_nothing_away(void **state)
{
	struct fixture *f = *state;

	make_beside(f, "m");
	start_with_two(f);
	remove_tree(f->dir);
	make_beside(f, "m");
	pass(f, 2500);
	assert_string_equal(label(f), "one");
	assert_non_null(store_pod(&f->store, "shop", "db"));
	assert_non_null(strstr(store_find(&f->store, "Source/dir")->error,
	                       "is another directory now"));
	write_file(f, "a.yaml", POD("web", "two"));
	REACH(f, id_is_gone, "Pod/shop/db");
	assert_string_equal(label(f), "two");
	assert_false(f->gap);
}

static void a_file_still_being_written_there_is_waited_for(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	make_beside(f, "m");
	start_with_two(f);
	remove_tree(f->dir);
	make_beside(f, "m");
	fd = open(path_of(f, "a.yaml", path), O_CREAT | O_WRONLY, 0600);
	pass(f, 1500);
	assert_non_null(store_pod(&f->store, "shop", "db"));
	assert_string_equal(label(f), "one");
	assert_int_equal(
		write(fd, POD("web", "two"), strlen(POD("web", "two"))),
		strlen(POD("web", "two")));
	close(fd);
	REACH(f, id_is_gone, "Pod/shop/db");
	assert_string_equal(label(f), "two");
	assert_false(f->gap);
}

static void a_link_that_is_swapped_is_followed_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	make_beside(f, "rel1");
	make_beside(f, "rel2");
	link_beside(f, "m", "rel1");
	start_with_two(f);
	write_beside(f, "rel2/a.yaml", POD("web", "two"));
	write_beside(f, "rel2/c.yaml", POD("c", "x"));
	before = loop_now_ns();
	link_beside(f, "m", "rel2");
	REACH(f, label_is, "two");
	assert_non_null(store_pod(&f->store, "shop", "c"));
	REACH(f, id_is_gone, "Pod/shop/db");
	print_message("# in force after %.1f ms\n",
	              (double)(loop_now_ns() - before) / 1e6);
	/* Sooner than a directory that has to be quiet for a second. */
	assert_true(loop_now_ns() - before < 1000000000);
	assert_null(store_find(&f->store, "Source/dir"));
	remove_beside(f, "rel1");
	settle(f);
	pass(f, 100);
	assert_string_equal(label(f), "two");
	assert_false(f->gap);
}

static void an_old_release_may_go_before_the_swap_is_seen(void **state)
{
	struct fixture *f = *state;
	char rel[8] = "rel0", name[16];

	make_beside(f, "rel0");
	link_beside(f, "m", "rel0");
	start_with_two(f);
	for (int i = 1; i < 6; i++) {
		char old[8];

		memcpy(old, rel, sizeof(old));
		snprintf(rel, sizeof(rel), "rel%d", i);
		make_beside(f, rel);
		snprintf(name, sizeof(name), "%s/a.yaml", rel);
		write_beside(f, name,
		             i % 2 ? POD("web", "odd") : POD("web", "even"));
		link_beside(f, "m", rel);
		remove_beside(f, old);
		REACH(f, label_is, i % 2 ? "odd" : "even");
	}
	settle(f);
	assert_false(f->gap);
}

/* No watch tells of a link further up. */
static void a_swap_further_up_is_seen_too(void **state)
{
	struct fixture *f = *state;

	make_beside(f, "rel1");
	make_beside(f, "rel1/m");
	make_beside(f, "rel2");
	make_beside(f, "rel2/m");
	link_beside(f, "s", "rel1");
	write_beside(f, "rel1/m/a.yaml", POD("web", "one"));
	write_beside(f, "rel2/m/a.yaml", POD("web", "two"));
	memcpy(f->dir + strlen(f->dir) - strlen(BELOW), "/s/m", 5);
	start(f);
	f->dir[strlen(f->dir) - strlen("/s")] = '\0';
	gap_watch(f);
	link_beside(f, "s", "rel2");
	REACH(f, label_is, "two");
	/* And back, while what it led to is emptied at once. */
	write_beside(f, "rel1/m/a.yaml", POD("web", "again"));
	link_beside(f, "s", "rel1");
	remove_beside(f, "rel2/m/a.yaml");
	REACH(f, label_is, "again");
	write_beside(f, "rel1/m/a.yaml", POD("web", "three"));
	REACH(f, label_is, "three");
	assert_false(f->gap);
}

static void moved_away_and_back_it_is_followed_on(void **state)
{
	struct fixture *f = *state;
	char away[64];

	make_beside(f, "m");
	start_with_two(f);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rename(f->dir, beside(f, "away", away)), 0);
		if (i)
			REACH(f, id_is_refused, "Source/dir");
		assert_int_equal(rename(away, f->dir), 0);
		write_file(f, "a.yaml",
		           i ? POD("web", "three") : POD("web", "two"));
		REACH(f, label_is, i ? "three" : "two");
		REACH(f, id_is_gone, "Source/dir");
	}
	assert_non_null(store_pod(&f->store, "shop", "db"));
	assert_false(f->gap);
}

static void a_trailing_slash_and_a_neighbour_do_not_matter(void **state)
{
	struct fixture *f = *state;

	make_beside(f, "m");
	strcat(f->dir, "/");
	start(f);
	f->dir[strlen(f->dir) - 1] = '\0';
	write_file(f, "a.yaml", POD("web", "one"));
	REACH(f, label_is, "one");
	gap_watch(f);
	make_beside(f, "n");
	write_beside(f, "a.yaml", POD("web", "wrong"));
	write_beside(f, "n/a.yaml", POD("web", "wrong"));
	settle(f);
	assert_string_equal(label(f), "one");
	remove_tree(f->dir);
	REACH(f, id_is_refused, "Source/dir");
	assert_false(f->gap);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_below, teardown_below)
	const struct CMUnitTest tests[] = {
		T(a_directory_made_anew_is_read),
		T(what_a_new_directory_lacks_goes_when_it_is_quiet),
		T(a_new_directory_that_is_empty_takes_nothing_away),
		T(a_file_still_being_written_there_is_waited_for),
		T(a_link_that_is_swapped_is_followed_at_once),
		T(an_old_release_may_go_before_the_swap_is_seen),
		T(a_swap_further_up_is_seen_too),
		T(moved_away_and_back_it_is_followed_on),
		T(a_trailing_slash_and_a_neighbour_do_not_matter),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
