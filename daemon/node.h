/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - this node's devices and addresses, and what we change of them.
 *
 * Reads links and addresses by netlink, follows their changes, attaches the
 * stubs to uplinks, keeps the pods' stubs attached (repair), and owns every
 * sysctl, rule and reserved port that Stile sets; each change is written to
 * <state-dir>/undo first, so that uninstall can put it back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/dp.h"
#include "daemon/endpoint.h"
#include "daemon/loop.h"
#include "lib/err.h"
#include "lib/nl.h"
#include "policy/policy.h"

struct node {
	struct nl nl;      /* requests */
	struct nl watch;   /* RTMGRP_LINK, _TC, _IPV4_IFADDR, _IPV6_IFADDR, routes */
	struct loop_fd watch_fd;
	struct node_addr *addr; /* own addresses (local), sorted */
	size_t n_addrs;
	struct {
		int ifindex;
		char name[16];
		uint16_t mtu;
		uint32_t tso_max;
		struct addr addr[FAMILY__COUNT];
		bool attached;
	} uplink[CONFIG_DEVICES_MAX];
	int n_uplinks;
	uint16_t pod_mtu;     /* smallest MTU of the uplinks */
	uint32_t pod_gso_max; /* D16: smallest tso_max_size of the exits, or 65536 */
	void (*on_change)(void *user);
	void *user;
};

int node_open(struct node *node, const struct config *config, struct loop *loop,
              struct err *err);
void node_close(struct node *node);
/* Read everything again (start, netlink overrun). */
int node_refresh(struct node *node, struct err *err);
/* Attach the uplinks' stubs where missing, write the uplinks map. */
int node_attach(struct node *node, struct dp *dp, struct err *err);
/* Are the stubs on this pod's link?  Attach what is missing (repair). */
int node_attach_pod(struct node *node, struct dp *dp, const struct ep *ep,
                    struct err *err);
/* Delete links in one request each group (D13). */
int node_links_delete(struct node *node, const int *ifindex, int n,
                      struct err *err);
