// SPDX-License-Identifier: Apache-2.0
/* endpoint.c - stile endpoint list|get: the pods of this node. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/util.h"

#define CELL_MAX 330

static const struct column columns[] = {
	{.title = "POD", .shrink = true},
	{.title = "STATE"},
	{.title = "ADDRESSES", .shrink = true},
	{.title = "POLICY"},
	{.title = "INTERFACE"},
	{.title = "ID", .right = true},
};

/* Texts of an array, with ", " between. */
static const char *join(const json_t *list, char *buf, size_t size)
{
	const json_t *item;
	size_t i, used = 0;

	buf[0] = '\0';
	json_array_foreach(list, i, item)
	{
		if (used >= size)
			break;
		used += (size_t)snprintf(buf + used, size - used, "%s%s",
		                         i ? ", " : "",
		                         json_string_value(item));
	}
	return buf;
}

static const char *pod_name(const json_t *item, char buf[CELL_MAX])
{
	if (!get_text(item, "pod")[0])
		return "(no pod named)";
	snprintf(buf, CELL_MAX, "%s/%s", get_text(item, "namespace"),
	         get_text(item, "pod"));
	return buf;
}

static const char *isolation(const json_t *item)
{
	const bool in = get_bool(item, "isolated_ingress");
	const bool out = get_bool(item, "isolated_egress");

	if (in && out)
		return "in, out";
	if (in)
		return "in";
	return out ? "out" : "open";
}

static void row(struct table *table, const json_t *item)
{
	const char *state = get_text(item, "state");
	char pod[CELL_MAX], ips[CELL_MAX], id[24];
	const struct cell cells[] = {
		{.text = pod_name(item, pod)},
		{.text = state,
	         .style =
	                 strcmp(state, "ready") != 0 ? STYLE_WARN : STYLE_NONE},
		{.text = join(json_object_get(item, "ips"), ips, sizeof(ips))},
		{.text = isolation(item)},
		{.text = get_text(item, "ifname")},
		{.text = id},
	};

	snprintf(id, sizeof(id), "%lld", get_number(item, "id"));
	table_row(table, cells);
}

int cmd_endpoint_list(const struct cli *cli, const struct args *args)
{
	(void)args;
	return items_ask(cli, request_new("endpoint.list"), columns,
	                 ARRAY_SIZE(columns), row);
}

static void print_labels(const struct cli *cli, const json_t *labels)
{
	const char *key;
	json_t *value;
	char line[CELL_MAX];
	bool first = true;

	json_object_foreach((json_t *)labels, key, value)
	{
		snprintf(line, sizeof(line), "%s=%s", key,
		         json_string_value(value));
		print_field(cli, first ? "Labels:" : " ", line);
		first = false;
	}
}

static void print_policies(const struct cli *cli, const json_t *ep,
                           const char *dir, const char *label)
{
	char key[40], line[2000];

	snprintf(key, sizeof(key), "%s_policies", dir);
	join(json_object_get(ep, key), line, sizeof(line));
	print_field(cli, label,
	            line[0] ? line : "open: no policy selects the pod");
}

static void print_endpoint(const struct cli *cli, const json_t *ep)
{
	char line[CELL_MAX];

	print_field(cli, "Pod:", pod_name(ep, line));
	print_field(cli, "State:", get_text(ep, "state"));
	print_field(cli, "Addresses:",
	            join(json_object_get(ep, "ips"), line, sizeof(line)));
	print_labels(cli, json_object_get(ep, "labels"));
	print_policies(cli, ep, "ingress", "Ingress:");
	print_policies(cli, ep, "egress", "Egress:");
	print_field(cli, "Identity:", get_text(ep, "identity_name"));
	snprintf(line, sizeof(line), "%s here, %s in the pod, MTU %lld, MAC %s",
	         get_text(ep, "ifname"), get_text(ep, "pod_ifname"),
	         get_number(ep, "mtu"), get_text(ep, "mac"));
	print_field(cli, "Interface:", line);
	print_field(cli, "Container:", get_text(ep, "container_id"));
	print_field(cli, "Netns:", get_text(ep, "netns"));
	snprintf(line, sizeof(line),
	         "endpoint %lld, slot %lld with %lld entries, identity %lld",
	         get_number(ep, "id"), get_number(ep, "slot"),
	         get_number(ep, "policy_entries"), get_number(ep, "identity"));
	print_field(cli, "Numbers:", line);
}

int cmd_endpoint_get(const struct cli *cli, const struct args *args)
{
	json_t *request = request_new("endpoint.get"), *reply = NULL;
	int status;

	(void)json_object_set_new(request, "id", json_string(args->arg[0]));
	status = cli_ask(cli, request, &reply);
	if (status)
		return status;
	if (cli->format == FORMAT_JSON)
		print_json(reply);
	else
		print_endpoint(cli, reply);
	json_decref(reply);
	return STATUS_DONE;
}
