// SPDX-License-Identifier: Apache-2.0
/* flow_json.c - see flow_json.h. */
#include "daemon/flow_json.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/names.h"
#include "lib/addr.h"
#include "lib/util.h"

/* pkg/monitor/api: the message types that a flow may come from. */
enum hubble_event { HUBBLE_DROP = 1, HUBBLE_TRACE = 4 };

/* flow.proto, enum DropReason: the one that says nearly the same. */
static const struct {
	int code;
	const char *desc;
} reasons[DROP__COUNT] = {
	[DROP_MALFORMED] = {134, "INVALID_PACKET_DROPPED"                               },
	[DROP_ETHERTYPE] = {166, "UNSUPPORTED_L2_PROTOCOL"                              },
	[DROP_SPOOF_ADDRESS] = {132, "INVALID_SOURCE_IP"                                    },
	[DROP_SPOOF_MAC] = {130, "INVALID_SOURCE_MAC"                                   },
	[DROP_SPOOF_NEIGHBOUR] = {132, "INVALID_SOURCE_IP"                                    },
	[DROP_ROUTER_ADVERT] = {176, "FORBIDDEN_ICMPV6_MESSAGE"                             },
	[DROP_MARTIAN] = {151, "STALE_OR_UNROUTABLE_IP"                               },
	[DROP_SOURCE_ROUTE] = {134, "INVALID_PACKET_DROPPED"                               },
	[DROP_EXT_HEADERS] = {156, "INVALID_IPV6_EXTENSION_HEADER"                        },
	[DROP_FRAGMENT] = {175, "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"            },
	[DROP_POLICY_EGRESS] = {133, "POLICY_DENIED"                                        },
	[DROP_POLICY_INGRESS] = {133, "POLICY_DENIED"                                        },
	[DROP_POLICY_MISSING] =
		{165, "NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION"},
	[DROP_ENDPOINT_CLOSED] = {203, "DROP_EP_NOT_READY"                                    },
	[DROP_NO_POD] = {152, "NO_MATCHING_LOCAL_CONTAINER_FOUND"                    },
	[DROP_NO_ROUTE] = {169, "FIB_LOOKUP_FAILED"                                    },
	[DROP_NO_MASQUERADE] = {167, "NO_MAPPING_FOR_NAT_MASQUERADE"                        },
	[DROP_NAT_PORTS] = {167, "NO_MAPPING_FOR_NAT_MASQUERADE"                        },
	[DROP_FLOW_TABLE] = {155, "CT_MAP_INSERTION_FAILED"                              },
	[DROP_TTL] = {196, "TTL_EXCEEDED"					 },
	[DROP_TOO_BIG] = {134, "INVALID_PACKET_DROPPED"                               },
	[DROP_ICMP_NO_FLOW] = {163, "UNKNOWN_CONNECTION_TRACKING_STATE"                    },
	[DROP_NO_PROGRAM] = {140, "MISSED_TAIL_CALL"                                     },
	[DROP_REDIRECT] = {169, "FIB_LOOKUP_FAILED"                                    },
	[DROP_NO_FLOW] = {163, "UNKNOWN_CONNECTION_TRACKING_STATE"                    },
	[DROP_NO_BACKEND] = {158, "SERVICE_BACKEND_NOT_FOUND"                            },
	[DROP_NO_NODE] = {160, "NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT"                  },
	[DROP_SPOOF_TUNNEL] = {132, "INVALID_SOURCE_IP"                                    },
};

/* ---- the object ---------------------------------------------------------- */

static void put(json_t *object, const char *key, json_t *value)
{
	if (value)
		(void)json_object_set_new(object, key, value);
}

static void put_text(json_t *object, const char *key, const char *text)
{
	if (text && text[0])
		put(object, key, json_string(text));
}

/* protobuf leaves zeros out. */
static void put_number(json_t *object, const char *key, uint64_t n)
{
	if (n)
		put(object, key, json_integer((json_int_t)n));
}

/* Hubble's tools know the reserved identities by these numbers. */
static uint32_t hubble_identity(uint32_t number)
{
	static const struct {
		const char *word;
		uint32_t number;
	} known[] = {
		{"host",        1},
		{"world",       2},
		{"init",        5},
		{"remote-node", 6},
	};
	const char *word = number ? identity_reserved(number) : NULL;

	for (size_t i = 0; word && i < ARRAY_SIZE(known); i++)
		if (!strcmp(known[i].word, word))
			return known[i].number;
	return number;
}

static json_t *end_json(const struct flow_view *view, int end)
{
	const char *at = view->who[end], *field;
	json_t *object = json_object(), *labels = json_array();
	char text[256];
	size_t len;

	packed_get(at, WHO_ENDPOINT, text, sizeof(text));
	put_number(object, "ID", strtoul(text, NULL, 10));
	packed_get(at, WHO_IDENTITY, text, sizeof(text));
	put_number(object, "identity",
	           hubble_identity((uint32_t)strtoul(text, NULL, 10)));
	packed_get(at, WHO_NS, text, sizeof(text));
	put_text(object, "namespace", text);
	for (unsigned n = 0; packed_next(&at, &field, &len); n++)
		if (n >= WHO_LABELS && len)
			(void)json_array_append_new(labels,
			                            json_stringn(field, len));
	if (json_array_size(labels))
		put(object, "labels", json_incref(labels));
	json_decref(labels);
	packed_get(view->who[end], WHO_POD, text, sizeof(text));
	put_text(object, "pod_name", text);
	return object;
}

static json_t *ip_json(const struct flow_tuple *t)
{
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

	if (addr_is_zero(&t->saddr) && addr_is_zero(&t->daddr))
		return NULL; /* ARP, or what could not be parsed */
	return json_pack("{s:s, s:s, s:s}", "source",
	                 addr_format(&t->saddr, from), "destination",
	                 addr_format(&t->daddr, to), "ipVersion",
	                 addr_family(&t->saddr) == FAMILY_V4 ? "IPv4" : "IPv6");
}

static json_t *tcp_flags_json(uint8_t flags)
{
	static const char *const name[] = {"FIN", "SYN", "RST", "PSH",
	                                   "ACK", "URG", "ECE", "CWR"};
	json_t *object = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(name); i++)
		if (flags & 1u << i)
			put(object, name[i], json_true());
	return object;
}

/* The requester's id is its port: from the id's side comes the request. */
static json_t *icmp_json(const struct flow_tuple *t, bool v6)
{
	const unsigned request = v6 ? 128 : 8, reply = v6 ? 129 : 0;
	json_t *object = json_object();

	if (t->sport || t->dport)
		put_number(object, "type", t->sport ? request : reply);
	return object;
}

static json_t *l4_json(const struct event *ev)
{
	const struct flow_tuple *t = &ev->tuple;
	json_t *l4 = json_object(), *ports = json_object();
	const char *name = NULL;

	put_number(ports, "source_port", ntohs(t->sport));
	put_number(ports, "destination_port", ntohs(t->dport));
	switch (t->proto) {
	case IPPROTO_TCP:
		name = "TCP";
		if (ev->tcp)
			put(ports, "flags", tcp_flags_json(ev->tcp));
		break;
	case IPPROTO_UDP:
		name = "UDP";
		break;
	case IPPROTO_SCTP:
		name = "SCTP";
		break;
	case IPPROTO_ICMP:
		put(l4, "ICMPv4", icmp_json(t, false));
		break;
	case IPPROTO_ICMPV6:
		put(l4, "ICMPv6", icmp_json(t, true));
		break;
	default: /* flow.proto has no word for it */
		break;
	}
	if (name)
		put(l4, name, json_incref(ports));
	json_decref(ports);
	return l4;
}

/* {"name", "namespace", "kind"} of "ns/name" or of packed "ns name". */
static json_t *policy_json(const char *text, size_t len, char between)
{
	const char *cut = memchr(text, between, len);
	const size_t ns_len = cut ? (size_t)(cut - text) : 0;
	const char *name = cut ? cut + 1 : text;
	size_t name_len = len - (size_t)(name - text);
	const char *more = memchr(name, between, name_len);

	if (more)
		name_len = (size_t)(more - name);
	return json_pack("{s:s%, s:s%, s:s}", "name", name, name_len,
	                 "namespace", text, ns_len, "kind", "NetworkPolicy");
}

/* flow.proto, message Service, of "ns/name". */
static json_t *service_json(const char *text)
{
	const char *cut = strchr(text, '/');

	return json_pack("{s:s, s:s%}", "name", cut ? cut + 1 : text,
	                 "namespace", text, cut ? (size_t)(cut - text) : 0);
}

static void put_policies(json_t *flow, const struct flow_view *view)
{
	static const char *const allowed[DIR__COUNT] = {"ingress_allowed_by",
	                                                "egress_allowed_by"};
	static const char *const denied[DIR__COUNT] = {"ingress_denied_by",
	                                               "egress_denied_by"};
	const int dir =
		view->audit ? (int)view->audit - 1 : flow_direction(view);
	const char *at = view->why, *field;
	json_t *list = json_array();
	size_t len;

	for (int d = 0; d < DIR__COUNT; d++)
		if (view->rule[d] && view->rule[d][0])
			put(flow, allowed[d],
			    json_pack("[o]", policy_json(view->rule[d],
			                                 strlen(view->rule[d]),
			                                 '\n')));
	for (unsigned n = 0; packed_next(&at, &field, &len); n++)
		if (n >= WHY_POLICIES)
			(void)json_array_append_new(
				list, policy_json(field, len, '/'));
	if (dir >= 0 && json_array_size(list))
		put(flow, denied[dir], json_incref(list));
	json_decref(list);
}

static void put_counts(json_t *object, const struct event *ev)
{
	static const char *const key[2][2] = {
		{"packets",       "bytes"      },
		{"reply_packets", "reply_bytes"},
	};

	for (int way = 0; way < 2; way++) {
		put(object, key[way][0],
		    json_integer((json_int_t)ev->count[way].packets));
		put(object, key[way][1],
		    json_integer((json_int_t)ev->count[way].bytes));
	}
}

static const char *event_word(unsigned type)
{
	if (type == EVENT_DROP)
		return "drop";
	return type == EVENT_END ? "end" : "flow";
}

/* What flow.proto has no field for. */
static json_t *extensions_json(const struct flow_view *view)
{
	const struct event *ev = view->event;
	json_t *value = json_object();
	char text[512], addr[ADDR_TEXT_MAX];

	put_text(value, "event", event_word(ev->type));
	put_text(value, "hook", hook_name(ev->hook));
	if (ev->type == EVENT_DROP) {
		put_text(value, "reason", drop_name(ev->reason));
		put_text(value, "reason_text", drop_text(ev->reason));
	}
	put_text(value, "nearest_rule",
	         packed_get(view->why, WHY_NEAREST, text, sizeof(text)));
	if (!addr_is_zero(&ev->vip)) {
		put_text(value, "service_ip", addr_format(&ev->vip, addr));
		put_number(value, "service_port", ntohs(ev->vip_port));
	}
	if (ev->type == EVENT_END)
		put_counts(value, ev);
	else
		put_number(value, "length", ev->length);
	return json_pack("{s:s, s:o}", "@type",
	                 "type.googleapis.com/google.protobuf.Struct", "value",
	                 value);
}

static void put_event_type(json_t *flow, const struct flow_view *view)
{
	const struct event *ev = view->event;
	json_t *type = json_object();
	char reserved[24];
	unsigned sub = 0;

	if (ev->type == EVENT_DROP) {
		const unsigned why = ev->reason < DROP__COUNT ? ev->reason : 0;

		put_number(type, "type", HUBBLE_DROP);
		put_number(type, "sub_type", (unsigned)reasons[why].code);
		put(flow, "event_type", type);
		put_number(flow, "drop_reason", (unsigned)reasons[why].code);
		put_text(flow, "drop_reason_desc", reasons[why].desc);
		return;
	}
	packed_get(view->who[1], WHO_IDENTITY, reserved, sizeof(reserved));
	if (ev->endpoint[1]) {
		put_text(flow, "trace_observation_point", "TO_ENDPOINT");
	} else if (hubble_identity((uint32_t)strtoul(reserved, NULL, 10)) ==
	           1) {
		put_text(flow, "trace_observation_point", "TO_HOST");
		sub = 2;
	} else {
		put_text(flow, "trace_observation_point", "TO_NETWORK");
		sub = 11;
	}
	put_number(type, "type", HUBBLE_TRACE);
	put_number(type, "sub_type", sub);
	put(flow, "event_type", type);
	if (ev->type == EVENT_FLOW)
		put_text(flow, "trace_reason", "NEW");
	put(flow, "is_reply", json_false());
}

json_t *flow_json(const struct flow_view *view)
{
	static const char *const direction[DIR__COUNT] = {"INGRESS", "EGRESS"};
	const struct event *ev = view->event;
	_cleanup_(free_p) char *summary = flow_summary(view);
	json_t *flow = json_object();
	const int dir = flow_direction(view);
	char when[TIME_TEXT_MAX];

	time_format(ev->time_ns, when);
	put_text(flow, "time", when);
	put_text(flow, "verdict", flow_verdict(view));
	put(flow, "IP", ip_json(&ev->tuple));
	put(flow, "l4", l4_json(ev));
	put(flow, "source", end_json(view, 0));
	put(flow, "destination", end_json(view, 1));
	if (view->service)
		put(flow, "destination_service", service_json(view->service));
	put_text(flow, "Type", "L3_L4");
	put_text(flow, "node_name", view->node);
	put_event_type(flow, view);
	if (dir >= 0)
		put_text(flow, "traffic_direction", direction[dir]);
	if (ev->ifindex)
		put(flow, "interface",
		    json_pack("{s:i}", "index", (int)ev->ifindex));
	put_policies(flow, view);
	put_text(flow, "Summary", summary);
	put(flow, "extensions", extensions_json(view));
	return json_pack("{s:o, s:s, s:s}", "flow", flow, "node_name",
	                 view->node ? view->node : "", "time", when);
}

json_t *flow_json_lost(const char *node, const char *source, uint64_t n,
                       uint64_t time_ns)
{
	char when[TIME_TEXT_MAX], count[24];

	/* protobuf's JSON form has 64-bit numbers as strings. */
	snprintf(count, sizeof(count), "%llu", (unsigned long long)n);
	return json_pack("{s:{s:s, s:s}, s:s, s:s}", "lost_events", "source",
	                 source, "num_events_lost", count, "node_name", node,
	                 "time", time_format(time_ns, when));
}
