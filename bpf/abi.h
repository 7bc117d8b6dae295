/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * abi.h - the contract between the datapath and user space.
 *
 * Every byte that crosses the kernel boundary is declared here, once.  Both
 * sides include this file; neither side may redeclare anything in it.
 *
 * Rules: fixed-width types only; network-order fields are __be16/__be32;
 * padding is explicit and zero; each struct states its size.  A change of a
 * layout or of a meaning raises ABI_VERSION, which is part of the pin path.
 */
#pragma once

#include <linux/types.h>

#define ABI_VERSION 3

/* ---- addresses ------------------------------------------------------- */

/* An IPv6 address, or an IPv4 one as ::ffff:a.b.c.d, in network order. */
struct addr {
	union {
		__u8 byte[16];
		__be32 word[4];
		__u64 half[2]; /* for comparing and hashing only */
	};
};
_Static_assert(sizeof(struct addr) == 16, "addr layout");

enum family { FAMILY_V4 = 0, FAMILY_V6 = 1, FAMILY__COUNT };

enum dir { DIR_INGRESS = 0, DIR_EGRESS = 1, DIR__COUNT };

/* ---- verdicts -------------------------------------------------------- */

/* Why a packet was dropped.  Append only: the numbers are an ABI. */
#define DROP_REASONS(X)                                                        \
	X(MALFORMED, "a header is truncated or contradicts its length")        \
	X(ETHERTYPE,                                                           \
	  "the frame is not IPv4, IPv6 or ARP, or bears a VLAN tag")           \
	X(SPOOF_ADDRESS, "the source address is not the sender's")             \
	X(SPOOF_MAC, "the source MAC address is not the sender's")             \
	X(SPOOF_NEIGHBOUR, "ARP or neighbour discovery speaks for another")    \
	X(ROUTER_ADVERT, "a pod sent a router advertisement or a redirect")    \
	X(MARTIAN, "the destination can not be reached from a pod")            \
	X(SOURCE_ROUTE, "the packet asks to be source routed")                 \
	X(EXT_HEADERS, "too many, misplaced or unknown extension headers")     \
	X(FRAGMENT,                                                            \
	  "the fragment came ahead of its first, or the first is short")       \
	X(POLICY_EGRESS, "the sender is isolated and no rule allows the flow") \
	X(POLICY_INGRESS,                                                      \
	  "the receiver is isolated and no rule allows the flow")              \
	X(POLICY_MISSING, "the pod's policy is not in the kernel")             \
	X(ENDPOINT_CLOSED, "the pod is being made or removed")                 \
	X(NO_POD, "no pod has the destination address")                        \
	X(NO_ROUTE, "the node has no route to the destination")                \
	X(NO_MASQUERADE,                                                       \
	  "masquerade has no address at the exit, or no port to choose")       \
	X(NAT_PORTS, "no masquerade port is free for the destination")         \
	X(FLOW_TABLE, "the flow tables refused the entry")                     \
	X(TTL, "the packet has lived its hops")                                \
	X(TOO_BIG, "the packet is larger than its exit's MTU")                 \
	X(ICMP_NO_FLOW, "the ICMP error quotes no live flow")                  \
	X(NO_PROGRAM, "the program of this hook is not loaded")                \
	X(REDIRECT, "the kernel refused to forward the packet")                \
	X(NO_FLOW, "a TCP packet that is no SYN belongs to no live flow")      \
	X(NO_BACKEND, "the service has no backend")                            \
	X(NO_NODE, "the node of the destination pod is not known")             \
	X(SPOOF_TUNNEL, "the tunnel's sender is not the node of the source")

#define DROP_ENUM(name, text) DROP_##name,
enum drop { DROP_NONE = 0, DROP_REASONS(DROP_ENUM) DROP__COUNT };

/* Things worth counting that are not drops.  Append only. */
#define COUNTERS(X)                                                         \
	X(FLOW_OPENED, "flows opened")                                      \
	X(FLOW_MOVED, "flows moved to the main table")                      \
	X(FLOW_DEGRADED, "flows kept half-open: table or pod's share full") \
	X(FLOW_STALE, "flows judged anew after a change")                   \
	X(FLOW_CUT, "flows cut by a change of policy")                      \
	X(FLOW_ENDED, "flows ended and swept")                              \
	X(EVENT_LOST, "events lost because the ring was full or limited")   \
	X(AUDIT, "packets that policy would have dropped (audit mode)")     \
	X(TOO_BIG_SENT, "ICMP too-big messages sent")                       \
	X(NEIGHBOUR_ANSWERED, "ARP and neighbour solicitations answered")   \
	X(NAT_RETRY, "masquerade ports tried and found taken")              \
	X(TAG_MISMATCH, "flow entries recycled under a reader's eyes")      \
	X(SERVICE_REFUSED, "clients told that a service has no backend")

#define COUNTER_ENUM(name, text) COUNTER_##name,
enum counter { COUNTERS(COUNTER_ENUM) COUNTER__COUNT };

/* ---- identities and policy ------------------------------------------- */

/*
 * An identity is class << 24 | serial (serial 1 to 2^24-1).  In a policy key
 * the peer is an identity, a whole class (serial 0), or any (0).
 * A pod's identity belongs to one address of it, hence the family.
 */
enum id_class {
	CLASS_ANY = 0,
	CLASS_POD4 = 1,
	CLASS_POD6 = 2,
	CLASS_NODE4 = 3,
	CLASS_NODE6 = 4,
	CLASS_WORLD4 = 5,
	CLASS_WORLD6 = 6,
	CLASS__COUNT
};
#define ID_CLASS_SHIFT    24
#define ID_CLASS_MASK     0xff000000u
#define ID(class, serial) ((__u32)(class) << ID_CLASS_SHIFT | (serial))
#define ID_SERIAL_PLAIN   1u  /* "nothing special is known about it" */
#define ID_SERIAL_HOST    2u  /* this node (CLASS_NODE*) */
#define ID_SERIAL_INIT    3u  /* a pod without labels yet, or of no namespace */
#define ID_SERIAL_FIRST   16u /* lowest serial given out by computation */

/* policy_key - one entry of a slot's hash.  port and proto 0: every one. */
struct policy_key {
	__u32 peer;  /* identity, class, or 0 for any */
	__be16 port; /* destination port; 0 under a wildcard */
	__u8 proto;  /* IPPROTO_*; 0 under a wildcard (then port is 0 too) */
	__u8 dir;    /* enum dir */
};
_Static_assert(sizeof(struct policy_key) == 8, "policy_key layout");

/* range_key - one entry of a slot's trie; only ports have a short prefix. */
struct range_key {
	__u32 bits;  /* 48 to 64: significant bits of what follows */
	__u32 peer;  /* as in policy_key */
	__u8 dir;    /* enum dir */
	__u8 proto;  /* IPPROTO_*, never 0 */
	__be16 port; /* first port of the prefix */
};
_Static_assert(sizeof(struct range_key) == 12, "range_key layout");
#define RANGE_BITS_FIXED 48u

struct policy_val {
	__u32 rule; /* number of the rule that decided, see struct event */
	__u8 allow; /* 0 deny, 1 allow */
	__u8 zero[3];
};
_Static_assert(sizeof(struct policy_val) == 8, "policy_val layout");

/*
 * slot - header of one policy slot, by slot number.  A bit of shapes says that
 * an entry of that shape exists, so that the datapath asks for no other.
 * Asked in this order, first hit decides: exact peer, its class, any; in each:
 * hash (proto, port), trie of ranges, hash (proto), hash (all).
 */
enum shape {
	SHAPE_PORT = 0,  /* peer, proto, port: hash */
	SHAPE_RANGE = 1, /* peer, proto, port prefix: trie */
	SHAPE_PROTO = 2, /* peer, proto: hash */
	SHAPE_ALL = 3,   /* peer: hash */
	SHAPE__COUNT
};
enum level { LEVEL_ID = 0, LEVEL_CLASS = 1, LEVEL_ANY = 2, LEVEL__COUNT };
#define SHAPE_BIT(level, shape) (1u << ((level) * SHAPE__COUNT + (shape)))

struct slot {
	__u16 shapes[DIR__COUNT];  /* SHAPE_BIT()s present, by enum dir */
	__u8 isolated[DIR__COUNT]; /* 1: what no entry allows is dropped */
	__u8 zero[2];
};
_Static_assert(sizeof(struct slot) == 8, "slot layout");

#define SLOT_OPEN   0u /* not isolated; never has entries */
#define SLOT_CLOSED 1u /* isolated both ways; never has entries */
#define SLOT_FIRST  2u
#define SLOT_MAX    1024u
#define SLOT_SMALL  1024u   /* entries of a slot made ahead of need */
#define SLOT_LARGE  262144u /* entries of the largest slot */
#define RANGE_SMALL 256u
#define RANGE_LARGE 65536u

/* ---- endpoints and addresses ----------------------------------------- */

#define ENDPOINT_MAX 1024u /* endpoint 0 is nobody */

/* endpoint - a pod of this node, by endpoint number. */
struct endpoint {
	__u32 ifindex; /* host side of its veth; 0: no such endpoint */
	__u32 slot;    /* policy slot */
	__u8 mac[6];   /* of the pod's side */
	__u16 mtu;     /* of the pod's interface, bytes of IP packet */
	__u8 closed;   /* 1: being made or removed, nothing passes */
	__u8 zero[3];
	__u32 serial; /* of this use of the number; user space only */
};
_Static_assert(sizeof(struct endpoint) == 24, "endpoint layout");

/* addr_info - what is known of a whole address. */
struct addr_info {
	__u32 identity;
	__u16 endpoint; /* of a pod here; 0 otherwise */
	__u16 node;     /* whose pod, or whose address, when another's */
	__u8 local;     /* 1: an address of this node itself */
	__u8 zero[7];
};
_Static_assert(sizeof(struct addr_info) == 16, "addr_info layout");

/* prefix_key - key of the trie of prefixes; IPv4 lengths are 96 + n. */
struct prefix_key {
	__u32 bits;
	__be32 addr[4]; /* struct addr, without its alignment */
};
_Static_assert(sizeof(struct prefix_key) == 20, "prefix_key layout");

struct prefix_info {
	__u32 identity;
	__u8 pool;    /* 1: addresses of pods of this node: unknown ones drop */
	__u8 no_masq; /* 1: reached without masquerade */
	__u16 node;   /* whose pods' addresses these are; 0: nobody's */
};
_Static_assert(sizeof(struct prefix_info) == 8, "prefix_info layout");

#define NODE_MAX 8192u /* node 0: this one, in the map; else nobody */

/* node - another node, by node number. */
struct node_info {
	struct addr underlay; /* where its end of the tunnel is; zero: none */
};
_Static_assert(sizeof(struct node_info) == 16, "node_info layout");

/* uplink - a device that leads out of the node, by ifindex. */
struct uplink {
	struct addr addr[FAMILY__COUNT]; /* to masquerade with; zero: none */
	__u16 mtu;
	__u8 zero[6];
};
_Static_assert(sizeof(struct uplink) == 40, "uplink layout");

/* ---- flows ----------------------------------------------------------- */

/* flow_tuple - a packet's ends, as its direction has them. */
struct flow_tuple {
	struct addr saddr, daddr;
	union {
		struct {
			__be16 sport, dport; /* ICMP echo: id of the requester,
			                      * 0 of the other */
			__u8 proto;
			__u8 zero[3];
		};
		__u64 tail; /* for copying and hashing only */
	};
};
_Static_assert(sizeof(struct flow_tuple) == 40, "flow_tuple layout");

/*
 * flow_key - both directions of a flow: a flow_tuple whose ends are sorted, so
 * that (half[1], half[0], port) of the source, each as the machine's number,
 * is not above that of the destination.
 */
struct flow_key {
	struct flow_tuple ends;
};

/* Where packets come from and go to. */
enum where {
	WHERE_NONE = 0,
	WHERE_STACK = 1,  /* this node's own stack */
	WHERE_NET = 2,    /* an uplink */
	WHERE_TUNNEL = 3, /* the overlay */
	WHERE_POD = 4     /* a pod of this node */
};
#define FROM_STACK   0xfffffff1u /* flow_way.from when it is no pod */
#define FROM_NET     0xfffffff2u
#define FROM_TUNNEL  0xfffffff3u
#define FROM_FORWARD 0xfffffff4u /* the stack, for a device that brought it */

/* flow_way - one direction of a flow; only seen is written in place. */
struct flow_way {
	__u32 from;    /* ifindex of the sending pod's veth, or FROM_* */
	__u32 ifindex; /* where to: device to redirect to; to the stack: 0, or
	                * the loopback device when it forwards the flow */
	union {
		__u8 mac[6]; /* destination MAC when it goes to a pod */
		__u16 node;  /* when it goes to the tunnel */
	};
	__u16 mtu;      /* of the exit, bytes of IP packet; 0: not checked */
	__u16 endpoint; /* the sender, when it is a pod here */
	__u8 to;        /* enum where */
	__u8 zero;
	__u32 seen; /* last packet, FLOW_TICK units, monotonic */
};
_Static_assert(sizeof(struct flow_way) == 24, "flow_way layout");

struct flow_count {
	__u64 packets, bytes;
};

enum flow_flags {
	FLOW_REVERSED = 1 << 0, /* the opener is the key's second end */
	FLOW_ANSWERED = 1 << 1, /* the other end has answered */
	FLOW_SYN = 1 << 2,      /* TCP: opened by a SYN */
	FLOW_SYNACK = 1 << 3,   /* TCP: the other end sent its SYN-ACK */
	FLOW_FIN0 = 1 << 4,     /* TCP: the opener sent FIN */
	FLOW_FIN1 = 1 << 5,     /* TCP: the other end sent FIN */
	FLOW_RST = 1 << 6,      /* TCP: somebody reset it */
	FLOW_DEAD = 1 << 7,     /* cut, moved or expired: a miss; to be swept */
	FLOW_MAIN = 1 << 8,     /* stands in the main table */
	FLOW_XLATE_IN =
		1 << 9, /* translated; this entry is the opener's side */
	FLOW_XLATE_OUT = 1 << 10, /* translated; this entry is the far side */
	FLOW_CHARGED = 1 << 11,   /* counts in its owner's share */
	FLOW_SWEPT = 1 << 12, /* dead, and seen so by a pass of the sweeper */
	FLOW_CUT = 1 << 13    /* policy cut it: judged at every packet */
};

/*
 * flow - one flow, or one side of a translated one.  way[0], count[0] are the
 * opener's packets.  The tag comes first: an update writes it before the rest,
 * so who reads it last and finds his own has read one flow.
 */
struct flow {
	__u32 tag;    /* of the key, see flow_tag() */
	__u32 epoch;  /* sum of the epochs it was decided in */
	__u32 flags;  /* enum flow_flags */
	__u32 opened; /* FLOW_TICK units, monotonic */
	struct flow_way way[2];
	struct flow_count count[2];
	struct flow_tuple other; /* translated: the opener's tuple over there */
	__u32 rule[DIR__COUNT];  /* that allowed it; 0: nobody isolated */
	__u16 owner;             /* endpoint whose share it counts in */
	__u8 zero[2];
	__u32 reset; /* TCP: last RST, FLOW_TICK units; written in place */
	__u8 spare[16];
};
_Static_assert(sizeof(struct flow) == 168, "flow layout: 256 with the element");

#define FLOW_TICK_SHIFT 27 /* CLOCK_MONOTONIC_COARSE ns >> 27: 134 ms */
#define FLOW_TICKS(seconds) \
	((__u32)((seconds) * 1000000000ull >> FLOW_TICK_SHIFT))

/* The main table is cut into shards, swept one at a time. */
#define FLOW_SHARDS    64u
#define FLOW_SHARD_MAX 4096u  /* entries of one shard */
#define FLOW_NEW_MAX   65536u /* entries of the half-open table */

/* Idle timeouts, seconds. */
#define FLOW_TIMEOUT_TCP    21600
#define FLOW_TIMEOUT_CLOSED 10
#define FLOW_TIMEOUT_OTHER  120
#define FLOW_TIMEOUT_NEW    60
#define FLOW_TIMEOUT_CUT    60

/* frag_key - fragments of one packet (RFC 791 2.3, RFC 8200 4.5). */
struct frag_key {
	struct addr saddr, daddr;
	__be32 id;
	__u8 proto;
	__u8 zero[3];
};
_Static_assert(sizeof(struct frag_key) == 40, "frag_key layout");

struct frag_ports {
	__be16 sport, dport;
	__u32 from; /* where the first came from, as flow_way.from */
	__u32 seen; /* the first, FLOW_TICK units, monotonic */
};
_Static_assert(sizeof(struct frag_ports) == 12, "frag_ports layout");

/* A receiver has given a packet up by then (RFC 791 3.2, RFC 8200 4.5). */
#define FRAG_TIMEOUT 30

/* ---- services -------------------------------------------------------- */

/*
 * service_key - what clients ask for.  A vip of zeroes (0.0.0.0 as ::ffff:0:0,
 * or ::) is every address of this node: node ports and host ports.
 */
struct service_key {
	struct addr vip;
	__be16 port;
	__u8 proto;
	__u8 zero[5];
};
_Static_assert(sizeof(struct service_key) == 24, "service_key layout");

enum service_flags {
	/* Clients from outside the cluster get only the first @local places
	 * (externalTrafficPolicy Local), others all. */
	SERVICE_OUTER_LOCAL = 1 << 0,
	/* The first @local places are for those alone: none of them is ready,
	 * and others are. */
	SERVICE_LOCAL_APART = 1 << 1,
};

/*
 * service - its backends stand in the map of backends at first, first + 1, …,
 * those of this node ahead of the others, each part sorted by (addr, port) as
 * memory.  A new set is written elsewhere before the service's value is
 * replaced.
 */
struct service {
	__u32 first;
	__u32 count;    /* 0: it has no backend */
	__u32 local;    /* how many of them are on this node */
	__u32 id;       /* of its port, among affinities */
	__u32 affinity; /* seconds that a client keeps its backend; 0: none */
	__u8 flags;     /* enum service_flags */
	__u8 zero[7];
	__u32 tag; /* service_tag() of its key */
};
_Static_assert(sizeof(struct service) == 32, "service layout");

struct backend {
	struct addr addr;
	__be16 port;
	__u8 zero[2];
	__u32 tag; /* of the service it was written for, see service_tag() */
};
_Static_assert(sizeof(struct backend) == 24, "backend layout");

/*
 * Elements of a map are recycled at once: who read a service's value while it
 * was replaced sees by the tag that it, or a backend, is not that service's.
 */
static inline __u32 service_tag(const struct service_key *key)
{
	return key->vip.word[0] ^ key->vip.word[1] * 3 ^ key->vip.word[2] * 5 ^
	       key->vip.word[3] * 7 ^ ((__u32)key->port << 8 | key->proto);
}

/* affinity - who answered a client of a service last, and when. */
struct affinity_key {
	struct addr client;
	__u32 id; /* struct service */
	__u32 zero;
};
_Static_assert(sizeof(struct affinity_key) == 24, "affinity_key layout");

struct affinity {
	struct addr addr;
	__be16 port;
	__u8 zero[2];
	__u32 seen; /* FLOW_TICK units, monotonic */
};
_Static_assert(sizeof(struct affinity) == 24, "affinity layout");

#define SERVICE_MAX  65536u
#define BACKEND_MAX  262144u
#define AFFINITY_MAX 65536u

/* ---- epochs ---------------------------------------------------------- */

/*
 * epochs - one counter an endpoint, [0] for the node; they only rise.  A flow
 * remembers epochs[0] + those of its two endpoints (0 counted for none); since
 * none ever falls, the sums are equal only if nothing was raised.
 */
struct epochs {
	__u32 node;
	__u32 endpoint[ENDPOINT_MAX]; /* [0] stays 0 */
	__u32 zero;
};

/* ---- events ---------------------------------------------------------- */

enum event_type { EVENT_FLOW = 1, EVENT_DROP = 2, EVENT_END = 3 };

struct event {
	__u64 time_ns;           /* boot time */
	struct flow_tuple tuple; /* as judged: of the packet; at an end, of the
	                          * opener's */
	__u8 type;               /* enum event_type */
	__u8 reason;             /* enum drop */
	__u8 hook;               /* enum hook */
	__u8 tcp;                /* TCP flags of the packet */
	__u32 ifindex;           /* device of the hook */
	__u32 identity[2]; /* of the source, of the destination; 0 not asked */
	__u16 endpoint[2]; /* the same; 0: no pod of this node */
	__u32 rule[DIR__COUNT];     /* that decided; 0: none */
	__u32 length;               /* of the packet, bytes */
	struct flow_count count[2]; /* EVENT_END: opener's, answers */
	__u32 flags;                /* enum flow_flags, when there is a flow */
	__be16 vip_port; /* with vip: what was asked for, when that was a … */
	__u8 zero[2];
	struct addr vip; /* … service and tuple has its backend; else 0 */
};
_Static_assert(sizeof(struct event) == 136, "event layout");

#define EVENT_RING_BYTES (1u << 20)

/* ---- hooks and configuration ----------------------------------------- */

/* Slots of the program array that the stubs on the devices jump through. */
enum hook {
	HOOK_FROM_POD = 0,
	HOOK_TO_POD,
	HOOK_FROM_NET,
	HOOK_TO_NET,
	HOOK_FROM_TUNNEL,
	HOOK_TO_TUNNEL,
	HOOK__COUNT
};

/* Fixed at load time; the verifier deletes branches it makes unreachable. */
struct dp_config {
	__u8 masquerade; /* 1: pods leave with the node's address */
	__u8 audit;      /* 1: count policy denials, let the packets pass */
	__u8 gw_mac[6];  /* of the host side of every pod's veth */
	struct addr gateway[FAMILY__COUNT]; /* what pods use as next hop */
	__u16 nat_port_min, nat_port_max;   /* inclusive, host order */
	__u32 share;          /* main-table entries one pod may hold */
	__u32 tunnel_ifindex; /* 0: other nodes' pods are reached by routes */
	__u16 tunnel_mtu;     /* bytes of an IP packet that fits the tunnel */
	__be16 tunnel_port;
	__u8 full; /* 1: services of all kinds; 0: pods' ClusterIPs */
	__u8 zero[7];
};
_Static_assert(sizeof(struct dp_config) == 64, "dp_config layout");

/* What pods use as their next hop, and its MAC. */
#define GATEWAY_V4   "169.254.1.1"
#define GATEWAY_V6   "fe80::1"
#define GATEWAY_MAC  "ee:ee:ee:ee:ee:ee"
#define NAT_PORT_MIN 8192
#define NAT_PORT_MAX 29999

#define TUNNEL_VNI 1u

/* skb->mark of what from_pod decided and handed to the node's stack or wire. */
#define MARK_DECIDED 0x57170000u
