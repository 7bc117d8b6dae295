/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uninstall.h - take every trace of Stile out of a node.
 *
 * Without a daemon, and with few dependencies (lib/, undo, hook): the command
 * line calls it.  The pods that are left lose their network, that is what it
 * means.  What cannot be removed does not stop the rest.
 */
#pragma once

#include "lib/err.h"

struct uninstall {
	const char *run_dir, *state_dir, *bpffs;
	/* One line for each thing that was found and removed; or NULL. */
	void (*say)(const char *line, void *user);
	void *user;
};

/**
 * uninstall_run - pods' links, filters, tcx links, rules, routes, settings,
 * pins, what was installed, files.
 *
 * Twice is fine, and so is a node where nothing ever was.
 * Return: 0; -EBUSY when a daemon of that state directory runs, nothing was
 * touched then; else the first failure, with its sentence.
 */
int uninstall_run(const struct uninstall *what, struct err *err);

/* ---- the parts: each 0, or its first failure with a sentence ------------- */

struct nl;

/* uninstall_net.c: links, filters, rules, the table. */
int uninstall_net(const struct uninstall *what, struct nl *nl, struct err *err);
/* uninstall_files.c: pins and the bpffs itself if it is ours, state, run. */
int uninstall_pins(const struct uninstall *what, struct err *err);
int uninstall_files(const struct uninstall *what, struct err *err);
/* uninstall_list.c: what `make install` wrote down that it brought. */
int uninstall_installed(const struct uninstall *what, struct err *err);
__attribute__((format(printf, 2, 3))) void uninstall_say(
	const struct uninstall *what, const char *fmt, ...);
