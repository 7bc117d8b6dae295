// SPDX-License-Identifier: Apache-2.0
/*
 * world_random.c - random worlds: small pools, so that things meet.
 *
 * The axes are those of Cyclonus (pkg/generator/tags.go) and the borders of
 * each: every operator of a selector, namespaces by label and by name, blocks
 * with nested excepts around pods, nodes and neither, named ports that mean
 * something else on each pod, ranges from 1 and to 65535, empty lists.
 */
#include <stdio.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/util.h"
#include "test/lib/world.h"

#define PICK(gen, list) ((list)[rng_below(&(gen)->rng, ARRAY_SIZE(list))])

static const char *const namespaces[] = {"default", "shop", "infra", "bare"};
static const char *const keys[] = {"app", "role", "x.io/tier"};
static const char *const values[] = {"web", "db", "a", ""};
static const char *const ns_keys[] = {"team", "env",
                                      "kubernetes.io/metadata.name"};
static const char *const ns_values[] = {"a", "b", "shop", "infra", "bare"};
static const char *const port_names[] = {"http", "dns", "admin"};
static const char *const protocols[] = {"TCP", "UDP", "SCTP"};
static const int ports[] = {1, 53, 80, 81, 443, 8080, 65534, 65535};
static const char *const bases[] = {
	"10.0.0.%u",      "10.0.1.%u",    "198.51.100.%u", "fd00::%x",
	"fd00:0:0:1::%x", "2001:db8::%x", "10.0.0.%u",     "fd00::%x"};
static const int bits_v4[] = {0, 1, 8, 22, 24, 27, 28, 29, 30, 31, 32};
static const int bits_v6[] = {0,   3,   8,   48,  64,  119, 120,
                              123, 124, 125, 126, 127, 128};

static json_t *random_labels(struct world_gen *gen, bool of_ns)
{
	json_t *labels = json_object();

	for (int n = (int)rng_below(&gen->rng, 4); n; n--) {
		if (of_ns)
			json_object_set_new(labels, PICK(gen, ns_keys),
			                    json_string(PICK(gen, ns_values)));
		else
			json_object_set_new(labels, PICK(gen, keys),
			                    json_string(PICK(gen, values)));
	}
	return labels;
}

/* ---- pods -------------------------------------------------------------- */

static json_t *random_pod_ports(struct world_gen *gen)
{
	json_t *list = json_array();

	for (int n = (int)rng_below(&gen->rng, 4); n; n--) {
		json_t *port =
			json_pack("{s:i}", "containerPort", PICK(gen, ports));

		if (rng_percent(&gen->rng, 90))
			json_object_set_new(port, "name",
			                    json_string(PICK(gen, port_names)));
		if (rng_percent(&gen->rng, 60))
			json_object_set_new(port, "protocol",
			                    json_string(PICK(gen, protocols)));
		json_array_append_new(list, port);
	}
	return list;
}

/* Few addresses, so that sometimes two pods claim one, or one of a node's. */
static json_t *random_status(struct world_gen *gen)
{
	static const char *const phases[] = {"Pending",   "Running", "Running",
	                                     "Running",   "Running", "Running",
	                                     "Succeeded", "Failed"};
	unsigned int host = 1 + rng_below(&gen->rng, 60);
	json_t *ips = json_array();
	char text[ADDR_TEXT_MAX];

	if (rng_percent(&gen->rng, 90)) {
		snprintf(text, sizeof(text), "10.0.0.%u", host);
		json_array_append_new(ips, json_pack("{s:s}", "ip", text));
	}
	if (rng_percent(&gen->rng, 90)) {
		snprintf(text, sizeof(text), "fd00::%x", host);
		json_array_append_new(ips, json_pack("{s:s}", "ip", text));
	}
	if (rng_percent(&gen->rng, 5)) {
		snprintf(text, sizeof(text), "10.0.1.%u",
		         1 + rng_below(&gen->rng, 4));
		json_array_append_new(ips, json_pack("{s:s}", "ip", text));
	}
	return json_pack("{s:s, s:o}", "phase", PICK(gen, phases), "podIPs",
	                 ips);
}

static void add_doc(struct world_gen *gen, struct world_doc doc)
{
	if (gen->n_docs == WORLD_DOCS_MAX)
		json_decref(doc.json);
	else
		gen->doc[gen->n_docs++] = doc;
}

static void add_pod(struct world_gen *gen)
{
	struct world_doc doc = {};
	char name[32];

	snprintf(name, sizeof(name), "pod-%u", gen->next_name++);
	doc.json = json_pack(
		"{s:s, s:s, s:{s:s, s:s, s:o}, s:{s:b, s:[{s:o}]}, s:o}",
		"apiVersion", "v1", "kind", "Pod", "metadata", "name", name,
		"namespace", PICK(gen, namespaces), "labels",
		random_labels(gen, false), "spec", "hostNetwork",
		rng_percent(&gen->rng, 10), "containers", "ports",
		random_pod_ports(gen), "status", random_status(gen));
	if (rng_percent(&gen->rng, 65))
		doc.endpoint = ++gen->next_endpoint;
	doc.no_namespace = doc.endpoint && rng_percent(&gen->rng, 8);
	add_doc(gen, doc);
}

static void add_namespace(struct world_gen *gen, const char *name)
{
	add_doc(gen,
	        (struct world_doc){
			.json = json_pack("{s:s, s:s, s:{s:s, s:o}}",
	                                  "apiVersion", "v1", "kind",
	                                  "Namespace", "metadata", "name", name,
	                                  "labels", random_labels(gen, true))});
}

/* ---- policies ---------------------------------------------------------- */

static json_t *random_expression(struct world_gen *gen, bool of_ns)
{
	static const char *const ops[] = {"In", "NotIn", "Exists",
	                                  "DoesNotExist"};
	unsigned int op = rng_below(&gen->rng, 4);
	json_t *list = json_array();

	for (unsigned int n = op < 2 ? 1 + rng_below(&gen->rng, 3) : 0; n; n--)
		json_array_append_new(list,
		                      json_string(of_ns ? PICK(gen, ns_values)
		                                        : PICK(gen, values)));
	return json_pack("{s:s, s:s, s:o}", "key",
	                 of_ns ? PICK(gen, ns_keys) : PICK(gen, keys),
	                 "operator", ops[op], "values", list);
}

static json_t *random_selector(struct world_gen *gen, bool of_ns)
{
	json_t *selector = json_object(), *list;

	if (rng_percent(&gen->rng, 25))
		return selector;
	if (rng_percent(&gen->rng, 50)) {
		json_t *labels = random_labels(gen, of_ns);

		while (json_object_size(labels) > 1)
			json_object_del(
				labels,
				json_object_iter_key(json_object_iter(labels)));
		json_object_set_new(selector, "matchLabels", labels);
	}
	if (rng_percent(&gen->rng, 50)) {
		list = json_array();
		for (unsigned int n = rng_below(&gen->rng, 3); n; n--)
			json_array_append_new(list,
			                      random_expression(gen, of_ns));
		json_object_set_new(selector, "matchExpressions", list);
	}
	return selector;
}

/* Host bits are left as they come: the API allows them. */
static json_t *random_cidr(struct world_gen *gen, const char *base,
                           unsigned int host, int bits)
{
	char addr[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX + 8];

	(void)gen;
	snprintf(addr, sizeof(addr), base, host);
	snprintf(text, sizeof(text), "%s/%d", addr, bits);
	return json_string(text);
}

static json_t *random_block(struct world_gen *gen)
{
	const char *base = PICK(gen, bases);
	bool v6 = strchr(base, ':');
	int bits = v6 ? PICK(gen, bits_v6) : PICK(gen, bits_v4);
	unsigned int host = rng_below(&gen->rng, 64);
	json_t *except = json_array();
	json_t *block =
		json_pack("{s:o, s:o}", "cidr",
	                  random_cidr(gen, base, host, bits), "except", except);

	for (unsigned int n = rng_below(&gen->rng, 4); n; n--) {
		int longer = v6 ? PICK(gen, bits_v6) : PICK(gen, bits_v4);
		unsigned int low =
			bits >= (v6 ? 120 : 24)
				? (1u << ((v6 ? 128 : 32) - bits)) - 1
				: 0xff;

		if (longer <= bits)
			continue;
		json_array_append_new(
			except,
			random_cidr(gen, base,
		                    (host & ~low) |
		                            (rng_below(&gen->rng, 64) & low),
		                    longer));
	}
	return block;
}

static json_t *random_peer(struct world_gen *gen)
{
	json_t *peer = json_object();
	unsigned int kind = rng_below(&gen->rng, 5);

	if (kind < 2)
		json_object_set_new(peer, "ipBlock", random_block(gen));
	if (kind == 2 || kind == 3)
		json_object_set_new(peer, "podSelector",
		                    random_selector(gen, false));
	if (kind >= 3)
		json_object_set_new(peer, "namespaceSelector",
		                    random_selector(gen, true));
	return peer;
}

static json_t *random_port(struct world_gen *gen)
{
	json_t *spec = json_object();
	int port = PICK(gen, ports), end = PICK(gen, ports);

	if (rng_percent(&gen->rng, 70))
		json_object_set_new(spec, "protocol",
		                    json_string(PICK(gen, protocols)));
	switch (rng_below(&gen->rng, 4)) {
	case 0:
		json_object_set_new(spec, "port",
		                    json_string(PICK(gen, port_names)));
		break;
	case 1:
		json_object_set_new(spec, "port", json_integer(port));
		if (end >= port)
			json_object_set_new(spec, "endPort", json_integer(end));
		break;
	case 2:
		json_object_set_new(spec, "port", json_integer(port));
		break;
	default:
		break;
	}
	return spec;
}

/* One in ten lists is empty rather than absent. */
static void random_list(struct world_gen *gen, json_t *rule, const char *field,
                        json_t *(*item)(struct world_gen *))
{
	unsigned int n = rng_below(&gen->rng, 4);
	json_t *list;

	if (!n && !rng_percent(&gen->rng, 30))
		return;
	list = json_array();
	for (; n; n--)
		json_array_append_new(list, item(gen));
	json_object_set_new(rule, field, list);
}

static json_t *random_rules(struct world_gen *gen, const char *peers)
{
	json_t *list = json_array();

	for (unsigned int n = rng_below(&gen->rng, 4); n; n--) {
		json_t *rule = json_object();

		random_list(gen, rule, peers, random_peer);
		random_list(gen, rule, "ports", random_port);
		/* From a version that we do not know: isolates, no more. */
		if (rng_percent(&gen->rng, 3))
			json_object_set_new(rule, "newField", json_true());
		json_array_append_new(list, rule);
	}
	return list;
}

static json_t *random_types(struct world_gen *gen)
{
	json_t *types = json_array();

	if (rng_percent(&gen->rng, 60))
		json_array_append_new(types, json_string("Ingress"));
	if (rng_percent(&gen->rng, 60))
		json_array_append_new(types, json_string("Egress"));
	return types;
}

static void add_netpol(struct world_gen *gen)
{
	json_t *spec = json_object();
	char name[32];

	snprintf(name, sizeof(name), "policy-%u", gen->next_name++);
	if (rng_percent(&gen->rng, 90))
		json_object_set_new(spec, "podSelector",
		                    random_selector(gen, false));
	if (rng_percent(&gen->rng, 80))
		json_object_set_new(spec, "ingress", random_rules(gen, "from"));
	if (rng_percent(&gen->rng, 80))
		json_object_set_new(spec, "egress", random_rules(gen, "to"));
	if (rng_percent(&gen->rng, 60))
		json_object_set_new(spec, "policyTypes", random_types(gen));
	add_doc(gen,
	        (struct world_doc){
			.json = json_pack(
				"{s:s, s:s, s:{s:s, s:s}, s:o}", "apiVersion",
				"networking.k8s.io/v1", "kind", "NetworkPolicy",
				"metadata", "name", name, "namespace",
				PICK(gen, namespaces), "spec", spec)});
}

/* ---- worlds ------------------------------------------------------------ */

static void add_node(struct world_gen *gen)
{
	char text[ADDR_TEXT_MAX];

	if (gen->n_nodes + 2 > WORLD_NODES_MAX)
		return;
	snprintf(text, sizeof(text), "10.0.1.%zu", 1 + gen->n_nodes / 2);
	world_add_node(gen, text, !gen->n_nodes);
	snprintf(text, sizeof(text), "fd00:0:0:1::%zx", 1 + gen->n_nodes / 2);
	world_add_node(gen, text, gen->n_nodes == 1);
}

void world_random(struct world_gen *gen, uint64_t seed)
{
	gen->seed = seed;
	gen->rng.state = seed;
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		if (rng_percent(&gen->rng, 75))
			add_namespace(gen, namespaces[i]);
	for (unsigned int n = 3 + rng_below(&gen->rng, 10); n; n--)
		add_pod(gen);
	for (unsigned int n = rng_below(&gen->rng, 13); n; n--)
		add_netpol(gen);
	for (unsigned int n = 1 + rng_below(&gen->rng, 3); n; n--)
		add_node(gen);
}

static const char *doc_kind(const struct world_doc *doc)
{
	return json_string_value(json_object_get(doc->json, "kind"));
}

/* Manifests may be shared with a copy of the world: change one of our own. */
static void edit_doc(struct world_gen *gen, struct world_doc *doc)
{
	bool of_ns = !strcmp(doc_kind(doc), "Namespace");
	json_t *mine = json_deep_copy(doc->json);

	json_decref(doc->json);
	doc->json = mine;
	if (of_ns || rng_percent(&gen->rng, 50)) {
		json_object_set_new(json_object_get(mine, "metadata"), "labels",
		                    random_labels(gen, of_ns));
		return;
	}
	if (!strcmp(doc_kind(doc), "Pod"))
		json_object_set_new(mine, "status", random_status(gen));
	else
		json_object_set_new(json_object_get(mine, "spec"), "ingress",
		                    random_rules(gen, "from"));
}

void world_edit(struct world_gen *gen)
{
	unsigned int what = rng_below(&gen->rng, 10);
	size_t at = gen->n_docs
	                    ? rng_below(&gen->rng, (unsigned int)gen->n_docs)
	                    : 0;

	if (what < 2 || !gen->n_docs)
		add_netpol(gen);
	else if (what < 4)
		add_pod(gen);
	else if (what < 6)
		world_remove(gen, at);
	else
		edit_doc(gen, &gen->doc[at]);
}
