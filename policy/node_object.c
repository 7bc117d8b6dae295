// SPDX-License-Identifier: Apache-2.0
/* node_object.c - what of a Node manifest matters: addresses, pod CIDRs. */
#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/parse.h"

/* ---- status.addresses --------------------------------------------------- */

/* Types that are names, or that we do not know, are no business of ours. */
static int address_parse(struct parse *p, json_t *item, void *user)
{
	struct node_object *node = user;
	const char *type, *text;
	int r;

	if (!json_is_object(item))
		return parse_fail(p, "not a mapping");
	r = parse_string(p, item, "type", &type);
	if (!r)
		r = parse_string(p, item, "address", &text);
	if (r || !type)
		return r;
	if (!strcmp(type, "InternalIP"))
		return parse_addr(p, text, node->internal, &node->n_internal);
	if (!strcmp(type, "ExternalIP"))
		return parse_addr(p, text, node->external, &node->n_external);
	return 0;
}

static int status_parse(struct parse *p, json_t *status,
                        struct node_object *node)
{
	json_t *list;
	int r = parse_list(p, status, "addresses", &list);

	if (r)
		return r;
	node->internal = arena_array(p->arena, json_array_size(list),
	                             sizeof(*node->internal));
	node->external = arena_array(p->arena, json_array_size(list),
	                             sizeof(*node->external));
	if (!node->internal || !node->external)
		return parse_nomem(p);
	return parse_each(p, "addresses", list, address_parse, node);
}

/* ---- spec.podCIDRs ------------------------------------------------------ */

static int cidr_add(struct parse *p, const char *text, struct node_object *node)
{
	struct prefix prefix;

	if (!text || !*text)
		return 0;
	if (prefix_parse(text, &prefix))
		return parse_fail(p, "'%.63s' is not a CIDR", text);
	for (size_t i = 0; i < node->n_cidrs; i++)
		if (node->cidr[i].bits == prefix.bits &&
		    !addr_compare(&node->cidr[i].addr, &prefix.addr))
			return 0;
	node->cidr[node->n_cidrs++] = prefix;
	return 0;
}

static int cidr_parse(struct parse *p, json_t *item, void *user)
{
	const char *text;
	int r = parse_text(p, item, &text);

	return r ? r : cidr_add(p, text, user);
}

/* podCIDRs holds podCIDR too; manifests of old have the latter alone. */
static int spec_parse(struct parse *p, json_t *spec, struct node_object *node)
{
	const char *one;
	json_t *list;
	int r = parse_list(p, spec, "podCIDRs", &list);

	if (r)
		return r;
	node->cidr = arena_array(p->arena, json_array_size(list) + 1,
	                         sizeof(*node->cidr));
	if (!node->cidr)
		return parse_nomem(p);
	r = parse_each(p, "podCIDRs", list, cidr_parse, node);
	if (r)
		return r;
	r = parse_string(p, spec, "podCIDR", &one);
	return r ? r : cidr_add(p, one, node);
}

int node_parse(struct parse *p, json_t *doc, struct node_object *ret)
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
