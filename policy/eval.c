// SPDX-License-Identifier: Apache-2.0
/*
 * eval.c - the specification made executable: slow and obvious.
 *
 * Written from the text of the NetworkPolicy API (comments in
 * k8s.io/api/networking/v1/types.go; kubernetes.io, "Network Policies"), and
 * from nothing else.  It shares no code with the compiler but the meaning of a
 * selector and of a CIDR.
 */
#include <string.h>

#include "lib/addr.h"
#include "policy/policy.h"

#define NS_NAME_LABEL "kubernetes.io/metadata.name"

/* A packet as one of its ends sees it. */
struct packet {
	const struct pod *subject;
	enum dir dir;
	const struct addr *peer;
	const struct pod *peer_pod; /* whose address @peer is, or NULL */
	uint8_t proto;
	uint16_t port;
};

static bool pod_claims(const struct pod *pod, const struct addr *addr)
{
	if (pod->finished)
		return false;
	for (size_t i = 0; i < pod->n_addrs; i++)
		if (!addr_compare(&pod->addr[i], addr))
			return true;
	return false;
}

/*
 * Whose address is it?  A node's is never a pod's.  Of several pods that claim
 * one address the one attached here has it, for we gave it; otherwise it is
 * nobody's, and no selector matches what is nobody's.  A pod on its host's
 * network claims it for the node.
 */
static const struct pod *pod_at(const struct world *world,
                                const struct addr *addr)
{
	const struct pod *attached = NULL, *other = NULL;
	size_t n_attached = 0, n_other = 0;
	bool host = false;

	for (size_t i = 0; i < world->n_nodes; i++)
		if (!addr_compare(&world->node[i].addr, addr))
			return NULL;
	for (size_t i = 0; i < world->n_pods; i++) {
		const struct pod *pod = world->pod[i];

		if (!pod_claims(pod, addr))
			continue;
		if (pod->host_network) {
			host = true;
		} else if (pod->endpoint) {
			attached = pod;
			n_attached++;
		} else {
			other = pod;
			n_other++;
		}
	}
	if (n_attached)
		return n_attached == 1 ? attached : NULL;
	return !host && n_other == 1 ? other : NULL;
}

/* The namespace's selector; one without a manifest bears its name alone. */
static bool namespace_matches(const struct world *world, const char *name,
                              const struct selector *sel)
{
	struct label name_label = {NS_NAME_LABEL, name};
	struct labels labels = {&name_label, 1};

	for (size_t i = 0; i < world->n_ns; i++)
		if (!strcmp(world->ns[i]->name, name))
			labels = world->ns[i]->labels;
	return selector_match(sel, &labels);
}

static bool block_matches(const struct peer *peer, const struct addr *addr)
{
	if (!prefix_contains(&peer->block, addr))
		return false;
	for (size_t i = 0; i < peer->n_except; i++)
		if (prefix_contains(&peer->except[i], addr))
			return false;
	return true;
}

/* podSelector alone: in the policy's namespace.  Both given: both must hold. */
static bool peer_matches(const struct world *world, const struct netpol *policy,
                         const struct peer *peer, const struct packet *packet)
{
	const struct pod *pod = packet->peer_pod;

	if (peer->is_block)
		return block_matches(peer, packet->peer);
	if (!pod || !pod->ns)
		return false;
	if (peer->has_ns_selector) {
		if (!namespace_matches(world, pod->ns, &peer->ns_selector))
			return false;
	} else if (strcmp(pod->ns, policy->ns) != 0) {
		return false;
	}
	return !peer->has_pod_selector ||
	       selector_match(&peer->pod_selector, &pod->labels);
}

/* The name is looked up on the pod that the packet goes to. */
static bool named_port_matches(const struct port_spec *spec,
                               const struct packet *packet)
{
	const struct pod *pod =
		packet->dir == DIR_INGRESS ? packet->subject : packet->peer_pod;

	if (!pod || !pod->ns)
		return false;
	for (size_t i = 0; i < pod->n_ports; i++)
		if (!strcmp(pod->port[i].name, spec->name) &&
		    pod->port[i].proto == spec->proto &&
		    pod->port[i].port == packet->port)
			return true;
	return false;
}

static bool port_matches(const struct port_spec *spec,
                         const struct packet *packet)
{
	if (packet->proto != spec->proto)
		return false;
	if (spec->name)
		return named_port_matches(spec, packet);
	if (!spec->has_port)
		return true;
	return packet->port >= spec->port && packet->port <= spec->end;
}

static bool rule_allows(const struct world *world, const struct netpol *policy,
                        const struct rule *rule, const struct packet *packet)
{
	bool peer = rule->any_peer, port = rule->any_port;

	if (rule->unreadable)
		return false;
	for (size_t i = 0; i < rule->n_peers && !peer; i++)
		peer = peer_matches(world, policy, &rule->peer[i], packet);
	for (size_t i = 0; i < rule->n_ports && !port; i++)
		port = port_matches(&rule->port[i], packet);
	return peer && port;
}

/* Policies select pods of their namespace, never those on the host network. */
static bool policy_selects(const struct netpol *policy, const struct pod *pod)
{
	return pod->ns && !pod->host_network && !strcmp(policy->ns, pod->ns) &&
	       selector_match(&policy->pod_selector, &pod->labels);
}

/*
 * "Traffic to and from the node where a Pod is running is always allowed";
 * "a Pod cannot block access to itself".  The node that we know is the one of
 * the pods attached here.
 */
static bool always_allowed(const struct world *world,
                           const struct packet *packet)
{
	if (packet->peer_pod == packet->subject)
		return true;
	for (size_t i = 0; i < world->n_nodes; i++)
		if (world->node[i].local && packet->subject->endpoint &&
		    !addr_compare(&world->node[i].addr, packet->peer))
			return true;
	return false;
}

struct verdict policy_eval(const struct world *world, const struct pod *subject,
                           enum dir dir, const struct addr *peer, uint8_t proto,
                           uint16_t port)
{
	struct packet packet = {subject, dir, peer, pod_at(world, peer),
	                        proto,   port};
	struct verdict verdict = {};

	for (size_t i = 0; i < world->n_netpols; i++) {
		const struct netpol *policy = world->netpol[i];

		if (!policy->applies[dir] || !policy_selects(policy, subject))
			continue;
		verdict.isolated = true;
		for (size_t r = 0; r < policy->n_rules[dir]; r++) {
			if (verdict.allowed ||
			    !rule_allows(world, policy, &policy->rule[dir][r],
			                 &packet))
				continue;
			verdict.allowed = true;
			verdict.netpol = policy;
			verdict.rule = r;
		}
	}
	if (!verdict.isolated || always_allowed(world, &packet))
		verdict.allowed = true;
	return verdict;
}
