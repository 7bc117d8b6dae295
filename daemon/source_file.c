// SPDX-License-Identifier: Apache-2.0
/* source_file.c - see source_file.h. */
#include "daemon/source_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/source_load.h"
#include "lib/log.h"
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

static int id_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool file_gives(const struct source_file *file, const char *id)
{
	return bsearch(&id, file->id, file->n_ids, sizeof(*file->id),
	               id_compare);
}

/* ---- a file's own troubles ---- */

static void file_id(const char *name, char ret[STORE_ID_MAX])
{
	snprintf(ret, STORE_ID_MAX, "File/%s", name);
}

static void file_refuse(struct source_files *files, const char *name,
                        const char *why)
{
	char id[STORE_ID_MAX];

	log_warn("manifest '%s': %s", name, why);
	file_id(name, id);
	if (store_refuse(files->store, id, name, why))
		log_err("manifest '%s': out of memory", name);
}

/* ---- objects that two files give ---- */

/* The file whose version of @id counts next, but for @but; NULL: none. */
static struct source_file *heir_of(struct source_files *files, const char *id,
                                   const struct source_file *but)
{
	struct source_file *heir = NULL;

	if (!files->shared)
		return NULL;
	for (struct source_file *file = files->files; file;
	     file = file->hh.next)
		if (file != but && !file->leaving && file_gives(file, id) &&
		    (!heir || file->change > heir->change))
			heir = file;
	return heir;
}

static void object_warn(struct source_files *files,
                        const struct source_file *file, const char *id)
{
	const struct store_object *object = store_find(files->store, id);
	const struct source_file *other;

	if (!object || !strcmp(object->origin, file->name))
		return;
	other = source_file_find(files, object->origin);
	if (!other || other->leaving || !file_gives(other, id))
		return;
	files->shared = true;
	log_warn("%s stands in '%s' and in '%s': '%s' changed last and counts",
	         id, other->name, file->name, file->name);
}

static void object_put(struct source_files *files, const char *name,
                       json_t *doc)
{
	struct err err = {};

	(void)store_put(files->store, doc, name, &err);
	if (err.text[0])
		log_warn("manifest '%s': %s", name, err.text);
}

/* The version of @file comes back; when it cannot, what stands stays. */
static void object_restore(struct source_files *files,
                           const struct source_file *file, const char *id)
{
	_cleanup_(source_content_free) struct source_content content = {};
	struct err err = {};
	json_t *doc, *found = NULL;
	size_t i;

	if (source_load(files->dir_fd, file->name, true, &content, &err)) {
		log_warn("manifest '%s': %s; %s stays as it was", file->name,
		         err.text, id);
		return;
	}
	json_array_foreach(content.objects, i, doc)
	{
		char own[STORE_ID_MAX];

		if (!store_id(doc, own, sizeof(own), &err) && !strcmp(own, id))
			found = doc;
	}
	if (found)
		object_put(files, file->name, found);
}

/* @file gives @id no more. */
static void object_drop(struct source_files *files,
                        const struct source_file *file, const char *id)
{
	const struct store_object *object = store_find(files->store, id);
	const struct source_file *heir;

	/* Where another file's version counts, ours was not in force. */
	if (!object || strcmp(object->origin, file->name) != 0)
		return;
	heir = heir_of(files, id, file);
	if (heir)
		object_restore(files, heir, id);
	else
		store_remove(files->store, id);
}

/* ---- a file's content ---- */

/* How long the ids of @objects are together; what has none is said. */
static size_t ids_measure(json_t *objects, struct err *ret_err)
{
	size_t i, bytes = 0;
	json_t *doc;

	json_array_foreach(objects, i, doc)
	{
		char text[STORE_ID_MAX];
		struct err err = {};

		if (!store_id(doc, text, sizeof(text), &err))
			bytes += sizeof(char *) + strlen(text) + 1;
		else if (!ret_err->text[0])
			err_set(ret_err, -EINVAL,
			        "object %zu: %s; the others apply", i + 1,
			        err.text);
	}
	return bytes;
}

/* The ids of @objects in their order, pointers first, then the text. */
static char **ids_read(json_t *objects, size_t *ret_n, struct err *ret_err)
{
	const size_t bytes = ids_measure(objects, ret_err);
	char **id = malloc(bytes ? bytes : 1), *end = (char *)id + bytes;
	json_t *doc;
	size_t i;

	json_array_foreach(objects, i, doc)
	{
		char text[STORE_ID_MAX];
		struct err err;

		if (!id || store_id(doc, text, sizeof(text), &err))
			continue;
		end -= strlen(text) + 1;
		memcpy(end, text, strlen(text) + 1);
		id[(*ret_n)++] = end;
	}
	return id;
}

/* Sort; an id that stands twice is said, and kept once. */
static size_t ids_sort(const char *name, char **id, size_t n)
{
	size_t kept = 0;

	qsort(id, n, sizeof(*id), id_compare);
	for (size_t i = 0; i < n; i++) {
		if (kept && !strcmp(id[kept - 1], id[i]))
			log_warn("manifest '%s': %s stands twice, the last "
			         "one counts",
			         name, id[i]);
		else
			id[kept++] = id[i];
	}
	return kept;
}

static void objects_put(struct source_files *files, struct source_file *file,
                        json_t *objects)
{
	json_t *doc;
	size_t i;

	json_array_foreach(objects, i, doc)
	{
		char id[STORE_ID_MAX];
		struct err err;

		if (store_id(doc, id, sizeof(id), &err))
			continue; /* said by ids_read() */
		object_warn(files, file, id);
		object_put(files, file->name, doc);
	}
}

/* What the file gives from now on. */
static void file_apply(struct source_files *files, struct source_file *file,
                       json_t *objects)
{
	struct {
		char **id;
		size_t n_ids;
	} before = {file->id, file->n_ids};
	char own[STORE_ID_MAX];
	struct err err = {};
	size_t n = 0;
	char **id = ids_read(objects, &n, &err);

	if (!id) {
		file_refuse(files, file->name, "out of memory");
		return;
	}
	file->n_ids = ids_sort(file->name, id, n);
	file->id = id;
	file->change = ++files->changes;
	objects_put(files, file, objects);
	for (size_t i = 0; i < before.n_ids; i++)
		if (!file_gives(file, before.id[i]))
			object_drop(files, file, before.id[i]);
	free(before.id);
	file_id(file->name, own);
	if (err.text[0])
		file_refuse(files, file->name, err.text);
	else
		store_remove(files->store, own);
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

/* Was all of it read without an error? */
static bool file_is_whole(const struct source_files *files,
                          const struct source_file *file)
{
	char own[STORE_ID_MAX];

	file_id(file->name, own);
	if (store_find(files->store, own))
		return false;
	for (size_t i = 0; i < file->n_ids; i++) {
		const struct store_object *object =
			store_find(files->store, file->id[i]);

		if (object && object->error)
			return false;
	}
	return true;
}

/* What the last daemon knew of it, unless that is what it says now. */
static void file_recall(struct source_files *files, struct source_file *file)
{
	_cleanup_(source_content_free) struct source_content content = {};
	struct err err = {};
	const int r =
		source_load(files->kept.fd, file->name, true, &content, &err);

	if (!r)
		file_apply(files, file, content.objects);
	else if (r != -ENOENT)
		log_warn("the copy of manifest '%s': %s; it is of no use",
		         file->name, err.text);
}

static void file_broken(struct source_files *files, struct source_file *file,
                        const struct err *err)
{
	struct err all = *err;

	if (file->n_ids)
		err_set(&all, 0, "%.180s; what it gave before stays in force",
		        err->text);
	file_refuse(files, file->name, all.text);
}

void source_file_read(struct source_files *files, const char *name,
                      bool busy_too, bool if_changed)
{
	struct source_file *file = file_at(files, name);
	_cleanup_(source_content_free) struct source_content content = {};
	struct err err = {};
	struct stat st = {};
	int r;

	if (!file) {
		log_err("manifest '%s': out of memory", name);
		return;
	}
	file->leaving = false;
	file->seen = true;
	if (if_changed && !fstatat(files->dir_fd, name, &st, 0) &&
	    file->stamp == stamp_of(&st))
		return;
	r = source_load(files->dir_fd, name, busy_too, &content, &err);
	file->busy = r == -EBUSY;
	file->leaving = r == -ENOENT;
	if (r == -EBUSY || r == -ENOENT)
		return;
	if (!file->stamp && files->kept.fd >= 0 &&
	    (r || !source_kept_is(&files->kept, name, &content.st)))
		file_recall(files, file);
	file->stamp = stamp_of(&content.st);
	if (r) {
		file_broken(files, file, &err);
		return;
	}
	file_apply(files, file, content.objects);
	if (file_is_whole(files, file))
		source_kept_put(&files->kept, name, &content);
}

static void file_leave(struct source_files *files, struct source_file *file)
{
	char own[STORE_ID_MAX];

	for (size_t i = 0; i < file->n_ids; i++)
		object_drop(files, file, file->id[i]);
	file_id(file->name, own);
	store_remove(files->store, own);
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

void source_files_leave(struct source_files *files)
{
	struct source_file *file, *next;

	for (file = files->files; file; file = next) {
		next = file->hh.next;
		if (file->leaving)
			file_leave(files, file);
	}
}

void source_files_clear(struct source_files *files)
{
	while (files->files)
		file_free(files, files->files);
}
