/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.h - releases that could not be told to the daemon, kept on disk.
 *
 * DEL must succeed while the daemon is down.  What it could not tell stands in
 * <state dir>/del-queue: one file an attachment, its name the attachment's
 * host_ifname ("stl" + 12 hex digits), its content one JSON object
 *
 *     {"container_id": "…", "ifname": "eth0", "host_ifname": "stl…"}
 *
 * 0600, root's, complete (written under a name that begins with '.', synced,
 * renamed).  At its start stiled listens first, then does cni.del for each
 * file and removes it, and only then serves ADD: the plugin, once its file is
 * written, tries the socket once more and takes the file back when that
 * answered, so that none is left over.  Names with '.' in front are not read;
 * a file that is no such object is moved aside, as any corrupt state.
 */
#pragma once

#include "lib/err.h"

#define QUEUE_DIR "del-queue"
#define QUEUE_MAX 4096 /* files */

/**
 * queue_add - remember a release.
 *
 * Directories that are missing are made (0700); symbolic links are not
 * followed.  Return: 0; -EDQUOT when the queue is full; -errno with a
 * sentence.
 */
int queue_add(const char *state_dir, const char *container_id,
              const char *ifname, const char *host_ifname, struct err *err);

/* Forget it: the daemon knows now. */
void queue_remove(const char *state_dir, const char *host_ifname);
