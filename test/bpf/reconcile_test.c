// SPDX-License-Identifier: Apache-2.0
/* reconcile_test.c - passes over real maps: in, out, restart, damage. */
#include "daemon/reconcile_impl.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "test/lib/world.h"
#include "test/test.h"

#define BPFFS "/sys/fs/bpf/reconcile_test"

struct fixture {
	char dir[32];
	struct config config;
	struct loop *loop;
	struct loop_timer enough;
	struct dp *dp;
	struct store store;
	struct endpoints endpoints;
	struct node node;
	struct node_addr node_addr;
	struct reconcile *rec;
};

/* ---- a node of our own -------------------------------------------------- */

static void put(struct fixture *f, const char *file, json_t *doc)
{
	struct err err = {};

	if (store_put(&f->store, doc, file, &err))
		fail_msg("%s", err.text);
	json_decref(doc);
}

static void put_pod(struct fixture *f, const char *name, const char *app)
{
	put(f, name,
	    doc_text("{'apiVersion':'v1','kind':'Pod','metadata':{'namespace':"
	             "'shop','name':'%s','labels':{'app':'%s'}}}",
	             name, app));
}

static void put_policy(struct fixture *f, const char *name, const char *app,
                       const char *spec)
{
	put(f, name,
	    doc_text("{'apiVersion':'networking.k8s.io/v1','kind':"
	             "'NetworkPolicy','metadata':{'namespace':'shop','name':"
	             "'%s'},'spec':{'podSelector':{'matchLabels':{'app':'%s'}},"
	             "%s}}",
	             name, app, spec));
}

/* An attachment, as cni.add makes it. */
static struct ep *add(struct fixture *f, uint16_t number, const char *pod)
{
	struct ep *ep = &f->endpoints.ep[number];
	char text[32];

	*ep = (struct ep){
		.state = ENDPOINT_READY,
		.number = number,
		.serial = ++f->endpoints.next_serial,
		.ifindex = 1000 + number,
		.mtu = 1500,
		.mac = {2, 0, 0, 0, 0, (uint8_t)number},
	};
	snprintf(ep->container_id, sizeof(ep->container_id), "c%u", number);
	snprintf(text, sizeof(text), "10.1.0.%u", number);
	assert_int_equal(addr_parse(text, &ep->addr[FAMILY_V4]), 0);
	if (pod) {
		strcpy(ep->pod_ns, "shop");
		strcpy(ep->pod_name, pod);
	}
	return ep;
}

static void up(struct fixture *f)
{
	const struct dp_config config = {.share = 1000};
	const struct reconcile_input input = {
		.config = &f->config,
		.loop = f->loop,
		.store = &f->store,
		.endpoints = &f->endpoints,
		.node = &f->node,
	};
	struct reconcile_input in = input;
	struct err err = {};

	if (dp_open(&config, BPFFS, &f->dp, &err))
		fail_msg("%s", err.text);
	in.dp = f->dp;
	if (reconcile_new(&in, &f->rec, &err))
		fail_msg("%s", err.text);
}

static void down(struct fixture *f)
{
	reconcile_free(f->rec);
	dp_close(f->dp);
	f->rec = NULL;
	f->dp = NULL;
}

static void pass(struct fixture *f)
{
	struct err err = {};

	if (reconcile_now(f->rec, &err))
		fail_msg("%s", err.text);
}

static void enough_due(struct loop_timer *timer)
{
	loop_stop(container_of(timer, struct fixture, enough)->loop);
}

/* Until what waits for a quiet moment has been done. */
static void quiet(struct fixture *f)
{
	loop_timer_arm(f->loop, &f->enough, 300000000ull);
	assert_int_equal(loop_run(f->loop), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/reconcile_testXXXXXX");
	if (!mkdtemp(f->dir) || loop_new(&f->loop))
		return -1;
	log_open(false, LOG_LEVEL_ERR);
	f->enough.due = enough_due;
	snprintf(f->config.state_dir, sizeof(f->config.state_dir), "%s",
	         f->dir);
	if (prefix_parse("10.1.0.0/24", &f->config.pod_cidr[FAMILY_V4]) ||
	    addr_parse("192.0.2.1", &f->node_addr.addr))
		return -1;
	f->config.has_pod_cidr[FAMILY_V4] = true;
	f->node_addr.local = true;
	f->node.addr = &f->node_addr;
	f->node.n_addrs = 1;
	put_pod(f, "web", "web");
	put_pod(f, "db", "db");
	add(f, 1, "web");
	add(f, 2, "db");
	store_synced(&f->store);
	up(f);
	*state = f;
	return 0;
}

static void clear(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char pins[64];

	down(f);
	snprintf(pins, sizeof(pins), "%s/v%d", BPFFS, ABI_VERSION);
	clear(pins);
	clear(f->dir);
	store_clear(&f->store);
	loop_free(f->loop);
	if (rmdir(pins) || rmdir(BPFFS) || rmdir(f->dir))
		return -1;
	free(f);
	return 0;
}

/* ---- what one sees ------------------------------------------------------ */

static struct endpoint endpoint_in_kernel(struct fixture *f, uint16_t number)
{
	struct endpoint ep;

	assert_int_equal(dp_endpoint_get(f->dp, number, &ep), 0);
	return ep;
}

static uint32_t identity_in_kernel(struct fixture *f, const char *text)
{
	struct addr_info info;
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	if (bpf_map_lookup_elem(dp_map_fd(f->dp, "addrs"), &addr, &info))
		return 0;
	return info.identity;
}

/* May @from open TCP @port to endpoint @number, by the slot in the kernel? */
static bool allows(struct fixture *f, uint16_t number, const char *from,
                   uint16_t port)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	const struct endpoint ep = endpoint_in_kernel(f, number);
	const struct policy_val *val;
	struct table table = {};

	if (!ep.ifindex || ep.closed)
		return false;
	assert_int_equal(dp_slot_read(f->dp, ep.slot, arena, &table), 0);
	if (!table.header.isolated[DIR_INGRESS])
		return true;
	val = table_lookup(&table, identity_in_kernel(f, from), DIR_INGRESS,
	                   IPPROTO_TCP, __builtin_bswap16(port));
	return val && val->allow;
}

static size_t differences(struct fixture *f)
{
	struct err err = {};
	json_t *verdict = reconcile_verify(f->rec, &err);
	size_t n;

	if (!verdict)
		fail_msg("%s", err.text);
	n = json_array_size(json_object_get(verdict, "differences"));
	assert_true(json_integer_value(json_object_get(verdict, "checked")) >
	            0);
	json_decref(verdict);
	return n;
}

static size_t planned(struct fixture *f)
{
	struct err err = {};
	json_t *plan = reconcile_plan(f->rec, &err);
	size_t n;

	if (!plan)
		fail_msg("%s", err.text);
	n = json_array_size(plan);
	json_decref(plan);
	return n;
}

#define FROM_WEB                                                              \
	"'ingress':[{'from':[{'podSelector':{'matchLabels':{'app':'web'}}}]," \
	"'ports':[{'port':5432}]}]"

/* ---- tests -------------------------------------------------------------- */

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

static void a_pod_keeps_its_policy_until_its_interface_goes(void **state)
{
	struct fixture *f = *state;
	char path[64];

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

	/* Not even the file knows them: they keep what they have. */
	down(f);
	snprintf(path, sizeof(path), "%s/pods.json", f->dir);
	assert_int_equal(unlink(path), 0);
	up(f);
	pass(f);
	assert_false(allows(f, 2, "10.1.0.1", 80));
	add(f, 3, "nobody");
	pass(f);
	assert_false(allows(f, 3, "10.1.0.1", 80));
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

static void a_policy_that_does_not_fit_is_its_pods_affair(void **state)
{
	struct fixture *f = *state;
	json_t *problems, *ports = json_array(), *from = json_array(), *doc;
	struct ep *late;

	put_policy(f, "db", "db", FROM_WEB);
	pass(f);
	for (int i = 0; i < 300; i++) {
		json_array_append_new(
			from, json_pack("{s:{s:o}}", "ipBlock", "cidr",
		                        json_sprintf("172.16.%d.%d/32", i / 200,
		                                     i % 200)));
		json_array_append_new(ports, json_pack("{s:i,s:i}", "port",
		                                       1 + i * 100, "endPort",
		                                       99 + i * 100));
	}
	doc = doc_text("{'apiVersion':'networking.k8s.io/v1','kind':"
	               "'NetworkPolicy','metadata':{'namespace':'shop','name':"
	               "'huge'},'spec':{'podSelector':{'matchLabels':{'app':"
	               "'db'}},'ingress':[{}]}}");
	json_object_update_new(
		json_array_get(json_object_get(json_object_get(doc, "spec"),
	                                       "ingress"),
	                       0),
		json_pack("{s:o,s:o}", "from", from, "ports", ports));
	put(f, "huge", doc);
	put_pod(f, "late", "db");
	late = add(f, 3, "late");
	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 5432)); /* the last good one */
	assert_false(allows(f, 3, "10.1.0.1", 5432));
	assert_int_equal(endpoint_in_kernel(f, 3).closed, 0);
	problems = reconcile_problems(f->rec);
	assert_int_equal(json_array_size(problems), 2);
	json_decref(problems);

	late->state = ENDPOINT_FREE;
	store_remove(&f->store, "NetworkPolicy/shop/huge");
	pass(f);
	assert_true(allows(f, 2, "10.1.0.1", 5432));
	assert_int_equal(differences(f), 0);
	problems = reconcile_problems(f->rec);
	assert_int_equal(json_array_size(problems), 0);
	json_decref(problems);
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
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_pass_brings_the_world_into_the_maps),
		T(an_unchanged_world_is_adopted_without_an_operation),
		T(after_a_restart_every_flow_is_judged_anew),
		T(after_a_pass_that_failed_every_flow_is_judged_anew),
		T(before_the_source_answers_only_closing_is_done),
		T(a_pod_keeps_its_policy_until_its_interface_goes),
		T(damage_is_seen_and_mended),
		T(damage_is_noticed_without_being_asked),
		T(a_state_file_of_others_costs_numbers_only),
		T(a_policy_that_does_not_fit_is_its_pods_affair),
		T(only_those_whom_a_change_concerns_are_judged_anew),
		T(a_pod_that_goes_leaves_nothing_in_the_maps),
		T(many_changes_do_not_run_out_of_slots_or_numbers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
