// SPDX-License-Identifier: Apache-2.0
/* check.c - stile check: does the network do what it should, from in here? */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/check_probe.h"
#include "cli/cli.h"
#include "lib/util.h"

#define PORT_DEFAULT   "8080"
#define STREAM_BYTES   (256u << 10)
#define DATAGRAM_BYTES 64u
#define TIMEOUT_S      5.0
#define FAILURES_SHOWN 5u
#define NAME_COLUMNS   28
#define WHERE_MAX      300

/* One line of the verdict: probes of one kind to everything that was named. */
struct check {
	const char *name, *option; /* whose values are the targets */
	const char *port;          /* option of their port; NULL: ADDR:PORT */
	int type;
	size_t bytes;
	bool path_mtu, denied;
};

static const struct check checks[] = {
	{"pods, TCP",               "peers",   "port",        SOCK_STREAM, STREAM_BYTES,   false, false},
	{"pods, UDP",               "peers",   "port",        SOCK_DGRAM,  DATAGRAM_BYTES, false,
         false											 },
	{"pods, full-size packets", "peers",   "port",        SOCK_DGRAM,  DATAGRAM_BYTES,
         true,										    false},
	{"services, TCP",           "service", "port",        SOCK_STREAM, STREAM_BYTES,   false,
         false											 },
	{"services, UDP",           "service", "port",        SOCK_DGRAM,  DATAGRAM_BYTES, false,
         false											 },
	{"API server",              "api",     NULL,          SOCK_STREAM, 0,              false, false},
	{"nodes",		   "node",    NULL,          SOCK_STREAM, 0,              false, false},
	{"outside",                 "outside", NULL,          SOCK_STREAM, 0,              false, false},
	{"policy denies, TCP",      "peers",   "denied-port", SOCK_STREAM, 0,              false,
         true											  },
	{"policy denies, UDP",      "peers",   "denied-port", SOCK_DGRAM,
         DATAGRAM_BYTES,								   false, true },
};

struct run {
	const struct cli *cli;
	const struct args *args;
	double timeout_s;
	json_t *results; /* [{name, passed, asked, answered, failures}] */
	unsigned failed, passed, unasked;
	struct check_probe *probe;
	size_t n;
};

/* ---- targets ------------------------------------------------------------ */

/* "ADDR:PORT", "[ADDR]:PORT" or, with @port, a name or an address. */
static int target_split(const char *text, const char *port, char host[256],
                        const char **ret_port)
{
	const char *colon = port ? NULL : strrchr(text, ':');
	const size_t len = colon ? (size_t)(colon - text) : strlen(text);
	const bool bracket = len > 1 && text[0] == '[' && text[len - 1] == ']';
	const size_t skip = bracket ? 1 : 0;

	if ((!port && !colon) || len >= 256)
		return -EINVAL;
	memcpy(host, text + skip, len - 2 * skip);
	host[len - 2 * skip] = '\0';
	*ret_port = port ? port : colon + 1;
	return 0;
}

static void probe_add(struct run *run, const struct check *check,
                      const struct addrinfo *info)
{
	struct check_probe *probe = &run->probe[run->n];

	if (run->n == CHECK_PROBES_MAX)
		return;
	run->n++;
	*probe = (struct check_probe){
		.type = check->type,
		.bytes = check->bytes,
		.path_mtu = check->path_mtu,
		.denied = check->denied,
		.timeout_ms = (int)(run->timeout_s * 1000),
		.fd = -1,
	};
	memcpy(&probe->to, info->ai_addr, info->ai_addrlen);
}

/* Every address of @target gets a probe; NULL or why there is none. */
static const char *target_add(struct run *run, const struct check *check,
                              const char *target)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = check->type,
	};
	const char *port =
		check->port ? args_value(run->args, check->port) : NULL;
	struct addrinfo *list = NULL;
	char host[256];
	int r;

	if (check->port && !port)
		port = PORT_DEFAULT;
	if (target_split(target, port, host, &port))
		return "it is not ADDR:PORT";
	r = getaddrinfo(host, port, &hints, &list);
	if (r)
		return gai_strerror(r);
	for (const struct addrinfo *info = list; info; info = info->ai_next)
		if (info->ai_addrlen <= sizeof(union check_dest))
			probe_add(run, check, info);
	freeaddrinfo(list);
	return NULL;
}

/* What the kubelet gives every container, when nothing was said. */
static const char *api_default(char buf[WHERE_MAX])
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");

	if (!host || !port)
		return NULL;
	snprintf(buf, WHERE_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
	         port);
	return buf;
}

/* ---- results ------------------------------------------------------------ */

static void failure_add(json_t *result, const char *where, const char *why)
{
	json_array_append_new(
		json_object_get(result, "failures"),
		json_pack("{s:s, s:s}", "where", where, "why", why));
}

static void result_show(const struct run *run, const json_t *result)
{
	const json_t *failures = json_object_get(result, "failures"), *one;
	const bool passed = get_bool(result, "passed");
	const enum style style = passed ? STYLE_GOOD : STYLE_BAD;
	size_t i;

	if (run->cli->format == FORMAT_JSON)
		return;
	printf("%s%-7s%s %-*s %lld of %lld\n",
	       style_begin(style, run->cli->color), passed ? "ok" : "FAILED",
	       style_end(style, run->cli->color), NAME_COLUMNS,
	       get_text(result, "name"), get_number(result, "answered"),
	       get_number(result, "asked"));
	json_array_foreach(failures, i, one)
	{
		if (i == FAILURES_SHOWN) {
			printf("          and %zu more\n",
			       json_array_size(failures) - i);
			break;
		}
		printf("          %s: %s\n", get_text(one, "where"),
		       get_text(one, "why"));
	}
	(void)fflush(stdout);
}

/* Takes over @result. */
static void result_take(struct run *run, json_t *result, size_t asked,
                        size_t answered)
{
	const bool passed =
		!json_array_size(json_object_get(result, "failures"));

	(void)json_object_update_new(
		result,
		json_pack("{s:b, s:I, s:I}", "passed", (int)passed, "asked",
	                  (json_int_t)asked, "answered", (json_int_t)answered));
	run->passed += passed;
	run->failed += !passed;
	result_show(run, result);
	json_array_append_new(run->results, result);
}

static json_t *result_new(const char *name)
{
	return json_pack("{s:s, s:[]}", "name", name, "failures");
}

/* ---- the checks --------------------------------------------------------- */

static void tick(size_t done, size_t n)
{
	if (isatty(STDERR_FILENO))
		(void)fprintf(stderr, "\r\033[K%zu of %zu\r", done, n);
}

static void targets_add(struct run *run, const struct check *check,
                        json_t *result)
{
	const struct args *args = run->args;
	char buf[WHERE_MAX];
	const char *target, *why;
	bool any = false;

	for (int i = 0; i < args->n_given; i++) {
		if (strcmp(args->given[i].opt->name, check->option) != 0)
			continue;
		any = true;
		why = target_add(run, check, args->given[i].value);
		if (why)
			failure_add(result, args->given[i].value, why);
	}
	target = any || strcmp(check->option, "api") != 0 ? NULL
	                                                  : api_default(buf);
	why = target ? target_add(run, check, target) : NULL;
	if (why)
		failure_add(result, target, why);
}

static void check_run(struct run *run, const struct check *check)
{
	json_t *result = result_new(check->name);
	size_t answered = 0;

	run->n = 0;
	if (!check->denied || args_has(run->args, "denied-port"))
		targets_add(run, check, result);
	if (!run->n && !json_array_size(json_object_get(result, "failures"))) {
		run->unasked++;
		json_decref(result);
		return;
	}
	check_probes_run(run->probe, run->n, tick);
	if (isatty(STDERR_FILENO))
		(void)fputs("\r\033[K", stderr);
	for (size_t i = 0; i < run->n; i++) {
		char where[CHECK_WHERE_MAX];

		answered += run->probe[i].passed;
		if (!run->probe[i].passed)
			failure_add(result, check_where(&run->probe[i], where),
			            run->probe[i].why);
	}
	result_take(run, result, run->n, answered);
}

static void check_names(struct run *run)
{
	const struct args *args = run->args;
	json_t *result = result_new("DNS");
	size_t asked = 0, answered = 0;

	for (int i = 0; i < args->n_given; i++) {
		const char *name = args->given[i].value;
		struct addrinfo *list = NULL;
		int r;

		if (strcmp(args->given[i].opt->name, "dns") != 0)
			continue;
		asked++;
		r = getaddrinfo(name, NULL, NULL, &list);
		answered += !r;
		if (r)
			failure_add(result, name, gai_strerror(r));
		else
			freeaddrinfo(list);
	}
	if (asked) {
		result_take(run, result, asked, answered);
		return;
	}
	run->unasked++;
	json_decref(result);
}

static int verdict(struct run *run)
{
	const bool works = run->passed && !run->failed;

	if (run->cli->format == FORMAT_JSON) {
		json_t *all = json_pack("{s:b, s:O}", "passed", (int)works,
		                        "checks", run->results);

		print_json(all);
		json_decref(all);
	} else if (works) {
		printf("The network works: %u checks passed, %u not asked "
		       "for.\n",
		       run->passed, run->unasked);
	} else {
		printf("%u of %u checks failed.\n", run->failed,
		       run->failed + run->passed);
	}
	return works ? STATUS_DONE : STATUS_NO;
}

int cmd_check_connectivity(const struct cli *cli, const struct args *args)
{
	_cleanup_(free_p) struct check_probe *probe =
		calloc(CHECK_PROBES_MAX, sizeof(*probe));
	const char *timeout = args_value(args, "timeout");
	struct run run = {
		.cli = cli,
		.args = args,
		.timeout_s = TIMEOUT_S,
		.results = json_array(),
		.probe = probe,
	};
	int status;

	if (!probe || !run.results)
		return fail(STATUS_NO, "out of memory");
	if (timeout &&
	    (duration_parse(timeout, &run.timeout_s) || run.timeout_s > 3600))
		return fail(STATUS_USAGE,
		            "--timeout: '%s' is not a time like 5s", timeout);
	check_names(&run);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		check_run(&run, &checks[i]);
	status = run.passed || run.failed
	                 ? verdict(&run)
	                 : fail(STATUS_USAGE, "nothing was asked for; see "
	                                      "`stile help check`");
	json_decref(run.results);
	return status;
}

int cmd_check_serve(const struct cli *cli, const struct args *args)
{
	int port[CHECK_PORTS_MAX], n = 0, r;

	(void)cli;
	for (int i = 0; i < args->n_given; i++) {
		char *end = NULL;

		if (strcmp(args->given[i].opt->name, "port") != 0)
			continue;
		if (n == CHECK_PORTS_MAX)
			return fail(STATUS_USAGE, "--port: more than %d",
			            CHECK_PORTS_MAX);
		port[n] = (int)strtol(args->given[i].value, &end, 10);
		if (*end || port[n] < 1 || port[n] > 65535)
			return fail(STATUS_USAGE, "--port: '%s' is no port",
			            args->given[i].value);
		n++;
	}
	if (!n)
		port[n++] = atoi(PORT_DEFAULT);
	r = check_serve(port, n);
	return r ? fail(STATUS_NO, "serve: %s", strerror(-r)) : STATUS_DONE;
}
