/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attachment.h - how an attachment ends, and how it outlives the daemon.
 *
 * It is closed first (state CLOSING, in its file too), then out of the maps by
 * a pass, then its addresses rest.  Within a second the reaper deletes the
 * links of all that were closed meanwhile, in one group (D13), and forgets
 * them.  Sentences go to the log: nothing here can be answered with an error.
 */
#pragma once

#include <stdbool.h>

#include "daemon/daemon.h"
#include "daemon/endpoint.h"

void attachments_init(struct daemon *daemon);

/* Mark it; attachments_settle() follows, once for several. */
void attachment_close(struct daemon *daemon, struct ep *ep);
/* A pass, so that nothing of the closed ones is left in the maps. */
void attachments_settle(struct daemon *daemon);
/* At once, when its container id and interface name are needed again. */
void attachment_forget(struct daemon *daemon, struct ep *ep);

/* Is the link there that it had when it was made? */
bool attachment_alive(const struct daemon *daemon, const struct ep *ep);
/* Is its link ours to delete, and there? */
bool attachment_has_link(const struct daemon *daemon, const struct ep *ep);

/* At the start: what the files say against what is; addresses are taken. */
void attachments_adopt(struct daemon *daemon);
/* What the plugin could not tell us, see cni/queue.h. */
void attachments_replay(struct daemon *daemon);
