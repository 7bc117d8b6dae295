/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace.h - a task whose run costs much does not run without end.
 *
 * A run is followed by a multiple of its duration without another; the first
 * after a rest waits for nothing, and who runs the task himself neither.
 */
#pragma once

#include "daemon/loop.h"

struct pace {
	struct loop *loop;
	struct loop_task *task;
	struct loop_timer timer;
	uint64_t next_ns; /* no run before */
	uint64_t most_ns; /* the longest rest */
	unsigned of;      /* a rest is so many times as long as the run */
};

void pace_init(struct pace *pace, struct loop *loop, struct loop_task *task,
               unsigned of, uint64_t most_ns);
/* Idempotent: at the end of the loop's turn, or when the rest is over. */
void pace_schedule(struct pace *pace);
bool pace_is_scheduled(const struct pace *pace);
/* Of who runs the task now, or goes away. */
void pace_cancel(struct pace *pace);
/* A run is over that began then, CLOCK_MONOTONIC. */
void pace_rest(struct pace *pace, uint64_t began_ns);
