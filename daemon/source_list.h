/* SPDX-License-Identifier: Apache-2.0 */
/* source_list.h - the names of a directory that may be manifests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct source_listed {
	char name[256];
	struct timespec mtime;
};

struct source_list {
	struct source_listed *item; /* the oldest change first */
	size_t n, room;
};

/* May this name be a manifest? */
bool source_name_wanted(const char *name);

/* @ret: empty before, to be freed in any case.  0 or -errno. */
int source_list_read(int dir_fd, struct source_list *ret);
void source_list_free(struct source_list *list);
