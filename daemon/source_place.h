/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_place.h - where the source directory is, and that it is still there.
 *
 * A path may lead to another directory from one moment to the next: it was
 * removed and made again, a link in it was swapped, something was mounted over
 * it.  The directory's own watch says nothing of this, so the one above it is
 * watched too, for the last name of the path; who asks source_place_holds() now
 * and then sees the rest.
 */
#pragma once

#include <stdbool.h>
#include <sys/inotify.h>

#include "lib/err.h"

struct source_place {
	char *path;
	char *above, *name; /* the path's last name, and what stands before */
	int inotify;        /* owned */
	int fd;             /* the directory; -1 before it was entered */
	int wd, above_wd;   /* -1: none */
};

/* 0, or -errno with a sentence; to be closed in any case. */
int source_place_open(struct source_place *place, const char *path,
                      struct err *err);
void source_place_close(struct source_place *place);

/* Watch and open the directory that the path leads to now.  On failure the one
 * entered before stays open, but is watched no more. */
int source_place_enter(struct source_place *place, struct err *err);
/* Does the path still lead to the directory that was entered? */
bool source_place_holds(const struct source_place *place);
/* Does this event tell that it may not? */
bool source_place_shaken(struct source_place *place,
                         const struct inotify_event *event);
/* Does it lead there by a link, which is swapped in one step? */
bool source_place_is_link(const struct source_place *place);
