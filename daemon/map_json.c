// SPDX-License-Identifier: Apache-2.0
/* map_json.c - see map_json.h. */
#include "daemon/map_json.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/names.h"
#include "daemon/words.h"
#include "lib/addr.h"

static const struct compiled *in_force(const struct daemon *daemon)
{
	return daemon->reconcile ? reconcile_compiled(daemon->reconcile) : NULL;
}

static int rule_compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a;
	const uint32_t y = ((const struct rule_name *)b)->number;

	return (x > y) - (x < y);
}

const char *rule_text(const struct daemon *daemon, unsigned number,
                      char buf[RULE_TEXT_MAX])
{
	const struct compiled *compiled = in_force(daemon);
	const struct rule_name *rule = NULL;
	const uint32_t key = number;

	buf[0] = '\0';
	if (compiled && compiled->n_rules)
		rule = bsearch(&key, compiled->rule, compiled->n_rules,
		               sizeof(*compiled->rule), rule_compare);
	if (rule)
		snprintf(buf, RULE_TEXT_MAX, "%s/%s %s[%u]", rule->ns,
		         rule->name, dir_name(rule->dir), rule->index);
	else if (number)
		snprintf(buf, RULE_TEXT_MAX, "rule %u, no longer in force",
		         number);
	return buf;
}

static const char *mac_text(const uint8_t mac[6], char buf[18])
{
	snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
	         mac[2], mac[3], mac[4], mac[5]);
	return buf;
}

/* "shop/web" of an endpoint's number; "" when it has none. */
static const char *endpoint_text(const struct daemon *daemon, unsigned number,
                                 char buf[WHO_TEXT_MAX])
{
	const struct ep *ep;

	buf[0] = '\0';
	if (!number || number >= ENDPOINT_MAX)
		return buf;
	ep = &daemon->endpoints.ep[number];
	if (ep->state != ENDPOINT_FREE && ep->pod_name[0])
		snprintf(buf, WHO_TEXT_MAX, "%s/%s", ep->pod_ns, ep->pod_name);
	return buf;
}

static json_t *endpoint_element(const struct daemon *daemon,
                                const struct mapwalk *walk, const void *key,
                                const void *value)
{
	const struct endpoint *ep = value;
	const uint32_t number = *(const uint32_t *)key;
	char pod[WHO_TEXT_MAX], mac[18];

	(void)walk;
	return json_pack("{s:i, s:s, s:i, s:i, s:s, s:i, s:b, s:i}", "id",
	                 (int)number, "pod", endpoint_text(daemon, number, pod),
	                 "ifindex", (int)ep->ifindex, "slot", (int)ep->slot,
	                 "mac", mac_text(ep->mac, mac), "mtu", (int)ep->mtu,
	                 "closed", (int)ep->closed, "serial", (int)ep->serial);
}

static json_t *addr_element(const struct daemon *daemon,
                            const struct mapwalk *walk, const void *key,
                            const void *value)
{
	const struct addr_info *info = value;
	char text[ADDR_TEXT_MAX], pod[WHO_TEXT_MAX];
	struct addr addr;

	(void)walk;
	memcpy(&addr, key, sizeof(addr));
	return json_pack("{s:s, s:I, s:s, s:i, s:s, s:b}", "address",
	                 addr_format(&addr, text), "identity",
	                 (json_int_t)info->identity, "identity_name",
	                 identity_name(in_force(daemon), info->identity),
	                 "endpoint", (int)info->endpoint, "pod",
	                 endpoint_text(daemon, info->endpoint, pod), "local",
	                 (int)info->local);
}

static json_t *prefix_element(const struct daemon *daemon,
                              const struct mapwalk *walk, const void *key,
                              const void *value)
{
	const struct prefix_key *k = key;
	const struct prefix_info *info = value;
	struct prefix prefix = {.bits = (uint8_t)k->bits};
	char text[PREFIX_TEXT_MAX];

	(void)walk;
	memcpy(&prefix.addr, k->addr, sizeof(prefix.addr));
	return json_pack("{s:s, s:I, s:s, s:b, s:b}", "prefix",
	                 prefix_words(&prefix, text), "identity",
	                 (json_int_t)info->identity, "identity_name",
	                 identity_name(in_force(daemon), info->identity),
	                 "pool", (int)info->pool, "no_masquerade",
	                 (int)info->no_masq);
}

static json_t *uplink_element(const struct daemon *daemon,
                              const struct mapwalk *walk, const void *key,
                              const void *value)
{
	const struct uplink *uplink = value;
	json_t *addresses = json_array();
	char text[ADDR_TEXT_MAX];

	(void)walk;
	(void)daemon;
	for (int i = 0; i < FAMILY__COUNT; i++)
		if (!addr_is_zero(&uplink->addr[i]))
			(void)json_array_append_new(
				addresses, json_string(addr_format(
						   &uplink->addr[i], text)));
	return json_pack("{s:i, s:i, s:o}", "ifindex", *(const int32_t *)key,
	                 "mtu", (int)uplink->mtu, "masquerade_addresses",
	                 addresses);
}

static json_t *slot_element(const struct daemon *daemon,
                            const struct mapwalk *walk, const void *key,
                            const void *value)
{
	const struct slot *slot = value;

	(void)walk;
	(void)daemon;
	return json_pack("{s:i, s:b, s:b, s:i, s:i}", "slot",
	                 *(const int32_t *)key, "isolated_ingress",
	                 (int)slot->isolated[DIR_INGRESS], "isolated_egress",
	                 (int)slot->isolated[DIR_EGRESS], "shapes_ingress",
	                 (int)slot->shapes[DIR_INGRESS], "shapes_egress",
	                 (int)slot->shapes[DIR_EGRESS]);
}

static const char *peer_text(const struct daemon *daemon, uint32_t peer)
{
	static const char *const classes[CLASS__COUNT] = {"anyone",
	                                                  "every pod (IPv4)",
	                                                  "every pod (IPv6)",
	                                                  "every node (IPv4)",
	                                                  "every node (IPv6)",
	                                                  "the world (IPv4)",
	                                                  "the world (IPv6)"};

	if (!(peer & ~ID_CLASS_MASK))
		return peer >> ID_CLASS_SHIFT < CLASS__COUNT
		               ? classes[peer >> ID_CLASS_SHIFT]
		               : "an unknown class";
	return identity_name(in_force(daemon), peer);
}

static json_t *policy_element(const struct daemon *daemon,
                              const struct mapwalk *walk, const void *key,
                              const void *value)
{
	const struct policy_key *k = key;
	const struct policy_val *val = value;
	char proto[PROTO_TEXT_MAX], rule[RULE_TEXT_MAX];

	return json_pack("{s:i, s:s, s:s, s:s, s:i, s:b, s:s, s:I}", "slot",
	                 (int)walk->outer, "peer_name",
	                 peer_text(daemon, k->peer), "direction",
	                 dir_name(k->dir), "protocol",
	                 k->proto ? proto_name(k->proto, proto) : "any", "port",
	                 (int)ntohs(k->port), "allow", (int)val->allow, "rule",
	                 rule_text(daemon, val->rule, rule), "peer",
	                 (json_int_t)k->peer);
}

static json_t *range_element(const struct daemon *daemon,
                             const struct mapwalk *walk, const void *key,
                             const void *value)
{
	const struct range_key *k = key;
	const struct policy_val *val = value;
	const int first = ntohs(k->port);
	const int last = first | (0xffff >> (k->bits - RANGE_BITS_FIXED));
	char proto[PROTO_TEXT_MAX], rule[RULE_TEXT_MAX];

	return json_pack("{s:i, s:s, s:s, s:s, s:i, s:i, s:b, s:s, s:I}",
	                 "slot", (int)walk->outer, "peer_name",
	                 peer_text(daemon, k->peer), "direction",
	                 dir_name(k->dir), "protocol",
	                 proto_name(k->proto, proto), "port", first, "end_port",
	                 last, "allow", (int)val->allow, "rule",
	                 rule_text(daemon, val->rule, rule), "peer",
	                 (json_int_t)k->peer);
}

static bool flow_is_open(uint32_t flags, uint8_t proto)
{
	if (proto == IPPROTO_TCP)
		return flags & FLOW_MAIN || flags & FLOW_SYNACK ||
		       (flags & FLOW_ANSWERED && !(flags & FLOW_SYN));
	return flags & (FLOW_MAIN | FLOW_ANSWERED);
}

const char *flow_state(const struct flow *flow, unsigned char proto)
{
	if (flow->flags & FLOW_DEAD)
		return "dead";
	if (flow->flags & FLOW_CUT)
		return "cut";
	if (proto == IPPROTO_TCP &&
	    flow->flags & (FLOW_FIN0 | FLOW_FIN1 | FLOW_RST))
		return "closing";
	return flow_is_open(flow->flags, proto) ? "established" : "half-open";
}

static json_t *flow_element(const struct daemon *daemon,
                            const struct mapwalk *walk, const void *key,
                            const void *value)
{
	const struct flow_key *k = key;
	const struct flow *flow = value;
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX], proto[PROTO_TEXT_MAX];
	char owner[WHO_TEXT_MAX];
	json_t *element = json_pack(
		"{s:s, s:i, s:s, s:i, s:s, s:s, s:I, s:I, s:I}", "address_a",
		addr_format(&k->ends.saddr, from), "port_a",
		(int)ntohs(k->ends.sport), "address_b",
		addr_format(&k->ends.daddr, to), "port_b",
		(int)ntohs(k->ends.dport), "protocol",
		proto_name(k->ends.proto, proto), "state",
		flow_state(flow, k->ends.proto), "flags",
		(json_int_t)flow->flags, "epoch", (json_int_t)flow->epoch,
		"tag", (json_int_t)flow->tag);

	if (!element)
		return NULL;
	if (walk->nested)
		(void)json_object_set_new(element, "shard",
		                          json_integer(walk->outer));
	(void)json_object_set_new(
		element, "owner",
		json_string(endpoint_text(daemon, flow->owner, owner)));
	return element;
}

static json_t *frag_element(const struct daemon *daemon,
                            const struct mapwalk *walk, const void *key,
                            const void *value)
{
	const struct frag_key *k = key;
	const struct frag_ports *ports = value;
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX], proto[PROTO_TEXT_MAX];

	(void)walk;
	(void)daemon;
	return json_pack("{s:s, s:s, s:s, s:I, s:i, s:i}", "source",
	                 addr_format(&k->saddr, from), "destination",
	                 addr_format(&k->daddr, to), "protocol",
	                 proto_name(k->proto, proto), "id",
	                 (json_int_t)ntohl(k->id), "source_port",
	                 (int)ntohs(ports->sport), "destination_port",
	                 (int)ntohs(ports->dport));
}

static json_t *held_element(const struct daemon *daemon,
                            const struct mapwalk *walk, const void *key,
                            const void *value)
{
	const uint32_t number = *(const uint32_t *)key;
	char pod[WHO_TEXT_MAX];

	(void)walk;
	return json_pack("{s:i, s:s, s:I}", "id", (int)number, "pod",
	                 endpoint_text(daemon, number, pod), "flows",
	                 (json_int_t) * (const uint32_t *)value);
}

static json_t *epochs_element(const struct daemon *daemon,
                              const struct mapwalk *walk, const void *key,
                              const void *value)
{
	const struct epochs *epochs = value;
	json_t *list = json_array();

	(void)daemon;
	(void)walk;
	(void)key;
	for (unsigned i = 1; i < ENDPOINT_MAX; i++)
		if (epochs->endpoint[i])
			(void)json_array_append_new(
				list,
				json_pack("{s:i, s:I}", "id", (int)i, "epoch",
			                  (json_int_t)epochs->endpoint[i]));
	return json_pack("{s:I, s:o}", "node", (json_int_t)epochs->node,
	                 "endpoints", list);
}

static uint64_t cpu_sum(const struct mapwalk *walk, const void *value)
{
	uint64_t sum = 0, one;

	for (uint32_t i = 0; i < walk->n_cpus; i++) {
		memcpy(&one, (const uint8_t *)value + sizeof(one) * i,
		       sizeof(one));
		sum += one;
	}
	return sum;
}

static json_t *drop_element(const struct daemon *daemon,
                            const struct mapwalk *walk, const void *key,
                            const void *value)
{
	const uint32_t index = *(const uint32_t *)key;

	(void)daemon;
	return json_pack("{s:s, s:s, s:s, s:I}", "hook",
	                 hook_name(index / DROP__COUNT), "reason",
	                 drop_name(index % DROP__COUNT), "text",
	                 drop_text(index % DROP__COUNT), "packets",
	                 (json_int_t)cpu_sum(walk, value));
}

static json_t *counter_element(const struct daemon *daemon,
                               const struct mapwalk *walk, const void *key,
                               const void *value)
{
	const uint32_t index = *(const uint32_t *)key;

	(void)daemon;
	return json_pack("{s:s, s:s, s:I}", "name", counter_name(index), "text",
	                 counter_text(index), "count",
	                 (json_int_t)cpu_sum(walk, value));
}

static json_t *hook_element(const struct daemon *daemon,
                            const struct mapwalk *walk, const void *key,
                            const void *value)
{
	(void)daemon;
	(void)walk;
	return json_pack("{s:s, s:I}", "hook",
	                 hook_name(*(const uint32_t *)key), "program_id",
	                 (json_int_t) * (const uint32_t *)value);
}

static json_t *service_element(const struct daemon *daemon,
                               const struct mapwalk *walk, const void *key,
                               const void *value)
{
	char addr[ADDR_TEXT_MAX], proto[PROTO_TEXT_MAX], name[WHO_TEXT_MAX];
	const struct service *service = value;
	struct service_key k;

	(void)walk;
	memcpy(&k, key, sizeof(k));
	name[0] = '\0';
	if (daemon->services)
		(void)services_name(daemon->services, &k.vip, k.port, k.proto,
		                    name, sizeof(name));
	return json_pack("{s:s, s:s, s:i, s:s, s:I, s:I}", "service", name,
	                 "address", addr_format(&k.vip, addr), "port",
	                 (int)ntohs(k.port), "protocol",
	                 proto_name(k.proto, proto), "first",
	                 (json_int_t)service->first, "count",
	                 (json_int_t)service->count);
}

static json_t *backend_element(const struct daemon *daemon,
                               const struct mapwalk *walk, const void *key,
                               const void *value)
{
	char addr[ADDR_TEXT_MAX];
	struct backend backend;

	(void)daemon;
	(void)walk;
	memcpy(&backend, value, sizeof(backend));
	return json_pack("{s:I, s:s, s:i, s:I}", "place",
	                 (json_int_t) * (const uint32_t *)key, "address",
	                 addr_format(&backend.addr, addr), "port",
	                 (int)ntohs(backend.port), "tag",
	                 (json_int_t)backend.tag);
}

static json_t *hex(const void *data, size_t size)
{
	const size_t shown = size > 256 ? 256 : size;
	_cleanup_(free_p) char *text = calloc(shown, 2);
	static const char digit[] = "0123456789abcdef";
	const uint8_t *byte = data;

	for (size_t i = 0; text && i < shown; i++) {
		text[2 * i] = digit[byte[i] >> 4];
		text[2 * i + 1] = digit[byte[i] & 15];
	}
	return text ? json_stringn(text, 2 * shown) : NULL;
}

static json_t *other_element(const struct daemon *daemon,
                             const struct mapwalk *walk, const void *key,
                             const void *value)
{
	(void)daemon;
	return json_pack("{s:o*, s:o*}", "key_hex",
	                 hex(key, walk->info.key_size), "value_hex",
	                 hex(value, walk->value_size));
}

static const struct reader {
	const char *name;
	size_t key_size, value_size; /* as the reader expects them */
	json_t *(*read)(const struct daemon *daemon, const struct mapwalk *walk,
	                const void *key, const void *value);
} readers[] = {
	{"endpoints", 4,			  sizeof(struct endpoint),    endpoint_element},
	{"addrs",     sizeof(struct addr),        sizeof(struct addr_info),   addr_element    },
	{"prefixes",  sizeof(struct prefix_key),  sizeof(struct prefix_info),
         prefix_element								       },
	{"uplinks",   4,			  sizeof(struct uplink),      uplink_element  },
	{"slots",     4,			  sizeof(struct slot),        slot_element    },
	{"policies",  sizeof(struct policy_key),  sizeof(struct policy_val),
         policy_element								       },
	{"ranges",    sizeof(struct range_key),   sizeof(struct policy_val),
         range_element									},
	{"flows",     sizeof(struct flow_key),    sizeof(struct flow),        flow_element    },
	{"flows_new", sizeof(struct flow_key),    sizeof(struct flow),
         flow_element									 },
	{"frags",     sizeof(struct frag_key),    sizeof(struct frag_ports),
         frag_element									 },
	{"held",      4,			  4,			  held_element    },
	{"epochs",    4,			  sizeof(struct epochs),      epochs_element  },
	{"drops",     4,			  8,			  drop_element    },
	{"counters",  4,			  8,                          counter_element },
	{"hooks",     4,			  4,			  hook_element    },
	{"services",  sizeof(struct service_key), sizeof(struct service),
         service_element								      },
	{"backends",  4,			  sizeof(struct backend),     backend_element },
};

static bool type_is_array(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

bool map_element_used(const char *name, const struct mapwalk *walk,
                      const void *key, const void *value)
{
	const uint8_t *byte = value;

	if (!strcmp(name, "slots") && *(const uint32_t *)key <= SLOT_CLOSED)
		return true; /* the two reserved ones; the open one is zero */
	if (!strcmp(name, "counters"))
		return true;
	if (!type_is_array(walk->info.type))
		return true;
	for (uint32_t i = 0; i < walk->value_size; i++)
		if (byte[i])
			return true;
	return false;
}

json_t *map_element_json(const struct daemon *daemon, const char *name,
                         const struct mapwalk *walk, const void *key,
                         const void *value)
{
	if (!map_element_used(name, walk, key, value))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		if (!strcmp(readers[i].name, name) &&
		    readers[i].key_size == walk->info.key_size &&
		    readers[i].value_size == walk->info.value_size)
			return readers[i].read(daemon, walk, key, value);
	return other_element(daemon, walk, key, value);
}
