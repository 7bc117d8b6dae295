/* SPDX-License-Identifier: Apache-2.0 */
/*
 * install.h - stile-cni as its own installer: the image that brings it to a
 *node holds no shell and no cp.
 *
 *	stile-cni --install DIR [--state-dir DIR] [--bpffs DIR]
 *	stile-cni --hold
 */
#pragma once

#include <stdbool.h>

#include "lib/err.h"

/* Is the program called by a person or a pod, not by a runtime? */
bool install_is_asked(int argc, char **argv);

/**
 * install_run - what the arguments ask for.
 *
 * --install copies this program into the directory, whole or not at all: a
 * runtime that executes it meanwhile has the old one or the new one.  With
 * --state-dir it is noted there for `stile uninstall`; with --bpffs a file
 * system for pins is mounted at the directory where none is.  --hold does
 * nothing until SIGTERM: for pods whose init containers did the work.
 */
int install_run(int argc, char **argv, struct err *err);
