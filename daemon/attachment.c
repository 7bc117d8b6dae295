// SPDX-License-Identifier: Apache-2.0
/* attachment.c - see attachment.h. */
#include "daemon/attachment.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cni/wire.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/util.h"

#define REAP_NS   400000000ull /* others may close meanwhile: one group */
#define RETRY_NS  1000000000ull
#define LINKS_MAX (STRAYS_MAX + (int)ENDPOINT_MAX)

/* ---- links ---- */

/* The name of a device in our namespace; false: there is none. */
static bool link_name(const struct daemon *daemon, int ifindex,
                      char ret[IFNAMSIZ])
{
	struct ifreq req = {.ifr_ifindex = ifindex};

	if (ifindex <= 0 || ioctl(daemon->node.nl.fd, SIOCGIFNAME, &req))
		return false;
	memcpy(ret, req.ifr_name, IFNAMSIZ);
	ret[IFNAMSIZ - 1] = '\0';
	return true;
}

/* The name that the plugin gives to a link which it leaves to us. */
static bool is_released(const char *name, int ifindex)
{
	char want[IFNAMSIZ];

	snprintf(want, sizeof(want), WIRE_LINK_PREFIX "d%x", (unsigned)ifindex);
	return !strcmp(name, want);
}

bool attachment_alive(const struct daemon *daemon, const struct ep *ep)
{
	char name[IFNAMSIZ];

	return link_name(daemon, ep->ifindex, name) &&
	       !strcmp(name, ep->host_ifname);
}

bool attachment_has_link(const struct daemon *daemon, const struct ep *ep)
{
	char name[IFNAMSIZ];

	return !strncmp(ep->host_ifname, WIRE_LINK_PREFIX,
	                strlen(WIRE_LINK_PREFIX)) &&
	       link_name(daemon, ep->ifindex, name) &&
	       (!strcmp(name, ep->host_ifname) ||
	        is_released(name, ep->ifindex));
}

/* ---- the end ---- */

static void addresses_free(struct daemon *daemon, struct ep *ep)
{
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (ep->own_addr[f])
			ipam_free(&daemon->ipam[f], &ep->addr[f],
			          loop_now_ns());
}

static void reap_soon(struct daemon *daemon, uint64_t in_ns)
{
	if (!daemon->reap.armed)
		loop_timer_arm(daemon->loop, &daemon->reap, in_ns);
}

void attachment_close(struct daemon *daemon, struct ep *ep)
{
	struct err err = {};

	if (ep->state == ENDPOINT_CLOSING)
		return;
	ep->state = ENDPOINT_CLOSING;
	if (!attachment_has_link(daemon, ep))
		ep->ifindex = 0;
	/* Without the file a restart would take it for alive. */
	if (endpoint_save(&daemon->endpoints, ep, &err))
		log_err("close endpoint %u (container %.12s): %s; a restart "
		        "within a second may bring it back",
		        ep->number, ep->container_id, err.text);
	/* It rests: nobody gets it before the pass that takes it away. */
	addresses_free(daemon, ep);
}

void attachments_settle(struct daemon *daemon)
{
	struct err err = {};

	if (reconcile_now(daemon->reconcile, &err)) {
		log_err("close endpoints: %s; it is tried again", err.text);
		reconcile_schedule(daemon->reconcile);
	}
	reap_soon(daemon, REAP_NS);
}

void attachment_forget(struct daemon *daemon, struct ep *ep)
{
	if (ep->state == ENDPOINT_READY)
		addresses_free(daemon, ep);
	if (attachment_has_link(daemon, ep)) {
		struct err err = {};

		if (daemon->n_strays < STRAYS_MAX)
			daemon->stray[daemon->n_strays++] = ep->ifindex;
		else if (node_links_delete(&daemon->node, &ep->ifindex, 1,
		                           &err))
			log_err("delete link %s: %s", ep->host_ifname,
			        err.text);
		reap_soon(daemon, REAP_NS);
	}
	endpoint_drop(&daemon->endpoints, ep);
	reconcile_schedule(daemon->reconcile);
}

/* The links of closing endpoints and the strays that are still there. */
static int links_collect(struct daemon *daemon, int ret[LINKS_MAX])
{
	char name[IFNAMSIZ];
	int n = 0;

	for (int i = 0; i < daemon->n_strays; i++)
		if (link_name(daemon, daemon->stray[i], name) &&
		    !strncmp(name, WIRE_LINK_PREFIX, strlen(WIRE_LINK_PREFIX)))
			ret[n++] = daemon->stray[i];
	daemon->n_strays = n;
	memcpy(daemon->stray, ret, (size_t)n * sizeof(*ret));
	for (int i = 1; i < (int)ENDPOINT_MAX; i++) {
		const struct ep *ep = &daemon->endpoints.ep[i];

		if (ep->state == ENDPOINT_CLOSING &&
		    attachment_has_link(daemon, ep))
			ret[n++] = ep->ifindex;
	}
	return n;
}

/* Forget those that are out of the maps and have no link; how many wait. */
static int closed_drop(struct daemon *daemon)
{
	int left = 0, dropped = 0;

	for (int i = 1; i < (int)ENDPOINT_MAX; i++) {
		struct ep *ep = &daemon->endpoints.ep[i];

		if (ep->state != ENDPOINT_CLOSING)
			continue;
		if (attachment_has_link(daemon, ep)) {
			left++;
			continue;
		}
		endpoint_drop(&daemon->endpoints, ep);
		dropped++;
	}
	if (dropped)
		reconcile_schedule(daemon->reconcile);
	return left;
}

static void reap_due(struct loop_timer *self)
{
	struct daemon *daemon = container_of(self, struct daemon, reap);
	int link[LINKS_MAX], n = links_collect(daemon, link), r = 0;
	struct err err = {};

	if (n)
		r = node_links_delete(&daemon->node, link, n, &err);
	if (!r)
		daemon->n_strays = 0;
	if (!r)
		r = reconcile_now(daemon->reconcile, &err);
	/* One that is still in the maps must keep its number. */
	if (!r && closed_drop(daemon))
		r = err_set(&err, -EAGAIN, "links are still there");
	if (r && !daemon->reap_failed)
		log_err("delete %d links: %s; it is tried again each second", n,
		        err.text);
	daemon->reap_failed = r;
	if (r)
		reap_soon(daemon, RETRY_NS);
}

void attachments_init(struct daemon *daemon)
{
	daemon->reap.due = reap_due;
}
