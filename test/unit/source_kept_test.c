// SPDX-License-Identifier: Apache-2.0
/* source_kept_test.c - what a broken manifest gives after a restart. */
#include "test/unit/source_dir_fixture.h"

#define POLICY(name, selector)                                    \
	"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n" \
	"metadata: {namespace: shop, name: " name "}\n"           \
	"spec: {podSelector: " selector ", policyTypes: [Ingress]}\n"

static const char *kept_path(const struct fixture *f, const char *name,
                             char buf[128])
{
	snprintf(buf, 128, "%s/manifests/%s", f->state_dir, name);
	return buf;
}

static bool is_kept(const struct fixture *f, const char *name)
{
	char path[128];

	return !access(kept_path(f, name, path), F_OK);
}

static bool is_in_force(const struct fixture *f, const char *id)
{
	const struct store_object *object = store_find(&f->store, id);

	return object && object->object.kind != OBJECT_NONE;
}

static void a_torn_file_gives_what_it_gave_before_the_restart(void **state)
{
	struct fixture *f = *state;
	const struct store_object *object;

	write_file(f, "a.yaml", POD("web", "one") "---\n" POLICY("deny", "{}"));
	start(f);
	write_file(f, "a.yaml", "kind: [\n");
	REACH(f, id_is_refused, "File/a.yaml");
	for (int i = 0; i < 3; i++) {
		restart(f);
		assert_true(f->store.synced);
		assert_string_equal(label(f), "one");
		assert_true(is_in_force(f, "NetworkPolicy/shop/deny"));
		object = store_find(&f->store, "File/a.yaml");
		assert_non_null(object);
		assert_non_null(strstr(object->error, "; what it gave before "
		                                      "stays in force"));
	}
	write_file(f, "a.yaml", POD("web", "two"));
	REACH(f, label_is, "two");
	assert_false(is_in_force(f, "NetworkPolicy/shop/deny"));
	restart(f);
	assert_string_equal(label(f), "two");
	assert_int_equal(f->store.refused, 0);
}

static void a_file_torn_while_the_daemon_was_away_too(void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", POLICY("deny", "{}"));
	start(f);
	source_dir_close(f->source);
	f->source = NULL;
	write_file(f, "a.yaml", "\"");
	restart(f);
	assert_true(is_in_force(f, "NetworkPolicy/shop/deny"));
}

static void a_refused_object_gives_what_it_gave_before_the_restart(void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", POD("web", "one") "---\n" POLICY("deny", "{}"));
	start(f);
	write_file(f, "a.yaml", POD("web", "two") "---\n" POLICY("deny", "7"));
	REACH(f, label_is, "two");
	restart(f);
	assert_string_equal(label(f), "two"); /* the good one is the new one */
	assert_true(is_in_force(f, "NetworkPolicy/shop/deny"));
	assert_true(id_is_refused((f->want = "NetworkPolicy/shop/deny", f)));
	/* It leaves the file: it was not wanted any more. */
	write_file(f, "a.yaml", POD("web", "three"));
	REACH(f, label_is, "three");
	assert_null(store_find(&f->store, "NetworkPolicy/shop/deny"));
}

static void a_file_changed_while_the_daemon_was_away_counts_as_it_is(
	void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", POD("web", "one") "---\n" POD("db", "x"));
	start(f);
	source_dir_close(f->source);
	f->source = NULL;
	write_file(f, "a.yaml", POD("web", "two"));
	restart(f);
	assert_string_equal(label(f), "two");
	assert_null(store_pod(&f->store, "shop", "db"));
}

static void what_is_gone_is_not_kept(void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", POD("web", "one"));
	write_file(f, "b.yaml", POD("db", "x"));
	start(f);
	assert_true(is_kept(f, "a.yaml") && is_kept(f, "b.yaml"));
	remove_file(f, "a.yaml");
	REACH(f, label_is, "none");
	assert_false(is_kept(f, "a.yaml"));
	source_dir_close(f->source);
	f->source = NULL;
	remove_file(f, "b.yaml");
	restart(f);
	assert_null(store_pod(&f->store, "shop", "db"));
	assert_false(is_kept(f, "b.yaml"));
}

static void a_copy_that_is_torn_is_of_no_use_and_no_harm(void **state)
{
	struct fixture *f = *state;
	char path[128];

	write_file(f, "a.yaml", POD("web", "one"));
	start(f);
	assert_int_equal(truncate(kept_path(f, "a.yaml", path), 30), 0);
	restart(f);
	assert_string_equal(label(f), "one");
	assert_int_equal(truncate(kept_path(f, "a.yaml", path), 30), 0);
	write_file(f, "a.yaml", "kind: [\n");
	restart(f);
	assert_string_equal(label(f), "none");
	assert_non_null(store_find(&f->store, "File/a.yaml")->error);
}

static void a_dry_run_uses_the_copies_and_changes_none(void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", POD("web", "one"));
	start(f);
	write_file(f, "a.yaml", "kind: [\n");
	REACH(f, id_is_refused, "File/a.yaml");
	f->read_only = true;
	write_file(f, "b.yaml", POD("db", "x"));
	restart(f);
	assert_string_equal(label(f), "one");
	assert_false(is_kept(f, "b.yaml"));
	remove_file(f, "a.yaml");
	restart(f);
	assert_true(is_kept(f, "a.yaml"));
}

static void write_on(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Who truncates a file and writes it has it open all the while. */
static void a_file_being_rewritten_gives_what_it_gave_before(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;
	int fd;

	write_file(f, "a.yaml", POD("web", "one") "---\n" POLICY("deny", "{}"));
	start(f);
	fd = open(path_of(f, "a.yaml", path), O_WRONLY | O_TRUNC);
	for (int i = 0; i < 2; i++) {
		if (i)
			write_on(fd, POD("db", "x") "---\n");
		restart(f);
		REACH(f, is_synced, "");
		assert_string_equal(label(f), "one");
		assert_null(store_pod(&f->store, "shop", "db"));
		assert_true(is_in_force(f, "NetworkPolicy/shop/deny"));
		assert_true(id_is_refused((f->want = "File/a.yaml", f)));
		pass(f, 1200); /* it is looked at again, and left alone */
		assert_true(is_in_force(f, "NetworkPolicy/shop/deny"));
		assert_int_equal(stat(kept_path(f, "a.yaml", path), &st), 0);
		assert_true(st.st_size > 0);
	}
	write_on(fd, POD("web", "two"));
	close(fd);
	REACH(f, label_is, "two");
	assert_false(is_in_force(f, "NetworkPolicy/shop/deny"));
	assert_int_equal(f->store.refused, 0);
	restart(f);
	assert_string_equal(label(f), "two");
}

static void what_was_read_while_it_was_written_is_not_kept(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	write_file(f, "a.yaml", POD("web", "one"));
	fd = open(path_of(f, "a.yaml", path), O_WRONLY);
	start(f);
	REACH(f, is_synced, "");
	assert_string_equal(label(f), "one");
	assert_false(is_kept(f, "a.yaml"));
	close(fd);
	settle(f);
	assert_true(is_kept(f, "a.yaml"));
}

static void a_file_emptied_while_the_daemon_was_away_keeps_what_it_gave(
	void **state)
{
	struct fixture *f = *state;

	write_file(f, "a.yaml", POD("web", "one"));
	start(f);
	source_dir_close(f->source);
	f->source = NULL;
	write_file(f, "a.yaml", "");
	for (int i = 0; i < 2; i++) {
		restart(f);
		assert_string_equal(label(f), "one");
		assert_true(id_is_refused((f->want = "File/a.yaml", f)));
	}
	source_dir_close(f->source);
	f->source = NULL;
	write_file(f, "a.yaml", "# off\n");
	restart(f);
	assert_string_equal(label(f), "none");
}

static void a_link_that_leads_to_nothing_gives_what_it_gave(void **state)
{
	struct fixture *f = *state;
	char path[128];

	write_file(f, ".real", POD("web", "one"));
	assert_int_equal(symlink(".real", path_of(f, "a.yaml", path)), 0);
	start(f);
	source_dir_close(f->source);
	f->source = NULL;
	remove_file(f, ".real");
	for (int i = 0; i < 2; i++) {
		restart(f);
		assert_string_equal(label(f), "one");
		assert_true(id_is_refused((f->want = "File/a.yaml", f)));
	}
	write_file(f, ".real", POD("web", "two"));
	REACH(f, label_is, "two");
}

/* As from an archive whose times are all one. */
static void a_change_that_shows_in_neither_size_nor_time_is_kept(void **state)
{
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct fixture *f = *state;
	char path[128];

	write_file(f, "a.yaml", POD("web", "one"));
	assert_int_equal(
		utimensat(AT_FDCWD, path_of(f, "a.yaml", path), times, 0), 0);
	start(f);
	write_file(f, ".new", POD("web", "two"));
	assert_int_equal(
		utimensat(AT_FDCWD, path_of(f, ".new", path), times, 0), 0);
	rename_file(f, ".new", "a.yaml");
	REACH(f, label_is, "two");
	write_file(f, "a.yaml", "kind: [\n");
	REACH(f, id_is_refused, "File/a.yaml");
	restart(f);
	assert_string_equal(label(f), "two");
}

static void without_a_state_directory_manifests_still_count(void **state)
{
	struct fixture *f = *state;

	strcpy(f->state_dir, "/nonexistent");
	write_file(f, "a.yaml", POD("web", "one"));
	start(f);
	assert_string_equal(label(f), "one");
	write_file(f, "a.yaml", POD("web", "two"));
	REACH(f, label_is, "two");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_torn_file_gives_what_it_gave_before_the_restart),
		T(a_file_torn_while_the_daemon_was_away_too),
		T(a_refused_object_gives_what_it_gave_before_the_restart),
		T(a_file_changed_while_the_daemon_was_away_counts_as_it_is),
		T(what_is_gone_is_not_kept),
		T(a_copy_that_is_torn_is_of_no_use_and_no_harm),
		T(a_dry_run_uses_the_copies_and_changes_none),
		T(a_file_being_rewritten_gives_what_it_gave_before),
		T(what_was_read_while_it_was_written_is_not_kept),
		T(a_file_emptied_while_the_daemon_was_away_keeps_what_it_gave),
		T(a_link_that_leads_to_nothing_gives_what_it_gave),
		T(a_change_that_shows_in_neither_size_nor_time_is_kept),
		T(without_a_state_directory_manifests_still_count),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
