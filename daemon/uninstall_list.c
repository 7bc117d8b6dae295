// SPDX-License-Identifier: Apache-2.0
/*
 * uninstall_list.c - what `make install` brought, as it wrote it down.
 *
 * <state-dir>/installed, made by scripts/install, one line each, in the order
 * of their making:
 *
 *	file - - PATH            goes
 *	config SIZE MTIME PATH   goes if nobody has edited it since
 *	dir - - PATH             goes if it is empty
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/uninstall.h"
#include "lib/util.h"

#define LINES_MAX 256

struct line {
	char kind[8];
	char size[24], mtime[24];
	char path[256];
};

static bool is_edited(const struct line *line)
{
	struct stat st;
	char size[24], mtime[24];

	if (lstat(line->path, &st))
		return false;
	snprintf(size, sizeof(size), "%lld", (long long)st.st_size);
	snprintf(mtime, sizeof(mtime), "%lld", (long long)st.st_mtime);
	return strcmp(size, line->size) != 0 || strcmp(mtime, line->mtime) != 0;
}

/* 0, or -errno; what is gone already is no failure, nor a full directory. */
static int line_remove(const struct uninstall *what, const struct line *line)
{
	int r;

	if (!strcmp(line->kind, "dir")) {
		r = rmdir(line->path) ? -errno : 0;
		return r == -ENOENT || r == -ENOTEMPTY || r == -EBUSY ? 0 : r;
	}
	if (!strcmp(line->kind, "config") && is_edited(line)) {
		uninstall_say(what, "%s was edited and stays", line->path);
		return 0;
	}
	if (unlink(line->path))
		return errno == ENOENT ? 0 : -errno;
	uninstall_say(what, "%s removed", line->path);
	return 0;
}

static size_t lines_read(FILE *file, struct line *line)
{
	size_t n = 0;

	while (n < LINES_MAX &&
	       fscanf(file, "%7s %23s %23s %255[^\n]", line[n].kind,
	              line[n].size, line[n].mtime, line[n].path) == 4)
		n += line[n].path[0] == '/';
	return n;
}

int uninstall_installed(const struct uninstall *what, struct err *err)
{
	_cleanup_(free_p) struct line *line = calloc(LINES_MAX, sizeof(*line));
	char path[512];
	FILE *file;
	size_t n;
	int first = 0;

	snprintf(path, sizeof(path), "%s/installed", what->state_dir);
	file = line ? fopen(path, "re") : NULL;
	if (!file)
		return !line || errno != ENOENT ? err_set(err, -errno, "%s: %s",
		                                          path, strerror(errno))
		                                : 0;
	n = lines_read(file, line);
	(void)fclose(file);
	while (n--) {
		const int r = line_remove(what, &line[n]);

		if (r && !first)
			first = err_set(err, r, "%s: %s", line[n].path,
			                strerror(-r));
	}
	if (!first && unlink(path))
		first = err_set(err, -errno, "%s: %s", path, strerror(errno));
	return first;
}
