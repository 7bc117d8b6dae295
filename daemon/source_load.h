/* SPDX-License-Identifier: Apache-2.0 */
/* source_load.h - one file of manifests: its text, its documents, its objects.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "lib/err.h"

/**
 * source_load - the objects that a file holds, lists unfolded.
 *
 * @busy_too: even if somebody has it open for writing.
 * @ret_stat: of what was read, set as soon as it is known; NULL: not asked.
 * @ret:      an array, a new reference; read only.
 *
 * Return: 0; -ENOENT; -EBUSY, open for writing (it will be closed, and that is
 * an event); -errno with a sentence.
 */
int source_load(int dir_fd, const char *name, bool busy_too,
                struct stat *ret_stat, json_t **ret, struct err *err);
