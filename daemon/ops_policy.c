// SPDX-License-Identifier: Apache-2.0
/* ops_policy.c - the operations on policies: list, get, why, verify. */
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/names.h"
#include "daemon/ops_show.h"
#include "daemon/why.h"
#include "daemon/words.h"

#define NETPOL_PREFIX "NetworkPolicy/"

/* "NetworkPolicy/shop/web" -> "shop" into @ns, "web". */
static const char *split_id(const char *id, char *ns, size_t size)
{
	const char *text = id + strlen(NETPOL_PREFIX);
	const char *slash = strchr(text, '/');

	ns[0] = '\0';
	if (!slash)
		return text;
	snprintf(ns, size, "%.*s", (int)(slash - text), text);
	return slash + 1;
}

static bool is_netpol(const struct store_object *object)
{
	return !strncmp(object->id, NETPOL_PREFIX, strlen(NETPOL_PREFIX));
}

/* A pod of this node, as policy sees it. */
struct here_pod {
	const struct pod *pod;
	const struct ep *ep;
	const char *held; /* see reconcile_held() */
};

/* All of them, looked up once for all policies. */
struct here {
	const struct reconcile *rec;
	struct here_pod pod[ENDPOINT_MAX];
	size_t n;
};

static void here_find(const struct daemon *daemon, struct here *here)
{
	const struct world *world =
		daemon->reconcile ? reconcile_world(daemon->reconcile) : NULL;

	here->rec = daemon->reconcile;
	here->n = 0;
	for (size_t i = 0; world && i < world->n_pods; i++) {
		const uint16_t endpoint = world->pod[i]->endpoint;

		if (!endpoint || here->n == ENDPOINT_MAX)
			continue;
		here->pod[here->n++] = (struct here_pod){
			.pod = world->pod[i],
			.ep = &daemon->endpoints.ep[endpoint % ENDPOINT_MAX],
			.held = reconcile_held(here->rec, endpoint),
		};
	}
}

static bool selects(const struct netpol *netpol, const struct here_pod *here)
{
	/* Of no namespace, or its labels are not known. */
	if (!here->pod->ns)
		return here->ep->pod_name[0] && !netpol->pod_selector.n &&
		       !strcmp(netpol->ns, here->ep->pod_ns);
	return !strcmp(netpol->ns, here->pod->ns) &&
	       selector_match(&netpol->pod_selector, &here->pod->labels);
}

/* How much of it the kernel does. */
struct force {
	int selected, held; /* pods of this node; not judged by it */
	const char *why;    /* of one of those */
	bool late;          /* the pass that would have brought it failed */
};

static struct force force_of(const struct here *here,
                             const struct store_object *object)
{
	struct force force = {};

	if (object->object.kind != OBJECT_NETPOL)
		return force;
	force.late = !here->rec || !reconcile_has(here->rec, object->revision);
	for (size_t i = 0; i < here->n; i++) {
		const struct here_pod *pod = &here->pod[i];

		if (!selects(&object->object.netpol, pod))
			continue;
		force.selected++;
		force.held += pod->held != NULL;
		force.why = pod->held ? pod->held : force.why;
	}
	return force;
}

/* in force; in part: rules that can not be read; the last good one; refused. */
static const char *state_word(const struct store_object *object,
                              const struct force *force)
{
	if (object->object.kind != OBJECT_NETPOL)
		return "refused";
	if (force->late || (force->held && force->held == force->selected))
		return "not in force";
	if (force->held)
		return "in force in part";
	if (!object->error)
		return "in force";
	return object->whole ? "last good version in force"
	                     : "in force, unreadable rules closed";
}

/* What is wrong with it, a new reference; NULL: nothing. */
static json_t *error_json(const struct here *here,
                          const struct store_object *object,
                          const struct force *force)
{
	const char *failure = here->rec ? reconcile_failure(here->rec) : NULL;

	if (object->error)
		return json_string(object->error);
	if (force->late)
		return json_string(failure ? failure
		                           : "no policy is in the kernel yet");
	if (force->held)
		return json_sprintf("%d of %d pods here: %s", force->held,
		                    force->selected, force->why);
	return NULL;
}

static json_t *directions_json(const struct netpol *netpol)
{
	json_t *list = json_array();

	for (int dir = 0; dir < DIR__COUNT; dir++)
		if (netpol->applies[dir])
			(void)json_array_append_new(
				list, json_string(dir_name((unsigned)dir)));
	return list;
}

static json_t *netpol_json(const struct here *here,
                           const struct store_object *object)
{
	const struct netpol *netpol = &object->object.netpol;
	const struct force force = force_of(here, object);
	char ns[256];
	const char *name = split_id(object->id, ns, sizeof(ns));
	json_t *error = error_json(here, object, &force);
	json_t *line =
		json_pack("{s:s, s:s, s:s, s:I, s:s}", "namespace", ns, "name",
	                  name, "state", state_word(object, &force), "revision",
	                  (json_int_t)object->revision, "origin",
	                  object->origin ? object->origin : "");

	if (line && object->object.kind == OBJECT_NETPOL)
		(void)json_object_update_new(
			line,
			json_pack("{s:i, s:o, s:i, s:i}", "endpoints",
		                  force.selected, "directions",
		                  directions_json(netpol), "ingress_rules",
		                  (int)netpol->n_rules[DIR_INGRESS],
		                  "egress_rules",
		                  (int)netpol->n_rules[DIR_EGRESS]));
	if (line && error)
		(void)json_object_set(line, "error", error);
	json_decref(error);
	return line;
}

static int id_compare(const void *a, const void *b)
{
	const struct store_object *x = *(struct store_object *const *)a;
	const struct store_object *y = *(struct store_object *const *)b;

	return strcmp(x->id, y->id);
}

/* The policies, sorted; the caller frees.  NULL: out of memory. */
static const struct store_object **policies_sorted(const struct daemon *daemon,
                                                   size_t *ret_n)
{
	const struct store_object *object = daemon->store.objects;
	const struct store_object **list;
	size_t n = 0;

	for (; object; object = object->hh.next)
		n += is_netpol(object);
	list = calloc(n + 1, sizeof(*list));
	*ret_n = n;
	if (!list)
		return NULL;
	n = 0;
	for (object = daemon->store.objects; object; object = object->hh.next)
		if (is_netpol(object))
			list[n++] = object;
	qsort(list, n, sizeof(*list), id_compare);
	return list;
}

static json_t *policy_list(struct daemon *daemon, const json_t *request)
{
	size_t n = 0;
	_cleanup_(free_p) const struct store_object **policies =
		policies_sorted(daemon, &n);
	json_t *list = json_array();
	struct here here;

	(void)request;
	here_find(daemon, &here);
	for (size_t i = 0; policies && i < n; i++)
		(void)json_array_append_new(list,
		                            netpol_json(&here, policies[i]));
	return show_items(list);
}

/* ---- one policy ---------------------------------------------------------- */

/* NS/NAME, or NAME where only one namespace has it: else NULL and a count. */
static const struct store_object *policy_named(const struct daemon *daemon,
                                               const char *name, int *ret_n)
{
	const struct store_object *object, *found = NULL;

	*ret_n = 0;
	for (object = daemon->store.objects; object; object = object->hh.next) {
		char ns[256];
		const char *bare;

		if (!is_netpol(object))
			continue;
		bare = split_id(object->id, ns, sizeof(ns));
		if (strcmp(bare, name) != 0 &&
		    strcmp(object->id + strlen(NETPOL_PREFIX), name) != 0)
			continue;
		found = object;
		++*ret_n;
	}
	return *ret_n == 1 ? found : NULL;
}

static json_t *rules_json(const struct netpol *netpol, enum dir dir)
{
	json_t *list = json_array();

	for (size_t i = 0; i < netpol->n_rules[dir]; i++) {
		const struct rule *rule = &netpol->rule[dir][i];
		_cleanup_(free_p) char *words =
			rule_words(rule, dir, netpol->ns);

		(void)json_array_append_new(
			list, json_pack("{s:i, s:s, s:b}", "index", (int)i,
		                        "words", words ? words : "", "readable",
		                        !rule->unreadable));
	}
	return list;
}

static json_t *selected_json(const struct here *here,
                             const struct netpol *netpol)
{
	json_t *list = json_array();

	for (size_t i = 0; i < here->n; i++)
		if (selects(netpol, &here->pod[i]))
			(void)json_array_append_new(
				list, json_string(here->pod[i].ep->pod_name));
	return list;
}

static json_t *policy_get(struct daemon *daemon, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "name"));
	const struct store_object *object;
	json_t *line;
	struct here here;
	int n = 0;

	object = name ? policy_named(daemon, name, &n) : NULL;
	if (!object)
		return show_error(n ? "several namespaces have a policy of "
		                      "that name: say NS/NAME"
		                    : "no such policy; `stile policy list` "
		                      "shows them");
	here_find(daemon, &here);
	line = netpol_json(&here, object);
	if (line && object->object.kind == OBJECT_NETPOL) {
		const struct netpol *netpol = &object->object.netpol;
		_cleanup_(free_p) char *subject = subject_words(netpol);

		(void)json_object_update_new(
			line,
			json_pack("{s:s, s:o, s:o, s:o}", "subject",
		                  subject ? subject : "", "pods",
		                  selected_json(&here, netpol), "ingress",
		                  rules_json(netpol, DIR_INGRESS), "egress",
		                  rules_json(netpol, DIR_EGRESS)));
	}
	return line;
}

static json_t *policy_verify(struct daemon *daemon, const json_t *request)
{
	struct err err = {};
	json_t *result;

	(void)request;
	if (!daemon->reconcile)
		return show_error("nothing is in force yet");
	result = reconcile_verify(daemon->reconcile, &err);
	return result ? result : show_error(err.text);
}

const struct server_op policy_ops[] = {
	{.name = "policy.list", .reply = policy_list},
	{.name = "policy.get", .reply = policy_get},
	{.name = "policy.why", .reply = policy_why},
	{.name = "policy.verify", .reply = policy_verify},
	{.name = NULL},
};
