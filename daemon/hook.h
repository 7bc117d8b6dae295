/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook.h - putting the stubs onto devices, and seeing whether they are there.
 *
 * Two ways (design D13): a tcx link, pinned, for uplinks where the kernel has
 * it; clsact with a cls_bpf filter for pods, and where tcx is missing.  The
 * filter's place is the one that the plugin uses (cni/setup.c): preference 1,
 * handle 1, all protocols; so attaching twice replaces it by itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "lib/err.h"
#include "lib/nl.h"

/* What a program on a device should be. */
struct hook_stub {
	enum dir dir;     /* as the device sees it */
	int prog_fd;      /* the pinned stub */
	const char *name; /* for the filter, and for messages */
};

/**
 * hook_attach_tcx - make sure that a pinned tcx link carries the stub.
 *
 * @pin: of the link.  A link that is pinned there and still on the device
 * stays, with its program exchanged if it is another; else one is made.
 *
 * Return: 0; -EINVAL or -EOPNOTSUPP when the kernel has no tcx; -errno with a
 * sentence.
 */
int hook_attach_tcx(int ifindex, const struct hook_stub *stub, const char *pin,
                    struct err *err);

/* Attach both stubs by clsact and filters, in one batch. */
int hook_attach_tc(struct nl *nl, int ifindex, const struct hook_stub stub[2],
                   struct err *err);
/* Remove our two filters; the clsact goes too unless others have filters there.
 */
int hook_detach_tc(struct nl *nl, int ifindex, struct err *err);

/**
 * hook_check_tc - is the filter there, with this very program?
 *
 * Return: 1 or 0; -ENODEV when the device is gone; -errno with a sentence.
 */
int hook_check_tc(struct nl *nl, int ifindex, const struct hook_stub *stub,
                  struct err *err);
