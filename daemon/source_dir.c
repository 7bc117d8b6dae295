// SPDX-License-Identifier: Apache-2.0
/* source_dir.c - see source_dir.h. */
#include "daemon/source_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "daemon/source_file.h"
#include "daemon/source_list.h"
#include "daemon/source_place.h"
#include "lib/log.h"

/* A rename's two halves come together; an editor makes a file anew some
 * milliseconds after it moved the old one away. */
#define LEAVE_NS 50000000ull
#define TICK_NS  1000000000ull /* for what comes without an event */
#define SETTLE_NS                                                   \
	1000000000ull /* of silence, until a new directory is whole \
	               */
#define PLACE_ID  "Source/dir"
#define DATA_LINK "..data" /* kubelet swaps it under a ConfigMap's files */

struct source_dir {
	struct loop *loop;
	struct source_place place;
	struct source_files files;
	struct loop_fd watch;    /* inotify */
	struct loop_timer leave; /* for files that are gone */
	struct loop_timer tick;
	uint64_t event_ns; /* when something happened in the directory */
	bool lost;
	bool settling; /* another directory, perhaps not yet filled */
};

/* ---- scan ---- */

static bool is_busy(const struct source_file *file)
{
	return file->busy;
}

static bool is_leaving(const struct source_file *file)
{
	return file->leaving;
}

static bool is_staying(const struct source_file *file)
{
	return !file->leaving;
}

static void leave_soon(struct source_dir *source)
{
	if (!source->leave.armed)
		loop_timer_arm(source->loop, &source->leave,
		               source->settling ? SETTLE_NS : LEAVE_NS);
}

/* Read what changed; what is no longer there leaves. */
static int dir_scan(struct source_dir *source, enum source_when when)
{
	_cleanup_(source_list_free) struct source_list list = {};
	const int r = source_list_read(source->files.dir_fd, &list);

	if (r)
		return r;
	for (struct source_file *f = source->files.files; f; f = f->hh.next)
		f->seen = false;
	for (size_t i = 0; i < list.n; i++)
		source_file_read(&source->files, list.item[i].name, when, true);
	for (struct source_file *f = source->files.files; f; f = f->hh.next)
		if (!f->seen)
			source_file_gone(f);
	return 0;
}

/* ---- the directory comes and goes ---- */

static int dir_enter(struct source_dir *source, struct err *err)
{
	int r = source_place_enter(&source->place, err);

	if (r)
		return r;
	source->files.dir_fd = source->place.fd;
	/* Behind a link that was swapped all is written already. */
	r = dir_scan(source,
	             source->files.store->synced &&
	                             source_place_is_link(&source->place)
	                     ? SOURCE_CLOSED
	                     : SOURCE_QUIET);
	if (r)
		return err_set(err, r, "read directory '%s': %s",
		               source->place.path, strerror(-r));
	return 0;
}

static void dir_say(struct source_dir *source, const char *what)
{
	log_warn("%s", what);
	(void)store_refuse(source->files.store, PLACE_ID, source->place.path,
	                   what);
}

static void dir_lost(struct source_dir *source, const struct err *why)
{
	struct err err;

	if (source->lost)
		return;
	source->lost = true;
	err_set(&err, 0, "%.180s; all that it gave stays", why->text);
	dir_say(source, err.text);
}

/*
 * Files that it lacks may still be on their way, as with `cp -r`; and one that
 * is empty may be where something is to be mounted again.  A link is swapped
 * when all is there.
 */
static void dir_settle(struct source_dir *source)
{
	struct err err;

	source->settling = source_files_any(&source->files, is_leaving) &&
	                   (!source_place_is_link(&source->place) ||
	                    !source_files_any(&source->files, is_staying));
	if (!source->settling) {
		store_remove(source->files.store, PLACE_ID);
		return;
	}
	err_set(&err, 0,
	        "'%.120s' is another directory now; what it lacks stays until "
	        "it holds a manifest and has been quiet for a second",
	        source->place.path);
	dir_say(source, err.text);
	loop_timer_cancel(source->loop, &source->leave);
}

static void dir_find(struct source_dir *source)
{
	struct err err;

	if (dir_enter(source, &err)) {
		dir_lost(source, &err);
		return;
	}
	source->lost = false;
	source->event_ns = loop_now_ns();
	log_info("the directory '%s' is another one now: it is read anew",
	         source->place.path);
	dir_settle(source);
	if (source_files_any(&source->files, is_leaving))
		leave_soon(source);
}

/* Is it still the directory that the path leads to? */
static void dir_check(struct source_dir *source)
{
	if (source->lost || !source_place_holds(&source->place))
		dir_find(source);
}

static bool is_settled(const struct source_dir *source)
{
	return loop_now_ns() - source->event_ns >= SETTLE_NS &&
	       !source_files_any(&source->files, is_busy) &&
	       source_files_any(&source->files, is_staying);
}

/* Before anything is let go of: was it the directory that went? */
static void leave_due(struct loop_timer *self)
{
	struct source_dir *source =
		container_of(self, struct source_dir, leave);
	const uint64_t now_ns = loop_now_ns();
	uint64_t left_ns;

	dir_check(source);
	if (source->lost)
		return; /* see dir_find() */
	if (source->settling && !is_settled(source)) {
		leave_soon(source);
		return;
	}
	if (source->settling)
		store_remove(source->files.store, PLACE_ID);
	source->settling = false;
	left_ns = source_files_leave(&source->files, now_ns - LEAVE_NS);
	if (left_ns)
		loop_timer_arm(source->loop, &source->leave,
		               left_ns + LEAVE_NS - now_ns);
}

/* ---- events ---- */

static void rescan(struct source_dir *source, enum source_when when)
{
	const int r = dir_scan(source, when);

	if (r)
		log_err("read directory '%s': %s; its objects stay",
		        source->place.path, strerror(-r));
	else
		leave_soon(source);
}

/* A name appears whole, but for a file that somebody is about to write. */
static void file_made(struct source_dir *source, const char *name)
{
	struct stat st;

	if (!fstatat(source->files.dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) &&
	    S_ISREG(st.st_mode) && st.st_nlink == 1)
		source_file_expect(&source->files, name);
	else
		source_file_read(&source->files, name, SOURCE_CLOSED, false);
}

static void file_event(struct source_dir *source,
                       const struct inotify_event *event)
{
	const char *name = event->len ? event->name : "";
	struct source_file *file;

	source->event_ns = loop_now_ns();
	if (!strcmp(name, DATA_LINK) && event->mask & IN_MOVED_TO)
		rescan(source, SOURCE_CLOSED);
	if (!source_name_wanted(name))
		return;
	if (event->mask & IN_CREATE)
		file_made(source, name);
	else if (event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO))
		source_file_read(&source->files, name, SOURCE_CLOSED, false);
	file = source_file_find(&source->files, name);
	if (file && event->mask & (IN_DELETE | IN_MOVED_FROM))
		source_file_gone(file);
	if (file && file->leaving)
		leave_soon(source);
}

static void event_take(struct source_dir *source,
                       const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW) {
		log_warn("directory '%s': events were lost, it is read anew",
		         source->place.path);
		dir_check(source);
		if (!source->lost)
			rescan(source, SOURCE_QUIET);
	} else if (source_place_shaken(&source->place, event)) {
		dir_check(source);
	} else if (event->wd == source->place.wd && !source->lost) {
		file_event(source, event);
	} /* else of a watch that is removed, or of a neighbour */
}

static void synced(struct source_dir *source)
{
	source_files_synced(&source->files);
	store_synced(source->files.store);
}

static void synced_if_read(struct source_dir *source)
{
	if (!source->files.store->synced &&
	    !source_files_any(&source->files, is_busy))
		synced(source);
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

static void tick_due(struct loop_timer *self)
{
	struct source_dir *source = container_of(self, struct source_dir, tick);

	loop_timer_arm(source->loop, &source->tick, TICK_NS);
	dir_check(source);
	if (!source->lost)
		source_files_poll(&source->files);
	if (source_files_any(&source->files, is_leaving))
		leave_soon(source);
	if (source->files.store->synced)
		return;
	/* Who holds a file open for writing may not hold up the start. */
	source_files_hurry(&source->files);
	synced(source);
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
	source->tick.due = tick_due;
	r = source_place_open(&source->place, config->path, err);
	source->watch.fd = source->place.inotify;
	if (!r)
		r = dir_enter(source, err);
	if (r)
		return r;
	r = loop_fd_add(loop, &source->watch, EPOLLIN);
	if (r)
		return err_set(err, r, "watch directory '%s': %s", config->path,
		               strerror(-r));
	synced_if_read(source);
	loop_timer_arm(loop, &source->tick, TICK_NS);
	*ret = TAKE(source);
	return 0;
}

void source_dir_close(struct source_dir *source)
{
	if (!source)
		return;
	loop_timer_cancel(source->loop, &source->leave);
	loop_timer_cancel(source->loop, &source->tick);
	if (source->watch.fd >= 0)
		loop_fd_remove(source->loop, &source->watch);
	source_place_close(&source->place);
	source_kept_close(&source->files.kept);
	source_files_clear(&source->files);
	free(source);
}
