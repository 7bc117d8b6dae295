/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - this node's devices and addresses, and what we change of them.
 *
 * (node.c, node_read.c, node_watch.c, node_setup.c: written by the lead.)
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
#include "daemon/undo.h"
#include "lib/err.h"
#include "lib/nl.h"
#include "policy/policy.h"

/* Routing table that ends what a pod's veth would forward (IPv6). */
#define NODE_TABLE_UNREACHABLE 5717
#define NODE_GSO_MAX           196608u /* 192 kB: what BIG TCP gives a pod */
#define NODE_GSO_DEFAULT       65536u
#define NODE_EVERY             (-1)

struct node_uplink {
	int ifindex;
	char name[16];
	uint16_t mtu;
	uint32_t tso_max;
	struct gso_sizes gso;
	struct addr addr[FAMILY__COUNT]; /* to masquerade with; zero: none */
	bool attached;
};

/* Bytes that the tunnel puts before a packet (RFC 7348, without the frame). */
#define TUNNEL_OVERHEAD_V4 50
#define TUNNEL_OVERHEAD_V6 70
#define TUNNEL_LINK        "stl-vxlan"

struct node_tunnel {
	int ifindex; /* 0: --routing native */
	uint16_t mtu;
	enum family underlay; /* of its outer addresses */
	bool underlay_known;  /* by this node's Node; else guessed */
	bool attached;
};

struct node {
	struct nl nl;    /* requests */
	struct nl watch; /* multicast groups: links, tc, addresses, routes */
	struct loop_fd watch_fd;
	struct loop_task settle; /* reads again, repairs, tells on_change */
	struct loop_timer look;  /* looks at the pods' stubs every 30 s */
	struct loop *loop;
	const struct config *config;
	struct undo undo;
	struct node_addr *addr; /* own addresses (local), sorted */
	size_t n_addrs;
	struct node_uplink uplink[CONFIG_DEVICES_MAX];
	int n_uplinks;
	struct node_tunnel tunnel;
	uint16_t pod_mtu;     /* of the uplinks or the tunnel, the smallest */
	uint32_t pod_gso_max; /* D16: smallest tso_max_size of the exits */
	struct dp *dp;        /* since node_attach() */
	struct endpoints *endpoints; /* whose stubs are looked after; or NULL */
	uint64_t repaired;           /* stubs put back */
	bool dirty;                  /* addresses or devices moved */
	int suspect; /* ifindex whose programs went; NODE_EVERY: look at all */
	void (*on_change)(void *user);
	void *user;
};

/**
 * node_open - read devices and addresses, start to follow them, set sysctls.
 *
 * Return: 0; -ENODEV when a --device is not there or none leads out.
 */
int node_open(struct node *node, const struct config *config, struct loop *loop,
              struct err *err);
void node_close(struct node *node);
/* Read everything again (start, netlink overrun). */
int node_refresh(struct node *node, struct err *err);
/* Write the uplinks map. */
int node_uplinks_put(struct node *node, struct dp *dp, struct err *err);
/* The same, and attach the uplinks' stubs where missing. */
int node_attach(struct node *node, struct dp *dp, struct err *err);
/* Are the stubs on this pod's link?  Attach what is missing (repair).
 * Return: 0, 1 when something was put back, -ENODEV when the link is gone. */
int node_attach_pod(struct node *node, struct dp *dp, const struct ep *ep,
                    struct err *err);
/* Delete links in one request each group (D13); those gone are a success. */
int node_links_delete(struct node *node, const int *ifindex, int n,
                      struct err *err);

/* The family of the address that other nodes send to. */
void node_underlay_set(struct node *node, enum family family);

/* ---- node_read.c --------------------------------------------------------- */

/* Fill addresses, uplinks, MTU and sizes from the kernel. */
int node_read(struct node *node, struct err *err);
bool node_is_pod_link(const char *name);

/* ---- node_watch.c -------------------------------------------------------- */

int node_watch_open(struct node *node, struct err *err);
void node_watch_close(struct node *node);

/* ---- node_tunnel.c ------------------------------------------------------- */

/* Make the tunnel's device, or make it what it should be; one that somebody
 * deleted gets its number back.  0; -errno with a sentence. */
int node_tunnel_keep(struct node *node, struct err *err);

/* ---- node_setup.c -------------------------------------------------------- */

/* Sysctls, reserved ports, the unreachable table, the uplinks' sizes. */
int node_setup(struct node *node, struct err *err);
