/* SPDX-License-Identifier: Apache-2.0 */
/* services_apply.h - the maps of services in the kernel: read, and changed. */
#pragma once

#include "daemon/dp.h"
#include "daemon/services_plan.h"

/* Places that no service uses any more, to be freed after a grace period. */
struct services_resting {
	struct service *item;
	size_t n, room;
};

/*
 * What the maps hold, and the places there that no service uses.  @ret's array
 * is the caller's to free.  0 or -errno.
 */
int services_read(struct dp *dp, struct services_have *ret,
                  struct services_resting *resting);
/*
 * Put backends, then services, then remove.  Half-way through, a service has
 * its old backends or its new ones.  0 or -errno with a sentence.
 */
int services_apply(struct dp *dp, const struct services_plan *plan,
                   struct err *err);
int services_rest(struct services_resting *resting, const struct service *range,
                  size_t n);
/* Waits for RCU, then frees all that rests.  0 or -errno. */
int services_free_rested(struct dp *dp, struct services_resting *resting);
