/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowlog.h - events of the datapath, named and kept for a while.
 *
 * Reads the ring buffer by a timer (and when the kernel wakes us), resolves
 * addresses to pods and rules to policies at once, keeps the newest
 * FLOWLOG_KEEP events, and lets readers follow.  Events cost 168 bytes each;
 * their names together at most FLOWLOG_NAMES_BYTES: the oldest events go
 * earlier when names are many.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "daemon/dp.h"
#include "daemon/loop.h"
#include "lib/err.h"

#define FLOWLOG_KEEP        4096
#define FLOWLOG_NAMES_BYTES (1280u << 10)

struct flowlog;
struct daemon;
struct server_stream;

int flowlog_new(struct loop *loop, struct dp *dp, struct daemon *daemon,
                struct flowlog **ret, struct err *err);
void flowlog_free(struct flowlog *log);

/**
 * flowlog_stream - answer the operation "flows" (daemon/ops_flow.c).
 *
 * @request: {follow?: bool, last?: N, since?: seconds of wall clock, filters?:
 * see flow_filter.h}.  Kept events first, then, with follow, what comes.  The
 * stream ends with {"end": true}.  A reader that is too slow is told how many
 * events it missed, and nothing is kept for it.
 */
void flowlog_stream(struct flowlog *log, const json_t *request,
                    struct server_stream *stream);

struct flowlog_stats {
	uint64_t seen; /* events read since the start */
	unsigned kept;
	unsigned followers;
	size_t bytes; /* memory of the kept ones and their names */
};
void flowlog_stats(const struct flowlog *log, struct flowlog_stats *ret);
