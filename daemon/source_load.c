// SPDX-License-Identifier: Apache-2.0
/* source_load.c - see source_load.h. */
#include "daemon/source_load.h"

#include <linux/magic.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "daemon/yaml.h"
#include "lib/util.h"

#define QUIET_NS 1000000000ll /* since the last change */

/* Where a lease is refused because the server did not promise one. */
static bool is_remote(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) &&
	       (fs.f_type == NFS_SUPER_MAGIC || fs.f_type == CIFS_SUPER_MAGIC ||
	        fs.f_type == SMB2_SUPER_MAGIC);
}

/* A clock that was set back counts as long ago. */
static bool is_young(const struct stat *st)
{
	struct timespec now;
	long long age_ns;

	clock_gettime(CLOCK_REALTIME, &now);
	age_ns = (now.tv_sec - st->st_mtim.tv_sec) * 1000000000ll +
	         now.tv_nsec - st->st_mtim.tv_nsec;
	return age_ns > -QUIET_NS && age_ns < QUIET_NS;
}

/*
 * A read lease is refused while somebody has the file open for writing, and
 * makes who opens it for writing wait until we close: we never see half of
 * what is being written (fcntl(2), F_SETLEASE).  Not every file system has
 * leases, and another user's file takes CAP_LEASE.  Should we be late, the
 * kernel's signal does no harm.
 */
static bool is_being_written(int fd, const struct stat *st,
                             enum source_when when)
{
	if (when == SOURCE_AS_IT_IS)
		return false;
	(void)fcntl(fd, F_SETSIG, SIGURG);
	if (!fcntl(fd, F_SETLEASE, F_RDLCK))
		return false;
	if (errno == EAGAIN && !is_remote(fd))
		return true;
	return when == SOURCE_QUIET && is_young(st);
}

static int text_read(int fd, size_t size, char *buf, size_t *ret)
{
	size_t used = 0;

	while (used < size) {
		const ssize_t n = read(fd, buf + used, size - used);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			break;
		used += n > 0 ? (size_t)n : 0;
	}
	*ret = used;
	return 0;
}

static int file_read(int dir_fd, const char *name, enum source_when when,
                     struct source_content *ret, struct err *err)
{
	_cleanup_(closep) int fd =
		openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0 || fstat(fd, &ret->st))
		return err_set(err, -errno, "%s", strerror(errno));
	if (!S_ISREG(ret->st.st_mode))
		return err_set(err, -EINVAL, "not a file");
	if (ret->st.st_size > (off_t)YAML_BYTES_MAX)
		return err_set(err, -E2BIG, "larger than %u MiB",
		               YAML_BYTES_MAX >> 20);
	if (is_being_written(fd, &ret->st, when))
		return err_set(err, -EBUSY, "open for writing");
	ret->text = malloc((size_t)ret->st.st_size + 1);
	if (!ret->text)
		return err_set(err, -ENOMEM, "out of memory");
	r = text_read(fd, (size_t)ret->st.st_size, ret->text, &ret->len);
	if (r)
		return err_set(err, r, "%s", strerror(-r));
	ret->text[ret->len] = '\0';
	return 0;
}

/* "PodList" of "v1": what its items are when they do not say it. */
static int item_append(json_t *objects, const json_t *list, json_t *item)
{
	const char *kind = json_string_value(json_object_get(list, "kind"));
	const size_t len = strlen(kind) - strlen("List");
	json_t *copy;

	if (!json_is_object(item) || json_object_get(item, "kind") || !len)
		return json_array_append(objects, item);
	copy = json_copy(item);
	if (!copy ||
	    json_object_set_new(copy, "kind", json_stringn(kind, len)) ||
	    (!json_object_get(copy, "apiVersion") &&
	     json_object_set(copy, "apiVersion",
	                     json_object_get(list, "apiVersion")))) {
		json_decref(copy);
		return -1;
	}
	return json_array_append_new(objects, copy);
}

static bool is_list(const json_t *doc)
{
	const json_t *kind = json_object_get(doc, "kind");
	const json_t *items = json_object_get(doc, "items");
	const size_t len = json_string_length(kind), tail = strlen("List");

	return len >= tail &&
	       !strcmp(json_string_value(kind) + len - tail, "List") &&
	       (json_is_array(items) || json_is_null(items));
}

static int objects_unfold(json_t *docs, json_t *objects)
{
	json_t *doc, *item;
	size_t i, j;
	int r = 0;

	json_array_foreach(docs, i, doc)
	{
		if (!is_list(doc)) {
			r |= json_array_append(objects, doc);
			continue;
		}
		json_array_foreach(json_object_get(doc, "items"), j, item) r |=
			item_append(objects, doc, item);
	}
	return r;
}

int source_load(int dir_fd, const char *name, enum source_when when,
                struct source_content *ret, struct err *err)
{
	_cleanup_(json_decrefp) json_t *docs = NULL, *objects = json_array();
	const char *dot = strrchr(name, '.');
	int r = file_read(dir_fd, name, when, ret, err);

	if (r)
		return r;
	/* Several documents with "---" between them are YAML in any file. */
	if (dot && !strcmp(dot, ".json") &&
	    ret->text[strspn(ret->text, " \t\r\n")] != '-')
		r = yaml_load_json(ret->text, ret->len, &docs, err);
	else
		r = yaml_load(ret->text, ret->len, &docs, err);
	if (r)
		return r;
	if (!objects || objects_unfold(docs, objects))
		return err_set(err, -ENOMEM, "out of memory");
	ret->objects = TAKE(objects);
	return 0;
}

bool source_content_is_blank(const struct source_content *content)
{
	return strspn(content->text, " \t\r\n") == content->len;
}

void source_content_free(struct source_content *content)
{
	free(content->text);
	json_decref(content->objects);
	*content = (struct source_content){};
}
