// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - stile-cni: the container runtime's request on stdin and in CNI_*
 * variables, the result or the error on stdout (CNI specification 1.1).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cni/command.h"
#include "cni/conf.h"
#include "cni/install.h"
#include "cni/result.h"
#include "lib/util.h"

#define INPUT_MAX        (1u << 20)
#define INPUT_TIMEOUT_MS 5000
#define VERSION_WAIT_MS  200 /* it needs no input, and may get none */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* All of stdin into @buf: its length, -E2BIG, -ETIMEDOUT, -errno. */
static ssize_t input_read(char *buf, int timeout_ms)
{
	const int64_t deadline = now_ms() + timeout_ms;
	size_t used = 0;

	for (;;) {
		struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
		const int64_t left = deadline - now_ms();
		ssize_t n;

		if (poll(&p, 1, left > 0 ? (int)left : 0) == 0)
			return -ETIMEDOUT;
		n = read(STDIN_FILENO, buf + used, INPUT_MAX - used);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return used == INPUT_MAX ? -E2BIG : (ssize_t)used;
		if (n > 0)
			used += (size_t)n;
	}
}

static enum cni_code request_read(struct conf *conf, char *buf, struct err *err)
{
	const struct conf_env env = {
		.command = getenv("CNI_COMMAND"),
		.container_id = getenv("CNI_CONTAINERID"),
		.netns = getenv("CNI_NETNS"),
		.ifname = getenv("CNI_IFNAME"),
		.args = getenv("CNI_ARGS"),
		.path = getenv("CNI_PATH"),
	};
	enum cni_code code = conf_read_env(&env, conf, err);
	bool version;
	ssize_t n;

	if (code)
		return code;
	version = conf->command == COMMAND_VERSION;
	n = input_read(buf, version ? VERSION_WAIT_MS : INPUT_TIMEOUT_MS);
	if (n < 0 && !version)
		return err_set(err, CNI_IO, "network configuration: %s",
		               strerror((int)-n));
	return conf_read_json(buf, n < 0 ? 0 : (size_t)n, conf, err);
}

static enum cni_code request_serve(const struct conf *conf, json_t **ret,
                                   struct err *err)
{
	switch (conf->command) {
	case COMMAND_ADD:
		return command_add(conf, ret, err);
	case COMMAND_DEL:
		return command_del(conf, err);
	case COMMAND_CHECK:
		return command_check(conf, err);
	case COMMAND_GC:
		return command_gc(conf, err);
	case COMMAND_STATUS:
		return command_status(conf, err);
	case COMMAND_VERSION:
	case COMMAND__COUNT:
		break;
	}
	*ret = result_version(conf);
	return CNI_OK;
}

/* Nothing to say is said by printing nothing. */
static int answer_print(const json_t *answer)
{
	_cleanup_(free_p) char *text = NULL;

	if (!answer)
		return 0;
	text = json_dumps(answer, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	if (!text || puts(text) < 0 || fflush(stdout))
		return -EIO;
	return 0;
}

/* For people and pods: the sentence on stderr, and no JSON. */
static int install_main(int argc, char **argv)
{
	struct err err = {};

	if (!install_run(argc, argv, &err))
		return EXIT_SUCCESS;
	fprintf(stderr, "stile-cni: %s\n", err.text);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	_cleanup_(free_p) char *buf = malloc(INPUT_MAX);
	struct err err = {};
	struct conf conf = {};
	json_t *answer = NULL;
	enum cni_code code = CNI_FAILED;

	if (install_is_asked(argc, argv))
		return install_main(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (buf)
		code = request_read(&conf, buf, &err);
	if (buf && !code)
		code = request_serve(&conf, &answer, &err);
	if (code)
		answer = result_error(&conf, code,
		                      *err.text ? err.text : "out of memory");
	if (answer_print(answer))
		code = CNI_IO;
	json_decref(answer);
	conf_free(&conf);
	return code ? EXIT_FAILURE : EXIT_SUCCESS;
}
