// SPDX-License-Identifier: Apache-2.0
/* pod.c - what of a Pod manifest matters to policy. */
#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/parse.h"
#include "policy/syntax.h"

static int port_parse(struct parse *p, json_t *port, void *user)
{
	struct pod *pod = user;
	struct named_port named = {};
	const char *name;
	int r;

	if (!json_is_object(port))
		return parse_fail(p, "not a mapping");
	r = parse_string(p, port, "name", &name);
	if (!r)
		r = parse_protocol(p, port, &named.proto);
	if (!r)
		r = parse_port(p, json_object_get(port, "containerPort"),
		               &named.port);
	if (r || !name || !*name)
		return r;
	if (!syntax_is_port_name(name))
		return parse_fail(p, "'%.31s' is not a port name", name);
	r = parse_copy(p, name, &named.name);
	if (r)
		return r;
	pod->port[pod->n_ports++] = named;
	return 0;
}

static int ports_parse(struct parse *p, json_t *container, struct pod *pod)
{
	struct named_port *grown;
	json_t *ports;
	int r = parse_list(p, container, "ports", &ports);

	if (r || !json_array_size(ports))
		return r;
	grown = arena_array(p->arena, pod->n_ports + json_array_size(ports),
	                    sizeof(*grown));
	if (!grown)
		return parse_nomem(p);
	if (pod->n_ports)
		memcpy(grown, pod->port, pod->n_ports * sizeof(*grown));
	pod->port = grown;
	return parse_each(p, "ports", ports, port_parse, pod);
}

/*
 * An init container serves while the pod does only when it is a sidecar
 * (restartPolicy: Always); the others' ports are nobody's any more.
 */
static int containers_parse(struct parse *p, json_t *spec, const char *field,
                            struct pod *pod)
{
	bool init = !strcmp(field, "initContainers");
	json_t *list, *container;
	size_t i;
	int r = parse_list(p, spec, field, &list);

	if (r)
		return r;
	json_array_foreach(list, i, container)
	{
		size_t mark = parse_enter_item(p, field, i);
		const char *restart = NULL;

		if (!json_is_object(container))
			return parse_fail(p, "not a mapping");
		r = parse_string(p, container, "restartPolicy", &restart);
		if (!r && (!init || (restart && !strcmp(restart, "Always"))))
			r = ports_parse(p, container, pod);
		if (r)
			return r;
		parse_leave(p, mark);
	}
	return 0;
}

static int spec_parse(struct parse *p, json_t *spec, struct pod *pod)
{
	const char *node;
	int r = parse_bool(p, spec, "hostNetwork", false, &pod->host_network);

	if (r)
		return r;
	r = parse_string(p, spec, "nodeName", &node);
	if (!r && node && *node)
		r = parse_copy(p, node, &pod->node);
	if (!r)
		r = containers_parse(p, spec, "containers", pod);
	if (!r)
		r = containers_parse(p, spec, "initContainers", pod);
	return r;
}

static int addr_add_text(struct parse *p, const char *text, struct pod *pod)
{
	if (!text || !*text)
		return 0;
	return parse_addr(p, text, pod->addr, &pod->n_addrs);
}

static int addr_item_parse(struct parse *p, json_t *item, void *user)
{
	const char *text;
	int r;

	if (!json_is_object(item))
		return parse_fail(p, "not a mapping");
	r = parse_string(p, item, "ip", &text);
	return r ? r : addr_add_text(p, text, user);
}

static int addrs_parse(struct parse *p, json_t *status, struct pod *pod)
{
	const char *text;
	json_t *list;
	int r = parse_list(p, status, "podIPs", &list);

	if (r)
		return r;
	pod->addr = arena_array(p->arena, json_array_size(list) + 1,
	                        sizeof(*pod->addr));
	if (!pod->addr)
		return parse_nomem(p);
	r = parse_each(p, "podIPs", list, addr_item_parse, pod);
	if (r)
		return r;
	r = parse_string(p, status, "podIP", &text);
	return r ? r : addr_add_text(p, text, pod);
}

static int status_parse(struct parse *p, json_t *status, struct pod *pod)
{
	const char *phase;
	int r = parse_string(p, status, "phase", &phase);

	if (r)
		return r;
	pod->finished = phase && (!strcmp(phase, "Succeeded") ||
	                          !strcmp(phase, "Failed"));
	return addrs_parse(p, status, pod);
}

int pod_parse(struct parse *p, json_t *doc, struct pod *ret)
{
	json_t *spec, *status;
	size_t mark;
	int r = parse_object(p, doc, "spec", &spec);

	if (!r)
		r = parse_object(p, doc, "status", &status);
	if (r)
		return r;
	mark = parse_enter(p, "spec");
	r = spec_parse(p, spec, ret);
	if (r)
		return r;
	parse_leave(p, mark);
	mark = parse_enter(p, "status");
	r = status_parse(p, status, ret);
	parse_leave(p, mark);
	return r;
}
