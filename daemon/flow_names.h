/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow_names.h - the names of an event, looked up once and remembered.
 *
 * Names are those of the moment of reading: a pod that is gone keeps its name
 * as long as its number is not given to another.  Everything is interned, so a
 * name costs an event a pointer.
 */
#pragma once

#include <stdint.h>

#include "bpf/abi.h"
#include "daemon/intern.h"

struct daemon;
struct flow_names;

/* An event that is kept; its time_ns is wall clock time. */
struct kept {
	struct event event;
	struct text *who[2], *rule[DIR__COUNT], *why; /* see flow_view */
	struct text *service;
	unsigned audit;
	unsigned zero;
};

struct flow_names *flow_names_new(struct daemon *daemon);
void flow_names_free(struct flow_names *names);

/* Call before each batch: what has changed is looked up anew. */
void flow_names_begin(struct flow_names *names);
/* Fill everything but the event itself. */
void flow_names_give(struct flow_names *names, struct kept *kept);
void flow_names_drop(struct flow_names *names, struct kept *kept);

/* Memory of all names. */
size_t flow_names_bytes(const struct flow_names *names);
