// SPDX-License-Identifier: Apache-2.0
/* passes.c - see passes.h. */
#include "test/lib/passes.h"

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

/* ---- a node of our own -------------------------------------------------- */

void put(struct fixture *f, const char *file, json_t *doc)
{
	struct err err = {};

	if (store_put(&f->store, doc, file, &err))
		fail_msg("%s", err.text);
	json_decref(doc);
}

void put_pod(struct fixture *f, const char *name, const char *app)
{
	put(f, name,
	    doc_text("{'apiVersion':'v1','kind':'Pod','metadata':{'namespace':"
	             "'shop','name':'%s','labels':{'app':'%s'}}}",
	             name, app));
}

void put_policy(struct fixture *f, const char *name, const char *app,
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
struct ep *add(struct fixture *f, uint16_t number, const char *pod)
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

void up(struct fixture *f)
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

void down(struct fixture *f)
{
	reconcile_free(f->rec);
	dp_close(f->dp);
	f->rec = NULL;
	f->dp = NULL;
}

void pass(struct fixture *f)
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
void quiet(struct fixture *f)
{
	loop_timer_arm(f->loop, &f->enough, 300000000ull);
	assert_int_equal(loop_run(f->loop), 0);
}

int passes_setup(void **state)
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

int passes_teardown(void **state)
{
	struct fixture *f = *state;
	char pins[64], pods[64];

	down(f);
	snprintf(pins, sizeof(pins), "%s/v%d", BPFFS, ABI_VERSION);
	clear(pins);
	snprintf(pods, sizeof(pods), "%s/pods", f->dir);
	clear(pods);
	clear(f->dir);
	store_clear(&f->store);
	loop_free(f->loop);
	if (rmdir(pins) || rmdir(BPFFS) || rmdir(pods) || rmdir(f->dir))
		return -1;
	free(f);
	return 0;
}

/* ---- what one sees ------------------------------------------------------ */

struct endpoint endpoint_in_kernel(struct fixture *f, uint16_t number)
{
	struct endpoint ep;

	assert_int_equal(dp_endpoint_get(f->dp, number, &ep), 0);
	return ep;
}

uint32_t identity_in_kernel(struct fixture *f, const char *text)
{
	struct addr_info info;
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	if (bpf_map_lookup_elem(dp_map_fd(f->dp, "addrs"), &addr, &info))
		return 0;
	return info.identity;
}

/* May @from open TCP @port to endpoint @number, by the slot in the kernel? */
bool allows(struct fixture *f, uint16_t number, const char *from, uint16_t port)
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

size_t differences(struct fixture *f)
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

size_t planned(struct fixture *f)
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

bool isolates(struct fixture *f, uint16_t number, enum dir dir)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(0);
	const struct endpoint ep = endpoint_in_kernel(f, number);
	struct table table = {};

	assert_int_equal(dp_slot_read(f->dp, ep.slot, arena, &table), 0);
	return table.header.isolated[dir];
}
