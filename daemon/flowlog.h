/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flowlog.h - events of the datapath, named and kept for a while.
 *
 * Reads the ring buffer by a timer (and when the kernel wakes us), resolves
 * addresses to pods and rules to policies at once, keeps the newest
 * FLOWLOG_KEEP events, and hands each to the followers.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "daemon/dp.h"
#include "daemon/loop.h"
#include "lib/err.h"

#define FLOWLOG_KEEP 4096

struct flowlog;
struct daemon;
struct server_stream;

int flowlog_new(struct loop *loop, struct dp *dp, struct daemon *daemon,
                struct flowlog **ret, struct err *err);
void flowlog_free(struct flowlog *log);
