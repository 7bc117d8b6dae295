// SPDX-License-Identifier: Apache-2.0
/* ops_show.c - the operations that show what is: the table, and short ones. */
#include "daemon/ops_show.h"

#include <string.h>

#include "cni/wire.h"
#include "daemon/daemon.h"
#include "daemon/names.h"

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
