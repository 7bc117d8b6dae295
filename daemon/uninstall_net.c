// SPDX-License-Identifier: Apache-2.0
/* uninstall_net.c - what stands in the kernel's network because of us. */
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <bpf/bpf.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cni/wire.h"
#include "daemon/hook.h"
#include "daemon/uninstall.h"
#include "lib/nl.h"
#include "lib/util.h"

#define LINKS_MAX         4096
#define RULES_MAX         2048
#define UNREACHABLE_TABLE 5717
#define DOOMED_GROUP      0x57170000u /* a group of no device */
#define RULE_PROTOCOL     21          /* FRA_PROTOCOL */

/* ---- devices ------------------------------------------------------------ */

struct found_link {
	int ifindex;
	bool pods; /* ours to delete */
};

struct found {
	struct found_link *link;
	size_t n;
};

/* "stl" and hexadecimal digits, as wire_host_ifname() and DEL make them. */
static bool is_pod_link(const char *name)
{
	const size_t prefix = strlen(WIRE_LINK_PREFIX);

	if (strncmp(name, WIRE_LINK_PREFIX, prefix) != 0 || !name[prefix])
		return false;
	for (const char *c = name + prefix; *c; c++)
		if (!isxdigit((unsigned char)*c))
			return false;
	return true;
}

static int link_note(const struct nlmsghdr *msg, void *user)
{
	const struct ifinfomsg *link = NLMSG_DATA(msg);
	char name[IFNAMSIZ] = "", kind[16] = "";
	struct found *found = user;

	if (msg->nlmsg_type != RTM_NEWLINK || found->n == LINKS_MAX)
		return 0;
	(void)nl_text(nl_find(msg, sizeof(*link), IFLA_IFNAME), name,
	              sizeof(name));
	(void)nl_text(nl_find_in(nl_find(msg, sizeof(*link), IFLA_LINKINFO),
	                         IFLA_INFO_KIND),
	              kind, sizeof(kind));
	found->link[found->n++] = (struct found_link){
		.ifindex = link->ifi_index,
		.pods = is_pod_link(name) && !strcmp(kind, "veth"),
	};
	return 0;
}

static void links_forget(void *user)
{
	((struct found *)user)->n = 0;
}

/* One request for all: each deletion alone waits for RCU. */
static int pods_delete(struct nl *nl, const struct found *found, size_t *ret_n,
                       struct err *err)
{
	const struct ifinfomsg none = {};
	struct nl_batch batch;
	int r = 0;

	nl_batch_begin(&batch, nl);
	for (size_t i = 0; i < found->n && !r; i++) {
		const struct ifinfomsg body = {.ifi_index =
		                                       found->link[i].ifindex};

		if (!found->link[i].pods)
			continue;
		++*ret_n;
		nl_put(&batch, "group of a pod's link", ENODEV, RTM_NEWLINK, 0,
		       &body, sizeof(body));
		nl_attr_u32(&batch, IFLA_GROUP, DOOMED_GROUP);
		if (batch.n == NL_BATCH_MAX)
			r = nl_batch_run(&batch, err);
	}
	if (r || !*ret_n)
		return r;
	r = nl_batch_run(&batch, err);
	if (r)
		return r;
	nl_put(&batch, "delete the pods' links", ENODEV, RTM_DELLINK, 0, &none,
	       sizeof(none));
	nl_attr_u32(&batch, IFLA_GROUP, DOOMED_GROUP);
	return nl_batch_run(&batch, err);
}

/* ---- filters ------------------------------------------------------------ */

#define STUB_PAIRS 3

static const char *const stub_name[STUB_PAIRS][2] = {
	{"stub_from_pod",    "stub_to_pod"   },
	{"stub_from_net",    "stub_to_net"   },
	{"stub_from_tunnel", "stub_to_tunnel"},
};

static int stub_open(const struct uninstall *what, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/v%d/%s", what->bpffs, ABI_VERSION,
	         name);
	return bpf_obj_get(path);
}

/* Does the device carry one of our filters? */
static bool has_our_filter(struct nl *nl, int ifindex,
                           const int fd[STUB_PAIRS][2])
{
	struct err ignored;

	for (int i = 0; i < 2 * STUB_PAIRS; i++) {
		const struct hook_stub stub = {
			.dir = i % 2 ? DIR_EGRESS : DIR_INGRESS,
			.prog_fd = fd[i / 2][i % 2],
		};

		if (stub.prog_fd >= 0 &&
		    hook_check_tc(nl, ifindex, &stub, &ignored) == 1)
			return true;
	}
	return false;
}

static int filters_remove(const struct uninstall *what, struct nl *nl,
                          const struct found *found, struct err *err)
{
	size_t n = 0;
	int fd[STUB_PAIRS][2];
	int r = 0;

	for (int i = 0; i < 2 * STUB_PAIRS; i++)
		fd[i / 2][i % 2] = stub_open(what, stub_name[i / 2][i % 2]);
	for (size_t i = 0; i < found->n && !r; i++) {
		if (found->link[i].pods ||
		    !has_our_filter(nl, found->link[i].ifindex, fd))
			continue;
		r = hook_detach_tc(nl, found->link[i].ifindex, err);
		n++;
	}
	for (int i = 0; i < 2 * STUB_PAIRS; i++)
		closep(&fd[i / 2][i % 2]);
	if (n)
		uninstall_say(what, "filters of %zu devices removed", n);
	return r;
}

static int devices_clean(const struct uninstall *what, struct nl *nl,
                         struct err *err)
{
	const struct ifinfomsg body = {};
	_cleanup_(free_p) struct found_link *link =
		calloc(LINKS_MAX, sizeof(*link));
	struct found found = {.link = link};
	size_t pods = 0;
	int r;

	if (!link)
		return err_set(err, -ENOMEM, "out of memory");
	r = nl_dump(nl, RTM_GETLINK, &body, sizeof(body), link_note,
	            links_forget, &found, err);
	if (!r)
		r = pods_delete(nl, &found, &pods, err);
	if (pods)
		uninstall_say(what, "%zu pods' links removed", pods);
	return r ? r : filters_remove(what, nl, &found, err);
}

/* ---- IPv6 rules and the table ------------------------------------------- */

struct rules {
	char name[RULES_MAX][IFNAMSIZ];
	size_t n;
};

static int rule_note(const struct nlmsghdr *msg, void *user)
{
	const size_t body = sizeof(struct fib_rule_hdr);
	const struct rtattr *protocol = nl_find(msg, body, RULE_PROTOCOL);
	struct rules *rules = user;

	if (msg->nlmsg_type != RTM_NEWRULE || rules->n == RULES_MAX ||
	    nl_u32(nl_find(msg, body, FRA_PRIORITY), 0) != WIRE_RULE_PRIORITY ||
	    !protocol ||
	    *(const uint8_t *)RTA_DATA(protocol) != WIRE_RULE_PROTOCOL)
		return 0;
	rules->n += nl_text(nl_find(msg, body, FRA_IIFNAME),
	                    rules->name[rules->n], IFNAMSIZ);
	return 0;
}

static void rules_forget(void *user)
{
	((struct rules *)user)->n = 0;
}

static int rule_remove(struct nl *nl, const char *ifname, struct err *err)
{
	const struct fib_rule_hdr body = {
		.family = AF_INET6,
		.action = FR_ACT_UNREACHABLE,
	};
	struct nl_batch batch;

	nl_batch_begin(&batch, nl);
	nl_put(&batch, "IPv6 rule", ENOENT, RTM_DELRULE, 0, &body,
	       sizeof(body));
	nl_attr_u32(&batch, FRA_PRIORITY, WIRE_RULE_PRIORITY);
	nl_attr_str(&batch, FRA_IIFNAME, ifname);
	return nl_batch_run(&batch, err);
}

static bool is_without_ipv6(int r)
{
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP;
}

static int rules_clean(const struct uninstall *what, struct nl *nl,
                       struct err *err)
{
	const struct fib_rule_hdr body = {.family = AF_INET6};
	_cleanup_(free_p) struct rules *rules = calloc(1, sizeof(*rules));
	int r;

	if (!rules)
		return err_set(err, -ENOMEM, "out of memory");
	r = nl_dump(nl, RTM_GETRULE, &body, sizeof(body), rule_note,
	            rules_forget, rules, err);
	if (is_without_ipv6(r))
		return 0;
	for (size_t i = 0; i < rules->n && !r; i++)
		r = rule_remove(nl, rules->name[i], err);
	if (!r && rules->n)
		uninstall_say(what, "%zu IPv6 rules removed", rules->n);
	return r;
}

static int table_clean(struct nl *nl, struct err *err)
{
	const struct rtmsg body = {
		.rtm_family = AF_INET6,
		.rtm_type = RTN_UNREACHABLE,
		.rtm_scope = RT_SCOPE_NOWHERE,
	};
	struct nl_batch batch;
	int r;

	nl_batch_begin(&batch, nl);
	nl_put(&batch, "route of table 5717", ESRCH, RTM_DELROUTE, 0, &body,
	       sizeof(body));
	nl_attr_u32(&batch, RTA_TABLE, UNREACHABLE_TABLE);
	r = nl_batch_run(&batch, err);
	return r == -ENOENT || is_without_ipv6(r) ? 0 : r;
}

/* ---- routes to other nodes' pods ----------------------------------------- */

struct our_routes {
	struct nl_batch *batch;
	size_t n;
	uint8_t family;
};

/* A dump's answer, sent back as the request to delete it. */
static int route_note(const struct nlmsghdr *msg, void *user)
{
	const struct rtmsg *route = NLMSG_DATA(msg);
	struct our_routes *found = user;

	if (msg->nlmsg_type != RTM_NEWROUTE ||
	    route->rtm_protocol != WIRE_RULE_PROTOCOL ||
	    route->rtm_table != RT_TABLE_MAIN ||
	    found->batch->n == NL_BATCH_MAX)
		return 0;
	nl_put(found->batch, "remove a route to pods", ESRCH, RTM_DELROUTE, 0,
	       NLMSG_DATA(msg), msg->nlmsg_len - (uint32_t)NLMSG_LENGTH(0));
	found->n++;
	return 0;
}

static int routes_clean_once(struct nl *nl, uint8_t family, size_t *ret_n,
                             struct err *err)
{
	const struct rtmsg body = {.rtm_family = family};
	struct nl_batch batch;
	struct our_routes found = {.batch = &batch};
	int r;

	nl_batch_begin(&batch, nl);
	r = nl_dump(nl, RTM_GETROUTE, &body, sizeof(body), route_note, NULL,
	            &found, err);
	*ret_n = found.n;
	if (r)
		return is_without_ipv6(r) ? 0 : r;
	return found.n ? nl_batch_run(&batch, err) : 0;
}

static int routes_clean(const struct uninstall *what, struct nl *nl,
                        struct err *err)
{
	static const uint8_t family[] = {AF_INET, AF_INET6};
	size_t all = 0;

	for (size_t i = 0; i < ARRAY_SIZE(family); i++) {
		size_t n = 0, tries = LINKS_MAX;

		do {
			int r = routes_clean_once(nl, family[i], &n, err);

			if (r)
				return r;
			all += n;
		} while (n && tries--);
	}
	if (all)
		uninstall_say(what, "%zu routes to other nodes' pods removed",
		              all);
	return 0;
}

int uninstall_net(const struct uninstall *what, struct nl *nl, struct err *err)
{
	int r = devices_clean(what, nl, err);

	if (!r)
		r = rules_clean(what, nl, err);
	if (!r)
		r = routes_clean(what, nl, err);
	return r ? r : table_clean(nl, err);
}
