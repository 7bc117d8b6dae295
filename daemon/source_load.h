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

/* May a file be read that somebody has open for writing? */
enum source_when {
	SOURCE_AS_IT_IS, /* whoever has it open */
	SOURCE_CLOSED,   /* no: it is read because it was closed */
	SOURCE_QUIET,    /* no; and where the kernel cannot tell (no leases),
	                  * a second must have passed since its last change */
};

/**
 * source_load - the objects that a file holds, lists unfolded.
 *
 * @ret: holds nothing yet; to be freed in any case.
 *
 * Return: 0; -ENOENT; -EBUSY, open for writing (it will be closed, and that is
 * an event); -errno with a sentence.
 */
int source_load(int dir_fd, const char *name, enum source_when when,
                struct source_content *ret, struct err *err);
/* Nothing but white space, which nobody writes who means "nothing": a comment
 * says that. */
bool source_content_is_blank(const struct source_content *content);
void source_content_free(struct source_content *content);
