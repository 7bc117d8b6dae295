// SPDX-License-Identifier: Apache-2.0
/* netns.c - see netns.h. */
#include "cni/netns.h"

#include <linux/magic.h>
#include <linux/nsfs.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "lib/util.h"

/* True also when it can not be known for our own: then nothing is safe. */
static bool netns_is_host(const struct stat *st)
{
	struct stat host;

	if (stat("/proc/self/ns/net", &host) < 0)
		return true;
	if (host.st_ino == st->st_ino && host.st_dev == st->st_dev)
		return true;
	return stat("/proc/1/ns/net", &host) == 0 &&
	       host.st_ino == st->st_ino && host.st_dev == st->st_dev;
}

int netns_open(const char *path, int *ret_fd, struct err *err)
{
	_cleanup_(closep) int look = open(path, O_PATH | O_CLOEXEC);
	_cleanup_(closep) int fd = -1;
	struct statfs fs;
	struct stat st;
	char again[32];

	/* The daemon gets it too, and stands elsewhere. */
	if (*path != '/')
		return err_set(err, -EINVAL,
		               "CNI_NETNS '%.100s' is no absolute path", path);
	if (look < 0)
		return err_set(err, -errno, "CNI_NETNS '%.100s': %s", path,
		               strerror(errno));
	if (fstatfs(look, &fs) < 0 || fstat(look, &st) < 0)
		return err_set(err, -errno, "CNI_NETNS '%.100s': %s", path,
		               strerror(errno));
	if (fs.f_type != NSFS_MAGIC)
		return err_set(err, -EINVAL,
		               "CNI_NETNS '%.100s' is no namespace", path);
	if (netns_is_host(&st))
		return err_set(err, -EINVAL,
		               "CNI_NETNS '%.100s' is the host's own namespace",
		               path);

	snprintf(again, sizeof(again), "/proc/self/fd/%d", look);
	fd = open(again, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "CNI_NETNS '%.100s': %s", path,
		               strerror(errno));
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return err_set(err, -EINVAL,
		               "CNI_NETNS '%.100s' is no network namespace",
		               path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int netns_enter(int netns_fd, int *ret_home, struct err *err)
{
	_cleanup_(closep) int home =
		ret_home ? open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) : -1;

	if (ret_home && home < 0)
		return err_set(err, -errno, "own network namespace: %s",
		               strerror(errno));
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_set(err, -errno, "enter network namespace: %s",
		               strerror(errno));
	if (ret_home)
		*ret_home = TAKE_FD(home);
	return 0;
}

int netns_ipv6_conf(const char *ifname, const char *key, const char *value)
{
	_cleanup_(closep) int fd = -1;
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", ifname,
	         key);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (write(fd, value, strlen(value)) < 0)
		return -errno;
	return 0;
}
