// SPDX-License-Identifier: Apache-2.0
/* node.c - see node.h. */
#include "daemon/node.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hook.h"
#include "lib/log.h"
#include "lib/util.h"

int node_open(struct node *node, const struct config *config, struct loop *loop,
              struct err *err)
{
	int r;

	memset(node, 0, sizeof(*node));
	node->nl.fd = -1;
	node->watch.fd = -1;
	node->config = config;
	node->loop = loop;
	r = nl_open(&node->nl, err);
	if (!r && !config->dry_run)
		r = undo_open(&node->undo, config->state_dir, err);
	if (!r && err->text[0])
		log_warn("%s", err->text);
	/* First the subscription, so that no change falls between. */
	if (!r)
		r = node_watch_open(node, err);
	if (!r)
		r = node_read(node, err);
	if (!r && !config->dry_run)
		r = node_setup(node, err);
	if (!r)
		r = node_tunnel_keep(node, err);
	if (r)
		node_close(node);
	return r;
}

void node_close(struct node *node)
{
	node_watch_close(node);
	if (node->nl.fd >= 0)
		nl_close(&node->nl);
	node->nl.fd = -1;
	undo_close(&node->undo);
	free(node->addr);
	node->addr = NULL;
	node->n_addrs = 0;
}

int node_refresh(struct node *node, struct err *err)
{
	int r = node_read(node, err);

	if (!r && !node->config->dry_run)
		r = node_setup(node, err);
	return r ? r : node_tunnel_keep(node, err);
}

/* The two stubs, as a device's directions want them. */
enum device_kind { DEVICE_POD, DEVICE_UPLINK, DEVICE_TUNNEL, DEVICE__COUNT };

static int stubs_of(const struct dp *dp, enum device_kind kind,
                    struct hook_stub stub[2], struct err *err)
{
	static const char *const names[DEVICE__COUNT][2] = {
		[DEVICE_POD] = {"stub_from_pod",    "stub_to_pod"   },
		[DEVICE_UPLINK] = {"stub_from_net",    "stub_to_net"   },
		[DEVICE_TUNNEL] = {"stub_from_tunnel", "stub_to_tunnel"},
	};
	const char *const *name = names[kind];

	for (int i = 0; i < 2; i++) {
		stub[i].dir = i ? DIR_EGRESS : DIR_INGRESS;
		stub[i].name = name[i];
		stub[i].prog_fd = dp_prog_fd(dp, name[i]);
		if (stub[i].prog_fd < 0)
			return err_set(err, stub[i].prog_fd,
			               "program %s is not loaded", name[i]);
	}
	return 0;
}

static int attach_tcx(struct node *node, int ifindex, const char *ifname,
                      const struct hook_stub stub[2], struct err *err)
{
	static const char *const way[2] = {"in", "out"};
	char pin[512], name[IFNAMSIZ] = "";
	int r = 0;

	/* A bpffs keeps names with dots (of VLANs) to itself. */
	for (size_t i = 0; i + 1 < sizeof(name) && ifname[i]; i++)
		name[i] = ifname[i] == '.' ? '_' : ifname[i];
	for (int i = 0; i < 2 && !r; i++) {
		snprintf(pin, sizeof(pin), "%s/link_%s_%s",
		         dp_pin_dir(node->dp), name, way[i]);
		r = hook_attach_tcx(ifindex, &stub[i], pin, err);
	}
	return r;
}

/* By filters, unless they are there.  1 when something was put back. */
static int attach_filters(struct node *node, int ifindex,
                          const struct hook_stub stub[2], struct err *err)
{
	int there = 1, r;

	for (int i = 0; i < 2 && there == 1; i++)
		there = hook_check_tc(&node->nl, ifindex, &stub[i], err);
	if (there)
		return there < 0 ? there : 0;
	r = hook_attach_tc(&node->nl, ifindex, stub, err);
	return r ? r : 1;
}

/* A device that stays: an uplink, or the tunnel. */
static int attach_device(struct node *node, enum device_kind kind, int ifindex,
                         const char *name, struct err *err)
{
	const enum attach_mode mode = node->config->attach;
	struct hook_stub stub[2];
	int r = stubs_of(node->dp, kind, stub, err);

	if (r)
		return r;
	if (mode != ATTACH_CLSACT) {
		r = attach_tcx(node, ifindex, name, stub, err);
		if (!r || mode == ATTACH_TCX || r == -ENODEV)
			return r;
		log_info("device %s: no tcx here (%s), using clsact", name,
		         err->text);
	}
	return attach_filters(node, ifindex, stub, err);
}

/* Its MTU stands among the uplinks', where flows to other nodes find it. */
static int attach_tunnel(struct node *node, struct err *err)
{
	struct node_tunnel *tunnel = &node->tunnel;
	const struct uplink value = {.mtu = tunnel->mtu};
	int r;

	if (!tunnel->ifindex)
		return 0;
	r = dp_uplink_put(node->dp, (uint32_t)tunnel->ifindex, &value);
	if (r)
		return err_set(err, r, "map uplinks, the tunnel: %s",
		               strerror(-r));
	if (tunnel->attached)
		return 0;
	r = attach_device(node, DEVICE_TUNNEL, tunnel->ifindex, TUNNEL_LINK,
	                  err);
	if (r < 0)
		return err_wrap(err, r, "device %s", TUNNEL_LINK);
	tunnel->attached = true;
	return 0;
}

/* 1: written, and it is not what was there; 0: it was. */
static int uplink_put(struct dp *dp, const struct node_uplink *up,
                      struct err *err)
{
	struct uplink value = {.mtu = up->mtu}, old;
	int r;

	memcpy(value.addr, up->addr, sizeof(value.addr));
	if (!dp_uplink_get(dp, (uint32_t)up->ifindex, &old) &&
	    !memcmp(&old, &value, sizeof(old)))
		return 0;
	r = dp_uplink_put(dp, (uint32_t)up->ifindex, &value);
	if (r)
		return err_set(err, r, "map uplinks, device %s: %s", up->name,
		               strerror(-r));
	return 1;
}

static bool is_exit(uint32_t ifindex, void *user)
{
	const struct node *node = user;

	for (int i = 0; i < node->n_uplinks; i++)
		if ((uint32_t)node->uplink[i].ifindex == ifindex)
			return true;
	return node->tunnel.ifindex &&
	       (uint32_t)node->tunnel.ifindex == ifindex;
}

/*
 * Flows keep their exit, its MTU and the address that they leave with: the
 * node's epoch has them compared with the map at their next packet.  One raise
 * does: the datapath reads the epoch ahead of the map.
 */
int node_uplinks_put(struct node *node, struct dp *dp, struct err *err)
{
	bool changed = false;
	uint32_t stray;

	for (int i = 0; i < node->n_uplinks; i++) {
		const int r = uplink_put(dp, &node->uplink[i], err);

		if (r < 0)
			return r;
		changed |= r;
	}
	while (!dp_uplink_stray(dp, is_exit, node, &stray)) {
		const int r = dp_uplink_remove(dp, stray);

		if (r)
			return err_set(err, r, "map uplinks, device %u: %s",
			               stray, strerror(-r));
		changed = true;
	}
	if (changed)
		dp_epoch_raise(dp, 0);
	return 0;
}

int node_attach(struct node *node, struct dp *dp, struct err *err)
{
	int r = node_uplinks_put(node, dp, err);

	node->dp = dp;
	for (int i = 0; i < node->n_uplinks && !r; i++) {
		struct node_uplink *up = &node->uplink[i];

		if (up->attached)
			continue;
		r = attach_device(node, DEVICE_UPLINK, up->ifindex, up->name,
		                  err);
		if (r < 0)
			return err_wrap(err, r, "device %s", up->name);
		up->attached = true;
		r = 0;
	}
	return r ? r : attach_tunnel(node, err);
}

int node_attach_pod(struct node *node, struct dp *dp, const struct ep *ep,
                    struct err *err)
{
	struct hook_stub stub[2];
	int r = stubs_of(dp, DEVICE_POD, stub, err);

	if (!r)
		r = attach_filters(node, ep->ifindex, stub, err);
	if (r < 0)
		return err_wrap(err, r, "%s of pod %s/%s", ep->host_ifname,
		                ep->pod_ns, ep->pod_name);
	node->repaired += (unsigned)r;
	return r;
}

/* A number of no device, for gathering links that go together. */
#define DOOMED_GROUP 0x57170000u

static int doom(struct node *node, const int *ifindex, int n, struct err *err)
{
	struct nl_batch *batch = malloc(sizeof(*batch));
	int r;

	if (!batch)
		return -ENOMEM;
	nl_batch_begin(batch, &node->nl);
	for (int i = 0; i < n; i++) {
		const struct ifinfomsg body = {.ifi_index = ifindex[i]};

		nl_put(batch, "put the link into the group to delete", ENODEV,
		       RTM_NEWLINK, 0, &body, sizeof(body));
		nl_attr_u32(batch, IFLA_GROUP, DOOMED_GROUP);
	}
	r = nl_batch_run(batch, err);
	free(batch);
	return r;
}

int node_links_delete(struct node *node, const int *ifindex, int n,
                      struct err *err)
{
	const struct ifinfomsg none = {};
	struct nl_batch *batch;
	int r = 0;

	for (int i = 0; i < n && !r; i += NL_BATCH_MAX)
		r = doom(node, ifindex + i,
		         n - i < NL_BATCH_MAX ? n - i : NL_BATCH_MAX, err);
	if (r)
		return r;
	batch = malloc(sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	nl_batch_begin(batch, &node->nl);
	nl_put(batch, "delete the group of links", ENODEV, RTM_DELLINK, 0,
	       &none, sizeof(none));
	nl_attr_u32(batch, IFLA_GROUP, DOOMED_GROUP);
	r = nl_batch_run(batch, err);
	free(batch);
	return r;
}
