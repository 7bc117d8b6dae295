// SPDX-License-Identifier: Apache-2.0
/* explain.c - see explain.h. */
#include "daemon/explain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/names.h"
#include "lib/addr.h"

static bool pod_has(const struct pod *pod, const struct addr *addr)
{
	for (size_t i = 0; i < pod->n_addrs; i++)
		if (!addr_compare(&pod->addr[i], addr))
			return true;
	return false;
}

static bool netpol_selects(const struct netpol *netpol, const struct pod *pod,
                           enum dir dir)
{
	return netpol->applies[dir] && pod->ns && !pod->host_network &&
	       !strcmp(netpol->ns, pod->ns) &&
	       selector_match(&netpol->pod_selector, &pod->labels);
}

int explain_isolating(const struct question_side *q, struct arena *arena,
                      struct explanation *ret)
{
	const struct world *world = q->world;
	size_t n = 0;

	*ret = (struct explanation){};
	for (size_t i = 0; i < world->n_netpols; i++)
		n += netpol_selects(world->netpol[i], q->subject, q->dir);
	ret->isolating = arena_array(arena, n, sizeof(*ret->isolating));
	if (!ret->isolating)
		return -ENOMEM;
	for (size_t i = 0; i < world->n_netpols; i++)
		if (netpol_selects(world->netpol[i], q->subject, q->dir))
			ret->isolating[ret->n_isolating++] = world->netpol[i];
	return 0;
}

static bool ends_have(const struct question_side *q, const struct pod *pod)
{
	return pod_has(pod, &q->self) || pod_has(pod, &q->peer);
}

static bool ends_are(const struct question_side *q, const struct addr *addr)
{
	return !addr_compare(addr, &q->self) || !addr_compare(addr, &q->peer);
}

static bool pods_live_in(const struct world *world, const char *ns)
{
	for (size_t i = 0; i < world->n_pods; i++)
		if (world->pod[i]->ns && !strcmp(world->pod[i]->ns, ns))
			return true;
	return false;
}

/*
 * The world without what can not matter for this question, so that asking it
 * once a rule stays cheap: pods and nodes at the two addresses, and the
 * namespaces of those pods.
 */
static int world_shrink(const struct question_side *q, struct arena *arena,
                        struct world *ret)
{
	const struct world *all = q->world;
	const struct pod **pod = arena_array(arena, all->n_pods, sizeof(*pod));
	const struct namespace **ns =
		arena_array(arena, all->n_ns, sizeof(*ns));
	struct node_addr *node =
		arena_array(arena, all->n_nodes, sizeof(*node));

	if (!pod || !ns || !node)
		return -ENOMEM;
	*ret = (struct world){.pod = pod, .ns = ns, .node = node};
	for (size_t i = 0; i < all->n_pods; i++)
		if (ends_have(q, all->pod[i]))
			pod[ret->n_pods++] = all->pod[i];
	for (size_t i = 0; i < all->n_ns; i++)
		if (pods_live_in(ret, all->ns[i]->name))
			ns[ret->n_ns++] = all->ns[i];
	for (size_t i = 0; i < all->n_nodes; i++)
		if (ends_are(q, &all->node[i].addr))
			node[ret->n_nodes++] = all->node[i];
	return 0;
}

/* What policy_eval() says when @rule is all there is; NULL: when nothing is. */
static bool rule_allows(const struct question_side *q,
                        const struct world *world, const struct netpol *owner,
                        const struct rule *rule)
{
	struct netpol alone = *owner;
	const struct netpol *list = &alone;
	struct world with = *world;
	struct rule copy = rule ? *rule : (struct rule){};

	alone.rule[q->dir] = &copy;
	alone.n_rules[q->dir] = rule != NULL;
	with.netpol = &list;
	with.n_netpols = 1;
	return policy_eval(&with, q->subject, q->dir, &q->peer, q->proto,
	                   q->port)
	        .allowed;
}

static struct rule rule_any_port(const struct rule *rule)
{
	struct rule copy = *rule;

	copy.any_port = true;
	copy.n_ports = 0;
	return copy;
}

static bool proto_fits(const struct rule *rule, uint8_t proto)
{
	if (rule->any_port)
		return true;
	for (size_t i = 0; i < rule->n_ports; i++)
		if (rule->port[i].proto == proto)
			return true;
	return false;
}

/* Does some port of the rule fit, were its protocol the packet's? */
static bool port_fits(const struct question_side *q, const struct world *world,
                      const struct netpol *owner, const struct rule *rule)
{
	struct rule copy = *rule;
	struct port_spec spec;

	copy.any_peer = true;
	copy.n_peers = 0;
	if (rule->any_port || !proto_with_ports(q->proto))
		return true;
	copy.port = &spec;
	copy.n_ports = 1;
	for (size_t i = 0; i < rule->n_ports; i++) {
		spec = rule->port[i];
		spec.proto = q->proto;
		if (rule_allows(q, world, owner, &copy))
			return true;
	}
	return false;
}

static struct rule_view view_make(const struct question_side *q,
                                  const struct world *world,
                                  const struct netpol *owner, size_t index)
{
	const struct rule *rule = &owner->rule[q->dir][index];
	const struct rule any_port = rule_any_port(rule);

	return (struct rule_view){
		.netpol = owner,
		.index = index,
		.peer = rule_allows(q, world, owner, &any_port),
		.proto = proto_fits(rule, q->proto),
		.port = port_fits(q, world, owner, rule),
		.allows = rule_allows(q, world, owner, rule),
	};
}

static int fails(const struct rule_view *view)
{
	return !view->peer + !view->proto + !view->port;
}

static const struct rule_view *nearest(const struct explanation *ex,
                                       enum dir dir)
{
	const struct rule_view *best = NULL;

	for (size_t i = 0; i < ex->n_rules; i++) {
		const struct rule_view *view = &ex->rule[i];

		if (view->netpol->rule[dir][view->index].unreadable)
			continue;
		if (!best || fails(view) < fails(best))
			best = view;
	}
	return best;
}

int explain(const struct question_side *q, struct arena *arena,
            struct explanation *ret)
{
	struct world small;
	size_t total = 0;
	int r;

	r = explain_isolating(q, arena, ret);
	if (!r)
		r = world_shrink(q, arena, &small);
	if (r)
		return r;
	ret->verdict = policy_eval(q->world, q->subject, q->dir, &q->peer,
	                           q->proto, q->port);
	if (ret->n_isolating)
		ret->always = rule_allows(q, &small, ret->isolating[0], NULL);
	if (ret->always)
		return 0;
	for (size_t i = 0; i < ret->n_isolating; i++)
		total += ret->isolating[i]->n_rules[q->dir];
	if (total > EXPLAIN_RULES_MAX) {
		ret->n_left_out = total - EXPLAIN_RULES_MAX;
		total = EXPLAIN_RULES_MAX;
	}
	ret->rule = arena_array(arena, total, sizeof(*ret->rule));
	if (!ret->rule)
		return -ENOMEM;
	for (size_t i = 0; i < ret->n_isolating; i++) {
		const struct netpol *owner = ret->isolating[i];

		for (size_t j = 0; j < owner->n_rules[q->dir]; j++)
			if (ret->n_rules < total)
				ret->rule[ret->n_rules++] =
					view_make(q, &small, owner, j);
	}
	if (!ret->verdict.allowed)
		ret->nearest = nearest(ret, q->dir);
	return 0;
}

const char *rule_view_differs(const struct rule_view *view,
                              char buf[DIFFERS_TEXT_MAX])
{
	const struct {
		const char *word;
		bool fits;
	} parts[] = {
		{"peer",     view->peer },
		{"protocol", view->proto},
		{"port",     view->port },
	};
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (!parts[i].fits)
			n += (size_t)snprintf(
				buf + n, DIFFERS_TEXT_MAX - n, "%s%s",
				n ? " and " : "differs in ", parts[i].word);
	return buf;
}
