// SPDX-License-Identifier: Apache-2.0
/* uninstall_files.c - pins and files, by the names that we give. */
#include <linux/magic.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "bpf/abi.h"
#include "daemon/cniconf.h"
#include "daemon/uninstall.h"
#include "lib/util.h"

#define GONE_TRIES 300
#define GONE_MS    10

static bool is_meant(const char *name, const char *const *patterns)
{
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, name, 0))
			return true;
	return false;
}

/* Remove what matches one of @patterns (NULL ends them) from a directory;
 * links are not followed.  Returns how many, or -errno; no directory is 0. */
static int dir_clean(int at, const char *name, const char *const *patterns)
{
	const int fd = openat(at, name,
	                      O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int n = 0;

	if (!dir) {
		const int r = errno == ENOENT ? 0 : -errno;

		if (fd >= 0)
			close(fd);
		return r;
	}
	while (n >= 0 && (entry = readdir(dir)))
		if (is_meant(entry->d_name, patterns))
			n = unlinkat(fd, entry->d_name, 0) ? -errno : n + 1;
	closedir(dir);
	return n;
}

/* A directory that is empty now; what others put there stays, and is said. */
static int dir_remove(const struct uninstall *what, const char *path,
                      struct err *err)
{
	if (!rmdir(path)) {
		uninstall_say(what, "%s removed", path);
		return 0;
	}
	if (errno == ENOENT)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST) {
		uninstall_say(what, "%s is not empty and stays", path);
		return 0;
	}
	return err_set(err, -errno, "%s: %s", path, strerror(errno));
}

/* ---- pins --------------------------------------------------------------- */

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

/* A link is taken off its device now; dropping its pin would do so later. */
static void links_detach(const char *dir)
{
	DIR *list = opendir(dir);
	struct dirent *entry;

	while (list && (entry = readdir(list))) {
		_cleanup_(closep) int fd = -1;
		char path[600];

		if (fnmatch("link_*", entry->d_name, 0))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		fd = bpf_obj_get(path);
		if (fd >= 0)
			(void)bpf_link_detach(fd);
	}
	if (list)
		closedir(list);
}

static uint32_t stub_id(const char *dir)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	_cleanup_(closep) int fd = -1;
	char path[600];

	snprintf(path, sizeof(path), "%s/stub_from_pod", dir);
	fd = bpf_obj_get(path);
	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

/* The kernel forgets programs a moment after nobody holds them. */
static void stub_await(uint32_t id)
{
	for (int i = 0; id && i < GONE_TRIES; i++) {
		const int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			return;
		close(fd);
		(void)poll(NULL, 0, GONE_MS);
	}
}

/* Is @path the root of a file system of its own? */
static bool is_mount(const char *path)
{
	struct stat self, parent;
	char up[600];

	snprintf(up, sizeof(up), "%s/..", path);
	return !stat(path, &self) && !stat(up, &parent) &&
	       self.st_dev != parent.st_dev;
}

static int bpffs_remove(const struct uninstall *what, struct err *err)
{
	/* The system's own at /sys/fs/bpf is above us, and stays. */
	if (is_mount(what->bpffs)) {
		if (umount2(what->bpffs, 0))
			return err_set(err, -errno, "unmount %s: %s",
			               what->bpffs, strerror(errno));
		uninstall_say(what, "%s unmounted", what->bpffs);
	}
	return dir_remove(what, what->bpffs, err);
}

int uninstall_pins(const struct uninstall *what, struct err *err)
{
	static const char *const all[] = {"[!.]*", NULL};
	uint32_t stub = 0;

	if (!is_bpffs(what->bpffs))
		return 0;
	for (int version = 1; version <= ABI_VERSION; version++) {
		char dir[512];
		int n, r;

		snprintf(dir, sizeof(dir), "%s/v%d", what->bpffs, version);
		if (access(dir, F_OK))
			continue;
		stub = stub_id(dir);
		links_detach(dir);
		n = dir_clean(AT_FDCWD, dir, all);
		if (n < 0)
			return err_set(err, n, "%s: %s", dir, strerror(-n));
		uninstall_say(what, "%d pins removed", n);
		r = dir_remove(what, dir, err);
		if (r)
			return r;
	}
	stub_await(stub);
	return bpffs_remove(what, err);
}

/* ---- files -------------------------------------------------------------- */

static int part_remove(const struct uninstall *what, const char *top,
                       const char *sub, const char *const *patterns,
                       struct err *err)
{
	char path[600];
	int n;

	snprintf(path, sizeof(path), "%s%s%s", top, *sub ? "/" : "", sub);
	n = dir_clean(AT_FDCWD, path, patterns);
	if (n < 0)
		return err_set(err, n, "%s: %s", path, strerror(-n));
	return dir_remove(what, path, err);
}

/* What tells the runtime to call us, where we wrote it (cniconf.h). */
static void cniconf_remove(const struct uninstall *what)
{
	char note[512], path[600] = "";
	const char *name;
	FILE *file;

	snprintf(note, sizeof(note), "%s/" CNICONF_NOTE, what->state_dir);
	file = fopen(note, "re");
	if (!file)
		return;
	if (!fgets(path, sizeof(path), file))
		path[0] = '\0';
	(void)fclose(file);
	path[strcspn(path, "\n")] = '\0';
	name = strrchr(path, '/');
	if (path[0] == '/' && name && !strcmp(name + 1, CNICONF_NAME) &&
	    !unlink(path))
		uninstall_say(what, "%s removed", path);
}

int uninstall_files(const struct uninstall *what, struct err *err)
{
	static const char *const in_endpoints[] = {"*.json", "*.bad", "*.new",
	                                           NULL};
	static const char *const in_manifests[] = {"*.yaml", "*.yml", "*.json",
	                                           ".new", NULL};
	static const char *const in_queue[] = {"*", ".*", NULL};
	static const char *const in_state[] = {"identities.json*",
	                                       "nodes.json*",
	                                       "pod-cidrs*",
	                                       "ipam.v*",
	                                       "undo",
	                                       "undo.*",
	                                       "lock",
	                                       CNICONF_NOTE,
	                                       NULL};
	static const char *const in_run[] = {"stile.sock*", "lock", NULL};
	int r;

	cniconf_remove(what);
	r = part_remove(what, what->state_dir, "endpoints", in_endpoints, err);

	if (!r)
		r = part_remove(what, what->state_dir, "pods", in_endpoints,
		                err);
	if (!r)
		r = part_remove(what, what->state_dir, "del-queue", in_queue,
		                err);
	if (!r)
		r = part_remove(what, what->state_dir, "manifests",
		                in_manifests, err);
	if (!r)
		r = part_remove(what, what->state_dir, "", in_state, err);
	if (!r)
		r = part_remove(what, what->run_dir, "", in_run, err);
	return r;
}
