/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_file.h - the files of a source directory and what each gives.
 *
 * Inside the source only.  Sentences go to the log and into the store: nobody
 * above could do more about them.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <uthash.h>

#include "daemon/source_kept.h"
#include "daemon/store.h"

struct source_file {
	char **id; /* of what it gives, sorted; one allocation with the text */
	size_t n_ids;
	uint64_t change; /* rises: the file with the higher one counts */
	uint64_t stamp;  /* of the content last read: inode, size, times */
	bool seen;       /* by the scan that runs */
	bool busy;       /* open for writing: to be read when it is closed */
	bool leaving;    /* gone; its objects follow */
	UT_hash_handle hh;
	char name[]; /* in the directory */
};

struct source_files {
	struct store *store;
	int dir_fd;
	struct source_kept kept;
	struct source_file *files; /* by name */
	uint64_t changes;
	bool shared; /* some object was given by two files, ever */
};

/* May this name be a manifest? */
bool source_name_wanted(const char *name);

struct source_file *source_file_find(struct source_files *files,
                                     const char *name);

/**
 * source_file_read - bring the store up to what the file says now.
 *
 * The first time, what the last daemon kept of it comes before it.
 * @busy_too: read it even if somebody has it open for writing.
 * @if_changed: only if it is not the content read last.
 * A file that is gone leaves; see source_files_leave().
 */
void source_file_read(struct source_files *files, const char *name,
                      bool busy_too, bool if_changed);

/* All files have been read once: forget what is kept of others. */
void source_files_synced(struct source_files *files);
/* Drop the objects of the files that are leaving, and forget them. */
void source_files_leave(struct source_files *files);
/* Forget all files; the store keeps their objects. */
void source_files_clear(struct source_files *files);
