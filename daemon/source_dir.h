/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_dir.h - a directory of manifests as the source of the store.
 *
 * *.yaml, *.yml and *.json, but not what begins with '.'; links are followed,
 * a Kubernetes ConfigMap's "..data" too.  A file counts when it is closed
 * after writing or renamed into place, and is read at once; one that is open
 * for writing is left for later.  Its objects go 50 ms after it, unless the
 * name is there again by then: a rename takes nothing away in between, nor
 * does a program that makes the file anew to save it.
 *
 * A file that cannot be parsed keeps what it gave, and stands in the store as
 * "File/NAME" with the error; so does one whose documents have no names, one
 * that is empty, and a link that leads to nothing: what is not wanted is
 * removed, or says so in a comment.  What was read without an error is also
 * copied to <state-dir>/manifests, so that this holds for one that is broken,
 * or being written, when the daemon starts again.  When two files give one
 * object, the later change counts, and when that file lets go of it the other's
 * version comes back.  A "List" counts as its items.
 *
 * When the directory itself goes away everything stays.  When the path leads to
 * another one (removed and made anew, a link swapped, something mounted), that
 * is read; what it lacks goes at once if the path is a link, else when it holds
 * a manifest and nothing has happened in it for a second.  "Source/dir" stands
 * in the store meanwhile.
 *
 * Once a second a look is taken at what comes without an event: the path, what
 * links lead to, files that could not be opened.
 */
#pragma once

#include "daemon/loop.h"
#include "daemon/store.h"
#include "lib/err.h"
#include "lib/util.h"

struct source_dir;

struct source_dir_config {
	const char *path;
	const char *state_dir; /* NULL: nothing is kept */
	bool read_only;        /* of the state directory */
};

/*
 * Reads the directory before it returns and tells the store that it is synced
 * (up to a second later if a file was being written).  -errno with a sentence
 * when it cannot be read or watched.
 */
int source_dir_open(struct loop *loop, struct store *store,
                    const struct source_dir_config *config,
                    struct source_dir **ret, struct err *err);
/* The store keeps what it has. */
void source_dir_close(struct source_dir *source);
DEFINE_CLEANUP(struct source_dir *, source_dir_close)
