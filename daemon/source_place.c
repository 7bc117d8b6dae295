// SPDX-License-Identifier: Apache-2.0
/* source_place.c - see source_place.h. */
#include "daemon/source_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"

#define TRIES 3 /* at a path that changes while it is entered */

#define WATCHED                                                 \
	(IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | \
	 IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define WATCHED_ABOVE \
	(IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR)
#define GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

/* "/etc/stile/manifests/": "/etc/stile" and "manifests". */
static int path_split(struct source_place *place)
{
	size_t len = strlen(place->path);
	const char *slash;

	while (len > 1 && place->path[len - 1] == '/')
		len--;
	slash = memrchr(place->path, '/', len);
	if (slash) {
		const size_t at = (size_t)(slash - place->path);

		place->above = strndup(place->path, at ? at : 1);
		place->name = strndup(slash + 1, len - at - 1);
	} else {
		place->above = strdup(".");
		place->name = strndup(place->path, len);
	}
	return place->above && place->name ? 0 : -ENOMEM;
}

int source_place_open(struct source_place *place, const char *path,
                      struct err *err)
{
	*place = (struct source_place){.fd = -1, .wd = -1, .above_wd = -1};
	place->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (place->inotify < 0)
		return err_set(err, -errno, "inotify: %s", strerror(errno));
	place->path = strdup(path);
	if (!place->path || path_split(place))
		return err_set(err, -ENOMEM, "out of memory");
	return 0;
}

void source_place_close(struct source_place *place)
{
	closep(&place->inotify);
	closep(&place->fd);
	free(place->path);
	free(place->above);
	free(place->name);
}

static void watch_drop(struct source_place *place, int wd)
{
	if (wd >= 0 && wd != place->wd && wd != place->above_wd)
		(void)inotify_rm_watch(place->inotify, wd);
}

static bool leads_to(const char *path, int fd)
{
	struct stat own, there;

	return !fstat(fd, &own) && own.st_nlink && !stat(path, &there) &&
	       own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

/* One try; -EAGAIN: the path leads elsewhere by now. */
static int place_try(struct source_place *place, struct err *err)
{
	_cleanup_(closep) int fd = -1;

	/* Without the watch above, changes are seen a second later. */
	place->above_wd =
		inotify_add_watch(place->inotify, place->above, WATCHED_ABOVE);
	fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "watch directory '%s': %s",
		               place->path, strerror(errno));
	/* Where both are one directory ("/"), this is its watch. */
	place->wd = inotify_add_watch(place->inotify, place->path, WATCHED);
	if (place->wd < 0)
		return err_set(err, -errno, "watch directory '%s': %s",
		               place->path, strerror(errno));
	if (!leads_to(place->path, fd))
		return err_set(err, -EAGAIN, "directory '%s' is being moved",
		               place->path);
	closep(&place->fd);
	place->fd = TAKE_FD(fd);
	return 0;
}

int source_place_enter(struct source_place *place, struct err *err)
{
	int r = -EAGAIN;

	for (int i = 0; i < TRIES && r == -EAGAIN; i++) {
		const int wd = place->wd, above_wd = place->above_wd;

		place->wd = place->above_wd = -1;
		r = place_try(place, err);
		watch_drop(place, wd);
		watch_drop(place, above_wd);
	}
	if (r && place->wd >= 0) {
		const int wd = place->wd;

		place->wd = -1;
		watch_drop(place, wd);
	}
	return r;
}

bool source_place_holds(const struct source_place *place)
{
	return place->wd >= 0 && leads_to(place->path, place->fd);
}

bool source_place_shaken(struct source_place *place,
                         const struct inotify_event *event)
{
	const bool own = event->wd == place->wd;
	const bool above = event->wd == place->above_wd;

	if (event->mask & IN_IGNORED) {
		/* The kernel has taken the watch away. */
		place->wd = own ? -1 : place->wd;
		place->above_wd = above ? -1 : place->above_wd;
	}
	if (own)
		return event->mask & GONE;
	return above && event->len && !strcmp(event->name, place->name);
}

bool source_place_is_link(const struct source_place *place)
{
	struct stat st;
	const int fd = open(place->above, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const bool is = fd >= 0 &&
	                !fstatat(fd, place->name, &st, AT_SYMLINK_NOFOLLOW) &&
	                S_ISLNK(st.st_mode);

	if (fd >= 0)
		close(fd);
	return is;
}
