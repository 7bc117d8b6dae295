// SPDX-License-Identifier: Apache-2.0
/* why.c - stile policy why: may FROM speak to TO, and which rule says so? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cni/wire.h"

#define LINE_MAX    2000
#define RULES_SHOWN 20u
#define INDENT      4u

/* "5432/tcp", "icmp", "0/icmp": the usage error, or 0. */
static int port_parse(const char *text, json_t *request)
{
	const char *slash = strchr(text, '/');
	const char *proto = slash ? slash + 1 : text;
	const bool icmp = !strcasecmp(proto, "icmp");
	unsigned long port = 0;
	char *end = NULL;

	if (!icmp && strcasecmp(proto, "tcp") != 0 &&
	    strcasecmp(proto, "udp") != 0 && strcasecmp(proto, "sctp") != 0)
		return fail(STATUS_USAGE,
		            "'%s' is not PORT/PROTO: say 443/tcp, 53/udp, "
		            "9/sctp or icmp",
		            text);
	if (slash)
		port = strtoul(text, &end, 10);
	if ((slash && (end != slash || end == text)) || port > 65535 ||
	    (!icmp && !port) || (icmp && port))
		return fail(STATUS_USAGE,
		            "'%s': want a port from 1 to 65535 before the "
		            "protocol, none with icmp",
		            text);
	(void)json_object_set_new(request, "protocol", json_string(proto));
	(void)json_object_set_new(request, "port",
	                          json_integer((json_int_t)port));
	return STATUS_DONE;
}

static void print_line(const struct cli *cli, size_t indent, const char *text)
{
	const struct fill fill = {indent, indent + 2, cli_style(cli).width};

	printf("%*s", (int)indent, "");
	text_fill(stdout, text, &fill);
	putchar('\n');
}

static const char *rule_name(const json_t *rule, const char *dir,
                             char buf[LINE_MAX])
{
	snprintf(buf, LINE_MAX, "%s/%s %s[%lld] %s",
	         get_text(rule, "namespace"), get_text(rule, "policy"), dir,
	         get_number(rule, "index"), get_text(rule, "words"));
	return buf;
}

static void print_rules(const struct cli *cli, const json_t *side)
{
	const json_t *rules = json_object_get(side, "rules"), *rule;
	const json_int_t left = get_number(side, "rules_left_out");
	char name[LINE_MAX], line[LINE_MAX + 80];
	size_t i;

	json_array_foreach(rules, i, rule)
	{
		if (i == RULES_SHOWN)
			break;
		snprintf(line, sizeof(line), "%s %s%s%s%s",
		         get_bool(rule, "allows") ? "+" : "-",
		         rule_name(rule, get_text(side, "direction"), name),
		         get_text(rule, "differs")[0] ? " (" : "",
		         get_text(rule, "differs"),
		         get_text(rule, "differs")[0] ? ")" : "");
		print_line(cli, INDENT, line);
	}
	if (json_array_size(rules) + (size_t)left > i)
		printf("%*sand %zu rules more\n", (int)INDENT, "",
		       json_array_size(rules) + (size_t)left - i);
}

static void print_isolated_by(const struct cli *cli, const json_t *side)
{
	const json_t *list = json_object_get(side, "isolated_by"), *item;
	char line[LINE_MAX];
	size_t i, used;

	if (!json_array_size(list))
		return;
	used = (size_t)snprintf(line, sizeof(line), "isolated by ");
	json_array_foreach(list, i, item)
	{
		if (used < sizeof(line))
			used += (size_t)snprintf(
				line + used, sizeof(line) - used, "%s%s/%s",
				i ? ", " : "", get_text(item, "namespace"),
				get_text(item, "name"));
	}
	print_line(cli, 2, line);
}

/* What the compiled table says; a disagreement is a bug of ours. */
static void print_table(const struct cli *cli, const json_t *side)
{
	const json_t *table = json_object_get(side, "table");
	char line[LINE_MAX];

	if (!table)
		return;
	if (get_text(side, "held")[0]) {
		snprintf(line, sizeof(line), "the table in force is slot %lld",
		         get_number(table, "slot"));
		print_line(cli, 2, line);
		fputs(style_begin(STYLE_WARN, cli->color), stdout);
		print_line(cli, 2, get_text(side, "held"));
		fputs(style_end(STYLE_WARN, cli->color), stdout);
		return;
	}
	if (get_bool(table, "agrees")) {
		snprintf(line, sizeof(line),
		         "the table in force (slot %lld) "
		         "agrees",
		         get_number(table, "slot"));
		print_line(cli, 2, line);
		return;
	}
	snprintf(line, sizeof(line),
	         "BUG: the table in force (slot %lld) says %s; please report "
	         "this with the output of -o json",
	         get_number(table, "slot"),
	         get_bool(table, "allowed") ? "allow" : "deny");
	fputs(style_begin(STYLE_BAD, cli->color), stdout);
	print_line(cli, 2, line);
	fputs(style_end(STYLE_BAD, cli->color), stdout);
}

static const char *verdict(const struct cli *cli, const json_t *object,
                           char buf[64])
{
	const bool allowed = get_bool(object, "allowed");
	const enum style style = allowed ? STYLE_GOOD : STYLE_BAD;

	snprintf(buf, 64, "%s%s%s", style_begin(style, cli->color),
	         allowed ? "allowed" : "denied", style_end(style, cli->color));
	return buf;
}

static void print_side(const struct cli *cli, const json_t *side)
{
	const char *dir = get_text(side, "direction");
	const json_t *decided = json_object_get(side, "decided_by");
	const json_t *nearest = json_object_get(side, "nearest");
	char word[64], name[LINE_MAX], line[LINE_MAX + 80];

	printf("\n%s of %s: %s (%s)\n", dir, get_text(side, "subject"),
	       verdict(cli, side, word), get_text(side, "reason"));
	print_isolated_by(cli, side);
	if (json_array_size(json_object_get(side, "rules"))) {
		print_line(cli, 2, "rules considered:");
		print_rules(cli, side);
	}
	if (decided) {
		snprintf(line, sizeof(line), "decided by %s",
		         rule_name(decided, dir, name));
		print_line(cli, 2, line);
	}
	if (nearest) {
		snprintf(line, sizeof(line), "nearest is %s; it %s",
		         rule_name(nearest, dir, name),
		         get_text(nearest, "differs"));
		print_line(cli, 2, line);
	}
	print_table(cli, side);
}

static void print_end(const struct cli *cli, const char *label,
                      const json_t *end)
{
	const char *name = get_text(end, "name");
	const char *address = get_text(end, "address");
	char line[LINE_MAX];

	snprintf(line, sizeof(line), "%s%s%s", name,
	         strstr(name, address) ? "" : " ",
	         strstr(name, address) ? "" : address);
	print_field(cli, label, line);
	snprintf(line, sizeof(line), "identity %s",
	         get_text(end, "identity_name"));
	print_field(cli, " ", line);
}

static void print_why(const struct cli *cli, const json_t *why)
{
	const json_t *side;
	char line[LINE_MAX], word[64];
	size_t i;

	print_end(cli, "From:", json_object_get(why, "from"));
	print_end(cli, "To:", json_object_get(why, "to"));
	if (get_number(why, "port"))
		snprintf(line, sizeof(line), "%s %lld",
		         get_text(why, "protocol"), get_number(why, "port"));
	else
		snprintf(line, sizeof(line), "%s", get_text(why, "protocol"));
	print_field(cli, "Protocol:", line);
	print_field(cli, "Verdict:", verdict(cli, why, word));
	if (!strcmp(get_text(why, "policy_mode"), "audit"))
		print_field(
			cli, " ",
			"(audit mode: denied packets pass and are counted)");
	if (!json_array_size(json_object_get(why, "sides")))
		puts("\nneither end is a pod of this node: nothing here "
		     "polices them");
	json_array_foreach(json_object_get(why, "sides"), i, side)
		print_side(cli, side);
}

int cmd_policy_why(const struct cli *cli, const struct args *args)
{
	json_t *request = request_new("policy.why"), *reply = NULL;
	int status = port_parse(args->arg[2], request);

	if (status) {
		json_decref(request);
		return status;
	}
	(void)json_object_set_new(request, "from", json_string(args->arg[0]));
	(void)json_object_set_new(request, "to", json_string(args->arg[1]));
	status = cli_ask(cli, request, &reply);
	if (status) /* a question that makes no sense is not "denied" */
		return status == STATUS_NO ? STATUS_USAGE : status;
	if (cli->format == FORMAT_JSON)
		print_json(reply);
	else
		print_why(cli, reply);
	status = get_bool(reply, "allowed") && get_bool(reply, "agrees")
	                 ? STATUS_DONE
	                 : STATUS_NO;
	json_decref(reply);
	return status;
}
