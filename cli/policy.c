// SPDX-License-Identifier: Apache-2.0
/* policy.c - stile policy list|get|verify: what is in force. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/util.h"

#define CELL_MAX          600
#define DIFFERENCES_SHOWN 50u

static const struct column columns[] = {
	{.title = "POLICY", .shrink = true},
	{.title = "STATE", .shrink = true},
	{.title = "ISOLATES"},
	{.title = "RULES", .right = true},
	{.title = "PODS", .right = true},
	{.title = "REVISION", .right = true},
};

static const char *directions(const json_t *item, char buf[32])
{
	const json_t *list = json_object_get(item, "directions"), *dir;
	size_t i, used = 0;

	buf[0] = '\0';
	json_array_foreach(list, i, dir)
	{
		if (used < 32)
			used += (size_t)snprintf(buf + used, 32 - used, "%s%s",
			                         i ? ", " : "",
			                         json_string_value(dir));
	}
	return buf;
}

static enum style state_style(const char *state)
{
	if (!strcmp(state, "in force"))
		return STYLE_GOOD;
	return strstr(state, "in force") == state ||
	                       strstr(state, "last good") == state
	               ? STYLE_WARN
	               : STYLE_BAD;
}

static void row(struct table *table, const json_t *item)
{
	const char *state = get_text(item, "state");
	char name[CELL_MAX], dirs[32], rules[24], pods[24], revision[24];
	const struct cell cells[] = {
		{.text = name},
		{.text = state, .style = state_style(state)},
		{.text = directions(item, dirs)},
		{.text = rules},
		{.text = pods},
		{.text = revision},
	};

	snprintf(name, sizeof(name), "%s/%s", get_text(item, "namespace"),
	         get_text(item, "name"));
	snprintf(rules, sizeof(rules), "%lld",
	         get_number(item, "ingress_rules") +
	                 get_number(item, "egress_rules"));
	snprintf(pods, sizeof(pods), "%lld", get_number(item, "endpoints"));
	snprintf(revision, sizeof(revision), "%lld",
	         get_number(item, "revision"));
	table_row(table, cells);
}

/* Sentences need more room than a column has. */
static void print_errors(const struct cli *cli, const json_t *list)
{
	const struct fill fill = {2, 2, cli_style(cli).width};
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (!get_text(item, "error")[0])
			continue;
		fputs(style_begin(STYLE_WARN, cli->color), stdout);
		fputs("! ", stdout);
		text_fill(stdout, get_text(item, "error"), &fill);
		puts(style_end(STYLE_WARN, cli->color));
	}
}

int cmd_policy_list(const struct cli *cli, const struct args *args)
{
	struct items items;
	json_t *reply = NULL, *list, *item;
	size_t i;
	int status = cli_ask(cli, request_new("policy.list"), &reply);

	(void)args;
	if (status)
		return status;
	list = json_object_get(reply, "items");
	status = items_begin(&items, cli, columns, ARRAY_SIZE(columns), row);
	if (!status) {
		json_array_foreach(list, i, item) items_add(&items, item);
		items_end(&items);
		if (cli->format != FORMAT_JSON)
			print_errors(cli, list);
	}
	json_decref(reply);
	return status;
}

/* ---- get ----------------------------------------------------------------- */

static bool has_direction(const json_t *policy, const char *dir)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(policy, "directions"), i, item)
	{
		if (!strcmp(json_string_value(item), dir))
			return true;
	}
	return false;
}

static void print_direction(const struct cli *cli, const json_t *policy,
                            const char *dir, const char *label)
{
	const json_t *rules = json_object_get(policy, dir), *rule;
	char line[4 * CELL_MAX];
	size_t i;

	if (!has_direction(policy, dir)) {
		print_field(cli, label, "not isolated by this policy");
		return;
	}
	print_field(cli, label,
	            json_array_size(rules) ? "isolated; allowed is"
	                                   : "isolated; nothing is allowed");
	json_array_foreach(rules, i, rule)
	{
		snprintf(line, sizeof(line), "[%lld] %s",
		         get_number(rule, "index"), get_text(rule, "words"));
		print_field(cli, " ", line);
	}
}

static void print_pods(const struct cli *cli, const json_t *pods)
{
	const json_t *pod;
	size_t i;

	if (!json_array_size(pods))
		print_field(cli, "Pods here:", "none");
	json_array_foreach(pods, i, pod) print_field(
		cli, i ? " " : "Pods here:", json_string_value(pod));
}

static void print_policy(const struct cli *cli, const json_t *policy)
{
	char line[CELL_MAX];

	snprintf(line, sizeof(line), "NetworkPolicy %s/%s",
	         get_text(policy, "namespace"), get_text(policy, "name"));
	print_field(cli, "Policy:", line);
	snprintf(line, sizeof(line), "%s, revision %lld, from %s",
	         get_text(policy, "state"), get_number(policy, "revision"),
	         get_text(policy, "origin"));
	print_field(cli, "State:", line);
	print_field(cli, "Error:", get_text(policy, "error"));
	if (!json_object_get(policy, "subject"))
		return;
	snprintf(line, sizeof(line), "%s of namespace %s",
	         get_text(policy, "subject"), get_text(policy, "namespace"));
	print_field(cli, "Applies to:", line);
	print_pods(cli, json_object_get(policy, "pods"));
	print_direction(cli, policy, "ingress", "Ingress:");
	print_direction(cli, policy, "egress", "Egress:");
}

int cmd_policy_get(const struct cli *cli, const struct args *args)
{
	json_t *request = request_new("policy.get"), *reply = NULL;
	int status;

	(void)json_object_set_new(request, "name", json_string(args->arg[0]));
	status = cli_ask(cli, request, &reply);
	if (status)
		return status;
	if (cli->format == FORMAT_JSON)
		print_json(reply);
	else
		print_policy(cli, reply);
	json_decref(reply);
	return STATUS_DONE;
}

/* ---- verify -------------------------------------------------------------- */

static const struct column difference_columns[] = {
	{.title = "MAP"},
	{.title = "KEY", .shrink = true},
	{.title = "SHOULD BE", .shrink = true},
	{.title = "IS", .shrink = true},
};

/* Texts as they are, anything else as JSON; the caller frees. */
static char *value_text(const json_t *value)
{
	if (json_is_string(value))
		return strdup(json_string_value(value));
	if (!value || json_is_null(value))
		return strdup("nothing");
	return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

static void difference_row(struct table *table, const json_t *item)
{
	_cleanup_(free_p) char *key = value_text(json_object_get(item, "key"));
	_cleanup_(free_p) char *want =
		value_text(json_object_get(item, "want"));
	_cleanup_(free_p) char *have =
		value_text(json_object_get(item, "have"));
	const struct cell cells[] = {
		{.text = get_text(item, "map")},
		{.text = key},
		{.text = want, .style = STYLE_GOOD},
		{.text = have, .style = STYLE_BAD},
	};

	table_row(table, cells);
}

static void print_differences(const struct cli *cli, const json_t *list)
{
	const size_t n = json_array_size(list);
	struct items items;
	const json_t *item;
	size_t i;

	if (items_begin(&items, cli, difference_columns,
	                ARRAY_SIZE(difference_columns), difference_row))
		return;
	json_array_foreach(list, i, item)
	{
		if (i < DIFFERENCES_SHOWN)
			items_add(&items, item);
	}
	items_end(&items);
	if (n > DIFFERENCES_SHOWN)
		printf("and %zu more; -o json has them all\n",
		       n - DIFFERENCES_SHOWN);
}

/* Pods whose table is known not to be that of their policies. */
static void print_not_compared(const struct cli *cli, const json_t *list)
{
	const struct fill fill = {2, 2, cli_style(cli).width};
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		_cleanup_(free_p) char *line = NULL;

		if (asprintf(&line, "%s: not compared: %s",
		             get_text(item, "object"),
		             get_text(item, "why")) < 0)
			return;
		fputs(style_begin(STYLE_WARN, cli->color), stdout);
		fputs("! ", stdout);
		text_fill(stdout, line, &fill);
		puts(style_end(STYLE_WARN, cli->color));
	}
}

int cmd_policy_verify(const struct cli *cli, const struct args *args)
{
	json_t *reply = NULL;
	const json_t *list, *left;
	int status = cli_ask(cli, request_new("policy.verify"), &reply);
	size_t n;

	(void)args;
	if (status)
		return status;
	list = json_object_get(reply, "differences");
	n = json_array_size(list);
	if (cli->format == FORMAT_JSON)
		print_json(reply);
	else
		printf("%s%zu differences%s among %lld things compared with "
		       "the kernel\n",
		       style_begin(n ? STYLE_BAD : STYLE_GOOD, cli->color), n,
		       style_end(STYLE_GOOD, cli->color),
		       get_number(reply, "checked"));
	if (n && cli->format != FORMAT_JSON)
		print_differences(cli, list);
	left = json_object_get(reply, "not_compared");
	n += json_array_size(left);
	if (cli->format != FORMAT_JSON)
		print_not_compared(cli, left);
	json_decref(reply);
	return n ? STATUS_NO : STATUS_DONE;
}
