/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - small files, read whole. */
#pragma once

#include <stddef.h>

#include "lib/err.h"

/*
 * file_read - a regular file of less than @size bytes into @buf, with a NUL
 * behind it; *@ret: how many, without the NUL.
 *
 * Never waits for who should write into a pipe.  -EINVAL when it is no file,
 * -E2BIG, -errno; with a sentence that does not name the file.
 */
int file_read(const char *path, char *buf, size_t size, size_t *ret,
              struct err *err);
