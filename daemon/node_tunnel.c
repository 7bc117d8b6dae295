// SPDX-License-Identifier: Apache-2.0
/* node_tunnel.c - the device of the overlay. */
#include <linux/if_link.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "daemon/node.h"
#include "lib/log.h"

/* Of linux/if_link.h and linux/in6.h. */
#define ADDR_GEN_NONE 1 /* IN6_ADDR_GEN_MODE_NONE: no link-local address */

struct found {
	int ifindex;
	bool ours; /* a VXLAN without addresses of its own, on our port */
	bool up;
	uint32_t mtu;
};

static bool is_our_kind(const struct nlmsghdr *msg, uint16_t port)
{
	const size_t body = sizeof(struct ifinfomsg);
	const struct rtattr *info = nl_find(msg, body, IFLA_LINKINFO);
	const struct rtattr *data = nl_find_in(info, IFLA_INFO_DATA);
	const struct rtattr *attr;
	char kind[16] = "";
	uint16_t have;

	(void)nl_text(nl_find_in(info, IFLA_INFO_KIND), kind, sizeof(kind));
	attr = nl_find_in(data, IFLA_VXLAN_PORT);
	if (strcmp(kind, "vxlan") != 0 || !attr ||
	    RTA_PAYLOAD(attr) < sizeof(have))
		return false;
	memcpy(&have, RTA_DATA(attr), sizeof(have));
	attr = nl_find_in(data, IFLA_VXLAN_COLLECT_METADATA);
	return ntohs(have) == port && attr && RTA_PAYLOAD(attr) &&
	       *(const uint8_t *)RTA_DATA(attr);
}

struct looking {
	const struct node *node;
	struct found found;
};

static int link_note(const struct nlmsghdr *msg, void *user)
{
	const struct ifinfomsg *link = NLMSG_DATA(msg);
	struct looking *looking = user;

	if (msg->nlmsg_type != RTM_NEWLINK)
		return 0;
	looking->found = (struct found){
		.ifindex = link->ifi_index,
		.ours = is_our_kind(msg, looking->node->config->tunnel_port),
		.up = link->ifi_flags & IFF_UP,
		.mtu = nl_u32(nl_find(msg, sizeof(*link), IFLA_MTU), 0),
	};
	return 0;
}

/* 0, found.ifindex 0 when there is none. */
static int device_find(struct node *node, struct found *ret, struct err *err)
{
	struct looking looking = {.node = node};
	const int ifindex = nl_ifindex(&node->nl, TUNNEL_LINK);
	const struct ifinfomsg body = {.ifi_index = ifindex};
	int r;

	*ret = (struct found){};
	if (ifindex < 0)
		return ifindex == -ENODEV
		               ? 0
		               : err_set(err, ifindex, "%s: %s", TUNNEL_LINK,
		                         strerror(-ifindex));
	r = nl_get(&node->nl, RTM_GETLINK, &body, sizeof(body), link_note,
	           &looking, err);
	if (r == -ENODEV)
		return 0;
	*ret = looking.found;
	return r;
}

static int device_delete(struct node *node, int ifindex, struct err *err)
{
	const struct ifinfomsg body = {.ifi_index = ifindex};
	struct nl_batch batch;

	nl_batch_begin(&batch, &node->nl);
	nl_put(&batch, "remove the tunnel of another kind", ENODEV, RTM_DELLINK,
	       0, &body, sizeof(body));
	return nl_batch_run(&batch, err);
}

/* All nodes' devices have one MAC address, so that each stack takes what
 * another's sent; nothing is learnt and nobody is asked for neighbours. */
static void device_describe(struct nl_batch *batch, const struct node *node)
{
	const uint16_t port = htons(node->config->tunnel_port);
	uint8_t mac[6];
	size_t info, data;

	(void)endpoint_mac_parse(GATEWAY_MAC, mac);
	nl_attr_str(batch, IFLA_IFNAME, TUNNEL_LINK);
	nl_attr(batch, IFLA_ADDRESS, mac, sizeof(mac));
	nl_attr_u32(batch, IFLA_MTU, node->tunnel.mtu);
	info = nl_nest(batch, IFLA_LINKINFO);
	nl_attr_str(batch, IFLA_INFO_KIND, "vxlan");
	data = nl_nest(batch, IFLA_INFO_DATA);
	nl_attr_u8(batch, IFLA_VXLAN_COLLECT_METADATA, 1);
	nl_attr_u8(batch, IFLA_VXLAN_LEARNING, 0);
	nl_attr_u8(batch, IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1);
	nl_attr(batch, IFLA_VXLAN_PORT, &port, sizeof(port));
	nl_nest_end(batch, data);
	nl_nest_end(batch, info);
}

/* It needs no address: none is made, nobody is told of any. */
static int device_mute(struct node *node, struct err *err)
{
	const struct ifinfomsg body = {.ifi_index = node->tunnel.ifindex};
	struct nl_batch batch;
	size_t spec, inet6;
	int r;

	nl_batch_begin(&batch, &node->nl);
	nl_put(&batch, "addresses of the tunnel " TUNNEL_LINK, EAFNOSUPPORT,
	       RTM_NEWLINK, 0, &body, sizeof(body));
	nl_attr_str(&batch, IFLA_IFNAME, TUNNEL_LINK);
	spec = nl_nest(&batch, IFLA_AF_SPEC);
	inet6 = nl_nest(&batch, AF_INET6);
	nl_attr_u8(&batch, IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_NONE);
	nl_nest_end(&batch, inet6);
	nl_nest_end(&batch, spec);
	r = nl_batch_run(&batch, err);
	return r == -EAFNOSUPPORT ? 0 : r; /* a host without IPv6 */
}

static int device_make(struct node *node, struct err *err)
{
	const struct ifinfomsg body = {
		.ifi_index = node->tunnel.ifindex,
		.ifi_flags = IFF_NOARP,
		.ifi_change = IFF_NOARP,
	};
	struct nl_batch batch;
	int r = undo_device_note(&node->undo, TUNNEL_LINK, "vxlan", err);

	if (r)
		return r;
	nl_batch_begin(&batch, &node->nl);
	nl_put(&batch, "make the tunnel " TUNNEL_LINK, 0, RTM_NEWLINK,
	       NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	device_describe(&batch, node);
	r = nl_batch_run(&batch, err);
	node->tunnel.attached = false;
	return r ? r : device_mute(node, err);
}

static int device_set(struct node *node, int ifindex, struct err *err)
{
	const struct ifinfomsg body = {
		.ifi_index = ifindex,
		.ifi_flags = IFF_UP | IFF_NOARP,
		.ifi_change = IFF_UP | IFF_NOARP,
	};
	struct nl_batch batch;

	nl_batch_begin(&batch, &node->nl);
	nl_put(&batch, "MTU of the tunnel " TUNNEL_LINK, 0, RTM_NEWLINK, 0,
	       &body, sizeof(body));
	nl_attr_u32(&batch, IFLA_MTU, node->tunnel.mtu);
	return nl_batch_run(&batch, err);
}

int node_tunnel_keep(struct node *node, struct err *err)
{
	struct node_tunnel *tunnel = &node->tunnel;
	struct found found;
	int r;

	if (node->config->routing != ROUTING_TUNNEL || node->config->dry_run)
		return 0;
	r = device_find(node, &found, err);
	if (!r && found.ifindex &&
	    (!found.ours ||
	     (tunnel->ifindex && found.ifindex != tunnel->ifindex))) {
		r = device_delete(node, found.ifindex, err);
		found.ifindex = 0;
	}
	if (r)
		return r;
	if (!found.ifindex) {
		if (tunnel->ifindex)
			log_warn("the tunnel %s was gone, it is made again",
			         TUNNEL_LINK);
		r = device_make(node, err);
		if (!r)
			r = device_find(node, &found, err);
		if (!r && !found.ifindex)
			r = err_set(err, -ENODEV, "%s is gone again",
			            TUNNEL_LINK);
	}
	if (!r && (found.mtu != tunnel->mtu || !found.up))
		r = device_set(node, found.ifindex, err);
	if (!r)
		tunnel->ifindex = found.ifindex;
	return r;
}

void node_underlay_set(struct node *node, enum family family)
{
	struct node_tunnel *tunnel = &node->tunnel;

	if (tunnel->underlay_known && tunnel->underlay == family)
		return;
	tunnel->underlay_known = true;
	tunnel->underlay = family;
	if (!tunnel->ifindex)
		return;
	node->dirty = true;
	loop_task_schedule(node->loop, &node->settle);
}
