/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cniconf.h - the file that tells the container runtime that we are there.
 *
 * It is written last, when ADD can be served, and whole: to a temporary file
 * beside it, synced, renamed.  It stays over a stop; where it is stands in
 * <state-dir>/cni-conf, for `stile uninstall`.
 */
#pragma once

#include "lib/err.h"

#define CNICONF_NAME "05-stile.conflist"
#define CNICONF_NOTE "cni-conf" /* in the state directory */

/* Return: 1 when it was written, 0 when it was there as it should be, -errno
 * with a sentence. */
int cniconf_write(const char *dir, const char *state_dir, const char *run_dir,
                  struct err *err);
