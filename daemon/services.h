/* SPDX-License-Identifier: Apache-2.0 */
/*
 * services.h - ClusterIPs of pods: make the maps equal to the source (D11).
 *
 * want: Services and EndpointSlices -> services_want().  have: what was last
 * applied, read from the maps at the start and once a minute.  plan: the
 * difference.  Nothing is done before the source's first full answer.
 */
#pragma once

#include <jansson.h>

#include "daemon/config.h"
#include "daemon/dp.h"
#include "daemon/loop.h"
#include "daemon/node.h"
#include "daemon/services_want.h"
#include "daemon/store.h"

struct services;

struct services_deps {
	const struct config *config;
	struct loop *loop;
	struct dp *dp;
	const struct store *store;
	const struct node *node;
};

int services_new(const struct services_deps *deps, struct services **ret,
                 struct err *err);
void services_free(struct services *services); /* the maps stay */

/* Idempotent: one pass at the end of the loop's turn. */
void services_schedule(struct services *services);
/* A pass that is scheduled is made now. */
void services_settle(struct services *services);
/* The maps are read again first. */
void services_reread(struct services *services);

/* Objects that are not in force and why: [{object, error}]; new reference. */
json_t *services_problems(const struct services *services);
/* Services (one a key) and backends in the maps. */
void services_count(const struct services *services, size_t *ret_services,
                    size_t *ret_backends);
/* What should be, computed anew: borrows from the store; 0 or -ENOMEM. */
int services_desired(const struct services *services, struct arena *arena,
                     struct services_want *ret);
/* "shop/web" of a service's address and port, in @buf; NULL: none has it. */
const char *services_name(const struct services *services,
                          const struct addr *vip, __be16 port, uint8_t proto,
                          char *buf, size_t size);
