// SPDX-License-Identifier: Apache-2.0
/* host.c - see host.h. */
#include "daemon/host.h"

#include <linux/magic.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/util.h"

#define FILES_MAX 65536

/* Every directory above @path; errors show when it is made itself. */
static void parents_make(const char *path)
{
	char copy[PATH_MAX];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return;
	for (char *slash = strchr(copy + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(copy, 0755);
		*slash = '/';
	}
}

int host_dir(const char *path, struct err *err)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;

	parents_make(path);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "make directory '%s': %s", path,
		               strerror(errno));
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return err_set(err, -errno, "directory '%s': %s", path,
		               strerror(errno));
	if (st.st_uid != geteuid() || st.st_mode & 022)
		return err_set(err, -EPERM,
		               "directory '%s' is another's, or others may "
		               "write to it",
		               path);
	return 0;
}

int host_lock(const char *state_dir, int *ret_fd, struct err *err)
{
	char path[PATH_MAX];
	_cleanup_(closep) int fd = -1;

	snprintf(path, sizeof(path), "%s/lock", state_dir);
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, -errno, "open '%s': %s", path,
		               strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, errno == EWOULDBLOCK ? -EEXIST : -errno,
		               "'%s': %s", path,
		               errno == EWOULDBLOCK
		                       ? "another stiled uses this state "
		                         "directory"
		                       : strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

static int bpffs_mount(const char *path, struct err *err)
{
	if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
	          "mode=0700"))
		return err_set(err, -errno, "mount a bpffs at '%s': %s", path,
		               strerror(errno));
	return 0;
}

int host_bpffs(const char *path, struct err *err)
{
	char above[PATH_MAX];
	char *slash;
	int r;

	parents_make(path);
	if (!mkdir(path, 0700) || errno == EEXIST)
		return is_bpffs(path) ? 0 : bpffs_mount(path, err);
	/* sysfs lets nobody make directories: the place is one above. */
	snprintf(above, sizeof(above), "%s", path);
	slash = strrchr(above, '/');
	if (!slash || slash == above || is_bpffs(above))
		return err_set(err, -errno, "make directory '%s': %s", path,
		               strerror(errno));
	*slash = '\0';
	r = bpffs_mount(above, err);
	if (!r && mkdir(path, 0700) < 0)
		r = err_set(err, -errno, "make directory '%s': %s", path,
		            strerror(errno));
	return r;
}

void host_sysctls(void)
{
	struct statvfs fs;

	if (statvfs("/proc/sys", &fs) || !(fs.f_flag & ST_RDONLY))
		return;
	(void)mount(NULL, "/proc/sys", NULL,
	            MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC,
	            NULL);
}

void host_limits(void)
{
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	struct rlimit files;

	(void)setrlimit(RLIMIT_MEMLOCK, &all);
	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= FILES_MAX)
		return;
	files.rlim_cur =
		files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

void host_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_cleanup_(closep) int fd = -1;
	size_t len = path ? strlen(path) : 0;

	if (!len || len >= sizeof(addr.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(
			fd, state, strlen(state), MSG_NOSIGNAL,
			(struct sockaddr *)&addr,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		                    len));
}
