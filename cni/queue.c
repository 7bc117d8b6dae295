// SPDX-License-Identifier: Apache-2.0
/* queue.c - see queue.h. */
#include "cni/queue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Descriptor of the queue, made where @make says so. */
static int queue_open(const char *state_dir, bool make, int *ret)
{
	_cleanup_(closep) int state = -1;
	int fd;

	if (make && mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	state = open(state_dir, DIR_FLAGS);
	if (state < 0)
		return -errno;
	if (make && mkdirat(state, QUEUE_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(state, QUEUE_DIR, DIR_FLAGS);
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

/* How many files it holds besides @name. */
static int queue_count(int dir, const char *name)
{
	int fd = openat(dir, ".", DIR_FLAGS); /* a place of its own to read */
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int n = 0;

	if (!list) {
		const int r = -errno;

		closep(&fd);
		return r;
	}
	while ((entry = readdir(list)))
		n += entry->d_name[0] != '.' &&
		     strcmp(entry->d_name, name) != 0;
	closedir(list);
	return n;
}

static int file_write(int dir, const char *name, const char *text)
{
	const size_t len = strlen(text);
	_cleanup_(closep) int fd = openat(
		dir, name,
		O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0)
		return -errno;
	if ((size_t)n < len)
		return -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}

static int queue_put(int dir, const char *name, const char *text)
{
	char draft[32];
	int r;

	r = queue_count(dir, name);
	if (r >= QUEUE_MAX)
		return -EDQUOT;
	if (r < 0)
		return r;
	snprintf(draft, sizeof(draft), ".%s", name);
	r = file_write(dir, draft, text);
	if (!r && renameat(dir, draft, dir, name) < 0)
		r = -errno;
	if (!r && fsync(dir) < 0)
		r = -errno;
	if (r)
		(void)unlinkat(dir, draft, 0);
	return r;
}

int queue_add(const char *state_dir, const char *container_id,
              const char *ifname, const char *host_ifname, struct err *err)
{
	json_t *release =
		json_pack("{s:s,s:s,s:s}", "container_id", container_id,
	                  "ifname", ifname, "host_ifname", host_ifname);
	_cleanup_(free_p) char *text = json_dumps(release, JSON_COMPACT);
	_cleanup_(closep) int dir = -1;
	int r = text ? 0 : -ENOMEM;

	json_decref(release);
	if (!r)
		r = queue_open(state_dir, true, &dir);
	if (!r)
		r = queue_put(dir, host_ifname, text);
	if (r)
		return err_set(err, r, "queue the release in %s/%s: %s",
		               state_dir, QUEUE_DIR, strerror(-r));
	return 0;
}

void queue_remove(const char *state_dir, const char *host_ifname)
{
	_cleanup_(closep) int dir = -1;

	if (!queue_open(state_dir, false, &dir))
		(void)unlinkat(dir, host_ifname, 0);
}
