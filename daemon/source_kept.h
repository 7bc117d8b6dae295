/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_kept.h - the last good version of each manifest, for a restart.
 *
 * A manifest that is broken keeps what it gave before, which a new daemon
 * would not know: so each that was read without an error is copied to
 * <state-dir>/manifests, under its own name and time of change.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "daemon/source_load.h"

struct source_kept {
	int fd; /* the directory; -1: nothing is kept */
	bool read_only;
	bool failing; /* said so already */
};

/* @state_dir: NULL, nothing is kept.  That it cannot be kept is logged. */
void source_kept_open(struct source_kept *kept, const char *state_dir,
                      bool read_only);
void source_kept_close(struct source_kept *kept);

/* Is the copy of @name of the content that @st tells of?  By size and time: a
 * guess, for files that have not been seen to change. */
bool source_kept_is(const struct source_kept *kept, const char *name,
                    const struct stat *st);
/* @content, read without any error, takes the place of the copy. */
void source_kept_put(struct source_kept *kept, const char *name,
                     const struct source_content *content);
void source_kept_drop(const struct source_kept *kept, const char *name);
/* Drop the copies that are not @wanted. */
void source_kept_sweep(const struct source_kept *kept,
                       bool (*wanted)(void *user, const char *name),
                       void *user);
