// SPDX-License-Identifier: Apache-2.0
/* call.c - asking the daemon: see cli.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cni/wire.h"
#include "lib/util.h"

#define ASK_TIMEOUT_MS 30000

int fail(enum status status, const char *fmt, ...)
{
	va_list ap;

	fputs("stile: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return status;
}

json_t *request_new(const char *op)
{
	return json_pack("{s:s}", "op", op);
}

static int unreachable(const struct cli *cli, int r, const struct err *err)
{
	if (r == -ENOENT || r == -ECONNREFUSED)
		return fail(STATUS_UNREACHABLE,
		            "no daemon listens on %s; is stiled running? "
		            "(`systemctl status stiled`; another directory: "
		            "--run-dir DIR)",
		            cli->socket);
	if (r == -EACCES || r == -EPERM)
		return fail(STATUS_UNREACHABLE,
		            "%s is for root alone; try sudo", cli->socket);
	return fail(STATUS_UNREACHABLE, "%s", err->text);
}

int cli_ask(const struct cli *cli, json_t *request, json_t **ret)
{
	const char *why;
	struct err err = {};
	json_t *reply = NULL;
	int r;

	if (!request)
		return fail(STATUS_NO, "out of memory");
	r = wire_call(cli->socket, request, ASK_TIMEOUT_MS, &reply, &err);
	json_decref(request);
	if (r)
		return unreachable(cli, r, &err);
	if (wire_is_error(reply, &why)) {
		r = fail(STATUS_NO, "%s", why);
		json_decref(reply);
		return r;
	}
	*ret = reply;
	return STATUS_DONE;
}

/* One line of a stream: -1 go on, else the status to end with. */
static int line_take(json_t *line, bool (*take)(const json_t *, void *),
                     void *user, json_t **ret_end)
{
	const char *why;
	int status = -1;

	if (!line)
		return fail(STATUS_NO, "the daemon's answer is no JSON");
	if (wire_is_error(line, &why))
		status = fail(STATUS_NO, "%s", why);
	else if (json_is_true(json_object_get(line, "end")) ||
	         !take(line, user))
		status = STATUS_DONE;
	if (ret_end && status == STATUS_DONE)
		*ret_end = json_incref(line);
	json_decref(line);
	return status;
}

/* Lines until one that ends it, or until the daemon is gone: then -1. */
static int lines_take(FILE *in, bool (*line)(const json_t *, void *),
                      void *user, json_t **ret_end)
{
	_cleanup_(free_p) char *text = NULL;
	size_t size = 0;
	int status = -1;
	ssize_t n;

	while (status < 0 && (n = getline(&text, &size, in)) > 0)
		status = line_take(json_loadb(text, (size_t)n, 0, NULL), line,
		                   user, ret_end);
	return status;
}

int cli_stream(const struct cli *cli, json_t *request,
               bool (*line)(const json_t *line, void *user), void *user,
               json_t **ret_end)
{
	struct err err = {};
	int fd = -1, r, status;
	FILE *in;

	if (!request)
		return fail(STATUS_NO, "out of memory");
	r = wire_open(cli->socket, request, &fd, &err);
	json_decref(request);
	if (r)
		return unreachable(cli, r, &err);
	in = fdopen(fd, "re");
	if (!in) {
		close(fd);
		return fail(STATUS_NO, "out of memory");
	}
	status = lines_take(in, line, user, ret_end);
	fclose(in);
	if (status < 0)
		return fail(STATUS_UNREACHABLE,
		            "the daemon went away in the middle of its answer");
	return status;
}
