// SPDX-License-Identifier: Apache-2.0
/* ipcache.c - stile ipcache list: which identity each address has. */
#include <stdio.h>

#include "cli/cli.h"
#include "lib/util.h"

static const struct column columns[] = {
	{.title = "ADDRESS"},
	{.title = "NAME", .shrink = true},
	{.title = "IDENTITY", .shrink = true},
	{.title = "ID", .right = true},
};

static void row(struct table *table, const json_t *item)
{
	char id[24];
	const struct cell cells[] = {
		{.text = get_text(item, "address")},
		{.text = get_bool(item, "node") ? "host"
	                                        : get_text(item, "name")},
		{.text = get_text(item, "identity_name")},
		{.text = id},
	};

	snprintf(id, sizeof(id), "%lld", get_number(item, "identity"));
	table_row(table, cells);
}

int cmd_ipcache_list(const struct cli *cli, const struct args *args)
{
	(void)args;
	return items_stream(cli, request_new("ipcache.list"), columns,
	                    ARRAY_SIZE(columns), row);
}
