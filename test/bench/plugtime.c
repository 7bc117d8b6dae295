/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plugtime.c - what a CNI plugin takes, as a container runtime sees it.
 *
 *	plugtime PARALLEL CONF PLUGIN ADD|DEL NETNS ...
 *
 * Runs PLUGIN once for each namespace (a name in /run/netns, the container's
 * id and the pod's name too), PARALLEL at a time, with the file CONF as its
 * standard input.  Prints one JSON line: the median and the 99th percentile of
 * the calls in us, all of them in a second, and how many failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/util.h"

#define ENV_TEXT 320

struct call {
	pid_t pid;
	uint64_t begin, took;
};

static _Noreturn void die(const char *what, int error)
{
	(void)fprintf(stderr, "plugtime: %s: %s\n", what, strerror(error));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static pid_t start(const char *conf, char *plugin, const char *command,
                   const char *netns)
{
	char verb[ENV_TEXT], id[ENV_TEXT], path[ENV_TEXT], args[ENV_TEXT];
	char *env[] = {verb,
	               id,
	               path,
	               args,
	               "CNI_IFNAME=eth0",
	               "CNI_PATH=/usr/lib/cni",
	               "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
	               NULL};
	char *argv[] = {plugin, NULL};
	posix_spawn_file_actions_t files;
	pid_t pid;
	int error;

	(void)snprintf(verb, ENV_TEXT, "CNI_COMMAND=%s", command);
	(void)snprintf(id, ENV_TEXT, "CNI_CONTAINERID=%s", netns);
	(void)snprintf(path, ENV_TEXT, "CNI_NETNS=/run/netns/%s", netns);
	(void)snprintf(args, ENV_TEXT,
	               "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;"
	               "K8S_POD_NAME=%s",
	               netns);
	(void)posix_spawn_file_actions_init(&files);
	(void)posix_spawn_file_actions_addopen(&files, 0, conf, O_RDONLY, 0);
	(void)posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY,
	                                       0);
	error = posix_spawn(&pid, plugin, &files, NULL, argv, env);
	(void)posix_spawn_file_actions_destroy(&files);
	if (error)
		die(plugin, error);
	return pid;
}

/* Wait for one of the calls; 1 when it failed. */
static int reap(struct call *call, int started)
{
	int status;
	pid_t pid = wait(&status);
	const uint64_t end = now();

	if (pid < 0)
		die("wait", errno);
	for (int i = 0; i < started; i++)
		if (call[i].pid == pid)
			call[i].took = end - call[i].begin;
	return status != 0;
}

static int compare(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	return (x->took > y->took) - (x->took < y->took);
}

int main(int argc, char **argv)
{
	const int parallel = argc > 5 ? atoi(argv[1]) : 0;
	const int n = argc - 5;
	int started = 0, ended = 0, failed = 0;
	struct call *call;
	uint64_t begin;

	if (parallel < 1) {
		(void)fputs("usage: plugtime PARALLEL CONF PLUGIN ADD|DEL "
		            "NETNS...\n",
		            stderr);
		return 2;
	}
	call = calloc((size_t)n, sizeof(*call));
	if (!call)
		die("memory", ENOMEM);
	begin = now();
	while (ended < n) {
		while (started < n && started - ended < parallel) {
			call[started].begin = now();
			call[started].pid = start(argv[2], argv[3], argv[4],
			                          argv[started + 5]);
			started++;
		}
		failed += reap(call, started);
		ended++;
	}
	begin = now() - begin;
	qsort(call, (size_t)n, sizeof(*call), compare);
	printf("{\"p50_us\": %.1f, \"p99_us\": %.1f, \"per_second\": %.1f, "
	       "\"failed\": %d}\n",
	       (double)call[n / 2].took / 1e3,
	       (double)call[(n - 1) * 99 / 100].took / 1e3,
	       n / ((double)begin / 1e9), failed);
	free(call);
	return 0;
}
