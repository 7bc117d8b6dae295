// SPDX-License-Identifier: Apache-2.0
/* node_read.c - what devices and addresses this node has. */
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "cni/wire.h"
#include "daemon/node.h"
#include "lib/addr.h"
#include "lib/util.h"

/* linux/if_link.h of 6.3; Debian 12's is of 6.1. */
enum { ATTR_TSO_MAX_SIZE = 59, ATTR_GSO_IPV4_MAX_SIZE = 63 };

#define LINKS_MAX 65536u
#define ADDRS_MAX 65536u

struct link {
	int ifindex;
	char name[IFNAMSIZ];
	uint16_t mtu;
	uint32_t tso_max;
	struct gso_sizes gso;
	bool pod;
};

struct found {
	int ifindex;
	struct addr addr;
	uint8_t scope;
};

/* Everything that the dumps say, until it is sorted out. */
struct reading {
	struct link *link;
	size_t n_links;
	struct found *addr;
	size_t n_addrs;
	int exit[CONFIG_DEVICES_MAX]; /* devices of default routes */
	int n_exits;
};

static void reading_free(struct reading *reading)
{
	free(reading->link);
	free(reading->addr);
}

bool node_is_pod_link(const char *name)
{
	return !strncmp(name, WIRE_LINK_PREFIX, strlen(WIRE_LINK_PREFIX));
}

/* Room for one more of @size bytes; doubles. */
static void *grown(void *array, size_t n, size_t size)
{
	if (n && (n & (n - 1)))
		return array;
	return realloc(array, (n ? 2 * n : 1) * size);
}

static uint32_t attr_u32(const struct nlmsghdr *msg, size_t body, uint16_t type)
{
	const struct rtattr *attr = nl_find(msg, body, type);
	uint32_t value = 0;

	if (attr && RTA_PAYLOAD(attr) >= sizeof(value))
		memcpy(&value, RTA_DATA(attr), sizeof(value));
	return value;
}

static int each_link(const struct nlmsghdr *msg, void *user)
{
	const struct ifinfomsg *info = NLMSG_DATA(msg);
	const size_t body = sizeof(*info);
	const struct rtattr *name = nl_find(msg, body, IFLA_IFNAME);
	struct reading *reading = user;
	uint32_t mtu = attr_u32(msg, body, IFLA_MTU);
	struct link *grow, *link;

	if (!name || reading->n_links >= LINKS_MAX)
		return 0;
	grow = grown(reading->link, reading->n_links, sizeof(*link));
	if (!grow)
		return -ENOMEM;
	reading->link = grow;
	link = &grow[reading->n_links++];
	memset(link, 0, sizeof(*link));
	link->ifindex = info->ifi_index;
	strncpy(link->name, RTA_DATA(name), sizeof(link->name) - 1);
	link->mtu = mtu > 65535 ? 65535 : (uint16_t)mtu;
	link->tso_max = attr_u32(msg, body, ATTR_TSO_MAX_SIZE);
	link->gso.gso = attr_u32(msg, body, IFLA_GSO_MAX_SIZE);
	link->gso.gso_ipv4 = attr_u32(msg, body, ATTR_GSO_IPV4_MAX_SIZE);
	link->pod = node_is_pod_link(link->name);
	return 0;
}

static int each_addr(const struct nlmsghdr *msg, void *user)
{
	const struct ifaddrmsg *info = NLMSG_DATA(msg);
	const struct rtattr *attr = nl_find(msg, sizeof(*info), IFA_LOCAL);
	struct reading *reading = user;
	struct found *grow, *found;
	const bool v4 = info->ifa_family == AF_INET;

	if (!attr)
		attr = nl_find(msg, sizeof(*info), IFA_ADDRESS);
	if (!attr || RTA_PAYLOAD(attr) != (v4 ? 4u : 16u) ||
	    reading->n_addrs >= ADDRS_MAX)
		return 0;
	grow = grown(reading->addr, reading->n_addrs, sizeof(*found));
	if (!grow)
		return -ENOMEM;
	reading->addr = grow;
	found = &grow[reading->n_addrs++];
	memset(found, 0, sizeof(*found));
	found->ifindex = (int)info->ifa_index;
	found->scope = info->ifa_scope;
	if (v4) {
		memset(&found->addr.byte[10], 0xff, 2);
		memcpy(&found->addr.byte[12], RTA_DATA(attr), 4);
	} else {
		memcpy(found->addr.byte, RTA_DATA(attr), 16);
	}
	return 0;
}

static void exit_add(struct reading *reading, int ifindex)
{
	for (int i = 0; i < reading->n_exits; i++)
		if (reading->exit[i] == ifindex)
			return;
	if (ifindex && reading->n_exits < CONFIG_DEVICES_MAX)
		reading->exit[reading->n_exits++] = ifindex;
}

static int each_route(const struct nlmsghdr *msg, void *user)
{
	const struct rtmsg *route = NLMSG_DATA(msg);
	const struct rtattr *paths;
	struct reading *reading = user;
	const struct rtnexthop *hop;
	int left;

	if (route->rtm_dst_len || route->rtm_type != RTN_UNICAST ||
	    route->rtm_table != RT_TABLE_MAIN)
		return 0;
	exit_add(reading, (int)attr_u32(msg, sizeof(*route), RTA_OIF));
	paths = nl_find(msg, sizeof(*route), RTA_MULTIPATH);
	if (!paths)
		return 0;
	hop = RTA_DATA(paths);
	left = (int)RTA_PAYLOAD(paths);
	while (RTNH_OK(hop, left)) {
		exit_add(reading, hop->rtnh_ifindex);
		left -= (int)NLMSG_ALIGN(hop->rtnh_len);
		hop = RTNH_NEXT(hop);
	}
	return 0;
}

static void forget_links(void *user)
{
	((struct reading *)user)->n_links = 0;
}

static void forget_addrs(void *user)
{
	((struct reading *)user)->n_addrs = 0;
}

static int reading_take(struct nl *nl, struct reading *reading, struct err *err)
{
	static const uint8_t family[] = {AF_INET, AF_INET6};
	const struct ifinfomsg links = {};
	const struct ifaddrmsg addrs = {};
	int r;

	r = nl_dump(nl, RTM_GETLINK, &links, sizeof(links), each_link,
	            forget_links, reading, err);
	if (!r)
		r = nl_dump(nl, RTM_GETADDR, &addrs, sizeof(addrs), each_addr,
		            forget_addrs, reading, err);
	for (size_t i = 0; i < ARRAY_SIZE(family) && !r; i++) {
		const struct rtmsg routes = {.rtm_family = family[i]};

		r = nl_dump(nl, RTM_GETROUTE, &routes, sizeof(routes),
		            each_route, NULL, reading, err);
		if (r == -EAFNOSUPPORT || r == -EOPNOTSUPP)
			r = 0; /* a host without IPv6 */
	}
	return r;
}

static const struct link *link_by(const struct reading *reading, int ifindex,
                                  const char *name)
{
	for (size_t i = 0; i < reading->n_links; i++)
		if (name ? !strcmp(reading->link[i].name, name)
		         : reading->link[i].ifindex == ifindex)
			return &reading->link[i];
	return NULL;
}

/* Not one that is told from every node's: loopback, link-local of IPv6. */
static bool addr_is_own(const struct found *found)
{
	const uint8_t *b = found->addr.byte;

	if (addr_family(&found->addr) == FAMILY_V4)
		return b[12] != 127;
	return found->scope == RT_SCOPE_UNIVERSE;
}

static int by_addr(const void *a, const void *b)
{
	return addr_compare(&((const struct node_addr *)a)->addr,
	                    &((const struct node_addr *)b)->addr);
}

static int addrs_keep(struct node *node, const struct reading *reading)
{
	struct node_addr *own = calloc(reading->n_addrs + 1, sizeof(*own));
	size_t n = 0;

	if (!own)
		return -ENOMEM;
	for (size_t i = 0; i < reading->n_addrs; i++) {
		const struct found *found = &reading->addr[i];
		const struct link *link =
			link_by(reading, found->ifindex, NULL);

		if (!link || link->pod || !addr_is_own(found))
			continue;
		own[n].addr = found->addr;
		own[n++].local = true;
	}
	qsort(own, n, sizeof(*own), by_addr);
	for (size_t i = 1, kept = n ? 1 : 0, all = n; i < all; i++) {
		if (addr_compare(&own[i].addr, &own[kept - 1].addr))
			own[kept++] = own[i];
		n = kept;
	}
	free(node->addr);
	node->addr = own;
	node->n_addrs = n;
	return 0;
}

static void uplink_fill(struct node_uplink *up, const struct link *link,
                        const struct reading *reading)
{
	memset(up, 0, sizeof(*up));
	up->ifindex = link->ifindex;
	memcpy(up->name, link->name, sizeof(up->name));
	up->mtu = link->mtu;
	up->tso_max = link->tso_max ? link->tso_max : NODE_GSO_DEFAULT;
	up->gso = link->gso;
	for (size_t i = 0; i < reading->n_addrs; i++) {
		const struct found *found = &reading->addr[i];
		struct addr *to = &up->addr[addr_family(&found->addr)];

		if (found->ifindex == link->ifindex &&
		    found->scope == RT_SCOPE_UNIVERSE && addr_is_zero(to))
			*to = found->addr;
	}
}

/* A device that was an uplink already keeps its program. */
static bool was_attached(const struct node *node, int ifindex)
{
	for (int i = 0; i < node->n_uplinks; i++)
		if (node->uplink[i].ifindex == ifindex)
			return node->uplink[i].attached;
	return false;
}

static int uplinks_keep(struct node *node, const struct reading *reading,
                        struct err *err)
{
	const struct config *config = node->config;
	const int n = config->n_devices ? config->n_devices : reading->n_exits;
	struct node_uplink up[CONFIG_DEVICES_MAX];
	int kept = 0;

	for (int i = 0; i < n; i++) {
		const char *name = config->n_devices ? config->device[i] : NULL;
		const struct link *link =
			link_by(reading, name ? 0 : reading->exit[i], name);

		if (!link && name)
			return err_set(err, -ENODEV,
			               "--device %s: there is no such device",
			               name);
		if (!link || link->pod)
			continue;
		uplink_fill(&up[kept], link, reading);
		up[kept].attached = was_attached(node, link->ifindex);
		kept++;
	}
	memcpy(node->uplink, up, sizeof(up[0]) * (size_t)kept);
	node->n_uplinks = kept;
	return 0;
}

/* Which family the underlay has is guessed until our Node says it. */
static void tunnel_size(struct node *node, uint16_t mtu)
{
	struct node_tunnel *tunnel = &node->tunnel;
	uint16_t overhead;

	if (!tunnel->underlay_known) {
		tunnel->underlay = FAMILY_V6;
		for (int i = 0; i < node->n_uplinks; i++)
			if (!addr_is_zero(&node->uplink[i].addr[FAMILY_V4]))
				tunnel->underlay = FAMILY_V4;
	}
	overhead = tunnel->underlay == FAMILY_V4 ? TUNNEL_OVERHEAD_V4
	                                         : TUNNEL_OVERHEAD_V6;
	tunnel->mtu = (uint16_t)(mtu > overhead ? mtu - overhead : mtu);
}

/* What the exits allow the pods (design D16). */
static void limits_keep(struct node *node)
{
	uint32_t gso = NODE_GSO_MAX;
	uint16_t mtu = 0;

	for (int i = 0; i < node->n_uplinks; i++) {
		const struct node_uplink *up = &node->uplink[i];

		if (!mtu || up->mtu < mtu)
			mtu = up->mtu;
		if (up->tso_max < gso)
			gso = up->tso_max;
	}
	if (node->config->routing == ROUTING_TUNNEL) {
		gso = NODE_GSO_DEFAULT; /* its device cuts what is larger */
		tunnel_size(node, mtu ? mtu : 1500);
		mtu = node->tunnel.mtu;
	}
	if (node->config->big_tcp == TOGGLE_OFF)
		gso = NODE_GSO_DEFAULT;
	if (node->config->big_tcp == TOGGLE_ON)
		gso = NODE_GSO_MAX;
	node->pod_mtu = mtu ? mtu : 1500;
	node->pod_gso_max = gso;
}

int node_read(struct node *node, struct err *err)
{
	_cleanup_(reading_free) struct reading reading = {};
	int r = reading_take(&node->nl, &reading, err);

	if (!r)
		r = addrs_keep(node, &reading);
	if (!r)
		r = uplinks_keep(node, &reading, err);
	if (!r)
		limits_keep(node);
	return r;
}
