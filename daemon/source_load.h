/* SPDX-License-Identifier: Apache-2.0 */
/* source_load.h - one file of manifests: its text, its documents, its objects.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "lib/err.h"

/* A file as it was read: owns text and objects. */
struct source_content {
	struct stat st;  /* set as soon as it is known, also on failure */
	char *text;      /* its bytes, and a NUL behind them */
	size_t len;      /* without the NUL */
	json_t *objects; /* an array; read only */
};

/**
 * source_load - the objects that a file holds, lists unfolded.
 *
 * @busy_too: even if somebody has it open for writing.
 * @ret:      holds nothing yet; to be freed in any case.
 *
 * Return: 0; -ENOENT; -EBUSY, open for writing (it will be closed, and that is
 * an event); -errno with a sentence.
 */
int source_load(int dir_fd, const char *name, bool busy_too,
                struct source_content *ret, struct err *err);
void source_content_free(struct source_content *content);
