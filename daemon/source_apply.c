// SPDX-License-Identifier: Apache-2.0
/* source_apply.c - see source_apply.h. */
#include "daemon/source_apply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/util.h"

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

void source_refuse(struct source_files *files, const char *name,
                   const char *why)
{
	char id[STORE_ID_MAX];
	const struct store_object *said;

	file_id(name, id);
	said = store_find(files->store, id);
	if (said && said->error && !strcmp(said->error, why))
		return; /* once is enough */
	log_warn("manifest '%s': %s", name, why);
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

/* The version of @id that stands in @name in a directory is put. */
static bool object_fetch(struct source_files *files, int dir_fd,
                         const char *name, const char *id, struct err *err)
{
	_cleanup_(source_content_free) struct source_content content = {};
	json_t *doc, *found = NULL;
	size_t i;

	if (dir_fd < 0 ||
	    source_load(dir_fd, name, SOURCE_CLOSED, &content, err))
		return false;
	json_array_foreach(content.objects, i, doc)
	{
		struct err none;
		char own[STORE_ID_MAX];

		if (!store_id(doc, own, sizeof(own), &none) && !strcmp(own, id))
			found = doc;
	}
	if (found)
		object_put(files, name, found);
	return found;
}

/*
 * The version of @heir comes back, the one that was kept if its file is broken
 * by now.  When there is none what stands stays, as the heir's: with it, it
 * will change and go.
 */
static void object_restore(struct source_files *files,
                           const struct source_file *heir, const char *id)
{
	struct err err = {}, none, all;

	if (object_fetch(files, files->dir_fd, heir->name, id, &err) ||
	    object_fetch(files, files->kept.fd, heir->name, id, &none))
		return;
	err_set(&all, 0,
	        "its file, '%.64s', cannot be read now (%.80s); the version of "
	        "a file that is gone stays in force",
	        heir->name, err.text[0] ? err.text : "it has changed");
	log_warn("%s: %s", id, all.text);
	if (store_refuse(files->store, id, heir->name, all.text))
		log_err("%s: out of memory", id);
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

/* ---- what a file gives ---- */

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

void source_apply(struct source_files *files, struct source_file *file,
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
		source_refuse(files, file->name, "out of memory");
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
		source_refuse(files, file->name, err.text);
	else
		store_remove(files->store, own);
}

bool source_is_whole(const struct source_files *files,
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

void source_withdraw(struct source_files *files, const struct source_file *file)
{
	char own[STORE_ID_MAX];

	for (size_t i = 0; i < file->n_ids; i++)
		object_drop(files, file, file->id[i]);
	file_id(file->name, own);
	store_remove(files->store, own);
}
