// SPDX-License-Identifier: Apache-2.0
#include "daemon/kube_split.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "test/test.h"

/* All that was handed over, as one text. */
struct taker {
	struct kube_split split;
	char said[2048];
};

static int item_take(struct kube_split *self, const char *text, size_t len,
                     struct err *err)
{
	struct taker *t = container_of(self, struct taker, split);

	(void)err;
	strncat(t->said, text, len);
	strcat(t->said, "|");
	return 0;
}

static int field_take(struct kube_split *self, const char *key,
                      const char *text, size_t len, struct err *err)
{
	struct taker *t = container_of(self, struct taker, split);

	(void)err;
	strcat(t->said, key);
	strcat(t->said, "=");
	strncat(t->said, text, len);
	strcat(t->said, "|");
	return 0;
}

/* @text in two parts, cut at @at; what it said. */
static int push(struct taker *t, enum kube_split_mode mode, const char *text,
                size_t at, struct err *err)
{
	int r;

	*t = (struct taker){
		.split = {
			  .mode = mode, .item = item_take, .field = field_take}
        };
	*err = (struct err){};
	kube_split_reset(&t->split);
	r = kube_split_push(&t->split, text, at, err);
	if (!r)
		r = kube_split_push(&t->split, text + at, strlen(text) - at,
		                    err);
	kube_split_free(&t->split);
	return r;
}

static const char list[] =
	"{\"kind\":\"PodList\", \"metadata\" : {\"resourceVersion\":\"7\"},"
	" \"items\":[ {\"a\":\"}]{\\\"\\\\\"},{\"b\":[1,{\"c\":null}]} ],"
	"\"n\":12 ,\"items2\":[3]}\n";
static const char list_said[] =
	"kind=\"PodList\"|metadata={\"resourceVersion\":\"7\"}|"
	"{\"a\":\"}]{\\\"\\\\\"}|{\"b\":[1,{\"c\":null}]}|n=12|items2=[3]|";

static void a_list_cut_anywhere_gives_the_same(void **state)
{
	struct taker t;
	struct err err;

	(void)state;
	for (size_t at = 0; at < sizeof(list); at++) {
		assert_int_equal(push(&t, KUBE_SPLIT_LIST, list, at, &err), 0);
		assert_string_equal(t.said, list_said);
		assert_true(kube_split_whole(&t.split));
	}
}

static void a_list_that_ends_early_is_never_whole(void **state)
{
	struct taker t;
	struct err err;

	(void)state;
	for (size_t n = 0; n + 2 < sizeof(list) - 1; n++) {
		char part[sizeof(list)] = "";

		memcpy(part, list, n);
		assert_int_equal(push(&t, KUBE_SPLIT_LIST, part, n / 2, &err),
		                 0);
		assert_false(kube_split_whole(&t.split));
	}
}

static void events_cut_anywhere_give_the_same(void **state)
{
	static const char text[] =
		"{\"t\":\"A\\\"\"}\n{\"t\":{}}\r\n\n{\"x\":\"}\"}";
	struct taker t;
	struct err err;

	(void)state;
	for (size_t at = 0; at < sizeof(text); at++) {
		assert_int_equal(push(&t, KUBE_SPLIT_EVENTS, text, at, &err),
		                 0);
		assert_string_equal(
			t.said, "{\"t\":\"A\\\"\"}|{\"t\":{}}|{\"x\":\"}\"}|");
		assert_true(kube_split_whole(&t.split));
	}
}

static void what_is_no_list_is_refused(void **state)
{
	static const char *const bad[] = {
		"<html>",          "[]",
		"{\"items\":[3]}", "{\"items\":[\"x\"]}",
		"{\"a\" \"b\"}",   "{\"a\":1}}",
		"{a:1}",           "null"};
	struct taker t;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(push(&t, KUBE_SPLIT_LIST, bad[i], 0, &err),
		                 -EINVAL);
		assert_true(err.text[0]);
	}
}

static void an_object_without_end_is_refused(void **state)
{
	_cleanup_(free_p) char *text = malloc(KUBE_OBJECT_MAX + 16);
	struct taker t;
	struct err err;

	(void)state;
	memset(text, 'x', KUBE_OBJECT_MAX + 15);
	memcpy(text, "{\"a\":\"", 6);
	text[KUBE_OBJECT_MAX + 15] = '\0';
	assert_int_equal(push(&t, KUBE_SPLIT_EVENTS, text, 100, &err), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_cut_anywhere_gives_the_same),
		cmocka_unit_test(a_list_that_ends_early_is_never_whole),
		cmocka_unit_test(events_cut_anywhere_give_the_same),
		cmocka_unit_test(what_is_no_list_is_refused),
		cmocka_unit_test(an_object_without_end_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
