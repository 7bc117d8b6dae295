// SPDX-License-Identifier: Apache-2.0
#include "daemon/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/yaml.h"
#include "lib/util.h"
#include "test/test.h"

#define POD(name, label)                                                      \
	"{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: " name \
	", labels: {app: " label "}}}"
#define POLICY(spec)                                                         \
	"{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: " \
	"{namespace: shop, name: p}, spec: " spec "}"

struct fixture {
	struct store store;
	int changes;
};

static void changed(void *user)
{
	((struct fixture *)user)->changes++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->store.on_change = changed;
	f->store.user = f;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_clear(&f->store);
	free(f);
	return 0;
}

static json_t *manifest(const char *yaml)
{
	_cleanup_(json_decrefp) json_t *docs = NULL;
	struct err err = {};

	if (yaml_load(yaml, strlen(yaml), &docs, &err))
		fail_msg("%s: %s", yaml, err.text);
	return json_incref(json_array_get(docs, 0));
}

static int put(struct fixture *f, const char *yaml, const char *origin,
               struct err *err)
{
	_cleanup_(json_decrefp) json_t *doc = manifest(yaml);

	memset(err, 0, sizeof(*err));
	return store_put(&f->store, doc, origin, err);
}

static const char *label_of(const struct fixture *f)
{
	const struct pod *pod = store_pod(&f->store, "shop", "web");

	return pod && pod->labels.n ? pod->labels.item[0].value : NULL;
}

static void a_new_version_takes_the_place_of_the_old(void **state)
{
	struct fixture *f = *state;
	const struct store_object *object;
	struct err err;

	assert_null(store_pod(&f->store, "shop", "web"));
	assert_int_equal(put(f, POD("web", "one"), "a.yaml", &err), 0);
	assert_string_equal(label_of(f), "one");
	assert_int_equal(put(f, POD("web", "two"), "b.yaml", &err), 0);
	assert_string_equal(label_of(f), "two");
	assert_int_equal(HASH_COUNT(f->store.objects), 1);
	object = store_find(&f->store, "Pod/shop/web");
	assert_string_equal(object->origin, "b.yaml");
	assert_int_equal(object->revision, 2);
	assert_int_equal(f->store.revision, 2);
	assert_int_equal(f->changes, 2);
	store_remove(&f->store, "Pod/shop/web");
	store_remove(&f->store, "Pod/shop/web");
	assert_null(store_pod(&f->store, "shop", "web"));
	assert_int_equal(f->changes, 3);
	assert_int_equal(f->store.refused, 0);
}

static void a_bad_update_keeps_the_last_good_version(void **state)
{
	struct fixture *f = *state;
	const struct store_object *object;
	struct err err;

	assert_int_equal(put(f, POD("web", "one"), "a.yaml", &err), 0);
	assert_int_equal(put(f, POD("web", "[two]"), "b.yaml", &err), -EINVAL);
	assert_non_null(strstr(err.text, "Pod shop/web"));
	assert_non_null(strstr(err.text, "; the last good version stays in "
	                                 "force"));
	assert_null(strstr(err.text, "it is refused"));
	assert_string_equal(label_of(f), "one");
	object = store_find(&f->store, "Pod/shop/web");
	assert_string_equal(object->error, err.text);
	assert_string_equal(object->origin, "b.yaml");
	assert_int_equal(f->store.refused, 1);
	assert_int_equal(put(f, POD("web", "[two]"), "b.yaml", &err), -EINVAL);
	assert_int_equal(f->store.refused, 1);
	assert_int_equal(put(f, POD("web", "three"), "b.yaml", &err), 0);
	assert_int_equal(f->store.refused, 0);
	assert_null(store_find(&f->store, "Pod/shop/web")->error);
	assert_string_equal(label_of(f), "three");
}

static void a_bad_new_object_is_known_by_its_error_alone(void **state)
{
	struct fixture *f = *state;
	const struct store_object *object;
	struct err err;

	assert_int_equal(put(f, POD("web", "[two]"), "a.yaml", &err), -EINVAL);
	assert_null(store_pod(&f->store, "shop", "web"));
	object = store_find(&f->store, "Pod/shop/web");
	assert_int_equal(object->object.kind, OBJECT_NONE);
	assert_non_null(strstr(object->error, "it is refused"));
	assert_int_equal(f->store.refused, 1);
	store_remove(&f->store, "Pod/shop/web");
	assert_int_equal(f->store.refused, 0);
}

/* D6: a new policy isolates, an update keeps what was good. */
static void rules_that_cannot_be_read_isolate_only_when_new(void **state)
{
	struct fixture *f = *state;
	const struct store_object *object;
	const char *const bad =
		POLICY("{podSelector: {}, ingress: [{from: [{sun: 1}]}]}");
	struct err err;

	assert_int_equal(put(f, bad, "a.yaml", &err), 0);
	assert_true(err.text[0]);
	object = store_find(&f->store, "NetworkPolicy/shop/p");
	assert_int_equal(object->object.kind, OBJECT_NETPOL);
	assert_true(object->object.netpol.applies[DIR_INGRESS]);
	assert_true(object->object.netpol.rule[DIR_INGRESS][0].unreadable);
	assert_false(object->whole);
	assert_int_equal(f->store.refused, 1);

	assert_int_equal(put(f, POLICY("{podSelector: {}, ingress: [{}]}"),
	                     "a.yaml", &err),
	                 0);
	assert_true(object->whole);
	assert_int_equal(put(f, bad, "a.yaml", &err), -EINVAL);
	assert_false(object->object.netpol.rule[DIR_INGRESS][0].unreadable);
	assert_non_null(strstr(err.text, "; the last good version stays in "
	                                 "force"));
	assert_null(strstr(err.text, "allows nothing"));
}

static void ids_tell_groups_apart(void **state)
{
	static const struct {
		const char *yaml, *id; /* NULL: refused, and why */
		const char *says;
	} cases[] = {
		{POD("web", "a"), "Pod/shop/web", NULL},
		{"{apiVersion: v1, kind: Pod, metadata: {name: web}}",
	         "Pod/default/web", NULL},
		{"{apiVersion: v1, kind: Namespace, metadata: {name: shop, "
	         "namespace: x}}", "Namespace/shop", NULL},
		{POLICY("{}"), "NetworkPolicy/shop/p", NULL},
		{"{apiVersion: extensions/v1beta1, kind: NetworkPolicy, "
	         "metadata: {namespace: shop, name: p}}", "NetworkPolicy/shop/p", NULL},
		{"{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy, "
	         "metadata: {namespace: shop, name: p}}", "NetworkPolicy.crd.projectcalico.org/shop/p", NULL},
		{"{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}",
	         "Deployment.apps/default/d", NULL},
		{"{kind: Pod, metadata: {name: web}}", NULL,
	         "Pod: 'apiVersion' is missing"},
		{"{apiVersion: v1, metadata: {name: web}}", NULL,
	         "a manifest without 'kind'"},
		{"{apiVersion: v1, kind: 7, metadata: {name: web}}", NULL,
	         "a manifest without 'kind'"},
		{"{apiVersion: v1, kind: Pod}", NULL,
	         "Pod: metadata.name is missing"},
		{"{apiVersion: v1, kind: Pod, metadata: [name]}", NULL,
	         "Pod: metadata.name is missing"},
		{"{apiVersion: v1, kind: Pod, metadata: {name: a/b}}", NULL,
	         "Pod a/b: a '/' in a name"},
		{"[1, 2]", NULL, "a manifest without 'kind'"},
		{"text", NULL, "a manifest without 'kind'"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_decrefp) json_t *doc = manifest(cases[i].yaml);
		char id[STORE_ID_MAX] = "";
		struct err err = {};
		int r = store_id(doc, id, sizeof(id), &err);

		if (cases[i].id ? r || strcmp(id, cases[i].id) != 0
		                : r != -EINVAL ||
		                          strcmp(err.text, cases[i].says) != 0)
			fail_msg("%s: %d '%s' '%s'", cases[i].yaml, r, id,
			         err.text);
	}
}

static void kinds_that_are_none_of_ours_are_passed_over(void **state)
{
	struct fixture *f = *state;
	struct err err;

	assert_int_equal(put(f,
	                     "{apiVersion: apps/v1, kind: Deployment, "
	                     "metadata: {name: d}, spec: {x: [1]}}",
	                     "a.yaml", &err),
	                 0);
	assert_null(f->store.objects);
	assert_int_equal(f->changes, 0);
}

static void what_cannot_be_read_at_all_is_noted(void **state)
{
	struct fixture *f = *state;
	const struct store_object *object;

	assert_int_equal(store_refuse(&f->store, "File/a.yaml", "a.yaml",
	                              "line 3: torn"),
	                 0);
	object = store_find(&f->store, "File/a.yaml");
	assert_string_equal(object->error, "line 3: torn");
	assert_int_equal(object->object.kind, OBJECT_NONE);
	assert_int_equal(f->store.refused, 1);
	store_remove(&f->store, "File/a.yaml");
	assert_int_equal(f->store.refused, 0);
	assert_false(f->store.synced);
	store_synced(&f->store);
	store_synced(&f->store);
	assert_true(f->store.synced);
	assert_int_equal(f->changes, 3);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_new_version_takes_the_place_of_the_old),
		T(a_bad_update_keeps_the_last_good_version),
		T(a_bad_new_object_is_known_by_its_error_alone),
		T(rules_that_cannot_be_read_isolate_only_when_new),
		T(ids_tell_groups_apart),
		T(kinds_that_are_none_of_ours_are_passed_over),
		T(what_cannot_be_read_at_all_is_noted),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
