// SPDX-License-Identifier: Apache-2.0
/* source_list.c - see source_list.h. */
#include "daemon/source_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/util.h"

bool source_name_wanted(const char *name)
{
	static const char *const suffix[] = {".yaml", ".yml", ".json"};
	const size_t len = strlen(name);

	for (size_t i = 0; name[0] != '.' && i < ARRAY_SIZE(suffix); i++) {
		const size_t n = strlen(suffix[i]);

		if (len > n && !strcmp(name + len - n, suffix[i]))
			return true;
	}
	return false;
}

/* The oldest change first: the newest counts.  Names make it one order. */
static int listed_compare(const void *a, const void *b)
{
	const struct source_listed *x = a, *y = b;

	if (x->mtime.tv_sec != y->mtime.tv_sec)
		return x->mtime.tv_sec < y->mtime.tv_sec ? -1 : 1;
	if (x->mtime.tv_nsec != y->mtime.tv_nsec)
		return x->mtime.tv_nsec < y->mtime.tv_nsec ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int list_add(struct source_list *list, int dir_fd, const char *name)
{
	struct source_listed listed = {};
	struct stat st = {};

	if (!source_name_wanted(name) || strlen(name) >= sizeof(listed.name))
		return 0;
	/* What cannot be asked comes first, and says so when it is read. */
	(void)fstatat(dir_fd, name, &st, 0);
	if (list->n == list->room) {
		const size_t room = list->room ? list->room * 2 : 64;
		struct source_listed *item =
			reallocarray(list->item, room, sizeof(*item));

		if (!item)
			return -ENOMEM;
		list->item = item;
		list->room = room;
	}
	memcpy(listed.name, name, strlen(name));
	listed.mtime = st.st_mtim;
	list->item[list->n++] = listed;
	return 0;
}

int source_list_read(int dir_fd, struct source_list *ret)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		closep(&fd);
		return r;
	}
	for (;;) {
		errno = 0;
		entry = readdir(dir);
		r = entry ? list_add(ret, dir_fd, entry->d_name) : -errno;
		if (r || !entry)
			break;
	}
	closedir(dir);
	if (ret->n)
		qsort(ret->item, ret->n, sizeof(*ret->item), listed_compare);
	return r;
}

void source_list_free(struct source_list *list)
{
	free(list->item);
	*list = (struct source_list){};
}
