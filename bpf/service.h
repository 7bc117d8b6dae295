/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * service.h - what pods send to a ClusterIP goes to one of its backends.
 *
 * Asked once a flow, in from_pod, before policy is: that is judged on the
 * backend.  A flow through a service is translated as a masqueraded one is: its
 * near entry is keyed by the tuple that the pod sends, its far entry by what
 * the backend sees.  When the pod then opens a flow to that backend itself, and
 * from the same port, the tuple that it sends is the far entry's: this flow's
 * near key bears a 1 in its tuple's zero[0], and it leaves from another port.
 */
#pragma once

#include "event.h"
#include "maps.h"
#include "pkt.h"

/*
 * service_pick - if @pkt asks for a service, make a backend its destination.
 *
 * Return: DROP_NONE, DROP_NO_BACKEND.
 */
__noinline int service_pick(struct pkt *pkt)
{
	const struct service *service;
	const struct backend *backend;
	struct service_key key = {};
	__u32 first, count, at;
	__u64 whole;

	if (!pkt || !proto_has_ports(pkt->tuple.proto))
		return DROP_NONE;
	key.vip = pkt->tuple.daddr;
	key.port = pkt->tuple.dport;
	key.proto = pkt->tuple.proto;
	service = bpf_map_lookup_elem(&services, &key);
	if (!service)
		return DROP_NONE;
	/* In one piece: it may be replaced meanwhile. */
	whole = *(const volatile __u64 *)service;
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
		first = (__u32)whole;
		count = whole >> 32;
	} else {
		first = whole >> 32;
		count = (__u32)whole;
	}
	if (!count)
		return DROP_NO_BACKEND;
	at = first + bpf_get_prandom_u32() % count;
	backend = bpf_map_lookup_elem(&backends, &at);
	if (!backend)
		return DROP_NO_BACKEND;
	pkt->tuple.daddr = backend->addr;
	pkt->tuple.dport = backend->port;
	asm volatile("" ::: "memory");
	if (backend->tag != service_tag(&key)) {
		pkt->tuple.daddr = key.vip;
		pkt->tuple.dport = key.port;
		return DROP_NO_BACKEND;
	}
	pkt->xlate |= XLATE_SERVICE;
	return DROP_NONE;
}
