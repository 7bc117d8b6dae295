// SPDX-License-Identifier: Apache-2.0
/* last_pods.c - see last_pods.h. */
#include "daemon/last_pods.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	last->dirty = last->dirty || pod->orphan;
	free(pod->text);
	*pod = (struct last_pod){};
}

int last_pod_note(struct last_pods *last, const struct ep *ep,
                  const struct store_object *object)
{
	struct last_pod *pod = &last->pod[ep->number];
	char *text;

	if (pod->text && !pod->orphan && pod->serial == ep->serial &&
	    pod->revision == object->revision)
		return 0;
	text = pod_text(&object->object.pod);
	if (!text)
		return -ENOMEM;
	pod_forget(last, pod);
	*pod = (struct last_pod){
		.serial = ep->serial,
		.revision = object->revision,
		.text = text,
	};
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
	if (!pod->orphan) {
		pod->orphan = true;
		last->dirty = true;
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

/* ---- the file ----------------------------------------------------------- */

/* [{"endpoint": N, "serial": N, "pod": {…}}, …] */
static int item_read(struct last_pods *last, const json_t *item)
{
	const json_int_t number =
		json_integer_value(json_object_get(item, "endpoint"));
	const json_int_t serial =
		json_integer_value(json_object_get(item, "serial"));
	const json_t *doc = json_object_get(item, "pod");
	struct last_pod *pod;

	if (number < 1 || number >= ENDPOINT_MAX || !json_is_object(doc))
		return -EINVAL;
	pod = &last->pod[number];
	free(pod->text);
	*pod = (struct last_pod){
		.serial = (uint32_t)serial,
		.text = json_dumps(doc, JSON_COMPACT),
		.orphan = true,
	};
	return pod->text ? 0 : -ENOMEM;
}

int last_pods_open(struct last_pods *last, const char *state_dir,
                   struct err *err)
{
	char bad[sizeof(last->path) + 4];
	json_error_t why = {};
	json_t *doc, *item;
	size_t i;
	int r;

	*last = (struct last_pods){};
	snprintf(last->path, sizeof(last->path), "%s/pods.json", state_dir);
	if (access(last->path, F_OK))
		return 0;
	doc = json_load_file(last->path, 0, &why);
	r = json_is_array(doc) ? 0 : -EINVAL;
	json_array_foreach(doc, i, item) if (!r) r = item_read(last, item);
	json_decref(doc);
	if (r != -EINVAL)
		return r ? err_set(err, r, "out of memory") : 0;
	snprintf(bad, sizeof(bad), "%s.bad", last->path);
	(void)rename(last->path, bad);
	err_set(err, 0, "%s: not what we wrote (%s); moved to %s", last->path,
	        why.text, bad);
	return 0;
}

void last_pods_close(struct last_pods *last)
{
	for (unsigned i = 0; i < ENDPOINT_MAX; i++)
		free(last->pod[i].text);
	*last = (struct last_pods){};
}

int last_pods_save(struct last_pods *last, struct err *err)
{
	char fresh[sizeof(last->path) + 4];
	json_t *list;
	int r = 0;

	if (!last->dirty)
		return 0;
	list = json_array();
	for (unsigned i = 1; i < ENDPOINT_MAX; i++)
		if (last->pod[i].orphan)
			json_array_append_new(
				list, json_pack("{s:i,s:I,s:o}", "endpoint",
			                        (int)i, "serial",
			                        (json_int_t)last->pod[i].serial,
			                        "pod",
			                        json_loads(last->pod[i].text, 0,
			                                   NULL)));
	snprintf(fresh, sizeof(fresh), "%s.new", last->path);
	errno = 0;
	if (json_dump_file(list, fresh, JSON_COMPACT) ||
	    rename(fresh, last->path))
		r = err_set(err, errno ? -errno : -EIO, "write %s: %s",
		            last->path, strerror(errno));
	json_decref(list);
	last->dirty = r != 0;
	return r;
}
