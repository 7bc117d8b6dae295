/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readiness.h - the moment when ADD can be served, told to who waits for it.
 *
 * The CNI configuration is written then, and with a cluster the Node is told.
 * Neither is taken back: a daemon that stops or restarts leaves pods and node
 * as they are.  The file is put back when somebody removes it.
 */
#pragma once

#include "daemon/daemon.h"

struct readiness {
	struct daemon *daemon;
	struct loop_timer look;
	bool ready;   /* it was, once */
	bool failing; /* the file; said so already */
};

void readiness_open(struct readiness *readiness, struct daemon *daemon);
void readiness_close(struct readiness *readiness);
