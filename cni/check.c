// SPDX-License-Identifier: Apache-2.0
/* check.c - CHECK: is what ADD made still all there? */
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "cni/command.h"
#include "cni/delegate.h"
#include "cni/netns.h"
#include "cni/result.h"
#include "cni/wire.h"
#include "lib/util.h"

struct check {
	const struct conf *conf;
	struct nl host, pod;
	struct link_info outside, inside; /* both sides of the pair */
	struct result_ips ips;            /* of prevResult */
};

/* What is looked for in a dump, and whether it was seen. */
struct look {
	int ifindex;
	struct addr addr, gateway;
	unsigned bits;
	bool any_gateway;
	bool found;
};

static struct addr addr_of(const struct rtattr *attr, int family)
{
	struct addr addr = {
		.byte = {[10] = 0xff, [11] = 0xff}
        };

	if (family == AF_INET && attr && RTA_PAYLOAD(attr) == 4)
		memcpy(&addr.word[3], RTA_DATA(attr), 4);
	if (family == AF_INET6)
		addr = (struct addr){};
	if (family == AF_INET6 && attr && RTA_PAYLOAD(attr) == 16)
		memcpy(addr.byte, RTA_DATA(attr), 16);
	return addr;
}

static int see_address(const struct nlmsghdr *msg, void *user)
{
	const struct ifaddrmsg *body = NLMSG_DATA(msg);
	const struct rtattr *local = nl_find(msg, sizeof(*body), IFA_LOCAL);
	struct look *look = user;
	struct addr addr;

	if (!local) /* IPv6 has the one */
		local = nl_find(msg, sizeof(*body), IFA_ADDRESS);
	addr = addr_of(local, body->ifa_family);
	look->found |= msg->nlmsg_type == RTM_NEWADDR &&
	               (int)body->ifa_index == look->ifindex &&
	               body->ifa_prefixlen == look->bits &&
	               !addr_compare(&addr, &look->addr);
	return 0;
}

static int see_route(const struct nlmsghdr *msg, void *user)
{
	const struct rtmsg *body = NLMSG_DATA(msg);
	struct look *look = user;
	const struct addr to =
		addr_of(nl_find(msg, sizeof(*body), RTA_DST), body->rtm_family);
	const struct addr via = addr_of(
		nl_find(msg, sizeof(*body), RTA_GATEWAY), body->rtm_family);

	look->found |=
		msg->nlmsg_type == RTM_NEWROUTE &&
		body->rtm_table == RT_TABLE_MAIN &&
		body->rtm_dst_len == look->bits &&
		!addr_compare(&to, &look->addr) &&
		(look->any_gateway || !addr_compare(&via, &look->gateway));
	return 0;
}

static int see_filter(const struct nlmsghdr *msg, void *user)
{
	const struct tcmsg *body = NLMSG_DATA(msg);
	const struct rtattr *options = nl_find(msg, sizeof(*body), TCA_OPTIONS);
	struct look *look = user;
	char kind[16] = "";

	(void)nl_text(nl_find(msg, sizeof(*body), TCA_KIND), kind,
	              sizeof(kind));
	look->found |= msg->nlmsg_type == RTM_NEWTFILTER &&
	               body->tcm_ifindex == look->ifindex &&
	               TC_H_MAJ(body->tcm_info) >> 16 == 1 &&
	               body->tcm_handle == 1 && !strcmp(kind, "bpf") &&
	               nl_u32(nl_find_in(options, TCA_BPF_ID), 0);
	return 0;
}

static int af_of(const struct addr *addr)
{
	return addr_family(addr) == FAMILY_V4 ? AF_INET : AF_INET6;
}

static enum cni_code check_addresses(struct check *check, struct err *err)
{
	for (int f = 0; f < FAMILY__COUNT; f++) {
		struct look look = {.ifindex = check->inside.ifindex,
		                    .addr = check->ips.ip[f]};
		const struct ifaddrmsg body = {
			.ifa_family = (uint8_t)af_of(&look.addr)};
		const char *slash = strchr(check->ips.text[f], '/');

		if (!check->ips.has[f])
			continue;
		look.bits = (unsigned)atoi(slash + 1);
		if (nl_dump(&check->pod, RTM_GETADDR, &body, sizeof(body),
		            see_address, NULL, &look, err))
			return CNI_FAILED;
		if (!look.found)
			return err_set(err, CNI_WRONG,
			               "the pod's %s has lost its address %s",
			               check->conf->ifname, check->ips.text[f]);
	}
	return CNI_OK;
}

/* "10.0.0.0/8" into address and length; false: not for us to judge. */
static bool route_read(const json_t *route, struct look *ret)
{
	const char *dst = json_string_value(json_object_get(route, "dst"));
	const char *gw = json_string_value(json_object_get(route, "gw"));
	const char *slash = dst ? strchr(dst, '/') : NULL;
	char text[ADDR_TEXT_MAX];

	*ret = (struct look){.any_gateway = !gw || !*gw};
	if (!slash || slash - dst >= ADDR_TEXT_MAX)
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)(slash - dst), dst);
	ret->bits = (unsigned)atoi(slash + 1);
	return !addr_parse(text, &ret->addr) &&
	       (ret->any_gateway || !addr_parse(gw, &ret->gateway));
}

static enum cni_code check_routes(struct check *check, struct err *err)
{
	const json_t *list = json_object_get(check->conf->prev, "routes");
	const json_t *route;
	size_t i;

	json_array_foreach(list, i, route)
	{
		struct rtmsg body = {};
		struct look look;

		if (!route_read(route, &look))
			return err_set(err, CNI_CONFIG,
			               "prevResult: routes[%zu] is no route",
			               i);
		body.rtm_family = (uint8_t)af_of(&look.addr);
		if (nl_dump(&check->pod, RTM_GETROUTE, &body, sizeof(body),
		            see_route, NULL, &look, err))
			return CNI_FAILED;
		if (!look.found)
			return err_set(err, CNI_WRONG,
			               "the pod has lost its route to %s",
			               json_string_value(
					       json_object_get(route, "dst")));
	}
	return CNI_OK;
}

static enum cni_code check_filters(struct check *check, struct err *err)
{
	static const struct {
		const char *name;
		uint32_t parent;
	} hooks[] = {
		{"from_pod", TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)},
		{"to_pod",   TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		struct look look = {.ifindex = check->outside.ifindex};
		const struct tcmsg body = {
			.tcm_ifindex = check->outside.ifindex,
			.tcm_parent = hooks[i].parent,
		};
		int r = nl_dump(&check->host, RTM_GETTFILTER, &body,
		                sizeof(body), see_filter, NULL, &look, err);

		/* No clsact at all is an error of the request. */
		if (r && r != -EINVAL && r != -ENOENT)
			return CNI_FAILED;
		if (!look.found)
			return err_set(err, CNI_WRONG,
			               "%s: the program %s is not attached",
			               check->outside.name, hooks[i].name);
	}
	return CNI_OK;
}

/* The interface as prevResult has it. */
static enum cni_code check_link(struct check *check, struct err *err)
{
	const struct conf *conf = check->conf;
	const json_t *prev = result_find_interface(conf->prev, conf->ifname);
	const char *mac = json_string_value(json_object_get(prev, "mac"));
	const char *sandbox =
		json_string_value(json_object_get(prev, "sandbox"));
	char have[MAC_TEXT_MAX];

	if (!prev)
		return err_set(err, CNI_CONFIG,
		               "prevResult knows no interface %s in the pod",
		               conf->ifname);
	if (strcmp(sandbox, conf->netns) != 0)
		return err_set(err, CNI_WRONG,
		               "%s belongs to '%.64s', not to CNI_NETNS",
		               conf->ifname, sandbox);
	if (link_find_host(&check->host, &check->pod, conf->ifname,
	                   &check->outside, &check->inside, err))
		return CNI_WRONG;
	mac_format(check->inside.mac, have);
	if (mac && *mac && strcasecmp(mac, have) != 0)
		return err_set(err, CNI_WRONG,
		               "the pod's %s has the MAC address %s, not %.32s",
		               conf->ifname, have, mac);
	if (!check->inside.up || !check->outside.up)
		return err_set(err, CNI_WRONG, "%s is down",
		               check->inside.up ? check->outside.name
		                                : conf->ifname);
	return CNI_OK;
}

static enum cni_code check_daemon(struct check *check, struct err *err)
{
	const struct conf *conf = check->conf;
	json_t *ips = json_array();
	char mac[MAC_TEXT_MAX];
	int r;

	for (int f = 0; f < FAMILY__COUNT; f++)
		if (check->ips.has[f])
			json_array_append_new(ips,
			                      json_string(check->ips.text[f]));
	r = command_ask(conf,
	                json_pack("{s:s,s:s,s:s,s:s,s:o,s:s}", "op",
	                          "cni.check", "container_id",
	                          conf->container_id, "ifname", conf->ifname,
	                          "host_ifname", check->outside.name, "ips",
	                          ips, "mac",
	                          mac_format(check->inside.mac, mac)),
	                NULL, err);
	return r < 0 ? CNI_AGAIN : (enum cni_code)r;
}

static enum cni_code check_run(struct check *check, struct err *err)
{
	const struct conf *conf = check->conf;
	enum cni_code code;
	int r;

	r = result_read_ips(conf->prev, conf->ifname, &check->ips, err);
	if (r) {
		(void)err_wrap(err, r, "prevResult");
		return CNI_CONFIG;
	}
	code = check_link(check, err);
	if (!code)
		code = check_addresses(check, err);
	if (!code)
		code = check_routes(check, err);
	if (!code)
		code = check_filters(check, err);
	if (!code)
		code = check_daemon(check, err);
	if (!code)
		code = delegate_run(conf, "CHECK", NULL, err);
	return code;
}

enum cni_code command_check(const struct conf *conf, struct err *err)
{
	struct check check = {.conf = conf};
	_cleanup_(closep) int netns_fd = -1;
	enum cni_code code = CNI_FAILED;

	if (!conf->prev)
		return err_set(err, CNI_CONFIG,
		               "network configuration: CHECK needs prevResult");
	if (netns_open(conf->netns, &netns_fd, err))
		return CNI_ENV;
	if (nl_open(&check.host, err))
		return CNI_FAILED;
	if (!nl_open_in(netns_fd, &check.pod, err)) {
		code = check_run(&check, err);
		nl_close(&check.pod);
	}
	nl_close(&check.host);
	return code;
}
