// SPDX-License-Identifier: Apache-2.0
/* program.c - stile program list: the datapath's programs. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/names.h"
#include "lib/util.h"

static const struct column columns[] = {
	{.title = "PROGRAM"},
	{.title = "DEVICES", .right = true},
	{.title = "VERIFIED", .right = true},
	{.title = "CODE", .right = true},
	{.title = "RUNS", .right = true},
	{.title = "NS EACH", .right = true},
	{.title = "TAG"},
	{.title = "ID", .right = true},
};

static void row(struct table *table, const json_t *item)
{
	const json_int_t runs = get_number(item, "runs");
	char devices[24], verified[24], code[QUANTITY_MAX], ran[24], each[24];
	char id[24];
	const struct cell cells[] = {
		{.text = get_text(item, "name")},
		{.text = devices},
		{.text = verified},
		{.text = bytes_text((uint64_t)get_number(item, "jited_bytes"),
	                            code)},
		{.text = ran},
		{.text = each},
		{.text = get_text(item, "tag")},
		{.text = id},
	};

	snprintf(devices, sizeof(devices), "%lld", get_number(item, "devices"));
	snprintf(verified, sizeof(verified), "%lld",
	         get_number(item, "verified_instructions"));
	ran[0] = each[0] = '\0'; /* counted only with bpf_stats_enabled */
	if (runs) {
		snprintf(ran, sizeof(ran), "%lld", runs);
		snprintf(each, sizeof(each), "%lld",
		         get_number(item, "run_ns") / runs);
	}
	snprintf(id, sizeof(id), "%lld", get_number(item, "id"));
	table_row(table, cells);
}

int cmd_program_list(const struct cli *cli, const struct args *args)
{
	(void)args;
	return items_ask(cli, request_new("program.list"), columns,
	                 ARRAY_SIZE(columns), row);
}
