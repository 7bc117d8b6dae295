// SPDX-License-Identifier: Apache-2.0
/* reconcile_test.c - passes over real maps: in, out, restart, damage. */
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "test/lib/passes.h"
#include "test/lib/world.h"
#include "test/test.h"

static void a_pass_brings_the_world_into_the_maps(void **state)
{
	struct fixture *f = *state;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	assert_int_equal(endpoint_in_kernel(f, 2).ifindex, 1002);
	assert_true(identity_in_kernel(f, "10.1.0.1") != 0);
	assert_int_equal(identity_in_kernel(f, "192.0.2.1"),
	                 ID(CLASS_NODE4, ID_SERIAL_HOST));
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	assert_false(allows(f, 2, "10.1.0.1", 5433));
	assert_false(allows(f, 2, "10.1.0.2", 5432));
	assert_true(allows(f, 1, "10.1.0.2", 80));
	assert_int_equal(differences(f), 0);
	assert_int_equal(planned(f), 0);
}

static void an_unchanged_world_is_adopted_without_an_operation(void **state)
{
	struct fixture *f = *state;
	struct epochs before;
	uint32_t web, slot;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	/* A second policy splits identities: slots hold a bridge now. */
	put_policy(f, "db2", "db",
	           "'ingress':[{'from':[{'ipBlock':{'cidr':'10.1.0.0/30'}}]}]");
	pass(f);
	quiet(f);
	web = identity_in_kernel(f, "10.1.0.1");
	slot = endpoint_in_kernel(f, 2).slot;
	before = *dp_epochs(f->dp);
	down(f);
	up(f);
	assert_true(dp_adopted(f->dp));
	pass(f);
	assert_int_equal(identity_in_kernel(f, "10.1.0.1"), web);
	assert_int_equal(endpoint_in_kernel(f, 2).slot, slot);
	quiet(f);
	assert_memory_equal(dp_epochs(f->dp)->endpoint, before.endpoint,
	                    sizeof(before.endpoint));
	assert_int_equal(differences(f), 0);
}

/* What was switched by a daemon that was killed before it raised the epoch, or
 * judged under --policy audit: nobody knows which flows that concerns. */
static void after_a_restart_every_flow_is_judged_anew(void **state)
{
	struct fixture *f = *state;
	struct err err = {};
	uint32_t before;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	quiet(f);
	before = dp_epochs(f->dp)->node;
	pass(f);
	quiet(f);
	assert_int_equal(dp_epochs(f->dp)->node, before);
	down(f);
	f->store.synced = false; /* a source that may never answer */
	up(f);
	assert_int_equal(dp_epochs(f->dp)->node, before + 1);
	assert_int_equal(reconcile_now(f->rec, &err), -EAGAIN);
	quiet(f);
	assert_int_equal(dp_epochs(f->dp)->node, before + 2);
	store_synced(&f->store);
	pass(f);
	quiet(f);
	assert_int_equal(dp_epochs(f->dp)->node, before + 2);
}

/* A map that takes nothing any more ends the pass between its switches and its
 * raises. */
static void after_a_pass_that_failed_every_flow_is_judged_anew(void **state)
{
	struct fixture *f = *state;
	struct err err = {};
	uint32_t before;

	pass(f);
	quiet(f);
	assert_int_equal(bpf_map_freeze(dp_map_fd(f->dp, "addrs")), 0);
	before = dp_epochs(f->dp)->node;
	put_policy(f, "db", "db", FROM_WEB); /* web's identity changes */
	log_open(false, -1);
	assert_true(reconcile_now(f->rec, &err) < 0);
	log_open(false, LOG_LEVEL_ERR);
	assert_true(endpoint_in_kernel(f, 2).slot >= SLOT_FIRST);
	assert_true(dp_epochs(f->dp)->node > before);
}

static void before_the_source_answers_only_closing_is_done(void **state)
{
	struct fixture *f = *state;
	struct err err = {};

	put_policy(f, "db", "db", "'ingress':[]");
	pass(f);
	quiet(f);
	down(f);
	store_clear(&f->store);
	up(f);
	assert_int_equal(reconcile_now(f->rec, &err), -EAGAIN);
	assert_false(allows(f, 2, "10.1.0.1", 5432));
	assert_true(identity_in_kernel(f, "10.1.0.2") != 0);
	assert_null(reconcile_compiled(f->rec));

	f->endpoints.ep[1].state = ENDPOINT_CLOSING;
	assert_int_equal(reconcile_now(f->rec, &err), -EAGAIN);
	assert_int_equal(endpoint_in_kernel(f, 1).closed, 1);
	assert_int_equal(identity_in_kernel(f, "10.1.0.1"), 0);
	assert_true(identity_in_kernel(f, "10.1.0.2") != 0);
}

static void damage_is_seen_and_mended(void **state)
{
	struct fixture *f = *state;
	const struct endpoint none = {};
	struct addr addr;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	assert_int_equal(addr_parse("10.1.0.1", &addr), 0);
	assert_int_equal(dp_addr_remove(f->dp, &addr), 0);
	assert_int_equal(dp_endpoint_put(f->dp, 2, &none), 0);
	assert_true(differences(f) >= 2);
	pass(f); /* nothing has changed, so nothing is looked at */
	assert_true(differences(f) >= 2);
	reconcile_reread(f->rec);
	reconcile_settle(f->rec);
	assert_int_equal(differences(f), 0);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
}

/* The look that is taken once a minute, without waiting for it. */
static void damage_is_noticed_without_being_asked(void **state)
{
	struct fixture *f = *state;
	const struct policy_val deny = {};
	struct loop_timer *look = &f->rec->reread;
	struct policy_key key;
	__u32 slot, id;
	int fd;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	put_policy(f, "db2", "db",
	           "'ingress':[{'from':[{'ipBlock':{'cidr':'10.1.0.0/30'}}]}]");
	pass(f);
	look->due(look);
	assert_false(f->rec->task.scheduled);

	key = reconcile_table(f->rec, 2, &slot)->entry[0].key;
	assert_int_equal(
		bpf_map_lookup_elem(dp_map_fd(f->dp, "policies"), &slot, &id),
		0);
	fd = bpf_map_get_fd_by_id(id);
	assert_int_equal(bpf_map_update_elem(fd, &key, &deny, BPF_ANY), 0);
	close(fd);
	log_open(false, -1); /* it will complain */
	look->due(look);
	log_open(false, LOG_LEVEL_ERR);
	assert_true(f->rec->task.scheduled);
	reconcile_settle(f->rec);
	assert_int_equal(differences(f), 0);
}

static void a_state_file_of_others_costs_numbers_only(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{\"identities\": [[16777232]]}",
		"{\"identities\": [[16777232, \"a\"], [16777232, \"b\"]]}",
		"{\"identities\": [[-1, \"a\"]]}",
		"{\"identities\": [], \"retired\": [\"x\"]}"};
	struct fixture *f = *state;
	char path[64];

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	quiet(f);
	snprintf(path, sizeof(path), "%s/identities.json", f->dir);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		FILE *file;

		down(f);
		file = fopen(path, "w");
		assert_non_null(file);
		fputs(bad[i], file);
		fclose(file);
		up(f);
		pass(f);
		assert_true(allows(f, 2, "10.1.0.1", 5432));
		assert_false(allows(f, 2, "10.1.0.1", 80));
		assert_int_equal(differences(f), 0);
	}
}

static void only_those_whom_a_change_concerns_are_judged_anew(void **state)
{
	struct fixture *f = *state;
	struct epochs before;

	pass(f);
	quiet(f);
	before = *dp_epochs(f->dp);
	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	assert_int_equal(dp_epochs(f->dp)->endpoint[2] - before.endpoint[2], 1);
	quiet(f);
	assert_int_equal(dp_epochs(f->dp)->endpoint[2] - before.endpoint[2], 2);
	assert_int_equal(dp_epochs(f->dp)->node, before.node);

	/* A pod elsewhere that nobody's policy mentions, and one of ours. */
	before = *dp_epochs(f->dp);
	put(f, "far",
	    doc_text("{'apiVersion':'v1','kind':'Pod','metadata':{'namespace':"
	             "'shop','name':'far','labels':{'app':'far'}},'status':"
	             "{'podIPs':[{'ip':'10.2.0.9'}]}}"));
	put_pod(f, "more", "more");
	add(f, 3, "more");
	pass(f);
	quiet(f);
	assert_int_equal(dp_epochs(f->dp)->endpoint[1], before.endpoint[1]);
	assert_int_equal(dp_epochs(f->dp)->endpoint[2], before.endpoint[2]);
	assert_int_equal(dp_epochs(f->dp)->node, before.node);
}

static void a_pod_that_goes_leaves_nothing_in_the_maps(void **state)
{
	struct fixture *f = *state;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	f->endpoints.ep[2].state = ENDPOINT_CLOSING;
	pass(f);
	assert_int_equal(endpoint_in_kernel(f, 2).closed, 1);
	assert_int_equal(identity_in_kernel(f, "10.1.0.2"), 0);
	f->endpoints.ep[2].state = ENDPOINT_FREE;
	pass(f);
	assert_int_equal(endpoint_in_kernel(f, 2).ifindex, 0);
	assert_int_equal(differences(f), 0);

	/* The number's next pod is judged by its own policy from the start. */
	add(f, 2, "web");
	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 80));
}

static void many_changes_do_not_run_out_of_slots_or_numbers(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 100; i++) {
		char spec[200];

		snprintf(
			spec, sizeof(spec),
			"'ingress':[{'from':[{'podSelector':{'matchLabels':"
			"{'app':'web','round%d':'x'}}}],'ports':[{'port':%d}]}]",
			i, 100 + i);
		put_policy(f, "db", "db", spec);
		pass(f);
		assert_false(allows(f, 2, "10.1.0.1", (uint16_t)(100 + i)));
		put_policy(f, "db", "db", FROM_WEB);
		pass(f);
		assert_true(allows(f, 2, "10.1.0.1", 5432));
	}
	quiet(f);
	assert_int_equal(differences(f), 0);
	/* Numbers come back when no slot knows them: none runs away. */
	assert_true((identity_in_kernel(f, "10.1.0.1") & ~ID_CLASS_MASK) < 500);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, passes_setup, passes_teardown)
	const struct CMUnitTest tests[] = {
		T(a_pass_brings_the_world_into_the_maps),
		T(an_unchanged_world_is_adopted_without_an_operation),
		T(after_a_restart_every_flow_is_judged_anew),
		T(after_a_pass_that_failed_every_flow_is_judged_anew),
		T(before_the_source_answers_only_closing_is_done),
		T(damage_is_seen_and_mended),
		T(damage_is_noticed_without_being_asked),
		T(a_state_file_of_others_costs_numbers_only),
		T(only_those_whom_a_change_concerns_are_judged_anew),
		T(a_pod_that_goes_leaves_nothing_in_the_maps),
		T(many_changes_do_not_run_out_of_slots_or_numbers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
