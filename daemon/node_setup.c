// SPDX-License-Identifier: Apache-2.0
/* node_setup.c - what Stile changes of a node, each written down first. */
#include <linux/fib_rules.h>
#include <errno.h>
#include <string.h>

#include "daemon/node.h"
#include "lib/log.h"

/*
 * The datapath looks routes up as if from the loopback device, and the helper
 * refuses devices that do not forward.  Nothing arrives there from outside.
 */
static const char *const forwarding[] = {
	"net/ipv4/conf/lo/forwarding",
	"net/ipv6/conf/lo/forwarding",
};

/* IPv6 has no forwarding switch a device: pods' veths look here (D8). */
static int table_put(struct node *node, struct err *err)
{
	const struct rtmsg body = {
		.rtm_family = AF_INET6,
		.rtm_table = RT_TABLE_UNSPEC,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNREACHABLE,
	};
	struct nl_batch batch;

	nl_batch_begin(&batch, &node->nl);
	nl_put(&batch, "unreachable route of table 5717", EEXIST, RTM_NEWROUTE,
	       NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	nl_attr_u32(&batch, RTA_TABLE, NODE_TABLE_UNREACHABLE);
	return nl_batch_run(&batch, err);
}

/* Uplinks that can take more than 64 kB are asked to. */
static void uplinks_raise(struct node *node)
{
	const uint32_t size = node->pod_gso_max;
	struct err err = {};

	if (size <= NODE_GSO_DEFAULT)
		return;
	for (int i = 0; i < node->n_uplinks; i++) {
		struct node_uplink *up = &node->uplink[i];
		const struct gso_sizes want = {size, size};

		if (up->gso.gso >= size && up->gso.gso_ipv4 >= size)
			continue;
		if (size > up->tso_max)
			continue;
		if (undo_gso_set(&node->undo, &node->nl, up->name, &up->gso,
		                 &want, &err))
			log_warn("device %s keeps packets of 64 kB: %s",
			         up->name, err.text);
		else
			up->gso = want;
	}
}

int node_setup(struct node *node, struct err *err)
{
	struct err why = {};
	int r = 0;

	for (int f = 0; f < FAMILY__COUNT && !r; f++) {
		r = undo_sysctl_set(&node->undo, forwarding[f], "1", err);
		if (r == -ENOENT && f == FAMILY_V6)
			r = 0; /* a host without IPv6 */
	}
	if (!r && node->config->masquerade)
		r = undo_ports_reserve(&node->undo, NAT_PORT_MIN, NAT_PORT_MAX,
		                       err);
	if (r)
		return r;
	r = table_put(node, &why);
	if (r && r != -EAFNOSUPPORT && r != -EOPNOTSUPP)
		return err_set(err, r, "%s", why.text);
	uplinks_raise(node);
	return 0;
}
