// SPDX-License-Identifier: Apache-2.0
/* identity.c - stile identity list: what policy can tell apart. */
#include <stdio.h>

#include "cli/cli.h"
#include "lib/util.h"

static const struct column columns[] = {
	{.title = "IDENTITY", .shrink = true},
	{.title = "FAMILY"},
	{.title = "ADDRESSES", .right = true},
	{.title = "ID", .right = true},
};

static void row(struct table *table, const json_t *item)
{
	char addresses[24], id[24];
	const struct cell cells[] = {
		{.text = get_text(item, "name")},
		{.text = get_text(item, "family")},
		{.text = addresses},
		{.text = id},
	};

	snprintf(addresses, sizeof(addresses), "%lld",
	         get_number(item, "addresses"));
	snprintf(id, sizeof(id), "%lld", get_number(item, "id"));
	table_row(table, cells);
}

int cmd_identity_list(const struct cli *cli, const struct args *args)
{
	(void)args;
	return items_ask(cli, request_new("identity.list"), columns,
	                 ARRAY_SIZE(columns), row);
}
