// SPDX-License-Identifier: Apache-2.0
/* source_kept.c - see source_kept.h. */
#include "daemon/source_kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/util.h"

#define FRESH ".new" /* no manifest's name begins with a dot */

static void say(struct source_kept *kept, const char *name, int r)
{
	if (!kept->failing)
		log_warn("copy of manifest '%s': %s; should it be broken when "
		         "stiled starts again, what it gave is forgotten",
		         name, strerror(-r));
	kept->failing = true;
}

void source_kept_open(struct source_kept *kept, const char *state_dir,
                      bool read_only)
{
	char path[PATH_MAX];

	*kept = (struct source_kept){.fd = -1, .read_only = read_only};
	if (!state_dir)
		return;
	snprintf(path, sizeof(path), "%s/manifests", state_dir);
	if (!read_only && mkdir(path, 0700) && errno != EEXIST)
		say(kept, path, -errno);
	kept->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (kept->fd < 0 && !read_only)
		say(kept, path, -errno);
}

void source_kept_close(struct source_kept *kept)
{
	closep(&kept->fd);
	kept->fd = -1;
}

bool source_kept_is(const struct source_kept *kept, const char *name,
                    const struct stat *st)
{
	struct stat have;

	return kept->fd >= 0 &&
	       !fstatat(kept->fd, name, &have, AT_SYMLINK_NOFOLLOW) &&
	       have.st_size == st->st_size &&
	       have.st_mtim.tv_sec == st->st_mtim.tv_sec &&
	       have.st_mtim.tv_nsec == st->st_mtim.tv_nsec;
}

static int text_write(int fd, const char *text, size_t len)
{
	while (len) {
		const ssize_t n = write(fd, text, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int copy_write(int dir_fd, const char *name,
                      const struct source_content *content)
{
	const struct timespec times[2] = {content->st.st_mtim,
	                                  content->st.st_mtim};
	_cleanup_(closep) int fd = openat(
		dir_fd, FRESH,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : text_write(fd, content->text, content->len);

	if (!r && futimens(fd, times))
		r = -errno;
	if (!r && renameat(dir_fd, FRESH, dir_fd, name))
		r = -errno;
	if (r && fd >= 0)
		(void)unlinkat(dir_fd, FRESH, 0);
	return r;
}

void source_kept_put(struct source_kept *kept, const char *name,
                     const struct source_content *content)
{
	int r;

	if (kept->fd < 0 || kept->read_only)
		return;
	r = copy_write(kept->fd, name, content);
	if (r)
		say(kept, name, r);
	else
		kept->failing = false;
}

void source_kept_drop(const struct source_kept *kept, const char *name)
{
	if (kept->fd >= 0 && !kept->read_only)
		(void)unlinkat(kept->fd, name, 0);
}

void source_kept_sweep(const struct source_kept *kept,
                       bool (*wanted)(void *user, const char *name), void *user)
{
	const int fd = kept->fd < 0 || kept->read_only
	                       ? -1
	                       : openat(kept->fd, ".",
	                                O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_REG && !wanted(user, entry->d_name))
			(void)unlinkat(fd, entry->d_name, 0);
	closedir(dir);
}
