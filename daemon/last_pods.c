// SPDX-License-Identifier: Apache-2.0
/* last_pods.c - see last_pods.h. */
#include "daemon/last_pods.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/util.h"

#define NAME_MAX_HERE 32 /* "1023.json.bad" */
#define FILE_MAX      (4u << 20)

/* ---- a manifest from a pod ---------------------------------------------- */

static const char *proto_text(uint8_t proto)
{
	return proto == IPPROTO_UDP    ? "UDP"
	       : proto == IPPROTO_SCTP ? "SCTP"
	                               : "TCP";
}

static json_t *labels_json(const struct labels *labels)
{
	json_t *object = json_object();

	for (size_t i = 0; i < labels->n; i++)
		json_object_set_new(object, labels->item[i].key,
		                    json_string(labels->item[i].value));
	return object;
}

static json_t *ports_json(const struct pod *pod)
{
	json_t *list = json_array();

	for (size_t i = 0; i < pod->n_ports; i++)
		json_array_append_new(
			list,
			json_pack("{s:s,s:i,s:s}", "name", pod->port[i].name,
		                  "containerPort", (int)pod->port[i].port,
		                  "protocol", proto_text(pod->port[i].proto)));
	return list;
}

static char *pod_text(const struct pod *pod)
{
	json_t *doc = json_pack("{s:s,s:s,s:{s:s,s:s,s:o},s:{s:[{s:o}]}}",
	                        "apiVersion", "v1", "kind", "Pod", "metadata",
	                        "namespace", pod->ns, "name", pod->name,
	                        "labels", labels_json(&pod->labels), "spec",
	                        "containers", "ports", ports_json(pod));
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	json_decref(doc);
	return text;
}

/* ---- one pod ------------------------------------------------------------ */

static void pod_forget(struct last_pods *last, struct last_pod *pod)
{
	free(pod->text);
	*pod = (struct last_pod){.stale = true};
	last->dirty = true;
}

int last_pod_note(struct last_pods *last, const struct ep *ep,
                  const struct store_object *object)
{
	struct last_pod *pod = &last->pod[ep->number];
	char *text;

	if (pod->text && pod->serial == ep->serial &&
	    pod->revision == object->revision)
		return 0;
	text = pod_text(&object->object.pod);
	if (!text)
		return -ENOMEM;
	if (pod->text && pod->serial == ep->serial &&
	    !strcmp(pod->text, text)) {
		pod->revision = object->revision;
		free(text);
		return 0;
	}
	pod_forget(last, pod);
	pod->serial = ep->serial;
	pod->revision = object->revision;
	pod->text = text;
	return 0;
}

int last_pod_get(struct last_pods *last, const struct ep *ep,
                 struct arena *arena, struct pod *ret)
{
	struct last_pod *pod = &last->pod[ep->number];
	struct object object;
	struct err ignored = {};
	json_t *doc;
	int r;

	if (!pod->text || pod->serial != ep->serial)
		return -ENOENT;
	doc = json_loads(pod->text, 0, NULL);
	r = doc ? object_parse(doc, arena, &object, &ignored) : -EINVAL;
	json_decref(doc);
	if (r == -ENOMEM)
		return r;
	if (r || object.kind != OBJECT_POD) {
		pod_forget(last, pod);
		return -ENOENT;
	}
	*ret = object.pod;
	return 0;
}

void last_pod_drop(struct last_pods *last, uint16_t endpoint)
{
	struct last_pod *pod = &last->pod[endpoint % ENDPOINT_MAX];

	if (pod->text)
		pod_forget(last, pod);
}

/* ---- the files ---------------------------------------------------------- */

static void name_of(unsigned number, const char *suffix,
                    char ret[NAME_MAX_HERE])
{
	snprintf(ret, NAME_MAX_HERE, "%u.json%s", number, suffix);
}

/* {"endpoint": N, "serial": N, "pod": {…}} */
static int doc_take(const json_t *doc, unsigned number, struct last_pod *pod)
{
	const json_t *serial = json_object_get(doc, "serial");
	const json_t *manifest = json_object_get(doc, "pod");

	if (json_integer_value(json_object_get(doc, "endpoint")) != number ||
	    !json_is_integer(serial) || !json_is_object(manifest))
		return -EINVAL;
	*pod = (struct last_pod){
		.serial = (uint32_t)json_integer_value(serial),
		.text = json_dumps(manifest, JSON_COMPACT),
	};
	return pod->text ? 0 : -ENOMEM;
}

static int file_take(struct last_pods *last, const char *name, unsigned number)
{
	_cleanup_(closep) int fd =
		openat(last->dir_fd, name,
	               O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	json_t *doc;
	int r;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) ||
	    st.st_size > FILE_MAX)
		return -EINVAL;
	doc = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
	r = doc ? doc_take(doc, number, &last->pod[number]) : -EINVAL;
	json_decref(doc);
	return r;
}

/* 0 when it is none of our names. */
static unsigned number_of(const char *name)
{
	char want[NAME_MAX_HERE];
	const unsigned long number = strtoul(name, NULL, 10);

	if (number < 1 || number >= ENDPOINT_MAX)
		return 0;
	name_of((unsigned)number, "", want);
	return strcmp(name, want) ? 0 : (unsigned)number;
}

static int file_read(struct last_pods *last, const char *name)
{
	const unsigned number = number_of(name);
	char bad[NAME_MAX_HERE];
	int r = number ? file_take(last, name, number) : 0;

	if (r != -EINVAL)
		return r;
	name_of(number, ".bad", bad);
	log_warn("%s/%s: not what we wrote; %s %s", last->path, name,
	         last->read_only ? "it would become" : "it is now", bad);
	if (!last->read_only)
		(void)renameat(last->dir_fd, name, last->dir_fd, bad);
	return 0;
}

static int files_read(struct last_pods *last)
{
	struct dirent **list = NULL;
	const int n = scandirat(last->dir_fd, ".", &list, NULL, NULL);
	int r = n < 0 ? -errno : 0;

	for (int i = 0; i < n; i++) {
		if (!r)
			r = file_read(last, list[i]->d_name);
		free(list[i]);
	}
	free(list);
	return r;
}

int last_pods_open(struct last_pods *last, const char *state_dir,
                   bool read_only, struct err *err)
{
	int r = 0;

	*last = (struct last_pods){.dir_fd = -1, .read_only = read_only};
	snprintf(last->path, sizeof(last->path), "%s/pods", state_dir);
	if (!read_only && mkdir(last->path, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "make '%s': %s", last->path,
		               strerror(errno));
	last->dir_fd = open(last->path,
	                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (last->dir_fd >= 0)
		r = files_read(last);
	else if (!read_only)
		r = -errno;
	return r ? err_set(err, r, "read '%s': %s", last->path, strerror(-r))
	         : 0;
}

void last_pods_close(struct last_pods *last)
{
	for (unsigned i = 0; i < ENDPOINT_MAX; i++)
		free(last->pod[i].text);
	if (last->dir_fd >= 0)
		close(last->dir_fd);
	*last = (struct last_pods){.dir_fd = -1};
}

/* Beside it first: who is killed meanwhile leaves the old one whole. */
static int file_write(const struct last_pods *last, unsigned number)
{
	const struct last_pod *pod = &last->pod[number];
	char name[NAME_MAX_HERE], fresh[NAME_MAX_HERE];
	_cleanup_(closep) int fd = -1;

	name_of(number, "", name);
	name_of(number, ".new", fresh);
	if (!pod->text)
		return unlinkat(last->dir_fd, name, 0) && errno != ENOENT
		               ? -errno
		               : 0;
	fd = openat(last->dir_fd, fresh,
	            O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	            0600);
	if (fd < 0 ||
	    dprintf(fd, "{\"endpoint\":%u,\"serial\":%u,\"pod\":%s}\n", number,
	            pod->serial, pod->text) < 0 ||
	    renameat(last->dir_fd, fresh, last->dir_fd, name))
		return errno ? -errno : -EIO;
	return 0;
}

int last_pods_save(struct last_pods *last, struct err *err)
{
	int failed = 0;

	if (!last->dirty)
		return 0;
	for (unsigned i = 1; i < ENDPOINT_MAX; i++) {
		int r = last->pod[i].stale ? file_write(last, i) : 0;

		last->pod[i].stale = r != 0;
		failed = r ? r : failed;
	}
	last->dirty = failed != 0;
	return failed ? err_set(err, failed, "write '%s': %s", last->path,
	                        strerror(-failed))
	              : 0;
}
