// SPDX-License-Identifier: Apache-2.0
/* map.c - stile map list|dump: the datapath's maps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/names.h"
#include "lib/util.h"

static const struct column columns[] = {
	{.title = "MAP"},
	{.title = "TYPE"},
	{.title = "ENTRIES", .right = true},
	{.title = "ROOM", .right = true},
	{.title = "KEY", .right = true},
	{.title = "VALUE", .right = true},
	{.title = "MEMORY", .right = true},
	{.title = "ID", .right = true},
};

static void row(struct table *table, const json_t *item)
{
	static const char *const keys[] = {"entries", "max_entries",
	                                   "key_bytes", "value_bytes"};
	char number[4][24], memory[QUANTITY_MAX], id[24];
	struct cell cells[] = {
		{.text = get_text(item, "name")},
		{.text = get_text(item, "type")},
		{.text = number[0]},
		{.text = number[1]},
		{.text = number[2]},
		{.text = number[3]},
		{.text = bytes_text((uint64_t)get_number(item, "memory_bytes"),
	                            memory)},
		{.text = id},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		snprintf(number[i], sizeof(number[i]), "%lld",
		         get_number(item, keys[i]));
	snprintf(id, sizeof(id), "%lld", get_number(item, "id"));
	table_row(table, cells);
}

int cmd_map_list(const struct cli *cli, const struct args *args)
{
	(void)args;
	return items_stream(cli, request_new("map.list"), columns,
	                    ARRAY_SIZE(columns), row);
}

/* ---- dump ---------------------------------------------------------------- */

/* The columns of a dump are the keys of its first element. */
struct dump {
	const struct cli *cli;
	struct table *table;
	struct column column[TABLE_COLUMNS_MAX];
	char title[TABLE_COLUMNS_MAX][32];
	char key[TABLE_COLUMNS_MAX][32];
	size_t n;
	bool begun;
};

static void title_make(char title[32], const char *key)
{
	size_t i = 0;

	for (; key[i] && i < 31; i++) {
		title[i] = key[i];
		if (title[i] == '_')
			title[i] = ' ';
		if (title[i] >= 'a' && title[i] <= 'z')
			title[i] = (char)(title[i] - 'a' + 'A');
	}
	title[i] = '\0';
}

static void dump_begin(struct dump *dump, const json_t *element)
{
	const struct table_style style = cli_style(dump->cli);
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)element, key, value)
	{
		const size_t i = dump->n;

		if (i == TABLE_COLUMNS_MAX)
			break;
		snprintf(dump->key[i], sizeof(dump->key[i]), "%s", key);
		title_make(dump->title[i], key);
		dump->column[i] = (struct column){
			.title = dump->title[i],
			.right = json_is_number(value),
			.shrink = json_is_string(value),
		};
		dump->n++;
	}
	dump->table = table_new(stdout, dump->column, dump->n, &style);
}

static char *cell_text(const json_t *value)
{
	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (json_is_boolean(value))
		return strdup(json_is_true(value) ? "yes" : "no");
	return value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
}

static void dump_row(struct dump *dump, const json_t *element)
{
	struct cell cells[TABLE_COLUMNS_MAX] = {};
	char *text[TABLE_COLUMNS_MAX] = {};

	for (size_t i = 0; i < dump->n; i++) {
		text[i] = cell_text(json_object_get(element, dump->key[i]));
		cells[i].text = text[i];
	}
	table_row(dump->table, cells);
	for (size_t i = 0; i < dump->n; i++)
		free(text[i]);
}

static bool dump_line(const json_t *line, void *user)
{
	struct dump *dump = user;

	if (dump->cli->format == FORMAT_JSON) {
		fputs(dump->begun ? ",\n  " : "[\n  ", stdout);
		json_dumpf(line, stdout, 0);
	} else {
		if (!dump->begun)
			dump_begin(dump, line);
		if (!dump->table)
			return false;
		dump_row(dump, line);
	}
	dump->begun = true;
	return true;
}

int cmd_map_dump(const struct cli *cli, const struct args *args)
{
	json_t *request = request_new("map.dump");
	struct dump dump = {.cli = cli};
	int status;

	(void)json_object_set_new(request, "name", json_string(args->arg[0]));
	status = cli_stream(cli, request, dump_line, &dump, NULL);
	if (cli->format == FORMAT_JSON && (dump.begun || !status))
		puts(dump.begun ? "\n]" : "[]");
	else if (dump.table)
		table_end(dump.table);
	else if (!status)
		puts("empty");
	return status;
}
