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

static void ids_free(char **id, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(id[i]);
	free(id);
}

static void file_free(struct source_files *files, struct source_file *file)
{
	HASH_DEL(files->files, file);
	ids_free(file->id, file->n_ids);
	free(file->name);
	free(file);
}

static struct source_file *file_at(struct source_files *files, const char *name)
{
	struct source_file *file = source_file_find(files, name);
	char *copy;

	if (file)
		return file;
	file = calloc(1, sizeof(*file));
	copy = strdup(name);
	if (!file || !copy) {
		free(file);
		free(copy);
		return NULL;
	}
	file->name = copy;
	HASH_ADD_KEYPTR(hh, files->files, file->name, strlen(file->name), file);
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
	_cleanup_(json_decrefp) json_t *objects = NULL;
	struct err err = {};
	json_t *doc, *found = NULL;
	size_t i;

	if (source_load(files->dir_fd, file->name, true, NULL, &objects,
	                &err)) {
		log_warn("manifest '%s': %s; %s stays as it was", file->name,
		         err.text, id);
		return;
	}
	json_array_foreach(objects, i, doc)
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

/* The ids of @objects, in their order; what has none is said in @ret_err. */
static char **ids_read(json_t *objects, size_t *ret_n, struct err *ret_err)
{
	char **id = calloc(json_array_size(objects) + 1, sizeof(*id));
	json_t *doc;
	size_t i;

	json_array_foreach(objects, i, doc)
	{
		char text[STORE_ID_MAX];
		struct err err = {};

		if (!id)
			break;
		if (store_id(doc, text, sizeof(text), &err)) {
			if (!ret_err->text[0])
				err_set(ret_err, -EINVAL,
				        "object %zu: %s; the others apply",
				        i + 1, err.text);
			continue;
		}
		id[*ret_n] = strdup(text);
		*ret_n += !!id[*ret_n];
	}
	return id;
}

/* Sort; an id that stands twice is said, and kept once. */
static size_t ids_sort(const char *name, char **id, size_t n)
{
	size_t kept = 0;

	qsort(id, n, sizeof(*id), id_compare);
	for (size_t i = 0; i < n; i++) {
		if (kept && !strcmp(id[kept - 1], id[i])) {
			log_warn("manifest '%s': %s stands twice, the last "
			         "one counts",
			         name, id[i]);
			free(id[i]);
			continue;
		}
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
	const struct source_file before = *file;
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
	ids_free(before.id, before.n_ids);
	file_id(file->name, own);
	if (err.text[0])
		file_refuse(files, file->name, err.text);
	else
		store_remove(files->store, own);
}

static void stamp_set(struct source_file *file, const struct stat *st)
{
	file->stamp.dev = st->st_dev;
	file->stamp.ino = st->st_ino;
	file->stamp.size = st->st_size;
	file->stamp.mtime = st->st_mtim;
	file->stamp.ctime = st->st_ctim;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool stamp_is(const struct source_file *file, const struct stat *st)
{
	return file->stamp.dev == st->st_dev && file->stamp.ino == st->st_ino &&
	       file->stamp.size == st->st_size &&
	       same_time(&file->stamp.mtime, &st->st_mtim) &&
	       same_time(&file->stamp.ctime, &st->st_ctim);
}

void source_file_read(struct source_files *files, const char *name,
                      bool busy_too, bool if_changed)
{
	struct source_file *file = file_at(files, name);
	_cleanup_(json_decrefp) json_t *objects = NULL;
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
	    stamp_is(file, &st))
		return;
	r = source_load(files->dir_fd, name, busy_too, &st, &objects, &err);
	file->busy = r == -EBUSY;
	file->leaving = r == -ENOENT;
	if (r == -EBUSY || r == -ENOENT)
		return;
	stamp_set(file, &st);
	if (!r) {
		file_apply(files, file, objects);
		return;
	}
	if (file->n_ids) {
		const struct err why = err;

		err_set(&err, r, "%.180s; what it gave before stays in force",
		        why.text);
	}
	file_refuse(files, name, err.text);
}

static void file_leave(struct source_files *files, struct source_file *file)
{
	char own[STORE_ID_MAX];

	for (size_t i = 0; i < file->n_ids; i++)
		object_drop(files, file, file->id[i]);
	file_id(file->name, own);
	store_remove(files->store, own);
	file_free(files, file);
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
