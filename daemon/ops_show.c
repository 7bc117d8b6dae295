// SPDX-License-Identifier: Apache-2.0
/* ops_show.c - the operations that show what is: the table, and short ones. */
#include "daemon/ops_show.h"

#include <string.h>

#include "cni/wire.h"
#include "daemon/daemon.h"
#include "daemon/names.h"
#include "lib/addr.h"

json_t *show_items(json_t *list)
{
	return json_pack("{s:o}", "items", list);
}

json_t *show_error(const char *text)
{
	return wire_error(WIRE_OTHER, text);
}

static const struct compiled *in_force(const struct daemon *daemon)
{
	return daemon->reconcile ? reconcile_compiled(daemon->reconcile) : NULL;
}

/* ---- identities ---------------------------------------------------------- */

static int number_compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a;
	const uint32_t y = ((const struct identity *)b)->number;

	return (x > y) - (x < y);
}

/* How many addresses bear each identity, by its place in @compiled. */
static void count_addresses(const struct compiled *compiled, unsigned *count)
{
	for (size_t i = 0; i < compiled->n_addrs; i++) {
		const struct identity *found =
			bsearch(&compiled->addr[i].identity, compiled->identity,
		                compiled->n_identities,
		                sizeof(*compiled->identity), number_compare);

		if (found)
			count[found - compiled->identity]++;
	}
}

static const char *family_word(uint32_t number)
{
	switch (number >> ID_CLASS_SHIFT) {
	case CLASS_POD4:
	case CLASS_NODE4:
	case CLASS_WORLD4:
		return "IPv4";
	default:
		return "IPv6";
	}
}

static json_t *show_identities(struct daemon *daemon, const json_t *request)
{
	const struct compiled *compiled = in_force(daemon);
	_cleanup_(free_p) unsigned *count = NULL;
	json_t *list = json_array();

	(void)request;
	if (!compiled || !compiled->n_identities)
		return show_items(list);
	count = calloc(compiled->n_identities, sizeof(*count));
	if (count)
		count_addresses(compiled, count);
	for (size_t i = 0; i < compiled->n_identities; i++) {
		const struct identity *id = &compiled->identity[i];

		(void)json_array_append_new(
			list,
			json_pack("{s:I, s:s, s:s, s:s, s:i}", "id",
		                  (json_int_t)id->number, "family",
		                  family_word(id->number), "name",
		                  identity_name(compiled, id->number), "key",
		                  id->key ? id->key : "", "addresses",
		                  count ? (int)count[i] : 0));
	}
	return show_items(list);
}

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

json_t *show_nodes(struct daemon *daemon, const json_t *request)
{
	const struct node *node = &daemon->node;
	json_t *addresses = json_array(), *uplinks = json_array(), *own;
	char text[ADDR_TEXT_MAX];

	(void)request;
	for (size_t i = 0; i < node->n_addrs; i++)
		if (node->addr[i].local)
			(void)json_array_append_new(
				addresses, json_string(addr_format(
						   &node->addr[i].addr, text)));
	for (int i = 0; i < node->n_uplinks; i++)
		(void)json_array_append_new(uplinks, uplink_json(node, i));
	own = json_pack("{s:s, s:b, s:o, s:o, s:o, s:i, s:I}", "name",
	                daemon->config.node_name, "local", 1, "addresses",
	                addresses, "uplinks", uplinks, "pod_cidrs",
	                pod_cidrs_json(daemon), "pod_mtu", (int)node->pod_mtu,
	                "pod_gso_max_size", (json_int_t)node->pod_gso_max);
	return show_items(json_pack("[o]", own));
}

const struct server_op show_ops[] = {
	{.name = "status", .reply = show_status},
	{.name = "endpoint.list", .reply = show_endpoints},
	{.name = "endpoint.get", .reply = show_endpoint},
	{.name = "identity.list", .reply = show_identities},
	{.name = "ipcache.list", .stream = show_ipcache},
	{.name = "node.list", .reply = show_nodes},
	{.name = "map.list", .stream = show_maps},
	{.name = "map.dump", .stream = show_map},
	{.name = "program.list", .reply = show_programs},
	{.name = NULL},
};
