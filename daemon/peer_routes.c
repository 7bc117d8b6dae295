// SPDX-License-Identifier: Apache-2.0
/* peer_routes.c - routes to other nodes' pods, for the stack. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cni/wire.h"
#include "daemon/peers.h"
#include "lib/addr.h"
#include "lib/util.h"

#define ROUTE_WHAT_MAX 64

struct route {
	struct prefix to;
	struct addr via, source; /* zero: none */
	int ifindex;             /* 0: that of the gateway's link */
};

struct routes {
	struct route *route; /* sorted by destination */
	size_t n, room;
	int error;
};

static void routes_free(struct routes *routes)
{
	free(routes->route);
}

static void route_add(struct routes *routes, const struct route *route)
{
	if (routes->n == routes->room) {
		const size_t room = routes->room * 2 + 64;
		struct route *more =
			realloc(routes->route, room * sizeof(*more));

		if (!more) {
			routes->error = -ENOMEM;
			return;
		}
		routes->route = more;
		routes->room = room;
	}
	routes->route[routes->n++] = *route;
}

static int to_compare(const struct prefix *a, const struct prefix *b)
{
	const int order = addr_compare(&a->addr, &b->addr);

	return order ? order : a->bits - b->bits;
}

static int route_order(const void *a, const void *b)
{
	return to_compare(&((const struct route *)a)->to,
	                  &((const struct route *)b)->to);
}

/* ---- what is there ------------------------------------------------------ */

static bool addr_read(const struct rtattr *attr, bool v4, struct addr *ret)
{
	*ret = (struct addr){};
	if (!attr || RTA_PAYLOAD(attr) != (v4 ? 4u : 16u))
		return false;
	if (v4)
		memset(&ret->byte[10], 0xff, 2);
	memcpy(v4 ? &ret->byte[12] : ret->byte, RTA_DATA(attr), v4 ? 4 : 16);
	return true;
}

static int route_note(const struct nlmsghdr *msg, void *user)
{
	const struct rtmsg *body = NLMSG_DATA(msg);
	const bool v4 = body->rtm_family == AF_INET;
	struct route route = {};

	if (msg->nlmsg_type != RTM_NEWROUTE ||
	    body->rtm_protocol != WIRE_RULE_PROTOCOL ||
	    body->rtm_table != RT_TABLE_MAIN ||
	    !addr_read(nl_find(msg, sizeof(*body), RTA_DST), v4,
	               &route.to.addr))
		return 0;
	route.to.bits = (uint8_t)(body->rtm_dst_len + (v4 ? 96 : 0));
	(void)addr_read(nl_find(msg, sizeof(*body), RTA_GATEWAY), v4,
	                &route.via);
	(void)addr_read(nl_find(msg, sizeof(*body), RTA_PREFSRC), v4,
	                &route.source);
	route.ifindex = (int)nl_u32(nl_find(msg, sizeof(*body), RTA_OIF), 0);
	route_add(user, &route);
	return 0;
}

static int routes_read(struct nl *nl, struct routes *ret, struct err *err)
{
	static const uint8_t family[] = {AF_INET, AF_INET6};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(family) && !r; i++) {
		const struct rtmsg body = {.rtm_family = family[i]};

		/* Routes that come twice are compared twice: no harm. */
		r = nl_dump(nl, RTM_GETROUTE, &body, sizeof(body), route_note,
		            NULL, ret, err);
		if (r == -EAFNOSUPPORT || r == -EOPNOTSUPP)
			r = 0; /* a host without IPv6 */
	}
	if (!r && ret->error)
		r = err_set(err, ret->error, "out of memory");
	if (ret->n)
		qsort(ret->route, ret->n, sizeof(*ret->route), route_order);
	return r;
}

/* ---- what should be ----------------------------------------------------- */

static void addr_put(struct nl_batch *batch, uint16_t type,
                     const struct addr *addr)
{
	const bool v4 = addr_family(addr) == FAMILY_V4;

	nl_attr(batch, type, v4 ? &addr->byte[12] : addr->byte, v4 ? 4 : 16);
}

struct hop {
	int ifindex;
	bool on_link;
};

static int hop_note(const struct nlmsghdr *msg, void *user)
{
	const struct rtmsg *body = NLMSG_DATA(msg);
	struct hop *hop = user;

	if (msg->nlmsg_type != RTM_NEWROUTE)
		return 0;
	hop->ifindex = (int)nl_u32(nl_find(msg, sizeof(*body), RTA_OIF), 0);
	hop->on_link = body->rtm_type == RTN_UNICAST &&
	               !nl_find(msg, sizeof(*body), RTA_GATEWAY);
	return 0;
}

/* Is the address on the link of one of our uplinks? */
static bool is_on_link(struct node *node, const struct addr *addr)
{
	const bool v4 = addr_family(addr) == FAMILY_V4;
	struct {
		struct rtmsg body;
		struct rtattr attr;
		unsigned char addr[16];
	} ask = {
		.body = {.rtm_family = v4 ? AF_INET : AF_INET6,
	                 .rtm_dst_len = v4 ? 32 : 128                      },
		.attr = {.rta_type = RTA_DST,
	                 .rta_len = (unsigned short)RTA_LENGTH(v4 ? 4 : 16)},
	};
	struct hop hop = {};
	struct err ignored = {};

	memcpy(ask.addr, v4 ? &addr->byte[12] : addr->byte, v4 ? 4 : 16);
	if (nl_get(&node->nl, RTM_GETROUTE, &ask,
	           sizeof(ask.body) + RTA_LENGTH(v4 ? 4 : 16), hop_note, &hop,
	           &ignored) ||
	    !hop.on_link)
		return false;
	for (int i = 0; i < node->n_uplinks; i++)
		if (node->uplink[i].ifindex == hop.ifindex)
			return true;
	return false;
}

static bool is_local(const struct node *node, const struct addr *addr)
{
	for (size_t i = 0; i < node->n_addrs; i++)
		if (node->addr[i].local &&
		    !addr_compare(&node->addr[i].addr, addr))
			return true;
	return false;
}

/* The node's address that its processes go to others' pods with. */
static struct addr source_of(const struct peers *peers, enum family family)
{
	const struct node *node = peers->node;

	if (is_local(node, &peers->own[family]))
		return peers->own[family];
	for (int i = 0; i < node->n_uplinks; i++)
		if (!addr_is_zero(&node->uplink[i].addr[family]))
			return node->uplink[i].addr[family];
	return (struct addr){};
}

static void want_tunnel(const struct peers *peers, struct routes *want)
{
	const struct addr source[FAMILY__COUNT] = {source_of(peers, FAMILY_V4),
	                                           source_of(peers, FAMILY_V6)};

	for (size_t i = 0; i < peers->n_cidrs; i++) {
		const struct prefix *to = &peers->cidr[i].prefix;
		const struct route route = {
			.to = *to,
			.source = source[addr_family(&to->addr)],
			.ifindex = peers->node->tunnel.ifindex,
		};

		route_add(want, &route);
	}
}

static uint16_t owner_of(const struct peers *peers, const struct prefix *cidr)
{
	size_t lo = 0, hi = peers->n_cidrs;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;
		const int order = to_compare(&peers->cidr[mid].prefix, cidr);

		if (!order)
			return peers->cidr[mid].number;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

/* The node's address of each family that is on our link; zero: none. */
static void gateways_find(const struct peers *peers,
                          const struct peer_node *peer,
                          struct addr via[FAMILY__COUNT])
{
	for (size_t i = 0; i < peer->n_internal; i++) {
		struct addr *to = &via[addr_family(&peer->addr[i])];

		if (addr_is_zero(to) && is_on_link(peers->node, &peer->addr[i]))
			*to = peer->addr[i];
	}
}

/* Those that are further away are left to the fabric. */
static void want_native(struct peers *peers, struct routes *want)
{
	for (size_t i = 0; i < peers->n; i++) {
		struct peer_node *peer = &peers->peer[i];
		struct addr via[FAMILY__COUNT] = {};

		peer->routed = false;
		if (peer->n_cidrs)
			gateways_find(peers, peer, via);
		for (size_t c = 0; c < peer->n_cidrs; c++) {
			const enum family f = addr_family(&peer->cidr[c].addr);
			const struct route route = {.to = peer->cidr[c],
			                            .via = via[f]};

			if (addr_is_zero(&via[f]) ||
			    owner_of(peers, &route.to) != peer->number)
				continue;
			peer->routed = true;
			route_add(want, &route);
		}
	}
}

/* ---- making it so ------------------------------------------------------- */

static bool route_equal(const struct route *have, const struct route *want)
{
	return !addr_compare(&have->via, &want->via) &&
	       (addr_is_zero(&want->source) ||
	        !addr_compare(&have->source, &want->source)) &&
	       (!want->ifindex || have->ifindex == want->ifindex);
}

static void route_put(struct nl_batch *batch, const struct route *route,
                      bool remove)
{
	const bool v4 = addr_family(&route->to.addr) == FAMILY_V4;
	const struct rtmsg body = {
		.rtm_family = v4 ? AF_INET : AF_INET6,
		.rtm_dst_len = (unsigned char)(route->to.bits - (v4 ? 96 : 0)),
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = WIRE_RULE_PROTOCOL,
		.rtm_scope = remove ? RT_SCOPE_NOWHERE
	                     : v4 && addr_is_zero(&route->via)
	                             ? RT_SCOPE_LINK
	                             : RT_SCOPE_UNIVERSE,
		.rtm_type = remove ? RTN_UNSPEC : RTN_UNICAST,
	};

	nl_put(batch, remove ? "remove a route to pods" : "route to pods",
	       remove ? ESRCH : 0, remove ? RTM_DELROUTE : RTM_NEWROUTE,
	       remove ? 0 : NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof(body));
	addr_put(batch, RTA_DST, &route->to.addr);
	if (!addr_is_zero(&route->via))
		addr_put(batch, RTA_GATEWAY, &route->via);
	if (!remove && !addr_is_zero(&route->source))
		addr_put(batch, RTA_PREFSRC, &route->source);
	if (route->ifindex)
		nl_attr_u32(batch, RTA_OIF, (uint32_t)route->ifindex);
}

/* One that cannot be made does not stop the others. */
static void change(struct nl_batch *batch, const struct route *route,
                   bool remove, struct err *err)
{
	struct err why = {};

	route_put(batch, route, remove);
	if (batch->n == NL_BATCH_MAX && nl_batch_run(batch, &why) &&
	    !err->text[0])
		*err = why;
}

static void routes_compare(struct nl_batch *batch, const struct routes *have,
                           const struct routes *want, struct err *err)
{
	size_t h = 0, w = 0;

	while (h < have->n || w < want->n) {
		const int order = h == have->n ? 1
		                  : w == want->n
		                          ? -1
		                          : to_compare(&have->route[h].to,
		                                       &want->route[w].to);

		if (order < 0) {
			change(batch, &have->route[h++], true, err);
			continue;
		}
		if (order > 0 ||
		    !route_equal(&have->route[h], &want->route[w])) {
			/* IPv6 replaces one with a gateway by its like. */
			if (!order && addr_is_zero(&have->route[h].via) !=
			                      addr_is_zero(&want->route[w].via))
				change(batch, &have->route[h], true, err);
			change(batch, &want->route[w], false, err);
		}
		w++;
		h += !order;
	}
}

int peer_routes_sync(struct peers *peers, struct err *err)
{
	_cleanup_(routes_free) struct routes have = {};
	_cleanup_(routes_free) struct routes want = {};
	struct nl_batch *batch;
	struct err why = {};
	int r = routes_read(&peers->node->nl, &have, err);

	if (r)
		return r;
	if (peers->config->routing == ROUTING_TUNNEL)
		want_tunnel(peers, &want);
	else
		want_native(peers, &want);
	if (want.n)
		qsort(want.route, want.n, sizeof(*want.route), route_order);
	batch = malloc(sizeof(*batch));
	if (!batch || want.error) {
		free(batch);
		return err_set(err, -ENOMEM, "out of memory");
	}
	nl_batch_begin(batch, &peers->node->nl);
	err->text[0] = 0;
	routes_compare(batch, &have, &want, err);
	if (batch->n && nl_batch_run(batch, &why) && !err->text[0])
		*err = why;
	free(batch);
	return err->text[0] ? -EIO : 0;
}
