// SPDX-License-Identifier: Apache-2.0
/* held_test.c - endpoints that are not judged by the policies that select
 * them: refused by the compiler or the kernel, or their labels are unknown. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/dp_impl.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "test/lib/passes.h"
#include "test/lib/world.h"
#include "test/test.h"

static size_t problems(struct fixture *f)
{
	json_t *list = reconcile_problems(f->rec);
	const size_t n = json_array_size(list);

	json_decref(list);
	return n;
}

/* A policy of 300 blocks and 300 ranges of ports, for app=db. */
static void put_huge(struct fixture *f, const char *dir, const char *peers)
{
	json_t *ports = json_array(), *blocks = json_array(), *doc;

	for (int i = 0; i < 300; i++) {
		json_array_append_new(
			blocks, json_pack("{s:{s:o}}", "ipBlock", "cidr",
		                          json_sprintf("172.16.%d.%d/32",
		                                       i / 200, i % 200)));
		json_array_append_new(ports, json_pack("{s:i,s:i}", "port",
		                                       1 + i * 100, "endPort",
		                                       99 + i * 100));
	}
	doc = doc_text("{'apiVersion':'networking.k8s.io/v1','kind':"
	               "'NetworkPolicy','metadata':{'namespace':'shop','name':"
	               "'huge'},'spec':{'podSelector':{'matchLabels':{'app':"
	               "'db'}},'policyTypes':['%s'],'%s':[{}]}}",
	               *dir == 'i' ? "Ingress" : "Egress", dir);
	json_object_update_new(
		json_array_get(
			json_object_get(json_object_get(doc, "spec"), dir), 0),
		json_pack("{s:o,s:o}", peers, blocks, "ports", ports));
	log_open(false, -1); /* it will complain */
	put(f, "huge", doc);
	pass(f);
	log_open(false, LOG_LEVEL_ERR);
}

/* All slots are in use; undone by slots_give(). */
static void slots_take(struct fixture *f)
{
	for (uint32_t i = SLOT_FIRST; i < SLOT_MAX; i++)
		if (f->dp->slot[i].state != SLOT_STATE_LIVE)
			f->dp->slot[i].state += 100;
}

static void slots_give(struct fixture *f)
{
	for (uint32_t i = SLOT_FIRST; i < SLOT_MAX; i++)
		if (f->dp->slot[i].state >= 100)
			f->dp->slot[i].state -= 100;
}

/* ---- tests -------------------------------------------------------------- */

static void a_pod_keeps_its_policy_until_its_interface_goes(void **state)
{
	struct fixture *f = *state;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	store_remove(&f->store, "Pod/shop/db");
	store_remove(&f->store, "Pod/shop/web");
	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	assert_false(allows(f, 2, "10.1.0.1", 80));
	down(f);
	up(f);
	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	assert_false(allows(f, 2, "10.1.0.1", 80));
}

/* Its manifest goes, and a policy comes, while no daemon runs. */
static void a_pod_is_known_over_a_restart_without_its_manifest(void **state)
{
	struct fixture *f = *state;

	pass(f);
	put_pod(f, "db", "other"); /* the last labels count */
	pass(f);
	down(f);
	store_remove(&f->store, "Pod/shop/db");
	put_policy(f, "other", "other", FROM_WEB);
	up(f);
	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	assert_false(allows(f, 2, "10.1.0.1", 80));
	assert_int_equal(problems(f), 0);
}

static void damage(struct fixture *f, const char *name, const char *text)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/pods/%s", f->dir, name);
	assert_int_equal(unlink(path), 0);
	file = text ? fopen(path, "w") : NULL;
	if (!file)
		return;
	fputs(text, file);
	fclose(file);
}

/* Neither manifest nor copy: what it has stays, and no more than that. */
static void a_pod_that_nobody_knows_is_closed_by_its_namespace(void **state)
{
	static const char *const text[] = {
		NULL, "", "{}", "{\"endpoint\":3,\"serial\":1,\"pod\":{}}"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(text); i++) {
		put_pod(f, "web", "web");
		put_policy(f, "db", "db", FROM_WEB);
		store_remove(&f->store, "NetworkPolicy/shop/all");
		pass(f);
		down(f);
		store_remove(&f->store, "Pod/shop/db");
		store_remove(&f->store, "Pod/shop/web");
		damage(f, "1.json", text[i]);
		damage(f, "2.json", text[i]);
		log_open(false, -1);
		up(f);
		pass(f);
		assert_false(allows(f, 2, "10.1.0.1", 80));
		assert_true(allows(f, 1, "10.1.0.2", 80));
		assert_int_equal(problems(f), 2);
		put(f, "all",
		    doc_text("{'apiVersion':'networking.k8s.io/v1','kind':"
		             "'NetworkPolicy','metadata':{'namespace':'shop',"
		             "'name':'all'},'spec':{'podSelector':{}}}"));
		pass(f);
		assert_false(allows(f, 1, "10.1.0.2", 80));
		assert_false(isolates(f, 1, DIR_EGRESS));
		add(f, 3, "nobody");
		pass(f);
		assert_false(allows(f, 3, "10.1.0.1", 80));
		assert_true(isolates(f, 3, DIR_EGRESS));
		f->endpoints.ep[3].state = ENDPOINT_FREE;
		log_open(false, LOG_LEVEL_ERR);
		put_pod(f, "db", "db");
		put_pod(f, "web", "web");
		pass(f);
		assert_int_equal(problems(f), 0);
		assert_int_equal(differences(f), 0);
	}
}

static void a_policy_that_does_not_fit_is_its_pods_affair(void **state)
{
	struct fixture *f = *state;
	struct ep *late;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	put_pod(f, "late", "db");
	late = add(f, 3, "late");
	put_huge(f, "ingress", "from");
	assert_true(allows(f, 2, "10.1.0.1", 5432)); /* the last good one */
	assert_false(allows(f, 3, "10.1.0.1", 5432));
	assert_int_equal(endpoint_in_kernel(f, 3).closed, 0);
	assert_int_equal(problems(f), 2);

	late->state = ENDPOINT_FREE;
	store_remove(&f->store, "NetworkPolicy/shop/huge");
	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	assert_int_equal(differences(f), 0);
	assert_int_equal(problems(f), 0);
}

/* Open is no last good policy. */
static void a_first_policy_that_does_not_fit_closes_its_direction(void **state)
{
	struct fixture *f = *state;

	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	put_huge(f, "ingress", "from");
	assert_false(allows(f, 2, "10.1.0.1", 5432));
	assert_false(isolates(f, 2, DIR_EGRESS));
	pass(f);
	assert_int_equal(planned(f), 0);
	store_remove(&f->store, "NetworkPolicy/shop/huge");
	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
}

static void the_last_good_policy_of_one_direction_is_none_of_the_other(
	void **state)
{
	struct fixture *f = *state;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	put_huge(f, "egress", "to");
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	assert_false(allows(f, 2, "10.1.0.1", 80));
	assert_true(isolates(f, 2, DIR_EGRESS));
}

static void a_first_policy_that_the_kernel_refuses_opens_nothing(void **state)
{
	struct fixture *f = *state;

	pass(f);
	put_policy(f, "db", "db", FROM_WEB);
	slots_take(f);
	log_open(false, -1);
	pass(f);
	log_open(false, LOG_LEVEL_ERR);
	slots_give(f);
	assert_false(allows(f, 2, "10.1.0.1", 80));
	assert_int_equal(problems(f), 1);
}

/* By itself, without a change of anything, and less and less often. */
static void what_the_kernel_refused_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct loop_timer *retry = &f->rec->retry;
	uint64_t delay;

	pass(f);
	assert_false(retry->armed);
	put_policy(f, "db", "db", FROM_WEB);
	slots_take(f);
	log_open(false, -1);
	pass(f);
	assert_true(retry->armed);
	delay = f->rec->retry_ns;
	retry->due(retry);
	reconcile_settle(f->rec);
	log_open(false, LOG_LEVEL_ERR);
	assert_true(retry->armed);
	assert_true(f->rec->retry_ns > delay);
	assert_false(allows(f, 2, "10.1.0.1", 5432));

	slots_give(f);
	retry->due(retry);
	reconcile_settle(f->rec);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	assert_false(allows(f, 2, "10.1.0.1", 80));
	assert_int_equal(problems(f), 0);
	assert_false(retry->armed);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, passes_setup, passes_teardown)
	const struct CMUnitTest tests[] = {
		T(a_pod_keeps_its_policy_until_its_interface_goes),
		T(a_pod_is_known_over_a_restart_without_its_manifest),
		T(a_pod_that_nobody_knows_is_closed_by_its_namespace),
		T(a_policy_that_does_not_fit_is_its_pods_affair),
		T(a_first_policy_that_does_not_fit_closes_its_direction),
		T(the_last_good_policy_of_one_direction_is_none_of_the_other),
		T(a_first_policy_that_the_kernel_refuses_opens_nothing),
		T(what_the_kernel_refused_is_tried_again),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
