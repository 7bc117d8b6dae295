// SPDX-License-Identifier: Apache-2.0
/* node_watch.c - hear what happens to devices, and mend what is ours. */
#include <linux/if_link.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "cni/wire.h"
#include "daemon/node.h"
#include "lib/log.h"
#include "lib/util.h"

#define LOOK_NS (30ull * 1000000000)

static const int groups[] = {
	RTNLGRP_LINK,        RTNLGRP_TC,         RTNLGRP_IPV4_IFADDR,
	RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
};

static bool uplink_is(const struct node *node, int ifindex)
{
	for (int i = 0; i < node->n_uplinks; i++)
		if (node->uplink[i].ifindex == ifindex)
			return true;
	return node->tunnel.ifindex && ifindex == node->tunnel.ifindex;
}

/*
 * A program or its qdisc changed on one of our devices.  Our own additions to
 * uplinks are no reason to look, or looking would never end.
 */
static void heard_tc(struct node *node, const struct nlmsghdr *msg)
{
	const int ifindex =
		((const struct tcmsg *)NLMSG_DATA(msg))->tcm_ifindex;
	const bool gone = msg->nlmsg_type != RTM_NEWTFILTER;

	if (uplink_is(node, ifindex)
	            ? !gone
	            : !node->endpoints ||
	                      !endpoint_by_ifindex(node->endpoints, ifindex))
		return;
	node->suspect = node->suspect && node->suspect != ifindex ? NODE_EVERY
	                                                          : ifindex;
}

static void heard_link(struct node *node, const struct nlmsghdr *msg)
{
	const struct rtattr *name =
		nl_find(msg, sizeof(struct ifinfomsg), IFLA_IFNAME);

	if (name && node_is_pod_link(RTA_DATA(name)) &&
	    strcmp(RTA_DATA(name), TUNNEL_LINK) != 0)
		return;
	node->dirty = true;
}

/* Only default routes say which device is an uplink; ours may be taken. */
static void heard_route(struct node *node, const struct nlmsghdr *msg)
{
	const struct rtmsg *route = NLMSG_DATA(msg);

	if (!route->rtm_dst_len || msg->nlmsg_flags & NLM_F_REPLACE ||
	    (msg->nlmsg_type == RTM_DELROUTE &&
	     route->rtm_protocol == WIRE_RULE_PROTOCOL))
		node->dirty = true;
}

static void heard(struct node *node, const struct nlmsghdr *msg)
{
	switch (msg->nlmsg_type) {
	case RTM_NEWTFILTER:
	case RTM_DELTFILTER:
	case RTM_DELQDISC:
		heard_tc(node, msg);
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		heard_link(node, msg);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		node->dirty = true;
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		heard_route(node, msg);
		break;
	}
}

static void watch_ready(struct loop_fd *self, uint32_t events)
{
	struct node *node = container_of(self, struct node, watch_fd);
	char buf[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t n;

	(void)events;
	while ((n = recv(self->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		const struct nlmsghdr *msg = (void *)buf;

		for (int left = (int)n; NLMSG_OK(msg, (unsigned)left);
		     msg = NLMSG_NEXT(msg, left))
			heard(node, msg);
	}
	if (n < 0 && errno == ENOBUFS) {
		log_warn("netlink: messages were lost, reading all again");
		node->dirty = true;
		node->suspect = NODE_EVERY;
	}
	if (node->dirty || node->suspect)
		loop_task_schedule(node->loop, &node->settle);
}

/* Put back what somebody took from pods and uplinks. */
static void repair(struct node *node, int suspect)
{
	struct err err = {};

	for (unsigned i = 1; node->endpoints && i < ENDPOINT_MAX; i++) {
		const struct ep *ep = &node->endpoints->ep[i];
		int r;

		if (ep->state != ENDPOINT_READY || !ep->ifindex ||
		    (suspect != NODE_EVERY && suspect != ep->ifindex))
			continue;
		r = node_attach_pod(node, node->dp, ep, &err);
		if (r == 1)
			log_warn("%s of pod %s/%s: its program was gone, put "
			         "back",
			         ep->host_ifname, ep->pod_ns, ep->pod_name);
		else if (r < 0 && r != -ENODEV)
			log_err("%s", err.text);
	}
	for (int i = 0; i < node->n_uplinks; i++)
		node->uplink[i].attached = false;
	node->tunnel.attached = false;
}

static void settle(struct loop_task *self)
{
	struct node *node = container_of(self, struct node, settle);
	const bool dirty = node->dirty;
	const int suspect = node->suspect;
	struct err err = {};

	node->dirty = false;
	node->suspect = 0;
	if (dirty && node_refresh(node, &err))
		log_err("reading the node's devices: %s; those known before "
		        "stay",
		        err.text);
	if (!node->dp)
		return;
	if (suspect)
		repair(node, suspect);
	if (node_attach(node, node->dp, &err))
		log_err("%s", err.text);
	if (dirty && node->on_change)
		node->on_change(node->user);
}

static void look_due(struct loop_timer *self)
{
	struct node *node = container_of(self, struct node, look);

	node->suspect = NODE_EVERY;
	loop_task_schedule(node->loop, &node->settle);
	loop_timer_arm(node->loop, &node->look, LOOK_NS);
}

int node_watch_open(struct node *node, struct err *err)
{
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	int r = nl_open(&node->watch, err), size = 4 << 20;

	if (r)
		return r;
	/* Port 0, which a socket has before it is bound or sends, is the one
	 * that the kernel leaves out when it tells everybody. */
	if (bind(node->watch.fd, (const struct sockaddr *)&any, sizeof(any)))
		return err_set(err, -errno, "netlink socket: %s",
		               strerror(errno));
	(void)setsockopt(node->watch.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size,
	                 sizeof(size));
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (setsockopt(node->watch.fd, SOL_NETLINK,
		               NETLINK_ADD_MEMBERSHIP, &groups[i],
		               sizeof(groups[i])))
			return err_set(err, -errno, "netlink group %d: %s",
			               groups[i], strerror(errno));
	node->watch_fd.fd = node->watch.fd;
	node->watch_fd.ready = watch_ready;
	node->settle.run = settle;
	node->look.due = look_due;
	r = loop_fd_add(node->loop, &node->watch_fd, EPOLLIN);
	if (r)
		return err_set(err, r, "netlink: %s", strerror(-r));
	loop_timer_arm(node->loop, &node->look, LOOK_NS);
	/* What happened while nobody listened is mended in the first turn. */
	node->suspect = NODE_EVERY;
	loop_task_schedule(node->loop, &node->settle);
	return 0;
}

void node_watch_close(struct node *node)
{
	if (node->watch.fd < 0)
		return;
	loop_timer_cancel(node->loop, &node->look);
	loop_fd_remove(node->loop, &node->watch_fd);
	nl_close(&node->watch);
	node->watch.fd = -1;
}
