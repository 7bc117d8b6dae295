// SPDX-License-Identifier: Apache-2.0
/* out.c - printing: see cli.h. */
#include <stdio.h>

#include "cli/cli.h"

#define LABEL_WIDTH 14

const char *get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

json_int_t get_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

double get_real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

bool get_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2));
	putchar('\n');
}

void print_field(const struct cli *cli, const char *label, const char *value)
{
	const struct fill fill = {LABEL_WIDTH + 1, LABEL_WIDTH + 1,
	                          cli_style(cli).width};

	if (!value[0])
		return;
	printf("%s%-*s%s ", style_begin(STYLE_HEAD, cli->color), LABEL_WIDTH,
	       label, style_end(STYLE_HEAD, cli->color));
	text_fill(stdout, value, &fill);
	putchar('\n');
}

struct table_style cli_style(const struct cli *cli)
{
	return (struct table_style){
		.width = cli->format == FORMAT_WIDE ? 0 : SCREEN_WIDTH,
		.color = cli->color,
	};
}

int items_begin(struct items *items, const struct cli *cli,
                const struct column *columns, size_t n,
                void (*row)(struct table *table, const json_t *item))
{
	const struct table_style style = cli_style(cli);

	*items = (struct items){.cli = cli, .row = row};
	if (cli->format == FORMAT_JSON)
		return STATUS_DONE;
	items->table = table_new(stdout, columns, n, &style);
	return items->table ? STATUS_DONE : fail(STATUS_NO, "out of memory");
}

void items_add(struct items *items, const json_t *item)
{
	const bool first = !items->begun;

	items->begun = true;
	if (items->cli->format != FORMAT_JSON) {
		items->row(items->table, item);
		return;
	}
	fputs(first ? "[\n  " : ",\n  ", stdout);
	json_dumpf(item, stdout, 0);
}

void items_end(struct items *items)
{
	if (items->cli->format == FORMAT_JSON)
		puts(items->begun ? "\n]" : "[]");
	else
		table_end(items->table);
}

int items_ask(const struct cli *cli, json_t *request,
              const struct column *columns, size_t n,
              void (*row)(struct table *table, const json_t *item))
{
	struct items items;
	json_t *reply = NULL, *item;
	size_t i;
	int status = cli_ask(cli, request, &reply);

	if (status)
		return status;
	status = items_begin(&items, cli, columns, n, row);
	if (!status) {
		json_array_foreach(json_object_get(reply, "items"), i, item)
			items_add(&items, item);
		items_end(&items);
	}
	json_decref(reply);
	return status;
}

static bool items_line(const json_t *line, void *user)
{
	items_add(user, line);
	return true;
}

int items_stream(const struct cli *cli, json_t *request,
                 const struct column *columns, size_t n,
                 void (*row)(struct table *table, const json_t *item))
{
	struct items items;
	int status = items_begin(&items, cli, columns, n, row);

	if (status) {
		json_decref(request);
		return status;
	}
	status = cli_stream(cli, request, items_line, &items, NULL);
	if (!status || items.begun)
		items_end(&items);
	else
		table_drop(items.table);
	return status;
}
