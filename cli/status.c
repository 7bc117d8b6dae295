// SPDX-License-Identifier: Apache-2.0
/* status.c - stile status: can this node serve pods? */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/names.h"
#include "cni/wire.h"
#include "lib/util.h"

#define WAIT_DEFAULT_S 30
#define WAIT_STEP_NS   50000000L
#define PROBLEMS_SHOWN 10u
#define LINE_MAX       400

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool is_ready(const struct cli *cli)
{
	json_t *request = request_new("status"), *reply = NULL;
	struct err err;
	bool ready = false;

	if (request && !wire_call(cli->socket, request, 2000, &reply, &err))
		ready = get_bool(reply, "ready");
	json_decref(request);
	json_decref(reply);
	return ready;
}

/* Until ADD can be served, or the time is up: the answer tells which. */
static void wait_ready(const struct cli *cli, double seconds)
{
	const struct timespec step = {.tv_nsec = WAIT_STEP_NS};
	const double end = now_s() + seconds;

	while (!is_ready(cli) && now_s() < end)
		nanosleep(&step, NULL);
}

/* ---- for people ---------------------------------------------------------- */

struct count {
	const char *key, *noun;
};

/* "3 pods, 2 namespaces, …" of keys of @status. */
static void print_list(const struct cli *cli, const char *label,
                       const json_t *status, const struct count *counts,
                       size_t n)
{
	char line[LINE_MAX] = "", one[COUNT_MAX];
	size_t used = 0;

	for (size_t i = 0; i < n && used < sizeof(line); i++)
		used += (size_t)snprintf(
			line + used, sizeof(line) - used, "%s%s", i ? ", " : "",
			count_text(get_number(status, counts[i].key),
		                   counts[i].noun, one));
	print_field(cli, label, line);
}

static void print_counts(const struct cli *cli, const json_t *status)
{
	static const struct count objects[] = {
		{"pods",       "pod"      },
		{"namespaces", "namespace"},
		{"policies",   "policy"   },
	};
	static const struct count in_force[] = {
		{"endpoints",     "endpoint"    },
		{"identities",    "identity"    },
		{"addresses",     "address"     },
		{"policy_tables", "policy table"},
	};
	const json_t *source = json_object_get(status, "source");
	char line[LINE_MAX], refused[COUNT_MAX];

	snprintf(line, sizeof(line), "%s, %s", get_text(source, "name"),
	         get_bool(source, "synced") ? "read completely"
	                                    : "not read completely yet");
	print_field(cli, "Source:", line);
	print_list(cli, "Objects:", status, objects, ARRAY_SIZE(objects));
	if (get_number(status, "refused")) {
		snprintf(line, sizeof(line), "%s with an error",
		         count_text(get_number(status, "refused"), "object",
		                    refused));
		print_field(cli, "Refused:", line);
	}
	print_list(cli, "In force:", status, in_force, ARRAY_SIZE(in_force));
}

static void print_network(const struct cli *cli, const json_t *status)
{
	const json_t *item, *routing;
	char version[60] = "", line[LINE_MAX];
	size_t i;

	json_array_foreach(json_object_get(status, "pod_cidrs"), i, item)
	{
		snprintf(line, sizeof(line), "%s, %lld of %lld addresses used",
		         get_text(item, "cidr"), get_number(item, "used"),
		         get_number(item, "size"));
		print_field(cli, "Pod CIDR:", line);
	}
	json_array_foreach(json_object_get(status, "uplinks"), i, item)
	{
		snprintf(line, sizeof(line), "%s, MTU %lld, %s",
		         get_text(item, "name"), get_number(item, "mtu"),
		         get_bool(item, "attached") ? "attached"
		                                    : "not attached");
		print_field(cli, "Uplink:", line);
	}
	routing = json_object_get(status, "routing");
	if (!strcmp(get_text(routing, "mode"), "tunnel"))
		snprintf(line, sizeof(line),
		         "tunnel %s, port %lld, MTU %lld, %s",
		         get_text(routing, "device"),
		         get_number(routing, "port"),
		         get_number(routing, "mtu"),
		         get_bool(routing, "attached") ? "attached"
		                                       : "not attached");
	else
		snprintf(line, sizeof(line), "%s", get_text(routing, "mode"));
	print_field(cli, "Routing:", line);
	snprintf(line, sizeof(line),
	         "MTU %lld, packets up to %lld bytes inside",
	         get_number(status, "pod_mtu"),
	         get_number(status, "pod_gso_max_size"));
	print_field(cli, "Pods:", line);
	if (get_number(status, "policy_version"))
		snprintf(version, sizeof(version),
		         ", in force up to version %lld",
		         get_number(status, "policy_version"));
	snprintf(line, sizeof(line), "%s%s%s", get_text(status, "policy_mode"),
	         strcmp(get_text(status, "policy_mode"), "audit") != 0
	                 ? ""
	                 : ": denied packets pass and are counted",
	         version);
	print_field(cli, "Policy:", line);
	print_field(cli, "Masquerade:",
	            get_bool(status, "masquerade") ? "on" : "off");
}

static void print_traffic(const struct cli *cli, const json_t *status)
{
	const json_t *counters = json_object_get(status, "counters");
	const json_t *drops = json_object_get(status, "drops"), *drop;
	const json_t *log = json_object_get(status, "flow_log");
	char line[LINE_MAX], bytes[QUANTITY_MAX];
	size_t i;

	snprintf(line, sizeof(line),
	         "%lld opened, %lld ended, %lld cut by a change of policy",
	         get_number(counters, "flow_opened"),
	         get_number(counters, "flow_ended"),
	         get_number(counters, "flow_cut"));
	print_field(cli, "Flows:", line);
	snprintf(line, sizeof(line), "%lld events kept (%s), %lld lost",
	         get_number(log, "kept"),
	         bytes_text((uint64_t)get_number(log, "bytes"), bytes),
	         get_number(counters, "event_lost"));
	print_field(cli, "Flow log:", line);
	json_array_foreach(drops, i, drop)
	{
		snprintf(line, sizeof(line), "%lld: %s",
		         get_number(drop, "packets"), get_text(drop, "text"));
		print_field(cli, i ? " " : "Dropped:", line);
	}
}

static void print_problems(const struct cli *cli, const json_t *status)
{
	const json_t *problems = json_object_get(status, "problems"), *problem;
	const size_t n = json_array_size(problems);
	struct fill fill = {.indent = 2, .width = cli_style(cli).width};
	size_t i;

	json_array_foreach(problems, i, problem)
	{
		if (i == PROBLEMS_SHOWN)
			break;
		printf("%s! %s:%s ", style_begin(STYLE_WARN, cli->color),
		       get_text(problem, "object"),
		       style_end(STYLE_WARN, cli->color));
		fill.at = strlen("! : ") +
		          text_width(get_text(problem, "object"));
		text_fill(stdout, get_text(problem, "error"), &fill);
		putchar('\n');
	}
	if (n > PROBLEMS_SHOWN)
		printf("  and %zu more; see `stile policy list`\n",
		       n - PROBLEMS_SHOWN);
}

static void print_status(const struct cli *cli, const json_t *status)
{
	const bool ready = get_bool(status, "ready");
	const enum style style = ready ? STYLE_GOOD : STYLE_BAD;
	const json_t *datapath = json_object_get(status, "datapath");
	char line[LINE_MAX];

	snprintf(line, sizeof(line), "%s%s%s%s%s",
	         style_begin(style, cli->color), ready ? "ready" : "not ready",
	         style_end(style, cli->color), ready ? "" : ": ",
	         get_text(status, "reason"));
	print_field(cli, "Stile:", line);
	snprintf(line, sizeof(line), "%s, version %s",
	         get_text(status, "node_name"), get_text(status, "version"));
	print_field(cli, "Node:", line);
	snprintf(line, sizeof(line), "%s%s", get_text(datapath, "pins"),
	         get_bool(datapath, "adopted") ? ", adopted" : "");
	print_field(cli, "Datapath:", line);
	print_counts(cli, status);
	print_network(cli, status);
	print_traffic(cli, status);
	print_problems(cli, status);
}

int cmd_status(const struct cli *cli, const struct args *args)
{
	const char *value = args_value(args, "wait");
	double seconds = WAIT_DEFAULT_S;
	json_t *reply = NULL;
	int status;

	if (value && duration_parse(value, &seconds))
		return fail(STATUS_USAGE, "--wait: '%s' is not a time like 30s",
		            value);
	if (args_has(args, "wait"))
		wait_ready(cli, seconds);
	status = cli_ask(cli, request_new("status"), &reply);
	if (status)
		return status;
	if (cli->format == FORMAT_JSON)
		print_json(reply);
	else if (args_has(args, "brief"))
		puts(get_bool(reply, "ready") ? "ready" : "not ready");
	else
		print_status(cli, reply);
	status = get_bool(reply, "ready") ? STATUS_DONE : STATUS_NO;
	json_decref(reply);
	return status;
}
