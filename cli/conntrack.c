// SPDX-License-Identifier: Apache-2.0
/* conntrack.c - stile conntrack list|flush: the flow table. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/names.h"
#include "lib/util.h"

#define CELL_MAX 400

static const struct column columns[] = {
	{.title = "FROM", .shrink = true},
	{.title = "TO", .shrink = true},
	{.title = "PROTO"},
	{.title = "STATE"},
	{.title = "SENT", .right = true},
	{.title = "BACK", .right = true},
	{.title = "IDLE", .right = true},
	{.title = "TRANSLATED TO", .shrink = true},
};

static const char *end_text(const json_t *end, const char *name_key,
                            char buf[CELL_MAX])
{
	const char *name = get_text(end, name_key);
	const bool v6 = strchr(name, ':') != NULL;

	if (get_number(end, "port"))
		snprintf(buf, CELL_MAX, v6 ? "[%s]:%lld" : "%s:%lld", name,
		         get_number(end, "port"));
	else
		snprintf(buf, CELL_MAX, "%s", name);
	return buf;
}

/* Is one end of the far side another than on this side? */
static bool is_changed(const json_t *item, const json_t *to, const char *end)
{
	const json_t *here = json_object_get(item, end);
	const json_t *there = json_object_get(to, end);

	return strcmp(get_text(here, "address"), get_text(there, "address")) !=
	               0 ||
	       get_number(here, "port") != get_number(there, "port");
}

/* What the far side sees: the ends that were rewritten. */
static const char *translated(const json_t *item, char buf[2 * CELL_MAX])
{
	const json_t *to = json_object_get(item, "translated_to");
	size_t n = 0;

	buf[0] = '\0';
	if (!to)
		return buf;
	if (is_changed(item, to, "source"))
		n = strlen(end_text(json_object_get(to, "source"), "address",
		                    buf));
	if (is_changed(item, to, "destination")) {
		memcpy(buf + n, "-> ", sizeof("-> "));
		if (n)
			memcpy(buf + n, " -> ", sizeof(" -> "));
		end_text(json_object_get(to, "destination"), "address",
		         buf + strlen(buf));
	}
	return buf;
}

static enum style state_style(const char *state)
{
	if (!strcmp(state, "established"))
		return STYLE_GOOD;
	return strcmp(state, "half-open") != 0 ? STYLE_DIM : STYLE_WARN;
}

static void row(struct table *table, const json_t *item)
{
	const char *state = get_text(item, "state");
	char from[CELL_MAX], to[CELL_MAX], other[2 * CELL_MAX];
	char sent[QUANTITY_MAX], back[QUANTITY_MAX], idle[QUANTITY_MAX];
	const struct cell cells[] = {
		{.text = end_text(json_object_get(item, "source"), "name",
                 from)},
		{.text = end_text(json_object_get(item, "destination"), "name",
                 to)},
		{.text = get_text(item, "protocol")},
		{.text = state, .style = state_style(state)},
		{.text = bytes_text((uint64_t)get_number(item, "bytes"), sent)},
		{.text = bytes_text((uint64_t)get_number(item, "reply_bytes"),
                 back)},
		{.text = age_text(get_real(item, "idle_seconds"), idle)},
		{.text = translated(item, other)},
	};

	table_row(table, cells);
}

static json_t *request_make(const char *op, const struct args *args)
{
	const char *pod = args_value(args, "pod");
	json_t *request = request_new(op);

	if (pod)
		(void)json_object_set_new(request, "pod", json_string(pod));
	if (args_has(args, "all"))
		(void)json_object_set_new(request, "all", json_true());
	return request;
}

int cmd_conntrack_list(const struct cli *cli, const struct args *args)
{
	return items_stream(cli, request_make("conntrack.list", args), columns,
	                    ARRAY_SIZE(columns), row);
}

static bool ignore(const json_t *line, void *user)
{
	(void)line;
	(void)user;
	return true;
}

int cmd_conntrack_flush(const struct cli *cli, const struct args *args)
{
	char flows[COUNT_MAX];
	json_t *end = NULL;
	int status = cli_stream(cli, request_make("conntrack.flush", args),
	                        ignore, NULL, &end);

	if (status)
		return status;
	if (cli->format == FORMAT_JSON) {
		(void)json_object_del(end, "end");
		print_json(end);
	} else {
		printf("%s forgotten: TCP has to connect anew, the rest is "
		       "judged anew\n",
		       count_text(get_number(end, "flushed"), "flow", flows));
	}
	json_decref(end);
	return STATUS_DONE;
}
