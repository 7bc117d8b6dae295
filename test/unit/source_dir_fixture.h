/* SPDX-License-Identifier: Apache-2.0 */
/* source_dir_fixture.h - a directory, a store, and waiting for what shows
 * there. */
#pragma once

#include "daemon/source_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/test.h"

#define LIMIT_NS 30000000000ull

#define POD(name, label)                                                     \
	"apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: " name \
	", labels: {app: " label "}}\n"

struct fixture {
	struct loop *loop;
	struct store store;
	struct source_dir *source;
	char dir[32], state_dir[40];
	bool read_only; /* the state */
	struct loop_timer poll;
	bool (*done)(struct fixture *f);
	const char *want; /* of done */
	uint64_t until_ns;
	bool reached;
	bool gap; /* see gap_watch() */
};

static inline const char *path_of(const struct fixture *f, const char *name,
                                  char buf[128])
{
	snprintf(buf, 128, "%s/%s", f->dir, name);
	return buf;
}

static inline void write_file(const struct fixture *f, const char *name,
                              const char *text)
{
	char path[128];
	int fd = open(path_of(f, name, path), O_CREAT | O_WRONLY | O_TRUNC,
	              0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
}

static inline void rename_file(const struct fixture *f, const char *from,
                               const char *to)
{
	char a[128], b[128];

	assert_int_equal(rename(path_of(f, from, a), path_of(f, to, b)), 0);
}

static inline void remove_file(const struct fixture *f, const char *name)
{
	char path[128];

	assert_int_equal(unlink(path_of(f, name, path)), 0);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/source_test.XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->state_dir, sizeof(f->state_dir), "%s/.state", f->dir);
	if (mkdir(f->state_dir, 0700))
		return -1;
	*state = f;
	return loop_new(&f->loop);
}

static inline void remove_tree(const char *dir)
{
	char *argv[] = {"rm", "-rf", (char *)dir, NULL};
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	source_dir_close(f->source);
	store_clear(&f->store);
	loop_free(f->loop);
	remove_tree(f->dir);
	free(f);
	return 0;
}

static inline void start(struct fixture *f)
{
	struct err err = {};

	const struct source_dir_config config = {
		.path = f->dir,
		.state_dir = f->state_dir,
		.read_only = f->read_only,
	};

	if (source_dir_open(f->loop, &f->store, &config, &f->source, &err))
		fail_msg("%s", err.text);
}

/* Another daemon, which knows what is in files. */
static inline void restart(struct fixture *f)
{
	source_dir_close(f->source);
	f->source = NULL;
	store_clear(&f->store);
	start(f);
}

/* ---- waiting for a condition ---- */

static inline void poll_due(struct loop_timer *self)
{
	struct fixture *f = container_of(self, struct fixture, poll);

	f->reached = f->done(f);
	if (f->reached || loop_now_ns() > f->until_ns)
		loop_stop(f->loop);
	else
		loop_timer_arm(f->loop, &f->poll, 200000);
}

static inline bool reach(struct fixture *f, bool (*done)(struct fixture *f),
                         const char *want)
{
	f->done = done;
	f->want = want;
	f->until_ns = loop_now_ns() + LIMIT_NS;
	f->poll.due = poll_due;
	loop_timer_arm(f->loop, &f->poll, 0);
	assert_int_equal(loop_run(f->loop), 0);
	return f->reached;
}

static inline const char *label(struct fixture *f)
{
	const struct pod *pod = store_pod(&f->store, "shop", "web");

	return pod && pod->labels.n ? pod->labels.item[0].value : "none";
}

static inline bool label_is(struct fixture *f)
{
	return !strcmp(label(f), f->want);
}

static inline bool id_is_refused(struct fixture *f)
{
	const struct store_object *object = store_find(&f->store, f->want);

	return object && object->error;
}

static inline bool id_is_gone(struct fixture *f)
{
	return !store_find(&f->store, f->want);
}

static inline bool id_is_there(struct fixture *f)
{
	return store_find(&f->store, f->want);
}

static inline bool is_synced(struct fixture *f)
{
	return f->store.synced;
}

/* A second file, written last: when it is in, so is what came before it. */
static inline bool marker_is(struct fixture *f)
{
	const struct pod *pod = store_pod(&f->store, "mark", "er");

	return pod && pod->labels.n &&
	       !strcmp(pod->labels.item[0].value, f->want);
}

static inline void settle(struct fixture *f)
{
	static unsigned n;
	char text[160], want[16];

	snprintf(want, sizeof(want), "m%u", ++n);
	snprintf(text, sizeof(text),
	         "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":"
	         "{\"namespace\":\"mark\",\"name\":\"er\",\"labels\":"
	         "{\"m\":\"%s\"}}}",
	         want);
	write_file(f, "marker.json", text);
	if (!reach(f, marker_is, want))
		fail_msg("the marker %s did not arrive", want);
}

#define REACH(f, done, want)                                                 \
	do {                                                                 \
		if (!reach(f, done, want))                                   \
			fail_msg(#done " '%s': it is '%s'", want, label(f)); \
	} while (0)

/* ---- gaps ---- */

static inline void gap_note(void *user)
{
	struct fixture *f = user;

	f->gap |= !store_pod(&f->store, "shop", "web");
}

/* From here on: was there a moment without shop/web? */
static inline void gap_watch(struct fixture *f)
{
	f->store.on_change = gap_note;
	f->store.user = f;
	f->gap = false;
	gap_note(f);
}

static inline bool is_past(struct fixture *f)
{
	(void)f;
	return false;
}

/* For showing that nothing happens: there is no condition to wait for. */
static inline void pass(struct fixture *f, unsigned ms)
{
	f->done = is_past;
	f->until_ns = loop_now_ns() + ms * 1000000ull;
	f->poll.due = poll_due;
	loop_timer_arm(f->loop, &f->poll, 0);
	assert_int_equal(loop_run(f->loop), 0);
}

/* ---- tests ---- */
