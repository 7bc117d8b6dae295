// SPDX-License-Identifier: Apache-2.0
/*
 * netpol.c - NetworkPolicy manifests.
 *
 * From the comments in k8s.io/api/networking/v1/types.go, the defaults in
 * pkg/apis/networking/v1/defaults.go and the checks in
 * pkg/apis/networking/validation/validation.go of Kubernetes.
 *
 * What a rule says and we do not understand makes that rule unreadable; what
 * the policy says outside of its rules makes all of them so, and then the
 * policy isolates both ways: we can not know which way was meant.
 */
#include <errno.h>
#include <string.h>

#include "policy/parse.h"
#include "policy/syntax.h"

static int except_parse(struct parse *p, json_t *item, void *user)
{
	struct peer *peer = user;
	const char *text = json_string_value(item);
	struct prefix except;

	if (!text || prefix_parse(text, &except))
		return parse_fail(p, "'%.63s' is not a CIDR", text ? text : "");
	if (except.bits <= peer->block.bits ||
	    !prefix_contains(&peer->block, &except.addr))
		return parse_fail(p, "%.63s is not strictly inside the cidr",
		                  text);
	peer->except[peer->n_except++] = except;
	return 0;
}

static int block_parse(struct parse *p, json_t *object, struct peer *ret)
{
	static const char *const known[] = {"cidr", "except", NULL};
	json_t *list = NULL;
	const char *cidr = NULL;
	int r = parse_known(p, object, known);

	if (!r)
		r = parse_string(p, object, "cidr", &cidr);
	if (!r)
		r = parse_list(p, object, "except", &list);
	if (r)
		return r;
	if (!cidr || prefix_parse(cidr, &ret->block))
		return parse_fail(p, "cidr '%.63s' is not a CIDR",
		                  cidr ? cidr : "");
	ret->is_block = true;
	ret->except = arena_array(p->arena, json_array_size(list),
	                          sizeof(*ret->except));
	if (!ret->except)
		return parse_nomem(p);
	return parse_each(p, "except", list, except_parse, ret);
}

static int peer_selector_parse(struct parse *p, json_t *peer, const char *field,
                               bool *has, struct selector *ret)
{
	json_t *object;
	size_t mark;
	int r = parse_object(p, peer, field, &object);

	*has = object;
	if (r || !object)
		return r;
	mark = parse_enter(p, field);
	r = selector_parse(p, object, ret);
	if (!r)
		parse_leave(p, mark);
	return r;
}

int peer_parse(struct parse *p, json_t *object, struct peer *ret)
{
	static const char *const known[] = {"podSelector", "namespaceSelector",
	                                    "ipBlock", NULL};
	json_t *block = NULL;
	size_t mark;
	int r;

	if (!json_is_object(object))
		return parse_fail(p, "not a mapping");
	r = parse_known(p, object, known);
	if (!r)
		r = peer_selector_parse(p, object, "namespaceSelector",
		                        &ret->has_ns_selector,
		                        &ret->ns_selector);
	if (!r)
		r = peer_selector_parse(p, object, "podSelector",
		                        &ret->has_pod_selector,
		                        &ret->pod_selector);
	if (!r)
		r = parse_object(p, object, "ipBlock", &block);
	if (r)
		return r;
	if (!block)
		return ret->has_ns_selector || ret->has_pod_selector
		               ? 0
		               : parse_fail(p, "names no peer");
	if (ret->has_ns_selector || ret->has_pod_selector)
		return parse_fail(p, "ipBlock can not stand beside a selector");
	mark = parse_enter(p, "ipBlock");
	r = block_parse(p, block, ret);
	if (!r)
		parse_leave(p, mark);
	return r;
}

static int port_name_parse(struct parse *p, json_t *port, json_t *end,
                           struct port_spec *ret)
{
	const char *name = json_string_value(port);

	if (!syntax_is_port_name(name))
		return parse_fail(p, "'%.31s' is not a port name", name);
	if (end)
		return parse_fail(p, "endPort needs a port that is a number");
	return parse_copy(p, name, &ret->name);
}

int port_spec_parse(struct parse *p, json_t *object, struct port_spec *ret)
{
	static const char *const known[] = {"protocol", "port", "endPort",
	                                    NULL};
	json_t *port, *end;
	int r;

	if (!json_is_object(object))
		return parse_fail(p, "not a mapping");
	port = parse_field(object, "port");
	end = parse_field(object, "endPort");
	r = parse_known(p, object, known);
	if (!r)
		r = parse_protocol(p, object, &ret->proto);
	if (r)
		return r;
	if (json_is_string(port))
		return port_name_parse(p, port, end, ret);
	if (!port)
		return end ? parse_fail(p, "endPort without port") : 0;
	r = parse_port(p, port, &ret->port);
	if (!r && end)
		r = parse_port(p, end, &ret->end);
	if (r)
		return r;
	if (!end)
		ret->end = ret->port;
	if (ret->end < ret->port)
		return parse_fail(p, "endPort %u is below port %u", ret->end,
		                  ret->port);
	ret->has_port = true;
	return 0;
}

static int rule_peer_parse(struct parse *p, json_t *item, void *user)
{
	struct rule *rule = user;

	return peer_parse(p, item, &rule->peer[rule->n_peers++]);
}

static int peers_parse(struct parse *p, json_t *list, const char *field,
                       struct rule *ret)
{
	int r;

	ret->peer = arena_array(p->arena, json_array_size(list),
	                        sizeof(*ret->peer));
	if (!ret->peer)
		return parse_nomem(p);
	r = parse_each(p, field, list, rule_peer_parse, ret);
	ret->any_peer = !ret->n_peers;
	return r;
}

static int rule_port_parse(struct parse *p, json_t *item, void *user)
{
	struct rule *rule = user;

	return port_spec_parse(p, item, &rule->port[rule->n_ports++]);
}

static int port_specs_parse(struct parse *p, json_t *list, struct rule *ret)
{
	int r;

	ret->port = arena_array(p->arena, json_array_size(list),
	                        sizeof(*ret->port));
	if (!ret->port)
		return parse_nomem(p);
	r = parse_each(p, "ports", list, rule_port_parse, ret);
	ret->any_port = !ret->n_ports;
	return r;
}

/* A null rule is an empty one to the API; here it reads as a slip. */
static int rule_parse(struct parse *p, json_t *object, enum dir dir,
                      struct rule *ret)
{
	const char *peers_field = dir == DIR_INGRESS ? "from" : "to";
	const char *const known[] = {peers_field, "ports", NULL};
	json_t *peers = NULL, *ports = NULL;
	int r;

	if (!json_is_object(object))
		return parse_fail(p, "not a mapping");
	r = parse_known(p, object, known);
	if (!r)
		r = parse_list(p, object, peers_field, &peers);
	if (!r)
		r = parse_list(p, object, "ports", &ports);
	if (!r)
		r = peers_parse(p, peers, peers_field, ret);
	if (!r)
		r = port_specs_parse(p, ports, ret);
	return r;
}

static int rules_parse(struct parse *p, json_t *list, enum dir dir,
                       struct netpol *ret)
{
	const char *field = dir == DIR_INGRESS ? "ingress" : "egress";
	size_t mark = p->depth, n = json_array_size(list);
	struct rule *rule = arena_array(p->arena, n, sizeof(*rule));
	json_t *item;
	size_t i;

	if (!rule)
		return parse_nomem(p);
	json_array_foreach(list, i, item)
	{
		int r;

		parse_enter_item(p, field, i);
		r = rule_parse(p, item, dir, &rule[i]);
		if (r && r != -EINVAL)
			return r;
		if (r) {
			rule[i] = (struct rule){.unreadable = true};
			parse_conclude(p, "that rule allows nothing");
		}
		parse_leave(p, mark);
	}
	ret->rule[dir] = rule;
	ret->n_rules[dir] = n;
	return 0;
}

/* Absent or empty: Ingress, and Egress when there are egress rules. */
static int types_parse(struct parse *p, json_t *list, bool has_egress,
                       struct netpol *ret)
{
	json_t *item;
	size_t i;

	if (!json_array_size(list)) {
		ret->applies[DIR_INGRESS] = true;
		ret->applies[DIR_EGRESS] = has_egress;
		return 0;
	}
	json_array_foreach(list, i, item)
	{
		const char *type = json_string_value(item);

		if (type && !strcmp(type, "Ingress"))
			ret->applies[DIR_INGRESS] = true;
		else if (type && !strcmp(type, "Egress"))
			ret->applies[DIR_EGRESS] = true;
		else
			return parse_fail(p,
			                  "policyTypes[%zu] is not Ingress "
			                  "or Egress",
			                  i);
	}
	return 0;
}

/* All of spec but the selector.  -EINVAL: read what could be read. */
static int spec_parse(struct parse *p, json_t *spec, struct netpol *ret)
{
	static const char *const known[] = {"podSelector", "policyTypes",
	                                    "ingress", "egress", NULL};
	json_t *types = NULL, *ingress = NULL, *egress = NULL;
	int r = parse_known(p, spec, known);

	if (!r)
		r = parse_list(p, spec, "policyTypes", &types);
	if (!r)
		r = parse_list(p, spec, "ingress", &ingress);
	if (!r)
		r = parse_list(p, spec, "egress", &egress);
	if (!r)
		r = types_parse(p, types, json_array_size(egress), ret);
	if (!r)
		r = rules_parse(p, ingress, DIR_INGRESS, ret);
	if (!r)
		r = rules_parse(p, egress, DIR_EGRESS, ret);
	return r;
}

int netpol_parse(struct parse *p, json_t *doc, struct netpol *ret)
{
	json_t *spec, *selector = NULL;
	size_t mark, inner;
	int r = parse_object(p, doc, "spec", &spec);

	mark = parse_enter(p, "spec");
	if (!r)
		r = parse_object(p, spec, "podSelector", &selector);
	inner = parse_enter(p, "podSelector");
	if (!r)
		r = selector_parse(p, selector, &ret->pod_selector);
	if (r)
		return r;
	parse_leave(p, inner);
	r = spec_parse(p, spec, ret);
	parse_leave(p, mark);
	if (r != -EINVAL)
		return r;
	parse_conclude(p, "what it selects is isolated both ways, and none of "
	                  "its rules allows anything");
	for (int dir = 0; dir < DIR__COUNT; dir++) {
		ret->applies[dir] = true;
		ret->rule[dir] = NULL;
		ret->n_rules[dir] = 0;
	}
	return 0;
}
