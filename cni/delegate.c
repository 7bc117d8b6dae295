// SPDX-License-Identifier: Apache-2.0
/* delegate.c - see delegate.h. */
#include "cni/delegate.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/util.h"

#define OUTPUT_MAX (1u << 20)

struct child {
	char path[512];
	const char *command;
	int input, output; /* its stdin; our end of its stdout */
	pid_t pid;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static enum cni_code path_find(const struct conf *conf, char ret[512],
                               struct err *err)
{
	for (const char *at = conf->path; *at;) {
		const size_t len = strcspn(at, ":");
		struct stat st;
		const int n =
			snprintf(ret, 512, "%.*s/%s", (int)len, at, conf->ipam);

		/* Relative directories depend on where the runtime stands. */
		if (*at == '/' && n < 512 && !stat(ret, &st) &&
		    S_ISREG(st.st_mode) && !access(ret, X_OK))
			return CNI_OK;
		at += len;
		at += *at == ':';
	}
	return err_set(err, CNI_CONFIG, "ipam '%s': no such plugin in CNI_PATH",
	               conf->ipam);
}

/* The configuration as a file: no pipe to fill while the child waits. */
static int input_open(const struct conf *conf, int *ret)
{
	_cleanup_(closep) int fd = memfd_create("conf", MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < conf->raw_len) {
		const ssize_t n =
			write(fd, conf->raw + done, conf->raw_len - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

static _Noreturn void child_exec(const struct child *child, int output)
{
	char *const argv[] = {(char *)child->path, NULL};

	signal(SIGPIPE, SIG_DFL);
	if (dup2(child->input, 0) >= 0 && dup2(output, 1) >= 0 &&
	    !setenv("CNI_COMMAND", child->command, 1))
		execv(child->path, argv);
	_exit(127);
}

static int child_start(struct child *child)
{
	int pipe_fd[2];

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return -errno;
	child->pid = fork();
	if (!child->pid)
		child_exec(child, pipe_fd[1]);
	close(pipe_fd[1]);
	if (child->pid < 0) {
		close(pipe_fd[0]);
		return -EAGAIN;
	}
	child->output = pipe_fd[0];
	return 0;
}

/* All that it prints, until it closes: -ETIMEDOUT, -EMSGSIZE, -errno. */
static ssize_t child_read(const struct child *child, char *buf)
{
	const int64_t deadline = now_ms() + DELEGATE_TIMEOUT_MS;
	size_t used = 0;

	for (;;) {
		struct pollfd p = {.fd = child->output, .events = POLLIN};
		const int64_t left = deadline - now_ms();
		const int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
		ssize_t n;

		if (!ready)
			return -ETIMEDOUT;
		if (used == OUTPUT_MAX)
			return -EMSGSIZE;
		n = ready < 0 ? -1
		              : read(child->output, buf + used,
		                     OUTPUT_MAX - used);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return (ssize_t)used;
		if (n > 0)
			used += (size_t)n;
	}
}

static int child_wait(const struct child *child, bool kill_it)
{
	int status = 0;

	if (kill_it)
		kill(child->pid, SIGKILL);
	while (waitpid(child->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* An error object of CNI, or no JSON at all. */
static enum cni_code child_error(const struct conf *conf, int status,
                                 const json_t *said, struct err *err)
{
	const char *msg = json_string_value(json_object_get(said, "msg"));
	const json_int_t code =
		json_integer_value(json_object_get(said, "code"));

	if (!msg)
		return err_set(err, CNI_FAILED,
		               "ipam '%s': failed with exit code %d",
		               conf->ipam, status);
	(void)err_set(err, 0, "ipam '%s': %s", conf->ipam, msg);
	return code > 0 && code < 100000 ? (enum cni_code)code : CNI_FAILED;
}

static enum cni_code child_finish(const struct conf *conf,
                                  const struct child *child, json_t **ret,
                                  struct err *err)
{
	_cleanup_(free_p) char *buf = malloc(OUTPUT_MAX);
	const ssize_t n = buf ? child_read(child, buf) : -ENOMEM;
	const int status = child_wait(child, n < 0);
	json_t *said;

	close(child->output);

	if (n < 0)
		return err_set(err, CNI_AGAIN, "ipam '%s': %s", conf->ipam,
		               strerror((int)-n));
	said = json_loadb(buf, (size_t)n, 0, NULL);
	if (status) {
		enum cni_code code = child_error(conf, status, said, err);

		json_decref(said);
		return code;
	}
	if (ret && !json_is_object(said)) {
		json_decref(said);
		return err_set(err, CNI_DECODE,
		               "ipam '%s': its result is no JSON object",
		               conf->ipam);
	}
	if (ret)
		*ret = said;
	else
		json_decref(said);
	return CNI_OK;
}

enum cni_code delegate_run(const struct conf *conf, const char *command,
                           json_t **ret, struct err *err)
{
	struct child child = {.command = command};
	_cleanup_(closep) int input = -1;
	enum cni_code code;
	int r;

	if (!conf->ipam)
		return CNI_OK;
	code = path_find(conf, child.path, err);
	if (code)
		return code;
	r = input_open(conf, &input);
	child.input = input;
	if (!r)
		r = child_start(&child);
	if (r)
		return err_set(err, CNI_FAILED, "ipam '%s': %s", conf->ipam,
		               strerror(-r));
	return child_finish(conf, &child, ret, err);
}
