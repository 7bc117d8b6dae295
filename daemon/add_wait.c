// SPDX-License-Identifier: Apache-2.0
/* add_wait.c - see add_wait.h. */
#include "daemon/add_wait.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cni/wire.h"
#include "daemon/cni_request.h"
#include "daemon/daemon.h"
#include "daemon/source_kube.h"
#include "lib/log.h"
#include "lib/util.h"

struct add_wait {
	struct daemon *daemon;
	struct server_stream *stream;
	struct kube_fetch *fetch; /* NULL: it is over */
	json_t *request;          /* owned */
	json_t *(*add)(struct daemon *daemon, const json_t *request);
};

/* Takes @reply; NULL: out of memory. */
static void answer(struct server_stream *stream, json_t *reply)
{
	_cleanup_(json_decrefp) json_t *line =
		reply ? reply : wire_error(WIRE_OTHER, "out of memory");

	if (line)
		(void)server_stream_send(stream, line);
	server_stream_end(stream);
}

static void wait_closed(void *user)
{
	struct add_wait *wait = user;

	source_kube_fetch_cancel(wait->fetch);
	json_decref(wait->request);
	free(wait);
}

static void refuse(struct server_stream *stream, const json_t *request,
                   const char *why)
{
	struct err err;

	(void)err_set(
		&err, 0, "pod %.64s/%.100s is not known yet: %.160s",
		json_string_value(json_object_get(request, "pod_namespace")),
		json_string_value(json_object_get(request, "pod_name")), why);
	log_warn("ADD %.12s: %s",
	         json_string_value(json_object_get(request, "container_id")),
	         err.text);
	answer(stream, wire_error(WIRE_AGAIN, err.text));
}

static void fetched(void *user, const char *why)
{
	struct add_wait *wait = user;

	wait->fetch = NULL;
	if (why)
		refuse(wait->stream, wait->request, why);
	else
		answer(wait->stream, wait->add(wait->daemon, wait->request));
}

static void wait_begin(struct daemon *daemon, const struct add_wait *what,
                       const struct kube_pod_key *key)
{
	struct add_wait *wait = malloc(sizeof(*wait));
	struct err err = {};

	if (!wait) {
		answer(what->stream, NULL);
		return;
	}
	*wait = *what;
	wait->fetch = source_kube_fetch(daemon->kube, key, fetched, wait, &err);
	if (!wait->fetch) {
		free(wait);
		refuse(what->stream, what->request, err.text);
		return;
	}
	json_incref(wait->request);
	server_stream_on_close(wait->stream, wait_closed, wait);
}

void add_wait(struct daemon *daemon, const json_t *request,
              struct server_stream *stream,
              json_t *(*add)(struct daemon *daemon, const json_t *request))
{
	const struct add_wait wait = {
		.daemon = daemon,
		.stream = stream,
		.request = (json_t *)(uintptr_t)request,
		.add = add,
	};
	struct cni_request read = {};
	struct kube_pod_key key;
	struct err err = {};

	/* What is wrong with a request is add's to say. */
	if (!daemon->kube || !daemon->store.synced ||
	    cni_request_parse(request, true, &read, &err) || !*read.pod_ns) {
		answer(stream, add(daemon, request));
		return;
	}
	key = (struct kube_pod_key){
		.ns = read.pod_ns,
		.name = read.pod_name,
		.uid = read.pod_uid,
	};
	if (source_kube_knows(daemon->kube, &key))
		answer(stream, add(daemon, request));
	else
		wait_begin(daemon, &wait, &key);
}
