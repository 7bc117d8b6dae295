// SPDX-License-Identifier: Apache-2.0
/* link.c - see link.h. */
#include "cni/link.h"

#include <linux/ethtool.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cni/wire.h"

static int info_fill(const struct nlmsghdr *msg, void *user)
{
	const struct ifinfomsg *link = NLMSG_DATA(msg);
	const struct rtattr *mac = nl_find(msg, sizeof(*link), IFLA_ADDRESS);
	struct link_info *info = user;
	char kind[16] = "";

	if (msg->nlmsg_type != RTM_NEWLINK)
		return 0;
	*info = (struct link_info){
		.ifindex = link->ifi_index,
		.peer = (int)nl_u32(nl_find(msg, sizeof(*link), IFLA_LINK), 0),
		.master = (int)nl_u32(nl_find(msg, sizeof(*link), IFLA_MASTER),
	                              0),
		.mtu = nl_u32(nl_find(msg, sizeof(*link), IFLA_MTU), 0),
		.up = link->ifi_flags & IFF_UP,
	};
	(void)nl_text(nl_find(msg, sizeof(*link), IFLA_IFNAME), info->name,
	              sizeof(info->name));
	(void)nl_text(nl_find(msg, sizeof(*link), IFLA_IFALIAS), info->alias,
	              sizeof(info->alias));
	(void)nl_text(nl_find_in(nl_find(msg, sizeof(*link), IFLA_LINKINFO),
	                         IFLA_INFO_KIND),
	              kind, sizeof(kind));
	info->veth = !strcmp(kind, "veth");
	if (mac && RTA_PAYLOAD(mac) == MAC_LEN)
		memcpy(info->mac, RTA_DATA(mac), MAC_LEN);
	return 0;
}

int link_get(struct nl *nl, int ifindex, struct link_info *ret, struct err *err)
{
	const struct ifinfomsg body = {.ifi_index = ifindex};
	struct link_info info = {};
	int r = nl_get(nl, RTM_GETLINK, &body, sizeof(body), info_fill, &info,
	               err);

	if (r)
		return err_wrap(err, r, "device %d", ifindex);
	*ret = info;
	return 0;
}

/* One queue a side: a pod's packets have one order, and little to gain. */
static void put_side(struct nl_batch *batch, const char *ifname,
                     const uint8_t mac[MAC_LEN])
{
	nl_attr_str(batch, IFLA_IFNAME, ifname);
	nl_attr(batch, IFLA_ADDRESS, mac, MAC_LEN);
	nl_attr_u32(batch, IFLA_NUM_TX_QUEUES, 1);
	nl_attr_u32(batch, IFLA_NUM_RX_QUEUES, 1);
}

int link_create(struct nl *host, const struct link_pair *pair, int *ret_ifindex,
                struct err *err)
{
	const struct ifinfomsg body = {};
	struct nl_batch batch;
	size_t info, data, peer;
	int r;

	nl_batch_begin(&batch, host);
	nl_put(&batch, "make the veth pair", 0, RTM_NEWLINK,
	       NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	put_side(&batch, pair->host_ifname, pair->host_mac);
	info = nl_nest(&batch, IFLA_LINKINFO);
	nl_attr_str(&batch, IFLA_INFO_KIND, "veth");
	data = nl_nest(&batch, IFLA_INFO_DATA);
	peer = nl_nest(&batch, VETH_INFO_PEER);
	nl_raw(&batch, &body, sizeof(body));
	put_side(&batch, pair->pod_ifname, pair->pod_mac);
	nl_attr_u32(&batch, IFLA_NET_NS_FD, (uint32_t)pair->netns_fd);
	nl_nest_end(&batch, peer);
	nl_nest_end(&batch, data);
	nl_nest_end(&batch, info);
	r = nl_batch_run(&batch, err);
	if (r)
		return r;

	r = nl_ifindex(host, pair->host_ifname);
	if (r < 0)
		return err_set(err, r, "device %s vanished: %s",
		               pair->host_ifname, strerror(-r));
	*ret_ifindex = r;
	return 0;
}

int link_find_host(struct nl *host, struct nl *pod, const char *pod_ifname,
                   struct link_info *ret_host, struct link_info *ret_pod,
                   struct err *err)
{
	const int ifindex = nl_ifindex(pod, pod_ifname);
	struct link_info inside = {}, outside = {};
	int r;

	if (ifindex < 0)
		return err_set(err, -ENODEV, "the pod has no device %s",
		               pod_ifname);
	r = link_get(pod, ifindex, &inside, err);
	if (r)
		return r;
	if (!inside.veth || !inside.peer)
		return err_set(err, -EINVAL, "the pod's %s is no veth",
		               pod_ifname);
	/* Numbers are of each namespace: only both together are proof. */
	if (link_get(host, inside.peer, &outside, NULL) || !outside.veth ||
	    outside.peer != ifindex)
		return err_set(err, -EINVAL,
		               "the other side of the pod's %s is not in the "
		               "host's namespace",
		               pod_ifname);
	*ret_host = outside;
	*ret_pod = inside;
	return 0;
}

void link_settle(const struct nl *nl, const char *ifname)
{
	struct ethtool_value link = {.cmd = ETHTOOL_GLINK};
	struct ifreq req = {.ifr_data = (void *)&link};

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", ifname);
	(void)ioctl(nl->fd, SIOCETHTOOL, &req);
}

int link_delete(struct nl *nl, int ifindex, struct err *err)
{
	const struct ifinfomsg body = {.ifi_index = ifindex};
	struct nl_batch batch;

	nl_batch_begin(&batch, nl);
	nl_put(&batch, "delete the device", ENODEV, RTM_DELLINK, 0, &body,
	       sizeof(body));
	return nl_batch_run(&batch, err);
}

int link_release(struct nl *nl, int ifindex, struct err *err)
{
	const struct ifinfomsg down = {.ifi_index = ifindex,
	                               .ifi_change = IFF_UP};
	const struct ifinfomsg name = {.ifi_index = ifindex};
	struct nl_batch batch;
	char free_name[IFNAMSIZ];

	/* Numbers are unique, hence so are the names made of them. */
	snprintf(free_name, sizeof(free_name), WIRE_LINK_PREFIX "d%x",
	         (unsigned)ifindex);
	nl_batch_begin(&batch, nl);
	nl_put(&batch, "take the device down", ENODEV, RTM_NEWLINK, 0, &down,
	       sizeof(down));
	nl_put(&batch, "rename the device", ENODEV, RTM_NEWLINK, 0, &name,
	       sizeof(name));
	nl_attr_str(&batch, IFLA_IFNAME, free_name);
	return nl_batch_run(&batch, err);
}

void link_rule_put(struct nl_batch *batch, uint16_t type, const char *ifname,
                   int ignore)
{
	const struct fib_rule_hdr body = {
		.family = AF_INET6,
		.action = FR_ACT_UNREACHABLE,
	};
	const bool make = type == RTM_NEWRULE;

	nl_put(batch, "the IPv6 rule that keeps the host from forwarding",
	       ignore, type, make ? NLM_F_CREATE | NLM_F_EXCL : 0, &body,
	       sizeof(body));
	nl_attr_u32(batch, FRA_PRIORITY, WIRE_RULE_PRIORITY);
	nl_attr_str(batch, FRA_IIFNAME, ifname);
	nl_attr_u8(batch, FRA_PROTOCOL, WIRE_RULE_PROTOCOL);
}

int link_rule_remove(struct nl *nl, const char *ifname, struct err *err)
{
	struct nl_batch batch;
	int r;

	nl_batch_begin(&batch, nl);
	link_rule_put(&batch, RTM_DELRULE, ifname, ENOENT);
	r = nl_batch_run(&batch, err);
	/* A host without IPv6 has no rules either. */
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP ? 0 : r;
}

const char *mac_format(const uint8_t mac[MAC_LEN], char buf[MAC_TEXT_MAX])
{
	snprintf(buf, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0],
	         mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buf;
}

int mac_parse(const char *text, uint8_t ret[MAC_LEN])
{
	static const char form[] = "xx:xx:xx:xx:xx:xx";
	uint8_t mac[MAC_LEN];

	if (strlen(text) != sizeof(form) - 1)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == 'x' ? !isxdigit((unsigned char)text[i])
		                   : text[i] != form[i])
			return -EINVAL;
	for (int i = 0; i < MAC_LEN; i++)
		mac[i] = (uint8_t)strtoul(text + 3 * i, NULL, 16);
	memcpy(ret, mac, MAC_LEN);
	return 0;
}
