// SPDX-License-Identifier: Apache-2.0
/* setup.c - see setup.h. */
#include "cni/setup.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cni/netns.h"
#include "lib/util.h"

/* Newer than Debian 12's headers: linux/if_link.h of 6.3. */
enum { ATTR_GSO_IPV4_MAX_SIZE = 63, ATTR_GRO_IPV4_MAX_SIZE = 64 };

#define ADDR_GEN_NONE   IN6_ADDR_GEN_MODE_NONE
#define ADDRESS_WAIT_MS 1000

struct stub {
	const char *what, *pin;
	uint32_t parent; /* of the filter */
	int fd;
};

/* The system call itself: libbpf is not in a static plugin. */
static int pin_open(const char *dir, const char *name, struct err *err)
{
	char path[sizeof(((struct attachment *)0)->pins) + 32];
	union bpf_attr attr = {};
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	attr.pathname = (uintptr_t)path;
	fd = (int)syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	if (fd < 0)
		return err_set(err, -errno, "program %s: %s", path,
		               strerror(errno));
	return fd;
}

static void put_stub(struct nl_batch *batch, int ifindex,
                     const struct stub *stub)
{
	const struct tcmsg body = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_handle = 1,
		.tcm_parent = stub->parent,
		.tcm_info = TC_H_MAKE(1u << 16, htons(ETH_P_ALL)),
	};
	size_t nest;

	nl_put(batch, stub->what, 0, RTM_NEWTFILTER,
	       NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof(body));
	nl_attr_str(batch, TCA_KIND, "bpf");
	nest = nl_nest(batch, TCA_OPTIONS);
	nl_attr_u32(batch, TCA_BPF_FD, (uint32_t)stub->fd);
	nl_attr_str(batch, TCA_BPF_NAME, stub->pin);
	nl_attr_u32(batch, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	nl_nest_end(batch, nest);
}

/* What both directions hang on. */
static void put_clsact(struct nl_batch *batch, int ifindex)
{
	const struct tcmsg body = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
		.tcm_parent = TC_H_CLSACT,
	};

	nl_put(batch, "clsact", EEXIST, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
	       &body, sizeof(body));
	nl_attr_str(batch, TCA_KIND, "clsact");
}

static void put_no_link_local(struct nl_batch *batch, int ifindex)
{
	const struct ifinfomsg body = {.ifi_index = ifindex};
	size_t spec, family;

	/* A host without IPv6 does not know the family. */
	nl_put(batch, "link-local addresses", EAFNOSUPPORT, RTM_NEWLINK, 0,
	       &body, sizeof(body));
	spec = nl_nest(batch, IFLA_AF_SPEC);
	family = nl_nest(batch, AF_INET6);
	nl_attr_u8(batch, IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_NONE);
	nl_nest_end(batch, family);
	nl_nest_end(batch, spec);
}

/* The host's stack takes what is for the host from it, and no more. */
static void put_no_forwarding(struct nl_batch *batch)
{
	static const uint16_t off[] = {
		IPV4_DEVCONF_FORWARDING,
		IPV4_DEVCONF_ACCEPT_REDIRECTS,
		IPV4_DEVCONF_SEND_REDIRECTS,
		IPV4_DEVCONF_ROUTE_LOCALNET,
	};
	size_t spec = nl_nest(batch, IFLA_AF_SPEC);
	size_t family = nl_nest(batch, AF_INET);
	size_t conf = nl_nest(batch, IFLA_INET_CONF);

	for (size_t i = 0; i < ARRAY_SIZE(off); i++)
		nl_attr_u32(batch, off[i], 0);
	nl_nest_end(batch, conf);
	nl_nest_end(batch, family);
	nl_nest_end(batch, spec);
}

/* Sizes above 64 kB (design D16); a kernel that refuses keeps its own. */
static void put_gso(struct nl_batch *batch, int ifindex, uint32_t gso_max)
{
	const struct ifinfomsg body = {.ifi_index = ifindex};
	static const uint16_t sizes[] = {
		IFLA_GSO_MAX_SIZE,
		IFLA_GRO_MAX_SIZE,
		ATTR_GSO_IPV4_MAX_SIZE,
		ATTR_GRO_IPV4_MAX_SIZE,
	};

	if (gso_max <= 65536)
		return;
	nl_put(batch, "large packets", EINVAL, RTM_NEWLINK, 0, &body,
	       sizeof(body));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		nl_attr_u32(batch, sizes[i], gso_max);
}

static void put_up(struct nl_batch *batch, const struct attachment *at,
                   int ifindex, bool host)
{
	const struct ifinfomsg body = {
		.ifi_index = ifindex,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};

	nl_put(batch, "bring the device up", 0, RTM_NEWLINK, 0, &body,
	       sizeof(body));
	if (!at->chained && at->mtu)
		nl_attr_u32(batch, IFLA_MTU, at->mtu);
	if (host) {
		/* What answers for the gateway must be the device's own. */
		if (at->chained)
			nl_attr(batch, IFLA_ADDRESS, at->host_mac, MAC_LEN);
		else
			nl_attr_str(batch, IFLA_IFALIAS, at->network);
		put_no_forwarding(batch);
	}
}

/* An address as a netlink attribute: its family's own length. */
static void put_addr(struct nl_batch *batch, uint16_t type,
                     const struct addr *addr)
{
	if (addr_family(addr) == FAMILY_V4)
		nl_attr(batch, type, &addr->word[3], 4);
	else
		nl_attr(batch, type, addr->byte, 16);
}

static uint8_t af_of(enum family family)
{
	return family == FAMILY_V4 ? AF_INET : AF_INET6;
}

static uint8_t bits_of(enum family family)
{
	return family == FAMILY_V4 ? 32 : 128;
}

static void put_neighbour(struct nl_batch *batch, int ifindex,
                          const struct addr *addr, const uint8_t *mac)
{
	const struct ndmsg body = {
		.ndm_family = af_of(addr_family(addr)),
		.ndm_ifindex = ifindex,
		.ndm_state = NUD_PERMANENT,
	};

	nl_put(batch, "permanent neighbour", 0, RTM_NEWNEIGH,
	       NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof(body));
	put_addr(batch, NDA_DST, addr);
	nl_attr(batch, NDA_LLADDR, mac, MAC_LEN);
}

/* To @to alone (NULL: everywhere), by @via (NULL: on the link). */
static void put_route(struct nl_batch *batch, int ifindex, enum family family,
                      const struct addr *to, const struct addr *via)
{
	const struct rtmsg body = {
		.rtm_family = af_of(family),
		.rtm_dst_len = to ? bits_of(family) : 0,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};

	nl_put(batch, to ? "route to the address" : "default route", 0,
	       RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	if (to)
		put_addr(batch, RTA_DST, to);
	if (via)
		put_addr(batch, RTA_GATEWAY, via);
	nl_attr_u32(batch, RTA_OIF, (uint32_t)ifindex);
}

static void put_host_addresses(struct nl_batch *batch,
                               const struct attachment *at)
{
	for (int f = 0; f < FAMILY__COUNT; f++) {
		if (!at->has[f])
			continue;
		/* The maker of a chained pair has a route of its own. */
		if (!at->chained)
			put_route(batch, at->host_ifindex, (enum family)f,
			          &at->ip[f], NULL);
		put_neighbour(batch, at->host_ifindex, &at->ip[f], at->pod_mac);
	}
	if (at->has[FAMILY_V6])
		link_rule_put(batch, RTM_NEWRULE, at->host_ifname, EEXIST);
}

/* IPv6 that the pod may not have must not be forwarded either. */
static int host_ipv6(const struct attachment *at, struct err *err)
{
	const bool on = at->has[FAMILY_V6];
	int r;

	r = netns_ipv6_conf(at->host_ifname, on ? "accept_ra" : "disable_ipv6",
	                    on ? "0" : "1");
	if (!r && on)
		r = netns_ipv6_conf(at->host_ifname, "accept_redirects", "0");
	if (r)
		return err_set(err, r, "%s: IPv6 settings: %s", at->host_ifname,
		               strerror(-r));
	return 0;
}

int setup_host(struct nl *host, const struct attachment *at, struct err *err)
{
	_cleanup_(closep) int from = pin_open(at->pins, "stub_from_pod", err);
	_cleanup_(closep) int to =
		from < 0 ? from : pin_open(at->pins, "stub_to_pod", err);
	const struct stub in = {"program from_pod", "stub_from_pod",
	                        TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), from};
	const struct stub out = {"program to_pod", "stub_to_pod",
	                         TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), to};
	struct nl_batch batch;
	int r;

	if (to < 0)
		return to;
	r = host_ipv6(at, err);
	if (r)
		return r;

	nl_batch_begin(&batch, host);
	put_clsact(&batch, at->host_ifindex);
	put_stub(&batch, at->host_ifindex, &in);
	put_stub(&batch, at->host_ifindex, &out);
	put_no_link_local(&batch, at->host_ifindex);
	put_gso(&batch, at->host_ifindex, at->gso_max);
	put_up(&batch, at, at->host_ifindex, true);
	put_host_addresses(&batch, at);
	r = nl_batch_run(&batch, err);
	return r ? err_wrap(err, r, "%s", at->host_ifname) : 0;
}

static void put_pod_address(struct nl_batch *batch, int ifindex,
                            const struct addr *addr)
{
	const enum family family = addr_family(addr);
	const struct ifaddrmsg body = {
		.ifa_family = af_of(family),
		.ifa_prefixlen = bits_of(family),
		.ifa_index = (unsigned)ifindex,
		.ifa_scope = RT_SCOPE_UNIVERSE,
	};

	nl_put(batch, "address", 0, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL,
	       &body, sizeof(body));
	put_addr(batch, IFA_LOCAL, addr);
	put_addr(batch, IFA_ADDRESS, addr);
	/* Nobody else can have it, and it is no subnet. */
	nl_attr_u32(batch, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
}

static void put_pod_family(struct nl_batch *batch, const struct attachment *at,
                           int ifindex, enum family family)
{
	const struct addr *gateway = &at->gateway[family];

	put_pod_address(batch, ifindex, &at->ip[family]);
	put_neighbour(batch, ifindex, gateway, at->host_mac);
	/* A link-local gateway of IPv6 is on the link by its nature. */
	if (family == FAMILY_V4)
		put_route(batch, ifindex, family, gateway, NULL);
	put_route(batch, ifindex, family, NULL, gateway);
}

static void put_lo_up(struct nl_batch *batch)
{
	const struct ifinfomsg lo = {
		.ifi_index = 1,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};

	nl_put(batch, "bring lo up", 0, RTM_NEWLINK, 0, &lo, sizeof(lo));
}

static int pod_put(struct nl *pod, const struct attachment *at, int ifindex,
                   struct err *err)
{
	struct nl_batch batch;
	int r;

	nl_batch_begin(&batch, pod);
	put_gso(&batch, ifindex, at->gso_max);
	if (!at->chained) {
		put_lo_up(&batch);
		put_up(&batch, at, ifindex, false);
	}
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (at->has[f] && !at->chained)
			put_pod_family(&batch, at, ifindex, (enum family)f);
	r = nl_batch_run(&batch, err);
	return r ? err_wrap(err, r, "the pod's %s", at->pod_ifname) : 0;
}

/*
 * Routers are not asked for, and what they say is not believed; nobody else
 * has our address.  All of it is a courtesy: the datapath does not rely on it.
 */
static void pod_ipv6(const struct attachment *at)
{
	if (!at->has[FAMILY_V6]) {
		(void)netns_ipv6_conf(at->pod_ifname, "disable_ipv6", "1");
		return;
	}
	(void)netns_ipv6_conf(at->pod_ifname, "accept_ra", "0");
	(void)netns_ipv6_conf(at->pod_ifname, "accept_dad", "0");
}

/* Is it the route by which the kernel takes packets to @user, an IPv6 address,
 * for its own? */
static int hear_local(const struct nlmsghdr *msg, void *user)
{
	const struct rtmsg *body = NLMSG_DATA(msg);
	const struct addr *addr = user;
	const struct rtattr *to;

	if (msg->nlmsg_type != RTM_NEWROUTE || body->rtm_type != RTN_LOCAL)
		return 0;
	to = nl_find(msg, sizeof(*body), RTA_DST);
	return to && RTA_PAYLOAD(to) == 16 &&
	       !memcmp(RTA_DATA(to), addr->byte, 16);
}

/*
 * An IPv6 address serves only when a worker of the kernel has been at it: the
 * first packets to the pod would be lost.  It comes late or never when somebody
 * holds up all changes of devices; that is no reason to fail.
 */
static int pod_put_and_wait(struct nl *pod, const struct attachment *at,
                            int ifindex, struct err *err)
{
	struct addr addr = at->ip[FAMILY_V6];
	struct nl ear;
	int r;

	if (!at->has[FAMILY_V6] || at->chained)
		return pod_put(pod, at, ifindex, err);
	r = nl_open(&ear, err);
	if (r)
		return r;
	r = nl_join(&ear, RTNLGRP_IPV6_ROUTE, err);
	if (!r)
		r = pod_put(pod, at, ifindex, err);
	if (!r)
		(void)nl_hear(&ear, ADDRESS_WAIT_MS, hear_local, &addr, NULL);
	nl_close(&ear);
	return r;
}

int setup_pod(const struct attachment *at, struct err *err)
{
	struct nl pod;
	int r, ifindex;

	if (!at->chained)
		pod_ipv6(at);
	r = nl_open(&pod, err);
	if (r)
		return r;
	ifindex = nl_ifindex(&pod, at->pod_ifname);
	if (ifindex < 0)
		r = err_set(err, ifindex, "the pod's %s vanished",
		            at->pod_ifname);
	else
		r = pod_put_and_wait(&pod, at, ifindex, err);
	nl_close(&pod);
	return r;
}
