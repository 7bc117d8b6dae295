// SPDX-License-Identifier: Apache-2.0
/* install.c - see install.h. */
#include "cni/install.h"

#include <linux/magic.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/util.h"

#define NAME "stile-cni"

struct install {
	const char *dir, *state_dir, *bpffs;
	bool hold;
};

bool install_is_asked(int argc, char **argv)
{
	return argc > 1 && !strncmp(argv[1], "--", 2);
}

static int args_read(int argc, char **argv, struct install *ret,
                     struct err *err)
{
	struct install install = {};

	for (int i = 1; i < argc; i++) {
		const char **value = NULL;

		if (!strcmp(argv[i], "--hold")) {
			install.hold = true;
			continue;
		}
		if (!strcmp(argv[i], "--install"))
			value = &install.dir;
		else if (!strcmp(argv[i], "--state-dir"))
			value = &install.state_dir;
		else if (!strcmp(argv[i], "--bpffs"))
			value = &install.bpffs;
		if (!value || ++i == argc || argv[i][0] != '/')
			return err_set(err, -EINVAL,
			               "usage: " NAME " --install DIR "
			               "[--state-dir DIR] [--bpffs DIR] | "
			               "--hold (DIR begins with /)");
		*value = argv[i];
	}
	*ret = install;
	return 0;
}

/* This program's bytes into @to. */
static int bytes_copy(int to)
{
	_cleanup_(closep) int from =
		open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;
	off_t at = 0;

	if (from < 0 || fstat(from, &st))
		return -errno;
	while (at < st.st_size) {
		const ssize_t n =
			sendfile(to, from, &at, (size_t)(st.st_size - at));

		if (n <= 0)
			return n ? -errno : -EIO;
	}
	return fchmod(to, 0755) || fsync(to) ? -errno : 0;
}

static int program_copy(const char *dir, struct err *err)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	_cleanup_(closep) int fd = -1;
	int r;

	if (snprintf(path, sizeof(path), "%s/" NAME, dir) >=
	            (int)sizeof(path) ||
	    snprintf(fresh, sizeof(fresh), "%s/." NAME ".new", dir) >=
	            (int)sizeof(fresh))
		return err_set(err, -ENAMETOOLONG, "'%.64s…': too long", dir);
	(void)unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	r = fd < 0 ? -errno : bytes_copy(fd);
	if (!r && rename(fresh, path))
		r = -errno;
	if (!r)
		return 0;
	(void)unlink(fresh);
	return err_set(err, r, "%s: %s; what was there before is kept", path,
	               strerror(-r));
}

/* A line for `stile uninstall` (daemon/uninstall_list.c), once. */
static int program_note(const struct install *install, struct err *err)
{
	char path[PATH_MAX], want[PATH_MAX + 16], line[PATH_MAX + 16];
	FILE *file;
	bool noted = false;
	int r;

	snprintf(path, sizeof(path), "%s/installed", install->state_dir);
	snprintf(want, sizeof(want), "file - - %s/" NAME "\n", install->dir);
	file = fopen(path, "a+e");
	if (!file)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file))
		noted |= !strcmp(line, want);
	r = fseek(file, 0, SEEK_END) ? -errno : 0;
	if (!r && !noted && fputs(want, file) < 0)
		r = -EIO;
	if (fclose(file) && !r)
		r = -errno;
	return r ? err_set(err, r, "%s: %s", path, strerror(-r)) : 0;
}

/* Pins live on the node, not in a container: its own bpffs dies with it. */
static int bpffs_mount(const char *path, struct err *err)
{
	struct statfs fs;

	if (!statfs(path, &fs) && (unsigned int)fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
	          "mode=0700"))
		return err_set(err, -errno, "mount a bpffs at %s: %s", path,
		               strerror(errno));
	return 0;
}

static int hold(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigwait(&set, &number);
	return 0;
}

int install_run(int argc, char **argv, struct err *err)
{
	struct install install = {};
	int r = args_read(argc, argv, &install, err);

	if (!r && install.bpffs)
		r = bpffs_mount(install.bpffs, err);
	if (!r && install.dir)
		r = program_copy(install.dir, err);
	if (!r && install.dir && install.state_dir)
		r = program_note(&install, err);
	return r || !install.hold ? r : hold();
}
