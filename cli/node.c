// SPDX-License-Identifier: Apache-2.0
/* node.c - stile node list: this node, then the others that it knows. */
#include <stdio.h>

#include "cli/cli.h"
#include "lib/util.h"

#define CELL_MAX 600

static const struct column columns[] = {
	{.title = "NODE",       .shrink = true},
	{.title = "NO.",        .right = true },
	{.title = "REACHED BY", .shrink = true},
	{.title = "POD CIDRS",  .shrink = true},
	{.title = "ADDRESSES",  .wrap = true  },
};

/* One key of each element, or the elements themselves, with ", " between. */
static const char *join(const json_t *list, const char *key, char *buf,
                        size_t size)
{
	const json_t *item;
	size_t i, used = 0;

	buf[0] = '\0';
	json_array_foreach(list, i, item)
	{
		const char *text =
			key ? get_text(item, key) : json_string_value(item);

		if (used < size)
			used += (size_t)snprintf(buf + used, size - used,
			                         "%s%s", i ? ", " : "", text);
	}
	return buf;
}

static void row(struct table *table, const json_t *item)
{
	char uplinks[CELL_MAX], cidrs[CELL_MAX], addresses[4 * CELL_MAX];
	char number[24];
	const struct cell cells[] = {
		{.text = get_text(item, "name")},
		{.text = get_bool(item, "local") ? "" : number},
		{.text = get_bool(item, "local")
	                         ? join(json_object_get(item, "uplinks"),
	                                "name", uplinks, sizeof(uplinks))
	                         : get_text(item, "via")},
		{.text = join(json_object_get(item, "pod_cidrs"), "cidr", cidrs,
	                      sizeof(cidrs))},
		{.text = join(json_object_get(item, "addresses"), NULL,
	                      addresses, sizeof(addresses))},
	};

	snprintf(number, sizeof(number), "%lld", get_number(item, "number"));
	table_row(table, cells);
}

int cmd_node_list(const struct cli *cli, const struct args *args)
{
	(void)args;
	return items_ask(cli, request_new("node.list"), columns,
	                 ARRAY_SIZE(columns), row);
}
