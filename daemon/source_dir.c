// SPDX-License-Identifier: Apache-2.0
/* source_dir.c - see source_dir.h. */
#include "daemon/source_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/source_file.h"
#include "lib/log.h"

#define LEAVE_NS  1000000ull    /* a rename's two halves come together */
#define FIND_NS   1000000000ull /* between looks for a lost directory */
#define BUSY_NS   1000000000ull /* at the start, for what is being written */
#define LOST_ID   "Source/dir"
#define DATA_LINK "..data" /* kubelet swaps it under a ConfigMap's files */

#define WATCHED                                                 \
	(IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | \
	 IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)

struct source_dir {
	struct loop *loop;
	char *path;
	struct source_files files;
	struct loop_fd watch; /* inotify */
	int wd;
	struct loop_timer leave; /* for files that are gone */
	struct loop_timer later; /* for a lost directory, or busy files */
	bool lost;
};

/* ---- scan ---- */

struct found {
	char name[256];
	struct timespec mtime;
};

struct finds {
	struct found *item;
	size_t n, room;
};

static void finds_free(struct finds *finds)
{
	free(finds->item);
}

/* The oldest change first: the newest counts.  Names make it one order. */
static int found_compare(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->mtime.tv_sec != y->mtime.tv_sec)
		return x->mtime.tv_sec < y->mtime.tv_sec ? -1 : 1;
	if (x->mtime.tv_nsec != y->mtime.tv_nsec)
		return x->mtime.tv_nsec < y->mtime.tv_nsec ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int found_add(struct finds *finds, int dir_fd, const char *name)
{
	struct found found = {};
	struct stat st = {};

	if (!source_name_wanted(name) || strlen(name) >= sizeof(found.name))
		return 0;
	/* What cannot be asked comes first, and says so when it is read. */
	(void)fstatat(dir_fd, name, &st, 0);
	if (finds->n == finds->room) {
		const size_t room = finds->room ? finds->room * 2 : 64;
		struct found *item =
			reallocarray(finds->item, room, sizeof(*item));

		if (!item)
			return -ENOMEM;
		finds->item = item;
		finds->room = room;
	}
	memcpy(found.name, name, strlen(name));
	found.mtime = st.st_mtim;
	finds->item[finds->n++] = found;
	return 0;
}

static int dir_list(int dir_fd, struct finds *finds)
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
		r = entry ? found_add(finds, dir_fd, entry->d_name) : -errno;
		if (r || !entry)
			break;
	}
	closedir(dir);
	if (finds->n)
		qsort(finds->item, finds->n, sizeof(*finds->item),
		      found_compare);
	return r;
}

static void leave_soon(struct source_dir *source)
{
	if (!source->leave.armed)
		loop_timer_arm(source->loop, &source->leave, LEAVE_NS);
}

/* Read what changed, and let go of what is no longer there. */
static int dir_scan(struct source_dir *source)
{
	struct finds finds = {};
	int r = dir_list(source->files.dir_fd, &finds);

	for (struct source_file *f = source->files.files; !r && f;
	     f = f->hh.next)
		f->seen = false;
	for (size_t i = 0; !r && i < finds.n; i++)
		source_file_read(&source->files, finds.item[i].name, false,
		                 true);
	for (struct source_file *f = source->files.files; !r && f;
	     f = f->hh.next)
		f->leaving |= !f->seen;
	finds_free(&finds);
	if (!r)
		source_files_leave(&source->files);
	return r;
}

/* ---- the directory comes and goes ---- */

static int dir_watch(struct source_dir *source, struct err *err)
{
	_cleanup_(closep) int fd = -1;
	int r;

	source->wd = inotify_add_watch(source->watch.fd, source->path, WATCHED);
	if (source->wd < 0)
		return err_set(err, -errno, "watch directory '%s': %s",
		               source->path, strerror(errno));
	fd = open(source->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "open directory '%s': %s",
		               source->path, strerror(errno));
	closep(&source->files.dir_fd);
	source->files.dir_fd = TAKE_FD(fd);
	r = dir_scan(source);
	if (r)
		return err_set(err, r, "read directory '%s': %s", source->path,
		               strerror(-r));
	return 0;
}

static void dir_lost(struct source_dir *source)
{
	struct err err;

	if (source->lost)
		return;
	source->lost = true;
	(void)inotify_rm_watch(source->watch.fd, source->wd);
	err_set(&err, 0, "the directory '%.150s' is gone; all it gave stays",
	        source->path);
	log_err("%s", err.text);
	(void)store_refuse(source->files.store, LOST_ID, source->path,
	                   err.text);
	loop_timer_arm(source->loop, &source->later, FIND_NS);
}

static void dir_find(struct source_dir *source)
{
	struct err err;

	if (dir_watch(source, &err)) {
		loop_timer_arm(source->loop, &source->later, FIND_NS);
		return;
	}
	source->lost = false;
	log_info("the directory '%s' is back", source->path);
	store_remove(source->files.store, LOST_ID);
}

/* ---- events ---- */

static bool any_busy(const struct source_dir *source)
{
	for (const struct source_file *f = source->files.files; f;
	     f = f->hh.next)
		if (f->busy)
			return true;
	return false;
}

/* A name appears whole when it is a link, symbolic or hard. */
static bool is_link(const struct source_dir *source, const char *name)
{
	struct stat st;

	return !fstatat(source->files.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) &&
	       (S_ISLNK(st.st_mode) ||
	        (S_ISREG(st.st_mode) && st.st_nlink > 1));
}

static void file_gone(struct source_dir *source, const char *name)
{
	struct source_file *file = source_file_find(&source->files, name);

	if (!file)
		return;
	file->leaving = true;
	file->busy = false;
	leave_soon(source);
}

static void rescan(struct source_dir *source)
{
	const int r = dir_scan(source);

	if (r)
		log_err("read directory '%s': %s; its objects stay",
		        source->path, strerror(-r));
}

static void event_take(struct source_dir *source,
                       const struct inotify_event *event)
{
	const char *name = event->len ? event->name : "";
	struct source_file *file;

	if (event->mask & IN_Q_OVERFLOW) {
		log_warn("directory '%s': events were lost, it is read anew",
		         source->path);
		rescan(source);
		return;
	}
	if (event->wd != source->wd || source->lost)
		return; /* of a watch that is removed */
	if (event->mask & GONE)
		dir_lost(source);
	else if (!strcmp(name, DATA_LINK) && event->mask & IN_MOVED_TO)
		rescan(source);
	else if (!source_name_wanted(name))
		return;
	else if (event->mask & (IN_DELETE | IN_MOVED_FROM))
		file_gone(source, name);
	else if (!(event->mask & IN_CREATE) || is_link(source, name))
		source_file_read(&source->files, name, false, false);
	file = source_file_find(&source->files, name);
	if (file && file->leaving)
		leave_soon(source);
}

static void synced_if_read(struct source_dir *source)
{
	if (source->files.store->synced || any_busy(source))
		return;
	source_files_synced(&source->files);
	store_synced(source->files.store);
}

static void watch_ready(struct loop_fd *self, uint32_t epoll_events)
{
	struct source_dir *source =
		container_of(self, struct source_dir, watch);
	char buf[16384]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	(void)epoll_events;
	/* One buffer a turn: the loop comes back for the rest. */
	n = read(self->fd, buf, sizeof(buf));
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(buf + at);

		event_take(source, event);
		at += (ssize_t)sizeof(*event) + event->len;
	}
	synced_if_read(source);
}

static void leave_due(struct loop_timer *self)
{
	source_files_leave(
		&container_of(self, struct source_dir, leave)->files);
}

/* Who holds a file open for writing may not hold up the start for ever. */
static void busy_read(struct source_dir *source)
{
	struct source_file *next;

	for (struct source_file *f = source->files.files; f; f = next) {
		next = f->hh.next;
		if (f->busy) {
			log_warn("manifest '%s': still open for writing, read "
			         "as it is",
			         f->name);
			source_file_read(&source->files, f->name, true, false);
		}
	}
	synced_if_read(source);
}

static void later_due(struct loop_timer *self)
{
	struct source_dir *source =
		container_of(self, struct source_dir, later);

	if (source->lost)
		dir_find(source);
	if (!source->files.store->synced)
		busy_read(source);
}

int source_dir_open(struct loop *loop, struct store *store,
                    const struct source_dir_config *config,
                    struct source_dir **ret, struct err *err)
{
	_cleanup_(source_dir_closep) struct source_dir *source =
		calloc(1, sizeof(*source));
	int r;

	if (!source)
		return err_set(err, -ENOMEM, "out of memory");
	source->loop = loop;
	source->files = (struct source_files){.store = store, .dir_fd = -1};
	source_kept_open(&source->files.kept, config->state_dir,
	                 config->read_only);
	source->watch.ready = watch_ready;
	source->leave.due = leave_due;
	source->later.due = later_due;
	source->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	source->path = strdup(config->path);
	if (source->watch.fd < 0)
		return err_set(err, -errno, "inotify: %s", strerror(errno));
	if (!source->path)
		return err_set(err, -ENOMEM, "out of memory");
	r = dir_watch(source, err);
	if (r)
		return r;
	r = loop_fd_add(loop, &source->watch, EPOLLIN);
	if (r)
		return err_set(err, r, "watch directory '%s': %s", config->path,
		               strerror(-r));
	synced_if_read(source);
	if (!store->synced)
		loop_timer_arm(loop, &source->later, BUSY_NS);
	*ret = TAKE(source);
	return 0;
}

void source_dir_close(struct source_dir *source)
{
	if (!source)
		return;
	loop_timer_cancel(source->loop, &source->leave);
	loop_timer_cancel(source->loop, &source->later);
	if (source->watch.fd >= 0) {
		loop_fd_remove(source->loop, &source->watch);
		close(source->watch.fd);
	}
	closep(&source->files.dir_fd);
	source_kept_close(&source->files.kept);
	source_files_clear(&source->files);
	free(source->path);
	free(source);
}
