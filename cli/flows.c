// SPDX-License-Identifier: Apache-2.0
/* flows.c - stile flows: what the datapath saw, with names and reasons. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/flow_line.h"
#include "lib/util.h"

/* Options that are filters; the key is the option's name with '_'. */
static const char *const filters[] = {
	"from-pod", "to-pod", "pod",      "namespace",
	"ip",       "port",   "protocol", "verdict",
};

static void key_of(const char *option, char key[24])
{
	size_t i = 0;

	for (; option[i] && i < 23; i++)
		key[i] = option[i];
	for (char *c = key; c < key + i; c++)
		if (*c == '-')
			*c = '_';
	key[i] = '\0';
}

static bool is_filter(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		if (!strcmp(filters[i], name))
			return true;
	return false;
}

static json_t *filters_json(const struct args *args)
{
	json_t *object = json_object();

	for (int i = 0; i < args->n_given; i++) {
		char key[24];
		json_t *list;

		if (!is_filter(args->given[i].opt->name))
			continue;
		key_of(args->given[i].opt->name, key);
		list = json_object_get(object, key);
		if (!list) {
			list = json_array();
			(void)json_object_set_new(object, key, list);
		}
		(void)json_array_append_new(list,
		                            json_string(args->given[i].value));
	}
	return object;
}

/* "5m" ago, or RFC 3339 in UTC; seconds of wall clock.  0 or -1. */
static int since_parse(const char *text, double *ret)
{
	struct timespec now;
	struct tm tm = {};
	const char *rest;
	double seconds;

	if (!duration_parse(text, &seconds)) {
		clock_gettime(CLOCK_REALTIME, &now);
		*ret = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - seconds;
		return 0;
	}
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest)
		return -1;
	*ret = (double)timegm(&tm);
	if (*rest == '.') {
		char *end;

		*ret += strtod(rest, &end);
		rest = end;
	}
	return strcmp(rest, "Z") != 0 ? -1 : 0;
}

/* The request in @ret, or the exit status. */
static int request_make(const struct args *args, json_t **ret)
{
	const char *since = args_value(args, "since");
	const char *last = args_value(args, "last");
	json_t *request = request_new("flows");
	double from = 0;
	char *end = NULL;
	unsigned long n = 0;

	if (last)
		n = strtoul(last, &end, 10);
	if (last && (*end || end == last || last[0] == '-')) {
		json_decref(request);
		return fail(STATUS_USAGE, "--last: '%s' is not a number", last);
	}
	if (since && since_parse(since, &from)) {
		json_decref(request);
		return fail(STATUS_USAGE,
		            "--since: '%s' is neither a time like 5m nor like "
		            "2026-01-31T12:00:00Z",
		            since);
	}
	if (args_has(args, "follow"))
		(void)json_object_set_new(request, "follow", json_true());
	if (last)
		(void)json_object_set_new(request, "last",
		                          json_integer((json_int_t)n));
	if (since)
		(void)json_object_set_new(request, "since", json_real(from));
	(void)json_object_set_new(request, "filters", filters_json(args));
	*ret = request;
	return STATUS_DONE;
}

static bool show(const json_t *line, void *user)
{
	const struct cli *cli = user;

	if (cli->format == FORMAT_JSON) {
		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		const struct table_style style = cli_style(cli);

		flow_line_print(stdout, line, &style);
	}
	return !ferror(stdout);
}

int cmd_flows(const struct cli *cli, const struct args *args)
{
	json_t *request = NULL;
	const int status = request_make(args, &request);

	if (status)
		return status;
	setvbuf(stdout, NULL, _IOLBF,
	        0); /* a reader wants lines as they come */
	return cli_stream(cli, request, show, (void *)cli, NULL);
}
