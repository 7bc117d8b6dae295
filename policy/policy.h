/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - what should be allowed: model, specification, compiler.
 *
 * Pure arithmetic: no I/O, no globals, no clock, no logging.  The world is a
 * value; policy_eval() is the specification made executable (slow, obvious,
 * written from the NetworkPolicy API text alone); policy_compile() turns the
 * same world into sorted arrays that the daemon diffs against the maps.
 * Same input, same bytes.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "lib/arena.h"
#include "lib/err.h"

/* ---- the model (strings and arrays live in the owner's arena) --------- */

struct label {
	const char *key, *value;
};

struct labels {
	struct label *item; /* sorted by key, keys unique */
	size_t n;
};

/* A CIDR; @addr is masked; IPv4 has @bits 96 + n. */
struct prefix {
	struct addr addr;
	uint8_t bits; /* 0 to 128 */
};

enum selector_op { OP_IN, OP_NOT_IN, OP_EXISTS, OP_NOT_EXISTS };

struct requirement {
	const char *key;
	enum selector_op op;
	const char **values;
	size_t n_values;
};

/* Every requirement must hold; none: everything matches. */
struct selector {
	struct requirement *req;
	size_t n;
};

/* One item of from/to.  Either @is_block, or selectors. */
struct peer {
	bool is_block;
	struct prefix block;
	struct prefix *except;
	size_t n_except;
	bool has_ns_selector; /* false: the policy's own namespace */
	struct selector ns_selector;
	bool has_pod_selector; /* false: every pod of those namespaces */
	struct selector pod_selector;
};

/* One item of ports.  All ports of @proto when !@name and !@has_port. */
struct port_spec {
	uint8_t proto;    /* IPPROTO_TCP, _UDP, _SCTP */
	const char *name; /* named port, or NULL */
	bool has_port;
	uint16_t port, end; /* host order, inclusive; end == port when single */
};

/* One ingress or egress rule.  No peers: anyone.  No ports: everything. */
struct rule {
	struct peer *peer;
	size_t n_peers;
	bool any_peer; /* from/to absent or empty */
	struct port_spec *port;
	size_t n_ports;
	bool any_port; /* ports absent or empty */
	/* A part of the rule could not be understood; it then allows nothing,
	 * yet isolates (never open what cannot be read). */
	bool unreadable;
};

struct netpol {
	const char *ns, *name;
	struct selector pod_selector;
	bool applies[DIR__COUNT]; /* policyTypes, defaulted as the API says */
	struct rule *rule[DIR__COUNT];
	size_t n_rules[DIR__COUNT];
};

struct named_port {
	const char *name;
	uint8_t proto;
	uint16_t port; /* host order */
};

struct pod {
	const char *ns, *name;
	struct labels labels;
	struct named_port *port;
	size_t n_ports;
	bool host_network; /* then not a subject, nor a peer by label */
	bool finished;     /* Succeeded or Failed: its addresses are not its */
	struct addr *addr; /* its addresses, status.podIPs or given here */
	size_t n_addrs;
	const char *node;  /* spec.nodeName, or NULL */
	uint16_t endpoint; /* pod of this node with an interface; else 0 */
};

struct namespace
{
	const char *name;
	struct labels labels; /* kubernetes.io/metadata.name always present */
};

/* ---- kinds that policy does not ask for ---- */

struct node_object {
	const char *name;
	struct addr *internal; /* status.addresses, InternalIP; first counts */
	size_t n_internal;
	struct addr *external; /* ExternalIP */
	size_t n_external;
	struct prefix *cidr; /* spec.podCIDRs */
	size_t n_cidrs;
};

struct service_port {
	const char *name; /* "" when it is the only one */
	uint8_t proto;
	uint16_t port;      /* host order */
	uint16_t node_port; /* host order; 0: none */
};

/* A Service that has cluster IPs; others are of no use (n_ips 0). */
struct service_object {
	const char *ns, *name;
	struct addr *ip; /* spec.clusterIPs, without "None" */
	size_t n_ips;
	struct addr *balancer; /* status.loadBalancer, but for ipMode Proxy */
	size_t n_balancers;
	struct addr *external; /* spec.externalIPs */
	size_t n_externals;
	uint32_t affinity; /* seconds of sessionAffinity ClientIP; 0: none */
	bool inner_local;  /* internalTrafficPolicy Local */
	bool outer_local;  /* externalTrafficPolicy Local */
	bool ranged;       /* it has loadBalancerSourceRanges */
	struct service_port *port;
	size_t n_ports;
};

struct slice_port {
	const char *name; /* "" when absent */
	uint8_t proto;
	uint16_t port; /* host order */
};

struct slice_endpoint {
	struct addr addr; /* addresses[0] */
	bool ready;       /* conditions.ready, absent is ready */
	bool serving, terminating;
	const char *node; /* nodeName, or NULL */
};

/* An EndpointSlice: label kubernetes.io/service-name says whose. */
struct slice_object {
	const char *ns, *name, *service; /* service: NULL when nobody's */
	struct slice_port *port;
	size_t n_ports;
	struct slice_endpoint *endpoint;
	size_t n_endpoints;
};

struct node_addr {
	struct addr addr;
	bool local; /* an address of this node */
};

/*
 * world - all that policy depends on.  An endpoint whose pod is unknown or
 * that belongs to no namespace is a pod with ns NULL: no NetworkPolicy selects
 * it, no selector matches it, ipBlock does.
 */
struct world {
	const struct namespace **ns; /* sorted by name */
	size_t n_ns;
	const struct pod **pod;
	size_t n_pods;
	const struct netpol **netpol; /* sorted by ns, name */
	size_t n_netpols;
	const struct node_addr *node;
	size_t n_nodes;
};

/* ---- reading manifests ------------------------------------------------ */

enum object_kind {
	OBJECT_NONE,
	OBJECT_POD,
	OBJECT_NAMESPACE,
	OBJECT_NETPOL,
	OBJECT_NODE,
	OBJECT_SERVICE,
	OBJECT_SLICE,
	OBJECT__COUNT
};

struct object {
	enum object_kind kind; /* NONE: a kind that is none of ours */
	union {
		struct pod pod;
		struct namespace ns;
		struct netpol netpol;
		struct node_object node;
		struct service_object service;
		struct slice_object slice;
	};
};

/**
 * object_parse - read one manifest of any kind (apiVersion, kind, metadata, …).
 *
 * @doc:   borrowed for the call; nothing of it is kept.
 * @arena: owns everything in @ret.
 * @ret:   untouched on failure.
 *
 * Empty lists, absent fields and null are told apart as the API does.  CIDRs
 * are masked.  Unknown fields inside a NetworkPolicy's spec make the rule that
 * holds them unreadable (D6): it isolates and allows nothing.
 *
 * Return: 0; -EINVAL with a sentence naming the object, the field and what was
 * wrong; -ENOMEM.  For a NetworkPolicy whose selector could be read but whose
 * rules could not, 0 with the rules marked unreadable and @err holding the
 * sentence (err->text[0] != 0).
 */
int object_parse(json_t *doc, struct arena *arena, struct object *ret,
                 struct err *err);

/* Does @labels satisfy @sel?  NotIn and DoesNotExist match absent keys. */
bool selector_match(const struct selector *sel, const struct labels *labels);

/* "10.0.0.0/8" or "2001:db8::/32", host bits masked.  Return 0 or -EINVAL. */
int prefix_parse(const char *text, struct prefix *ret);
bool prefix_contains(const struct prefix *prefix, const struct addr *addr);

/* ---- the specification ------------------------------------------------ */

/* What one side says about one packet that opens a flow. */
struct verdict {
	bool isolated; /* some policy applies to the pod in this direction */
	bool allowed;
	const struct netpol *netpol; /* that allowed it; NULL */
	size_t rule;                 /* its index in netpol->rule[dir] */
};

/**
 * policy_eval - the verdict of @subject's policies in direction @dir.
 *
 * @subject: a pod of @world.
 * @peer:    the other end's address.  Whose it is is found in @world.
 * @proto, @port: of the packet; @port is the destination's, host order, 0 for
 *           protocols without ports (then only rules without ports allow it).
 *
 * Traffic between a pod and its own node, and of a pod with itself by any of
 * its addresses, is always allowed.  Which node is its own is known of pods
 * with an endpoint alone.
 */
struct verdict policy_eval(const struct world *world, const struct pod *subject,
                           enum dir dir, const struct addr *peer, uint8_t proto,
                           uint16_t port);

/* ---- the compiler ----------------------------------------------------- */

/* An identity and what defines it: a canonical string, equal iff same set. */
struct identity {
	uint32_t number;
	const char
		*key; /* e.g. "pod4 ns=shop app=web ports=http:tcp/80 cidr=…" */
};

struct addr_entry {
	struct addr addr;
	uint32_t identity;
	uint16_t endpoint;
	bool local;
};

struct prefix_entry {
	struct prefix prefix;
	uint32_t identity;
};

struct policy_entry {
	struct policy_key key;
	struct policy_val val;
};

struct range_entry {
	struct range_key key;
	struct policy_val val;
};

/* One compiled policy: what a slot holds.  Entries sorted by key bytes. */
struct table {
	struct slot header;
	struct policy_entry *entry;
	size_t n_entries;
	struct range_entry *range;
	size_t n_ranges;
	uint64_t hash; /* of all of the above; equal tables have equal bytes */
};

/* A rule's number and what it is.  Numbers depend on the names alone, except
 * where two collide; 0 is never used. */
struct rule_name {
	uint32_t number;
	const char *ns, *name; /* the policy */
	uint8_t dir;
	uint16_t index;
};

struct endpoint_policy {
	uint16_t endpoint;
	size_t table; /* index into compiled.table */
	/* NULL, or why its policies do not fit: table then is empty and
	 * isolated as they want, for a pod that has no last good one. */
	const char *refused;
};

struct compiled {
	struct identity *identity; /* sorted by number */
	size_t n_identities;
	struct addr_entry *addr; /* sorted by address */
	size_t n_addrs;
	struct prefix_entry *prefix; /* sorted by address, bits */
	size_t n_prefixes;
	struct table
		*table; /* distinct; [0] is open: no entries, not isolated */
	size_t n_tables;
	struct endpoint_policy *endpoint; /* sorted by endpoint */
	size_t n_endpoints;
	struct rule_name *rule; /* sorted by number */
	size_t n_rules;
};

/**
 * policy_compile - what the maps should hold for @world.
 *
 * Whose an address is: a node's before all; then the only pod here (with an
 * endpoint) that claims it; then a node's, when a pod on the host's network
 * claims it; then the only pod that does.  Otherwise nobody's: no entry, and
 * no selector matches it.  Pods of no namespace are of the world's class.
 *
 * @prev:   identities in use before (number and key); a key found there keeps
 *          its number, a number found there is never given to another key.
 *          Also pass numbers that are retired but still known to a map.
 * @arena:  owns all of @ret; names point into it, not into @world.
 *
 * An identity is the set of addresses that no policy in force tells apart
 * (design D5): class (pod, node, world; family), for pods namespace, the
 * labels whose keys some peer's podSelector mentions, the labels of the
 * namespace that some namespaceSelector mentions, the numbers of the port names
 * that some egress rule mentions (a policy's own podSelector, and names in
 * ingress rules, are about the pod it protects and tell no peers apart); and
 * the innermost ipBlock or except CIDR that holds the address.  Addresses in no
 * entry and no prefix are ID(CLASS_WORLD4 or 6, ID_SERIAL_PLAIN).  This node
 * is ID(CLASS_NODE*, ID_SERIAL_HOST) unless a CIDR tells it apart.
 *
 * Rules wider than one identity are stored once for a class.  A table that
 * would exceed SLOT_LARGE or RANGE_LARGE entries is refused, see
 * endpoint_policy: that is its pod's affair, the others go on.
 *
 * Return: 0, -ENOMEM, -ENOSPC (identities exhausted).
 */
int policy_compile(const struct world *world, const struct identity *prev,
                   size_t n_prev, struct arena *arena, struct compiled *ret,
                   struct err *err);

/**
 * table_lookup - the datapath's answer, in C: for tests and explanations.
 *
 * @peer: an identity.  Return: the deciding entry's value, or NULL when no
 * entry matches (then the slot's isolation decides).
 */
const struct policy_val *table_lookup(const struct table *table, uint32_t peer,
                                      enum dir dir, uint8_t proto, __be16 port);

/* The identity that @compiled gives to an address (whole, prefix, world). */
uint32_t compiled_identity(const struct compiled *compiled,
                           const struct addr *addr);
