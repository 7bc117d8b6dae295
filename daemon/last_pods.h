/* SPDX-License-Identifier: Apache-2.0 */
/*
 * last_pods.h - what a pod was, for as long as its interface lives.
 *
 * A terminating pod keeps its policy until DEL, even when its manifest is gone
 * already, and also when that happens while no daemon runs.  So the labels and
 * port names of every endpoint's pod are kept, as a small manifest, in
 * <state-dir>/pods: one file an endpoint, "<number>.json", written in the pass
 * in which they are learned or change, hence before ADD answers.  Renamed into
 * place and not synced, for the reason in endpoint.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/endpoint.h"
#include "daemon/store.h"
#include "lib/arena.h"
#include "lib/err.h"
#include "policy/policy.h"

struct last_pod {
	uint32_t serial;   /* of the endpoint */
	uint64_t revision; /* of the object that text was made from */
	char *text;        /* a manifest; NULL: nothing is known */
	bool stale;        /* the file says something else, or is too many */
};

struct last_pods {
	char path[300];
	int dir_fd; /* -1: a dry run without a state directory */
	struct last_pod pod[ENDPOINT_MAX];
	bool dirty;     /* some file is behind */
	bool read_only; /* --dry-run: files stay as they are */
};

/* A file that cannot be read is moved aside, with a log line. */
int last_pods_open(struct last_pods *last, const char *state_dir,
                   bool read_only, struct err *err);
void last_pods_close(struct last_pods *last);

/* The object of @ep's pod as it is now.  0 or -ENOMEM. */
int last_pod_note(struct last_pods *last, const struct ep *ep,
                  const struct store_object *object);
/* Its object is gone: the pod as it was last, in @arena.  -ENOENT when that is
 * not known. */
int last_pod_get(struct last_pods *last, const struct ep *ep,
                 struct arena *arena, struct pod *ret);
/* There is no such endpoint any more. */
void last_pod_drop(struct last_pods *last, uint16_t endpoint);
/* Write the files that are behind; those that cannot be stay behind. */
int last_pods_save(struct last_pods *last, struct err *err);
