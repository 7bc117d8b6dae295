// SPDX-License-Identifier: Apache-2.0
/* ops_cni.c - the plugin's operations, see cni/wire.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cni/wire.h"
#include "daemon/add_wait.h"
#include "daemon/attachment.h"
#include "daemon/cni_request.h"
#include "daemon/daemon.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/util.h"

#define CNI_UNAVAILABLE 50
#define NO_CIDR                                                          \
	"no --pod-cidr to take addresses from, and no pod CIDR in this " \
	"node's Node yet"
#define MTU_DEFAULT 1500 /* no uplink says otherwise */

static json_t *reply_error(int code, const struct err *err)
{
	return wire_error(code, err->text);
}

/* ---- can ADD be served? ---- */

/* NULL, or why not. */
static const char *not_ready(const struct daemon *daemon)
{
	if (!daemon->store.synced)
		return "the manifests have not been read yet";
	if (!reconcile_compiled(daemon->reconcile))
		return "no policy is in the kernel yet";
	if (!daemon->endpoints.free_n)
		return "every endpoint number is in use";
	return NULL;
}

static json_t *cni_status(struct daemon *daemon, const json_t *request)
{
	const bool delegated =
		json_is_true(json_object_get(request, "delegated"));
	const char *why = not_ready(daemon);
	bool any = false;

	for (int f = 0; f < FAMILY__COUNT && !delegated; f++) {
		const struct ipam *ipam = &daemon->ipam[f];

		any |= ipam->enabled;
		if (!why && ipam->enabled &&
		    !ipam_has_free(ipam, loop_now_ns()))
			why = f == FAMILY_V4 ? "no IPv4 address is free"
			                     : "no IPv6 address is free";
	}
	if (!why && !delegated && !any)
		why = NO_CIDR;
	return why ? wire_error(CNI_UNAVAILABLE, why) : json_object();
}

/* ---- add ---- */

/* Is @addr this node's own? */
static bool is_local(const struct daemon *daemon, const struct addr *addr)
{
	for (size_t i = 0; i < daemon->node.n_addrs; i++)
		if (daemon->node.addr[i].local &&
		    !addr_compare(&daemon->node.addr[i].addr, addr))
			return true;
	return false;
}

/* What else has the attachment's name, its device or its addresses. */
static int add_conflicts(struct daemon *daemon,
                         const struct cni_request *request, struct err *err)
{
	struct endpoints *eps = &daemon->endpoints;
	struct ep *old =
		endpoint_find(eps, request->container_id, request->ifname);
	char text[ADDR_TEXT_MAX];

	if (old && old->state == ENDPOINT_READY &&
	    attachment_alive(daemon, old))
		return err_set(err, WIRE_OTHER,
		               "container %.64s has %s already, as endpoint %u",
		               request->container_id, request->ifname,
		               old->number);
	if (old)
		attachment_forget(daemon, old);
	/* A number of a device comes again when its device is gone. */
	old = endpoint_by_ifindex(eps, request->ifindex);
	if (old && attachment_alive(daemon, old))
		return err_set(err, WIRE_OTHER, "%s is endpoint %u's device",
		               request->host_ifname, old->number);
	if (old)
		attachment_forget(daemon, old);
	for (int f = 0; f < FAMILY__COUNT; f++) {
		const struct addr *addr = &request->addr[f];

		if (addr_is_zero(addr))
			continue;
		old = endpoint_by_addr(eps, addr);
		if (old || is_local(daemon, addr))
			return err_set(err, WIRE_OTHER, "address %s is %s",
			               addr_format(addr, text),
			               old ? "another endpoint's"
			                   : "this node's own");
	}
	return 0;
}

static int add_check(struct daemon *daemon, const struct cni_request *request,
                     struct err *err)
{
	const char *why = not_ready(daemon);
	const struct pod *pod;

	if (why)
		return err_set(err, WIRE_AGAIN, "%s", why);
	/* An attachment whose device is another's would be policed there. */
	if (nl_ifindex(&daemon->node.nl, request->host_ifname) !=
	    request->ifindex)
		return err_set(err, CNI_BAD_CONFIG,
		               "no device %s with the number %d here",
		               request->host_ifname, request->ifindex);
	if (!*request->pod_ns)
		return add_conflicts(daemon, request, err);
	pod = store_pod(&daemon->store, request->pod_ns, request->pod_name);
	if (!pod)
		return err_set(err, WIRE_AGAIN, "pod %s/%s is not known yet",
		               request->pod_ns, request->pod_name);
	/* Policy would take it for the node and leave it open. */
	if (pod->host_network)
		return err_set(err, CNI_BAD_CONFIG,
		               "pod %s/%s is hostNetwork: it has no interface",
		               request->pod_ns, request->pod_name);
	return add_conflicts(daemon, request, err);
}

static void ep_fill(struct ep *ep, const struct cni_request *request,
                    const struct node *node)
{
	const uint16_t mtu = node->pod_mtu ? node->pod_mtu : MTU_DEFAULT;

	snprintf(ep->container_id, sizeof(ep->container_id), "%s",
	         request->container_id);
	snprintf(ep->ifname, sizeof(ep->ifname), "%s", request->ifname);
	snprintf(ep->host_ifname, sizeof(ep->host_ifname), "%s",
	         request->host_ifname);
	snprintf(ep->netns, sizeof(ep->netns), "%s", request->netns);
	snprintf(ep->network, sizeof(ep->network), "%s", request->network);
	snprintf(ep->pod_ns, sizeof(ep->pod_ns), "%s", request->pod_ns);
	snprintf(ep->pod_name, sizeof(ep->pod_name), "%s", request->pod_name);
	ep->ifindex = request->ifindex;
	memcpy(ep->mac, request->mac, sizeof(ep->mac));
	ep->mtu = request->mtu && request->mtu < mtu ? request->mtu : mtu;
}

/* The addresses that come with the request; those of our range are taken. */
static int addrs_given(struct daemon *daemon, struct ep *ep,
                       const struct cni_request *request, struct err *err)
{
	for (int f = 0; f < FAMILY__COUNT; f++) {
		struct ipam *ipam = &daemon->ipam[f];
		int r;

		if (addr_is_zero(&request->addr[f]))
			continue;
		r = ipam->enabled ? ipam_take(ipam, &request->addr[f])
		                  : -ERANGE;
		if (r == -EEXIST)
			return err_set(err, WIRE_OTHER,
			               "an address is in use already");
		ep->addr[f] = request->addr[f];
		ep->own_addr[f] = !r;
	}
	return 0;
}

static int addrs_alloc(struct daemon *daemon, struct ep *ep, struct err *err)
{
	bool any = false;

	for (int f = 0; f < FAMILY__COUNT; f++) {
		struct ipam *ipam = &daemon->ipam[f];
		int r;

		if (!ipam->enabled)
			continue;
		do {
			r = ipam_alloc(ipam, loop_now_ns(), &ep->addr[f], err);
			/* One that a delegate gave, or the node has: passed
			 * over, it stays in use. */
		} while (!r && is_local(daemon, &ep->addr[f]));
		if (r)
			return WIRE_AGAIN;
		ep->own_addr[f] = true;
		any = true;
	}
	return any ? 0 : err_set(err, WIRE_AGAIN, "%s", NO_CIDR);
}

/* Back to where we were: nobody has seen it. */
static void add_undo(struct daemon *daemon, struct ep *ep)
{
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (ep->own_addr[f])
			ipam_free(&daemon->ipam[f], &ep->addr[f],
			          loop_now_ns());
	endpoint_drop(&daemon->endpoints, ep);
	reconcile_schedule(daemon->reconcile);
}

/* Addresses, the file, the kernel: in this order. */
static int add_run(struct daemon *daemon, const struct cni_request *request,
                   struct ep *ep, struct err *err)
{
	int r = request->n_addrs ? addrs_given(daemon, ep, request, err)
	                         : addrs_alloc(daemon, ep, err);

	if (r)
		return r;
	ep_fill(ep, request, &daemon->node);
	ep->state = ENDPOINT_READY;
	if (endpoint_save(&daemon->endpoints, ep, err) ||
	    reconcile_now(daemon->reconcile, err)) {
		(void)err_wrap(err, -EAGAIN, "nothing was attached");
		return WIRE_AGAIN;
	}
	return 0;
}

static json_t *add_reply(const struct daemon *daemon, const struct ep *ep)
{
	json_t *ips = json_array(), *gateway = json_object();
	char text[ADDR_TEXT_MAX];

	for (int f = 0; f < FAMILY__COUNT; f++) {
		if (addr_is_zero(&ep->addr[f]))
			continue;
		json_array_append_new(
			ips, json_string(addr_format(&ep->addr[f], text)));
		json_object_set_new(
			gateway, f == FAMILY_V4 ? "v4" : "v6",
			json_string(f == FAMILY_V4 ? GATEWAY_V4 : GATEWAY_V6));
	}
	return json_pack("{s:o, s:i, s:I, s:o, s:s, s:s, s:i}", "ips", ips,
	                 "mtu", ep->mtu, "gso_max",
	                 (json_int_t)daemon->node.pod_gso_max, "gateway",
	                 gateway, "gw_mac", GATEWAY_MAC, "pins",
	                 dp_pin_dir(daemon->dp), "endpoint", ep->number);
}

static json_t *cni_add(struct daemon *daemon, const json_t *json)
{
	struct cni_request request = {};
	struct err err = {};
	struct ep *ep = NULL;
	int r = cni_request_parse(json, true, &request, &err);

	if (!r)
		r = add_check(daemon, &request, &err);
	if (!r) {
		ep = endpoint_new(&daemon->endpoints);
		r = ep ? add_run(daemon, &request, ep, &err)
		       : err_set(&err, WIRE_AGAIN,
		                 "every endpoint number is in use");
	}
	if (!r && ep)
		return add_reply(daemon, ep);
	if (ep)
		add_undo(daemon, ep);
	log_warn("ADD %.12s %s: %s",
	         request.container_id ? request.container_id : "?",
	         request.ifname ? request.ifname : "?", err.text);
	return reply_error(r, &err);
}

static void cni_add_stream(struct daemon *daemon, const json_t *json,
                           struct server_stream *stream)
{
	add_wait(daemon, json, stream, cni_add);
}

/* ---- del, gc ---- */

static json_t *cni_del(struct daemon *daemon, const json_t *json)
{
	struct cni_request request = {};
	struct err err = {};
	struct ep *ep;
	int r = cni_request_key(json, &request, &err);

	if (r)
		return reply_error(r, &err);
	ep = endpoint_find(&daemon->endpoints, request.container_id,
	                   request.ifname);
	if (!ep)
		return json_pack("{s:b}", "taken", 0);
	attachment_close(daemon, ep);
	attachments_settle(daemon);
	return json_pack("{s:b}", "taken", attachment_has_link(daemon, ep));
}

/* The endpoint numbers that stay; a list that cannot be read ends nothing. */
static int gc_parse(struct daemon *daemon, const json_t *json,
                    const char **ret_network, bool valid[ENDPOINT_MAX],
                    struct err *err)
{
	const json_t *list = json_object_get(json, "valid");
	json_t *item;
	size_t i;

	*ret_network = json_string_value(json_object_get(json, "network"));
	if (!*ret_network || !**ret_network)
		return err_set(err, CNI_BAD_CONFIG, "network is missing");
	if (!json_is_array(list))
		return err_set(err, CNI_BAD_CONFIG, "valid is no list");
	json_array_foreach(list, i, item)
	{
		struct cni_request request = {};
		const struct ep *ep;

		if (cni_request_key(item, &request, err)) {
			(void)err_wrap(err, -EINVAL, "valid[%zu]", i);
			return CNI_BAD_CONFIG;
		}
		ep = endpoint_find(&daemon->endpoints, request.container_id,
		                   request.ifname);
		if (ep)
			valid[ep->number] = true;
	}
	return 0;
}

static json_t *cni_gc(struct daemon *daemon, const json_t *json)
{
	bool valid[ENDPOINT_MAX] = {};
	const char *network = NULL;
	struct err err = {};
	int closed = 0, r = gc_parse(daemon, json, &network, valid, &err);

	if (r)
		return reply_error(r, &err);
	for (int i = 1; i < (int)ENDPOINT_MAX; i++) {
		struct ep *ep = &daemon->endpoints.ep[i];

		if (ep->state != ENDPOINT_READY || valid[i] ||
		    strcmp(ep->network, network) != 0)
			continue;
		attachment_close(daemon, ep);
		closed++;
	}
	if (closed) {
		log_info("GC of %s: %d attachments closed", network, closed);
		attachments_settle(daemon);
	}
	return json_object();
}

/* ---- check ---- */

static int check_kernel(const struct daemon *daemon, const struct ep *ep,
                        struct err *err)
{
	static const char *const pins[] = {"stub_from_pod", "stub_to_pod"};
	struct endpoint have;

	if (!attachment_alive(daemon, ep))
		return err_set(err, WIRE_OTHER, "its device %s is gone",
		               ep->host_ifname);
	if (dp_endpoint_get(daemon->dp, ep->number, &have) ||
	    have.ifindex != (uint32_t)ep->ifindex || have.closed)
		return err_set(err, WIRE_OTHER,
		               "the datapath does not know endpoint %u",
		               ep->number);
	for (size_t i = 0; i < ARRAY_SIZE(pins); i++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", dp_pin_dir(daemon->dp),
		         pins[i]);
		if (access(path, F_OK))
			return err_set(err, WIRE_OTHER, "%s: %s", path,
			               strerror(errno));
	}
	return 0;
}

static int check_run(struct daemon *daemon, const struct cni_request *request,
                     struct err *err)
{
	const struct ep *ep = endpoint_find(
		&daemon->endpoints, request->container_id, request->ifname);
	char text[ADDR_TEXT_MAX];

	if (!ep || ep->state != ENDPOINT_READY)
		return err_set(err, WIRE_OTHER,
		               "container %.64s has no attachment %s",
		               request->container_id, request->ifname);
	if (strcmp(ep->host_ifname, request->host_ifname) != 0)
		return err_set(err, WIRE_OTHER, "its device is %s, not %s",
		               ep->host_ifname, request->host_ifname);
	if (memcmp(ep->mac, request->mac, sizeof(ep->mac)) != 0)
		return err_set(err, WIRE_OTHER, "its MAC address is another");
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (addr_compare(&ep->addr[f], &request->addr[f]) != 0)
			return err_set(
				err, WIRE_OTHER, "its %s address is %s",
				f == FAMILY_V4 ? "IPv4" : "IPv6",
				addr_is_zero(&ep->addr[f])
					? "none"
					: addr_format(&ep->addr[f], text));
	return check_kernel(daemon, ep, err);
}

static json_t *cni_check(struct daemon *daemon, const json_t *json)
{
	struct cni_request request = {};
	struct err err = {};
	int r = cni_request_parse(json, false, &request, &err);

	if (!r)
		r = check_run(daemon, &request, &err);
	return r ? reply_error(r, &err) : json_object();
}

const struct server_op cni_ops[] = {
	{"cni.add",    NULL,       cni_add_stream},
        {"cni.del",    cni_del,    NULL          },
	{"cni.check",  cni_check,  NULL          },
        {"cni.gc",     cni_gc,     NULL          },
	{"cni.status", cni_status, NULL          },
        {NULL,         NULL,       NULL          },
};
