// SPDX-License-Identifier: Apache-2.0
/* ops_status.c - how the daemon and its datapath are. */
#include <string.h>
#include <time.h>

#include "cni/wire.h"
#include "daemon/daemon.h"
#include "daemon/names.h"
#include "daemon/ops_show.h"
#include "daemon/pod_cidr.h"
#include "lib/version.h"

#define COUNTER_KEY_MAX 40
#define PROBLEMS_MAX    100 /* objects with an error that are listed */

/* "FLOW_OPENED" as a key of JSON. */
static const char *lower(const char *name, char buf[COUNTER_KEY_MAX])
{
	size_t i = 0;

	for (; name[i] && i + 1 < COUNTER_KEY_MAX; i++)
		buf[i] = name[i] >= 'A' && name[i] <= 'Z'
		                 ? (char)(name[i] - 'A' + 'a')
		                 : name[i];
	buf[i] = '\0';
	return buf;
}

static json_t *counters_json(struct dp *dp)
{
	json_t *object = json_object();
	char key[COUNTER_KEY_MAX];
	uint64_t n;

	for (unsigned i = 0; i < COUNTER__COUNT; i++)
		if (!dp_counter(dp, i, &n))
			(void)json_object_set_new(object,
			                          lower(counter_name(i), key),
			                          json_integer((json_int_t)n));
	return object;
}

static json_t *drops_json(struct dp *dp)
{
	json_t *list = json_array();

	for (unsigned why = 1; why < DROP__COUNT; why++) {
		uint64_t sum = 0, n;

		for (unsigned hook = 0; hook < HOOK__COUNT; hook++)
			if (!dp_drop_count(dp, why, hook, &n))
				sum += n;
		if (sum)
			(void)json_array_append_new(
				list, json_pack("{s:s, s:s, s:I}", "reason",
			                        drop_name(why), "text",
			                        drop_text(why), "packets",
			                        (json_int_t)sum));
	}
	return list;
}

/* ADD's own answer is the truth: ask the operation that the plugin asks. */
static void put_ready(json_t *status, struct daemon *daemon)
{
	const char *why = NULL;
	json_t *reply = NULL;

	for (const struct server_op *op = cni_ops; op->name; op++)
		if (!strcmp(op->name, "cni.status") && op->reply) {
			json_t *request = json_pack("{s:s}", "op", op->name);

			reply = op->reply(daemon, request);
			json_decref(request);
		}
	if (!reply)
		why = "the daemon gave no answer";
	else
		(void)wire_is_error(reply, &why);
	(void)json_object_set_new(status, "ready", json_boolean(!why));
	if (why)
		(void)json_object_set_new(status, "reason", json_string(why));
	json_decref(reply);
}

static void put_objects(json_t *status, struct daemon *daemon)
{
	const struct store_object *object = daemon->store.objects;
	const struct compiled *compiled =
		daemon->reconcile ? reconcile_compiled(daemon->reconcile)
				  : NULL;
	int pods = 0, policies = 0, namespaces = 0, endpoints = 0;

	for (; object; object = object->hh.next) {
		pods += object->object.kind == OBJECT_POD;
		policies += object->object.kind == OBJECT_NETPOL;
		namespaces += object->object.kind == OBJECT_NAMESPACE;
	}
	for (unsigned i = 1; i < ENDPOINT_MAX; i++)
		endpoints += daemon->endpoints.ep[i].state == ENDPOINT_READY;
	(void)json_object_update_new(
		status,
		json_pack("{s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I}",
	                  "endpoints", endpoints, "pods", pods, "namespaces",
	                  namespaces, "policies", policies, "refused",
	                  (int)daemon->store.refused, "identities",
	                  (json_int_t)(compiled ? compiled->n_identities : 0),
	                  "addresses",
	                  (json_int_t)(compiled ? compiled->n_addrs : 0),
	                  "policy_tables",
	                  (json_int_t)(compiled ? compiled->n_tables : 0)));
}

/* What is not in force: objects with an error first, then what did not fit. */
static json_t *problems_json(const struct daemon *daemon)
{
	const struct store_object *object = daemon->store.objects;
	json_t *applied = reconcile_problems(daemon->reconcile);
	json_t *list = json_array();

	for (; object && json_array_size(list) < PROBLEMS_MAX;
	     object = object->hh.next)
		if (object->error)
			json_array_append_new(list,
			                      json_pack("{s:s, s:s}", "object",
			                                object->id, "error",
			                                object->error));
	(void)json_array_extend(list, applied);
	(void)json_array_extend(list, daemon->peers.problems);
	if (pod_cidrs_problem(daemon))
		(void)json_array_extend(list, pod_cidrs_problem(daemon));
	json_decref(applied);
	if (daemon->services) {
		json_t *services = services_problems(daemon->services);

		(void)json_array_extend(list, services);
		json_decref(services);
	}
	return list;
}

static json_t *source_json(const struct daemon *daemon)
{
	char text[300];

	snprintf(text, sizeof(text), "%s%s",
	         daemon->config.source_kube ? "kube" : "dir:",
	         daemon->config.source_kube ? "" : daemon->config.source_dir);
	return json_pack("{s:s, s:b, s:I}", "name", text, "synced",
	                 (int)daemon->store.synced, "revision",
	                 (json_int_t)daemon->store.revision);
}

static json_t *flow_log_json(const struct daemon *daemon)
{
	struct flowlog_stats stats = {};

	if (daemon->flowlog)
		flowlog_stats(daemon->flowlog, &stats);
	return json_pack("{s:I, s:i, s:i, s:I}", "seen", (json_int_t)stats.seen,
	                 "kept", (int)stats.kept, "followers",
	                 (int)stats.followers, "bytes",
	                 (json_int_t)stats.bytes);
}

json_t *show_status(struct daemon *daemon, const json_t *request)
{
	json_t *nodes = show_nodes(daemon, request);
	json_t *node = json_array_get(json_object_get(nodes, "items"), 0);
	json_t *status = json_object();

	put_ready(status, daemon);
	(void)json_object_update_new(
		status,
		json_pack("{s:s, s:i, s:s, s:o, s:s, s:b}", "version",
	                  STILE_VERSION, "abi_version", ABI_VERSION,
	                  "node_name", daemon->config.node_name, "source",
	                  source_json(daemon), "policy_mode",
	                  daemon->config.audit ? "audit" : "enforce",
	                  "masquerade", (int)daemon->config.masquerade));
	put_objects(status, daemon);
	if (daemon->policy_version)
		(void)json_object_set_new(
			status, "policy_version",
			json_integer((json_int_t)daemon->policy_version));
	if (daemon->services) {
		size_t services, backends;

		services_count(daemon->services, &services, &backends);
		(void)json_object_update_new(
			status,
			json_pack("{s:s, s:I, s:I}", "services_mode", "pods",
		                  "service_ports", (json_int_t)services,
		                  "backends", (json_int_t)backends));
	}
	if (daemon->reconcile) {
		(void)json_object_set_new(
			status, "revision",
			json_integer((json_int_t)reconcile_revision(
				daemon->reconcile)));
		(void)json_object_set_new(status, "problems",
		                          problems_json(daemon));
	}
	(void)json_object_update_missing(status, node);
	json_decref(nodes);
	(void)json_object_del(status, "name");
	(void)json_object_del(status, "local");
	if (daemon->dp) {
		(void)json_object_set_new(
			status, "datapath",
			json_pack("{s:s, s:b}", "pins", dp_pin_dir(daemon->dp),
		                  "adopted", (int)dp_adopted(daemon->dp)));
		(void)json_object_set_new(status, "counters",
		                          counters_json(daemon->dp));
		(void)json_object_set_new(status, "drops",
		                          drops_json(daemon->dp));
	}
	(void)json_object_set_new(status, "flow_log", flow_log_json(daemon));
	return status;
}
