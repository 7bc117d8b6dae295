// SPDX-License-Identifier: Apache-2.0
/* source_file.c - see source_file.h. */
#include "daemon/source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/loop.h"
#include "daemon/source_apply.h"
#include "daemon/source_load.h"
#include "lib/log.h"
#include "lib/util.h"

struct source_file *source_file_find(struct source_files *files,
                                     const char *name)
{
	struct source_file *file;

	HASH_FIND_STR(files->files, name, file);
	return file;
}

static void file_free(struct source_files *files, struct source_file *file)
{
	HASH_DEL(files->files, file);
	free(file->id);
	free(file);
}

static struct source_file *file_at(struct source_files *files, const char *name)
{
	struct source_file *file = source_file_find(files, name);
	const size_t len = strlen(name);

	if (file)
		return file;
	file = calloc(1, sizeof(*file) + len + 1);
	if (!file)
		return NULL;
	memcpy(file->name, name, len);
	HASH_ADD_KEYPTR(hh, files->files, file->name, len, file);
	return file;
}

/* One number for all that a changed content would change; never 0. */
static uint64_t stamp_of(const struct stat *st)
{
	const uint64_t field[] = {
		st->st_dev,
		st->st_ino,
		(uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec,
		(uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ctim.tv_sec,
		(uint64_t)st->st_ctim.tv_nsec,
	};
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < ARRAY_SIZE(field); i++) {
		hash = (hash ^ field[i]) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	return hash | 1;
}

/* What the last daemon knew of it, unless that is what it says now. */
static bool file_recall(struct source_files *files, struct source_file *file)
{
	_cleanup_(source_content_free) struct source_content content = {};
	struct err err = {};
	int r = -ENOENT;

	if (files->kept.fd >= 0)
		r = source_load(files->kept.fd, file->name, SOURCE_AS_IT_IS,
		                &content, &err);
	if (!r)
		source_apply(files, file, content.objects);
	else if (r != -ENOENT)
		log_warn("the copy of manifest '%s': %s; it is of no use",
		         file->name, err.text);
	return !r;
}

static void file_broken(struct source_files *files, struct source_file *file,
                        const struct err *err)
{
	struct err all = *err;

	if (file->n_ids)
		err_set(&all, 0, "%.180s; what it gave before stays in force",
		        err->text);
	source_refuse(files, file->name, all.text);
}

/* Its content, or -errno; -ENOENT if the name is not there. */
static int file_load(struct source_files *files, struct source_file *file,
                     enum source_when when, struct source_content *content,
                     struct err *err)
{
	struct stat st;
	const bool there =
		!fstatat(files->dir_fd, file->name, &st, AT_SYMLINK_NOFOLLOW);
	const bool is_link = there && S_ISLNK(st.st_mode);
	int r = source_load(files->dir_fd, file->name, when, content, err);

	/* A link is not taken away by what it leads to. */
	if (r == -ENOENT && is_link)
		r = err_set(err, -ENOLINK, "a link that leads to nothing");
	else if (r == -ENOENT && there)
		r = -EBUSY; /* made anew just now */
	file->polled =
		is_link || (there && st.st_nlink > 1) || (r && !content->text);
	return r;
}

static bool is_kept(const struct source_files *files,
                    const struct source_file *file,
                    const struct source_content *content)
{
	return source_kept_is(&files->kept, file->name, &content->st);
}

/* @content or @err is what the file says now. */
static void file_take(struct source_files *files, struct source_file *file,
                      const struct source_content *content, struct err *err)
{
	if (!file->stamp &&
	    !(content->objects && is_kept(files, file, content)))
		(void)file_recall(files, file);
	file->stamp = stamp_of(&content->st);
	/* A command that failed leaves an empty file behind its ">". */
	if (content->text && file->n_ids && source_content_is_blank(content))
		err_set(err, 0,
		        "empty; to take back what it gave, remove it "
		        "or write a comment into it");
	if (err->text[0])
		file_broken(files, file, err);
	else
		source_apply(files, file, content->objects);
}

void source_file_read(struct source_files *files, const char *name,
                      enum source_when when, bool if_changed)
{
	struct source_file *file = file_at(files, name);
	_cleanup_(source_content_free) struct source_content content = {};
	struct err err = {};
	struct stat st = {};
	bool first;
	int r;

	if (!file) {
		log_err("manifest '%s': out of memory", name);
		return;
	}
	first = !file->stamp;
	file->leaving = false;
	file->seen = true;
	if (if_changed && !fstatat(files->dir_fd, name, &st, 0) &&
	    file->stamp == stamp_of(&st))
		return;
	r = file_load(files, file, when, &content, &err);
	file->busy = r == -EBUSY;
	files->poll |= file->busy || file->polled;
	if (r == -ENOENT)
		source_file_gone(file);
	if (file->busy || file->leaving)
		return;
	file_take(files, file, &content, &err);
	if (!err.text[0] && source_is_whole(files, file) &&
	    !(first && is_kept(files, file, &content)))
		source_kept_put(&files->kept, name, &content);
}

void source_file_expect(struct source_files *files, const char *name)
{
	struct source_file *file = file_at(files, name);

	if (!file) {
		log_err("manifest '%s': out of memory", name);
		return;
	}
	file->leaving = false;
	file->seen = file->busy = files->poll = true;
}

void source_file_gone(struct source_file *file)
{
	if (!file->leaving)
		file->left_ns = loop_now_ns();
	file->leaving = true;
	file->busy = false;
}

/* There may be thousands, and a second is short: mostly none is to be asked. */
void source_files_poll(struct source_files *files)
{
	bool any = false;

	if (!files->poll)
		return;
	for (struct source_file *file = files->files; file;
	     file = file->hh.next) {
		if (file->leaving || !(file->busy || file->polled))
			continue;
		source_file_read(files, file->name, SOURCE_QUIET, !file->busy);
		any = true;
	}
	files->poll = any;
}

/* What is read here is half of something, perhaps: it is not kept. */
static void file_hurry(struct source_files *files, struct source_file *file)
{
	_cleanup_(source_content_free) struct source_content content = {};
	struct err err = {};

	if (file_recall(files, file)) {
		source_refuse(files, file->name,
		              "open for writing; what it gave before stays in "
		              "force until it is closed");
		return;
	}
	log_warn("manifest '%s': still open for writing, read as it is",
	         file->name);
	if (file_load(files, file, SOURCE_AS_IT_IS, &content, &err) == -ENOENT)
		return;
	file_take(files, file, &content, &err);
}

void source_files_hurry(struct source_files *files)
{
	for (struct source_file *file = files->files; file;
	     file = file->hh.next)
		if (file->busy && !file->stamp)
			file_hurry(files, file);
}

bool source_files_any(const struct source_files *files,
                      bool (*test)(const struct source_file *file))
{
	for (const struct source_file *file = files->files; file;
	     file = file->hh.next)
		if (test(file))
			return true;
	return false;
}

static void file_leave(struct source_files *files, struct source_file *file)
{
	source_withdraw(files, file);
	source_kept_drop(&files->kept, file->name);
	file_free(files, file);
}

static bool is_known(void *user, const char *name)
{
	return source_file_find(user, name);
}

void source_files_synced(struct source_files *files)
{
	source_kept_sweep(&files->kept, is_known, files);
}

uint64_t source_files_leave(struct source_files *files, uint64_t by_ns)
{
	struct source_file *file, *next;
	uint64_t first_ns = 0;
	struct stat st;

	for (file = files->files; file; file = next) {
		next = file->hh.next;
		if (!file->leaving)
			continue;
		if (file->left_ns > by_ns) {
			if (!first_ns || file->left_ns < first_ns)
				first_ns = file->left_ns;
		} else if (fstatat(files->dir_fd, file->name, &st,
		                   AT_SYMLINK_NOFOLLOW)) {
			file_leave(files, file);
		} else {
			source_file_expect(files, file->name);
		}
	}
	return first_ns;
}

void source_files_clear(struct source_files *files)
{
	while (files->files)
		file_free(files, files->files);
}
