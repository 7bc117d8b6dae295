/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_apply.h - what a file gives, put into the store and taken out of it.
 *
 * Here two files that give one object are told apart: the file that changed
 * last counts, and the object's origin is its name.
 */
#pragma once

#include "daemon/source_file.h"

/* @objects are what the file gives from now on. */
void source_apply(struct source_files *files, struct source_file *file,
                  json_t *objects);
/* The file gives nothing any more. */
void source_withdraw(struct source_files *files,
                     const struct source_file *file);
/* What is wrong with the file as a whole: "File/NAME" in the store. */
void source_refuse(struct source_files *files, const char *name,
                   const char *why);
/* Was all of it read without an error? */
bool source_is_whole(const struct source_files *files,
                     const struct source_file *file);
