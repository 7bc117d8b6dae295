/* SPDX-License-Identifier: Apache-2.0 */
/*
 * takeover.h - from the datapath of another version to this one's.
 *
 * Another ABI has pins and maps of its own, and devices run its programs until
 * ours are filled: the first pass, then takeover_run().  That copies the flows,
 * puts our programs into the other's array of hooks (all devices at once),
 * copies what was opened meanwhile, exchanges the stubs, and removes the
 * other's pins.  A copied flow is judged anew at its next packet.
 */
#pragma once

#include <stdbool.h>

#include "lib/err.h"

struct daemon;

/* Does another version have the devices? */
bool takeover_due(const struct daemon *daemon);
/* 0; -errno with a sentence: the other version's programs go on where ours are
 * not yet, and it can be tried again. */
int takeover_run(struct daemon *daemon, struct err *err);
