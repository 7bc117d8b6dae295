// SPDX-License-Identifier: Apache-2.0
/* ops_node.c - this node, and the others that it knows. */
#include <stdio.h>

#include "daemon/daemon.h"
#include "daemon/ops_show.h"
#include "lib/addr.h"

/* ---- this node ----------------------------------------------------------- */

static json_t *uplink_json(const struct node *node, int i)
{
	json_t *addresses = json_array();
	char text[ADDR_TEXT_MAX];

	for (int f = 0; f < FAMILY__COUNT; f++)
		if (!addr_is_zero(&node->uplink[i].addr[f]))
			(void)json_array_append_new(
				addresses,
				json_string(addr_format(
					&node->uplink[i].addr[f], text)));
	return json_pack("{s:s, s:i, s:i, s:I, s:b, s:o}", "name",
	                 node->uplink[i].name, "ifindex",
	                 node->uplink[i].ifindex, "mtu",
	                 (int)node->uplink[i].mtu, "tso_max_size",
	                 (json_int_t)node->uplink[i].tso_max, "attached",
	                 (int)node->uplink[i].attached, "addresses", addresses);
}

static json_t *pod_cidrs_json(const struct daemon *daemon)
{
	json_t *list = json_array();
	char addr[ADDR_TEXT_MAX], text[64];

	for (int f = 0; f < FAMILY__COUNT; f++) {
		const struct ipam *ipam = &daemon->ipam[f];

		if (!ipam->enabled)
			continue;
		snprintf(text, sizeof(text), "%s/%u",
		         addr_format(&ipam->cidr.addr, addr),
		         f == FAMILY_V4 ? ipam->cidr.bits - 96u
		                        : ipam->cidr.bits);
		(void)json_array_append_new(
			list, json_pack("{s:s, s:I, s:I}", "cidr", text, "used",
		                        (json_int_t)ipam->used, "size",
		                        (json_int_t)ipam->size));
	}
	return list;
}

static json_t *routing_json(const struct daemon *daemon)
{
	const struct node_tunnel *tunnel = &daemon->node.tunnel;

	if (daemon->config.routing == ROUTING_NATIVE)
		return json_pack("{s:s}", "mode", "native");
	return json_pack("{s:s, s:s, s:i, s:i, s:b}", "mode", "tunnel",
	                 "device", TUNNEL_LINK, "port",
	                 (int)daemon->config.tunnel_port, "mtu",
	                 (int)tunnel->mtu, "attached", (int)tunnel->attached);
}

/* ---- the others ---------------------------------------------------------- */

/* How its pods are reached. */
static const char *peer_via(const struct daemon *daemon,
                            const struct peer_node *peer)
{
	if (daemon->config.routing == ROUTING_TUNNEL)
		return addr_is_zero(&peer->underlay) ? "nothing" : "tunnel";
	return peer->routed ? "route" : "fabric";
}

static json_t *peer_json(const struct daemon *daemon,
                         const struct peer_node *peer)
{
	json_t *addresses = json_array(), *cidrs = json_array();
	char addr[ADDR_TEXT_MAX], text[64];

	for (size_t i = 0; i < peer->n_addrs; i++)
		(void)json_array_append_new(
			addresses,
			json_string(addr_format(&peer->addr[i], addr)));
	for (size_t i = 0; i < peer->n_cidrs; i++) {
		const struct prefix *cidr = &peer->cidr[i];
		const bool v4 = addr_family(&cidr->addr) == FAMILY_V4;

		snprintf(text, sizeof(text), "%s/%d",
		         addr_format(&cidr->addr, addr),
		         cidr->bits - (v4 ? 96 : 0));
		(void)json_array_append_new(cidrs,
		                            json_pack("{s:s}", "cidr", text));
	}
	return json_pack("{s:s, s:b, s:i, s:o, s:o, s:s}", "name", peer->name,
	                 "local", 0, "number", (int)peer->number, "addresses",
	                 addresses, "pod_cidrs", cidrs, "via",
	                 peer_via(daemon, peer));
}

json_t *show_nodes(struct daemon *daemon, const json_t *request)
{
	const struct node *node = &daemon->node;
	json_t *addresses = json_array(), *uplinks = json_array(), *own, *list;
	char text[ADDR_TEXT_MAX];

	(void)request;
	for (size_t i = 0; i < node->n_addrs; i++)
		if (node->addr[i].local)
			(void)json_array_append_new(
				addresses, json_string(addr_format(
						   &node->addr[i].addr, text)));
	for (int i = 0; i < node->n_uplinks; i++)
		(void)json_array_append_new(uplinks, uplink_json(node, i));
	own = json_pack("{s:s, s:b, s:o, s:o, s:o, s:i, s:I, s:o}", "name",
	                daemon->config.node_name, "local", 1, "addresses",
	                addresses, "uplinks", uplinks, "pod_cidrs",
	                pod_cidrs_json(daemon), "pod_mtu", (int)node->pod_mtu,
	                "pod_gso_max_size", (json_int_t)node->pod_gso_max,
	                "routing", routing_json(daemon));
	list = json_pack("[o]", own);
	for (size_t i = 0; i < daemon->peers.n; i++)
		(void)json_array_append_new(
			list, peer_json(daemon, &daemon->peers.peer[i]));
	return show_items(list);
}
