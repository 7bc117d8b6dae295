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
	uint64_t change;  /* rises: the file with the higher one counts */
	uint64_t stamp;   /* of the content last read: inode, size, times */
	bool seen;        /* by the scan that runs */
	bool busy;        /* open for writing: to be read when it is closed */
	bool leaving;     /* gone; its objects follow */
	uint64_t left_ns; /* when, CLOCK_MONOTONIC */
	bool polled;      /* no event need tell of its change: it is a link, or
	                   * could not be opened */
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
	bool poll;   /* some file may be busy, or is polled */
};

struct source_file *source_file_find(struct source_files *files,
                                     const char *name);

/**
 * source_file_read - bring the store up to what the file says now.
 *
 * The first time, what the last daemon kept of it comes before it.
 * @if_changed: only if it is not the content read last.
 * A file that is gone leaves; see source_files_leave().
 */
void source_file_read(struct source_files *files, const char *name,
                      enum source_when when, bool if_changed);
/* It stands there, made anew, and is being written: its close is an event. */
void source_file_expect(struct source_files *files, const char *name);

/* It stands there no more: it leaves, unless it is leaving already. */
void source_file_gone(struct source_file *file);

/* Look after those that no event need tell of. */
void source_files_poll(struct source_files *files);
/* The start waits no more for those that are open for writing: what was kept
 * of them counts until they are closed, or, for want of it, what they hold. */
void source_files_hurry(struct source_files *files);
/* All files have been read once: forget what is kept of others. */
void source_files_synced(struct source_files *files);
bool source_files_any(const struct source_files *files,
                      bool (*test)(const struct source_file *file));
/* Drop the objects of the files that left at @by_ns or before and have not come
 * back, and forget them.  When the first of the others left; 0: none did. */
uint64_t source_files_leave(struct source_files *files, uint64_t by_ns);
/* Forget all files; the store keeps their objects. */
void source_files_clear(struct source_files *files);
