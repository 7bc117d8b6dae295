// SPDX-License-Identifier: Apache-2.0
/* uninstall.c - see uninstall.h. */
#include "daemon/uninstall.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "daemon/undo.h"
#include "lib/nl.h"
#include "lib/util.h"

void uninstall_say(const struct uninstall *what, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (!what->say)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	what->say(line, what->user);
}

/* The daemon holds this lock for as long as it lives; see host_lock(). */
static int lock_take(const char *state_dir, int *ret, struct err *err)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/lock", state_dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0
		                       : err_set(err, -errno, "%s: %s", path,
		                                 strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return err_set(err, -EBUSY,
		               "stiled is running on %s: stop it first",
		               state_dir);
	}
	*ret = fd;
	return 0;
}

/* The first failure is what we return; the rest goes on. */
static int first_of(int first, struct err *err, int r, const struct err *why)
{
	if (first || !r)
		return first;
	*err = *why;
	return r;
}

static int settings_undo(const struct uninstall *what, struct nl *nl,
                         struct err *err)
{
	struct undo undo;
	size_t n;
	int r;

	if (access(what->state_dir, F_OK))
		return 0;
	r = undo_open(&undo, what->state_dir, err);
	n = r ? 0 : json_array_size(undo.changes);
	if (!r)
		r = undo_all(&undo, nl, err);
	undo_close(&undo);
	if (!r && n)
		uninstall_say(what, "%zu settings of the node put back", n);
	return r;
}

int uninstall_run(const struct uninstall *what, struct err *err)
{
	_cleanup_(closep) int lock = -1;
	struct err why = {};
	struct nl nl = {.fd = -1};
	int r = lock_take(what->state_dir, &lock, err), first;

	if (!r)
		r = nl_open(&nl, err);
	if (r)
		return r;
	first = uninstall_net(what, &nl, err);
	r = settings_undo(what, &nl, &why);
	first = first_of(first, err, r, &why);
	nl_close(&nl);
	r = uninstall_pins(what, &why);
	first = first_of(first, err, r, &why);
	r = uninstall_installed(what, &why);
	first = first_of(first, err, r, &why);
	r = uninstall_files(what, &why);
	return first_of(first, err, r, &why);
}
