// SPDX-License-Identifier: Apache-2.0
/* service.c - stile service list, stile backend list: ClusterIPs of pods. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/util.h"

#define CELL_MAX 400

static const char *name_text(const json_t *object, char buf[CELL_MAX])
{
	snprintf(buf, CELL_MAX, "%s/%s", get_text(object, "namespace"),
	         get_text(object, "name"));
	return buf;
}

/* "10.96.0.1:80", "[fd00::1]:80" */
static const char *address_text(const json_t *item, char buf[CELL_MAX])
{
	const char *addr = get_text(item, "address");

	snprintf(buf, CELL_MAX, strchr(addr, ':') ? "[%s]:%lld" : "%s:%lld",
	         addr, get_number(item, "port"));
	return buf;
}

static const struct column service_columns[] = {
	{.title = "SERVICE", .shrink = true},
	{.title = "PORT", .shrink = true},
	{.title = "CLUSTER IP"},
	{.title = "PROTO"},
	{.title = "BACKENDS", .right = true},
};

static void service_row(struct table *table, const json_t *item)
{
	char name[CELL_MAX], address[CELL_MAX], backends[24];
	const bool none = !get_number(item, "backends");
	const struct cell cells[] = {
		{.text = name_text(item,    name)                                  },
		{.text = get_text(item,     "port_name")                           },
		{.text = address_text(item, address)                               },
		{.text = get_text(item,     "protocol")                            },
		{.text = backends,          .style = none ? STYLE_WARN : STYLE_NONE},
	};

	snprintf(backends, sizeof(backends), "%lld",
	         get_number(item, "backends"));
	table_row(table, cells);
}

int cmd_service_list(const struct cli *cli, const struct args *args)
{
	(void)args;
	return items_stream(cli, request_new("service.list"), service_columns,
	                    ARRAY_SIZE(service_columns), service_row);
}

static const struct column backend_columns[] = {
	{.title = "SERVICE", .shrink = true},
	{.title = "PORT", .shrink = true},
	{.title = "BACKEND", .shrink = true},
	{.title = "ADDRESS"},
	{.title = "PROTO"},
	{.title = "NODE", .shrink = true},
	{.title = "STATE"},
};

static void backend_row(struct table *table, const json_t *item)
{
	const json_t *service = json_object_get(item, "service");
	const char *state = get_text(item, "state");
	char name[CELL_MAX], address[CELL_MAX];
	const struct cell cells[] = {
		{.text = name_text(service, name)},
		{.text = get_text(service, "port_name")},
		{.text = get_text(item, "name")},
		{.text = address_text(item, address)},
		{.text = get_text(item, "protocol")},
		{.text = get_text(item, "node")},
		{.text = state,
	         .style = strcmp(state, "ready") ? STYLE_WARN : STYLE_GOOD},
	};

	table_row(table, cells);
}

int cmd_backend_list(const struct cli *cli, const struct args *args)
{
	(void)args;
	return items_stream(cli, request_new("backend.list"), backend_columns,
	                    ARRAY_SIZE(backend_columns), backend_row);
}
