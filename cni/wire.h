/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - requests and replies on stiled's socket (run dir, stile.sock).
 *
 * A connection carries one request: one JSON object on one line.  The reply is
 * one JSON object on one line, except for streams ("flows" with follow), which
 * go on line by line until either side closes.
 *
 * A request has "op" and the operation's own keys; a reply either the
 * operation's keys, or {"error": {"code": N, "msg": "…"}} where code is the
 * CNI specification's (11: try again) or 100 for everything else.
 *
 * cni.add   {container_id, ifname, netns, host_ifname, ifindex, mac,
 *            pod_namespace?, pod_name?, pod_uid?, ips?: ["10.0.0.5/24", …]
 * (delegated or from prevResult), mtu? (of the configuration: not above it),
 *            network (name of the CNI network)}
 *        -> {ips: ["10.0.0.5"], mtu, gso_max, gateway: {v4, v6}, gw_mac,
 *            pins: "/sys/fs/bpf/stile/v1", endpoint: N}
 *           Answered when address, policy and endpoint are in the kernel; the
 *           plugin then attaches the pinned stubs (pins/stub_from_pod,
 *           pins/stub_to_pod), configures both sides and sets them up.
 * cni.del   {container_id, ifname, host_ifname} -> {taken: true|false}
 *           Closes the endpoint, frees the address.  Unknown attachments are a
 *           success.  taken: the daemon deletes the link, by its ifindex: the
 *           plugin takes it down and renames it meanwhile ("stld…", so that
 *           the name is free); else the plugin deletes it.  A link whose name
 *           is not WIRE_LINK_PREFIX… was made by an earlier plugin of a chain
 *           and is that one's to delete: never taken.
 * cni.check {container_id, ifname, host_ifname, ips, mac} -> {} or error
 * cni.gc    {network, valid: [{container_id, ifname}, …]} -> {}
 *           As cni.del for every other attachment of that network.
 * cni.status{delegated?: true (addresses come from another plugin)}
 *        -> {} or error 50
 */
#pragma once

#include <jansson.h>

#include "lib/err.h"

#define WIRE_MAX_BYTES (16u << 20) /* of one line */
#define WIRE_SOCKET    "/run/stile/stile.sock"

#define WIRE_AGAIN 11  /* CNI: try again later */
#define WIRE_OTHER 100 /* not a CNI code: a sentence for people */

/**
 * wire_call - send @request, wait for one reply line.
 *
 * @path:       of the socket.  @timeout_ms: for the whole exchange, -1 none.
 * @ret:        the reply, owned by the caller; an {"error"} reply is a success
 *              here.
 *
 * Return: 0; -ECONNREFUSED or -ENOENT when nobody listens, -ETIMEDOUT,
 * -EPROTO for a reply that is no JSON object, each with a sentence.
 */
int wire_call(const char *path, const json_t *request, int timeout_ms,
              json_t **ret, struct err *err);

/* Connect and send only; the caller reads lines from @ret_fd (streams). */
int wire_open(const char *path, const json_t *request, int *ret_fd,
              struct err *err);

/* {"error": {"code", "msg"}}; a new reference. */
json_t *wire_error(int code, const char *msg);
/* Non-zero code and the sentence when @reply is an error; else 0. */
int wire_is_error(const json_t *reply, const char **ret_msg);

/*
 * Name of the host side of an attachment's veth: "stl" + 12 hex digits.  With
 * it goes an IPv6 rule of priority WIRE_RULE_PRIORITY (iif NAME unreachable),
 * for pods that have an IPv6 address: the host's stack forwards nothing for
 * them.  Rules outlive devices: who deletes the link deletes the rule.
 */
#define WIRE_LINK_PREFIX   "stl"
#define WIRE_RULE_PRIORITY 100
#define WIRE_RULE_PROTOCOL 0x57 /* FRA_PROTOCOL: ours, whatever the name */
void wire_host_ifname(const char *container_id, const char *ifname,
                      char ret[16]);
