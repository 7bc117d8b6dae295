// SPDX-License-Identifier: Apache-2.0
/*
 * parse_test.c - packets that are cut, that lie about themselves, or whose
 * headers hide what they carry.
 */
#include <linux/if_packet.h>
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/util.h"
#include "test/lib/bpfcheck.h"

#define V4 FAMILY_V4
#define V6 FAMILY_V6

#define IP4_HEAD 20
#define IP6_HEAD 40

/* Pod 1 is open; pod 2 may open TCP to port 80 and nothing else. */
#define OPEN_POD   1
#define STRICT_POD 2

static int setup(void **state)
{
	const struct policy_entry only_http = {
		.key = {.port = htons(80),
	                .proto = IPPROTO_TCP,
	                .dir = DIR_EGRESS},
		.val = {.rule = 7, .allow = 1},
	};
	static uint32_t slot;

	bpfcheck_setup(state);
	if (!slot)
		slot = bpfrun_slot(*state, 3, &only_http, 1);
	bpfrun_pod(*state, STRICT_POD, slot);
	return 0;
}

static struct spec spec_of(enum family f, uint8_t proto, uint16_t port)
{
	return (struct spec){
		.smac = pod_mac(STRICT_POD),
		.saddr = pod_addr(STRICT_POD, f),
		.daddr = pod_addr(3, f),
		.proto = proto,
		.sport = 40000,
		.dport = port,
		.tcp = SYN,
		.type = f ? 128 : 8,
		.info = 77u << 16,
		.n_payload = 120,
	};
}

/* ---- cut ----------------------------------------------------------------- */

static uint8_t icmp_of(enum family f)
{
	return f ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
}

/* Packets that policy denies when they are whole. */
static size_t denied_packets(struct packet *ret)
{
	static const uint8_t options[8] = {7, 7, 4, 0, 0, 0, 0, 0};
	size_t n = 0;

	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct spec tcp = spec_of(f, IPPROTO_TCP, 443);
		const struct spec udp = spec_of(f, IPPROTO_UDP, 80);
		struct spec s = tcp;

		ret[n++] = packet_make(&tcp);
		ret[n++] = packet_make(&udp);
		s = spec_of(f, IPPROTO_SCTP, 80);
		ret[n++] = packet_make(&s);
		s = spec_of(f, icmp_of(f), 0);
		ret[n++] = packet_make(&s);
		s = spec_of(f, IPPROTO_GRE, 0);
		ret[n++] = packet_make(&s);
		s = tcp;
		if (f == V4) {
			s.options = options;
			s.n_options = sizeof(options);
		} else {
			s.n_ext = 3;
			s.ext[0].type = IPPROTO_HOPOPTS;
			s.ext[1].type = IPPROTO_DSTOPTS;
			s.ext[2] = (struct ext_spec){.type = IPPROTO_ROUTING,
			                             .routing = 2};
		}
		ret[n++] = packet_make(&s);
		s = udp;
		s.frag = s.more = true;
		s.frag_id = 99;
		ret[n++] = packet_make(&s);
		s = spec_error(tcp.saddr, &ret[0], 200, f ? 1 : 3, 4, 0);
		s.smac = tcp.smac;
		ret[n++] = packet_make(&s);
	}
	return n;
}
#define DENIED_PACKETS 16

/* Let the IP header say what the frame holds. */
static void length_mend(struct packet *p)
{
	const bool v4 = p->byte[ETH_BYTES] >> 4 == 4;
	uint8_t *ip = p->byte + ETH_BYTES;
	size_t len = p->len - ETH_BYTES;

	if (!v4)
		len -= IP6_HEAD;
	ip[v4 ? 2 : 4] = (uint8_t)(len >> 8);
	ip[v4 ? 3 : 5] = (uint8_t)len;
}

static unsigned int cut_everywhere(struct bpfrun *run,
                                   const struct packet *whole, bool mend)
{
	const size_t head = whole->byte[12] == 0x08 ? IP4_HEAD : IP6_HEAD;
	unsigned int n = 0;

	/* Shorter ones go by a real device, below: TEST_RUN refuses them. */
	for (size_t cut = head; cut <= 128; cut++) {
		struct packet p = *whole;

		p.len = ETH_BYTES + cut;
		if (mend)
			length_mend(&p);
		assert_int_equal(bpfrun_verdict(run, HOOK_FROM_POD,
		                                run->pod_if[STRICT_POD], p.byte,
		                                p.len),
		                 TC_ACT_SHOT);
		n++;
	}
	return n;
}

static void a_cut_packet_never_passes_where_the_whole_one_may_not(void **state)
{
	struct packet whole[DENIED_PACKETS];
	struct bpfrun *run = *state;
	unsigned int tried = 0;

	assert_int_equal(denied_packets(whole), DENIED_PACKETS);
	for (size_t i = 0; i < DENIED_PACKETS; i++) {
		assert_int_equal(bpfrun_verdict(run, HOOK_FROM_POD,
		                                run->pod_if[STRICT_POD],
		                                whole[i].byte, whole[i].len),
		                 TC_ACT_SHOT);
		tried += cut_everywhere(run, &whole[i], false);
		tried += cut_everywhere(run, &whole[i], true);
	}
	print_message("# %u cut packets, 0 passed\n", tried);
}

/* The same at the hooks of the receiver. */
static void a_cut_packet_never_reaches_an_isolated_pod(void **state)
{
	static const uint8_t proto[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP,
	                                IPPROTO_GRE};
	struct bpfrun *run = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(proto); i++) {
		const enum family f = i & 1;
		struct spec s = spec_of(f, proto[i / 2], 80);
		struct packet p;

		s.saddr = f ? A(RIG_WORLD6) : A(RIG_WORLD4);
		s.daddr = pod_addr(STRICT_POD, f);
		p = packet_make(&s);
		for (size_t cut = f ? IP6_HEAD : IP4_HEAD; cut <= 128; cut++) {
			p.len = ETH_BYTES + cut;
			length_mend(&p);
			assert_int_equal(bpfrun_verdict(run, HOOK_FROM_NET,
			                                run->uplink_if, p.byte,
			                                p.len),
			                 TC_ACT_SHOT);
			assert_int_equal(bpfrun_verdict(run, HOOK_TO_POD,
			                                run->pod_if[STRICT_POD],
			                                p.byte, p.len),
			                 TC_ACT_SHOT);
		}
	}
}

static uint64_t drops_of(struct bpfrun *run, enum drop why)
{
	uint64_t n = 0;

	assert_int_equal(dp_drop_count(run->dp, why, HOOK_FROM_POD, &n), 0);
	return n;
}

/* Wait until @why was counted @n times; half a minute at most. */
static void drops_await(struct bpfrun *run, enum drop why, uint64_t n)
{
	struct timespec tick = {.tv_nsec = 1000000};

	for (int i = 0; i < 30000 && drops_of(run, why) < n; i++)
		nanosleep(&tick, NULL);
	assert_int_equal(drops_of(run, why), n);
}

/* Frames of 14 bytes and more, sent on the far end of pod 1's veth. */
static void frames_cut_inside_the_ip_header_are_malformed(void **state)
{
	struct bpfrun *run = *state;
	/* In this rig pods 1 and 2 are the two ends of one pair. */
	const struct sockaddr_ll to = {.sll_family = AF_PACKET,
	                               .sll_ifindex = (int)run->pod_if[2],
	                               .sll_halen = 6};
	const uint64_t before = drops_of(run, DROP_MALFORMED);
	const uint64_t opened = bpfrun_counter(run, COUNTER_FLOW_OPENED);
	_cleanup_(closep) int fd = socket(AF_PACKET, SOCK_RAW, 0);
	_cleanup_(closep) int link = bpf_link_create(
		run->prog[HOOK_FROM_POD], (int)run->pod_if[1], 46, NULL);
	unsigned int sent = 0;

	if (link < 0)
		skip(); /* no tcx in this kernel */
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		struct spec s = spec_of(f, IPPROTO_TCP, 80);
		struct packet p;

		s.smac = pod_mac(OPEN_POD);
		s.saddr = pod_addr(OPEN_POD, f);
		p = packet_make(&s);
		for (size_t cut = 0; cut < (f ? IP6_HEAD : IP4_HEAD); cut++) {
			if (sendto(fd, p.byte, ETH_BYTES + cut, 0,
			           (const void *)&to, sizeof(to)) < 0)
				fail_msg("send %zu bytes: %s", ETH_BYTES + cut,
				         strerror(errno));
			sent++;
		}
	}
	drops_await(run, DROP_MALFORMED, before + sent);
	assert_int_equal(bpfrun_counter(run, COUNTER_FLOW_OPENED), opened);
}

/* ---- lies ---------------------------------------------------------------- */

struct lie {
	const char *name;
	enum family family;
	uint8_t proto;
	size_t at; /* from the IP header */
	uint8_t value;
	struct want want;
};

static void headers_that_lie_are_malformed(void **state)
{
	const struct lie lies[] = {
		{"nothing",                   V4, IPPROTO_TCP, 0,       0x45,           SENT              },
		{"version 5",                 V4, IPPROTO_TCP, 0,       0x55,           DROPPED(MALFORMED)},
		{"version 6",                 V4, IPPROTO_TCP, 0,       0x65,           DROPPED(MALFORMED)},
		{"header of 16",              V4, IPPROTO_TCP, 0,       0x44,           DROPPED(MALFORMED)},
		{"header of 0",               V4, IPPROTO_TCP, 0,       0x40,           DROPPED(MALFORMED)},
		{"longer than the frame",     V4, IPPROTO_TCP, 2,       1,
	         DROPPED(MALFORMED)								       },
		{"shorter than its header",   V4, IPPROTO_TCP, 3,       19,
	         DROPPED(MALFORMED)								       },
		{"length 0 without GSO",      V4, IPPROTO_TCP, 3,       0,
	         DROPPED(MALFORMED)								       },
		{"TCP header of 16",          V4, IPPROTO_TCP, 20 + 12, 0x40,
	         DROPPED(MALFORMED)								       },
		{"ICMPv6 over IPv4",          V4, IPPROTO_UDP, 9,       IPPROTO_ICMPV6,
	         DROPPED(MALFORMED)								       },
		{"nothing, v6",               V6, IPPROTO_TCP, 0,       0x60,           SENT              },
		{"version 4, v6",             V6, IPPROTO_TCP, 0,       0x40,           DROPPED(MALFORMED)},
		{"longer than the frame, v6", V6, IPPROTO_TCP, 4,       9,
	         DROPPED(MALFORMED)								       },
		{"length 0 without GSO, v6",  V6, IPPROTO_TCP, 5,       0,
	         DROPPED(MALFORMED)								       },
		{"TCP header of 0, v6",       V6, IPPROTO_TCP, 40 + 12, 0,
	         DROPPED(MALFORMED)								       },
		{"ICMP over IPv6",            V6, IPPROTO_UDP, 6,       IPPROTO_ICMP,
	         DROPPED(MALFORMED)								       },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct spec s = spec_of(lies[i].family, lies[i].proto, 80);
		struct packet p;

		s.n_payload = 40;
		s.smac = pod_mac(OPEN_POD);
		s.saddr = pod_addr(OPEN_POD, lies[i].family);
		p = packet_make(&s);
		p.byte[ETH_BYTES + lies[i].at] = lies[i].value;
		packet_want(*state, lies[i].name, FROM_POD(OPEN_POD), &p,
		            lies[i].want);
	}
}

/* Ethernet pads short frames; what follows the IP packet is nobody's. */
static void bytes_behind_the_packet_are_padding(void **state)
{
	struct spec s = spec_of(V4, IPPROTO_UDP, 53);
	struct packet p;

	s.smac = pod_mac(OPEN_POD);
	s.saddr = pod_addr(OPEN_POD, V4);
	s.n_payload = 0;
	p = packet_make(&s);
	memset(p.byte + p.len, 0, 60 - p.len);
	p.len = 60;
	packet_want(*state, "padded", FROM_POD(OPEN_POD), &p, SENT);
}

/* ---- IPv4 options -------------------------------------------------------- */

static void options_of_ipv4(void **state)
{
	const struct {
		const char *name;
		uint8_t bytes[40];
		size_t n;
		struct want want;
	} cases[] = {
		{"end of list",                 {0},                       4,  SENT                 },
		{"no operation",                {1, 1, 1, 1},              4,  SENT                 },
		{"router alert",                {148, 4, 0, 0},            4,  SENT                 },
		{"record route",                {7, 7, 4, 0, 0, 0, 0, 0},  8,  SENT                 },
		{"timestamp",                   {68, 8, 5, 0, 0, 0, 0, 0}, 8,  SENT                 },
		{"security",                    {130, 4, 0, 0},            4,  SENT                 },
		{"forty of nothing",            {1},                       40, SENT                 },
		{"an unknown one",              {222, 4, 0, 0},            4,  SENT                 },
		{"loose source route",
	         {131, 7, 4, 10, 0, 0, 9, 0},
	         8,	                                                    DROPPED(SOURCE_ROUTE)},
		{"strict source route",
	         {137, 7, 4, 10, 0, 0, 9, 0},
	         8,	                                                    DROPPED(SOURCE_ROUTE)},
		{"source route behind one",
	         {1, 131, 7, 4, 10, 0, 0, 9},
	         8,	                                                    DROPPED(SOURCE_ROUTE)},
		{"source route behind two",
	         {148, 4, 0, 0, 1, 137, 3, 4},
	         8,	                                                    DROPPED(SOURCE_ROUTE)},
		{"source route, cut off",
	         {1, 1, 1, 131},
	         4,	                                                    DROPPED(SOURCE_ROUTE)},
		{"source route behind the end",
	         {0, 131, 7, 4, 10, 0, 0, 9},
	         8,	                                                    SENT                 },
		{"source route inside another",
	         {7, 8, 4, 131, 7, 4, 0, 0},
	         8,	                                                    SENT                 },
		{"length 0",                    {222, 0, 0, 0},            4,  DROPPED(MALFORMED)   },
		{"length 1",                    {222, 1, 0, 0},            4,  DROPPED(MALFORMED)   },
		{"longer than the header",
	         {222, 5, 0, 0},
	         4,	                                                    DROPPED(MALFORMED)   },
		{"without its length",          {1, 1, 1, 222},            4,  DROPPED(MALFORMED)   },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct spec s = spec_of(V4, IPPROTO_TCP, 80);
		struct want strict = cases[i].want;
		uint8_t bytes[40];

		memcpy(bytes, cases[i].bytes, sizeof(bytes));
		if (cases[i].n == 40)
			memset(bytes, 1, sizeof(bytes));
		s.options = bytes;
		s.n_options = cases[i].n;
		spec_want(*state, cases[i].name, FROM_POD(STRICT_POD), &s,
		          strict);
		/* The port is found behind them. */
		if (strict.drop == DROP_NONE)
			strict = DROPPED(POLICY_EGRESS);
		s.dport = 81;
		spec_want(*state, cases[i].name, FROM_POD(STRICT_POD), &s,
		          strict);
	}
}

static void a_source_route_is_seen_wherever_it_stands(void **state)
{
	for (size_t at = 0; at < 40; at++)
		for (size_t total = at / 4 * 4 + 4; total <= 40; total += 4) {
			struct spec s = spec_of(V4, IPPROTO_TCP, 80);
			uint8_t bytes[40];

			memset(bytes, 1, sizeof(bytes));
			bytes[at] = at & 1 ? 131 : 137;
			s.options = bytes;
			s.n_options = total;
			spec_want(*state, "source route", FROM_POD(STRICT_POD),
			          &s, DROPPED(SOURCE_ROUTE));
		}
}

/* ---- IPv6 extension headers ---------------------------------------------- */

static const uint8_t ext_types[8] = {
	IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_AH,
	IPPROTO_DSTOPTS, IPPROTO_ESP,     IPPROTO_MH,       253 /* RFC 3692 */,
};
static const uint8_t transports[4] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6,
                                      IPPROTO_NONE};

/*
 * The rules: walk five, hop-by-hop first only, one fragment header; the rest is
 * a transport.
 */
static uint8_t chain_transport(const struct spec *s, enum drop *why)
{
	bool fragment = false;

	*why = DROP_NONE;
	for (size_t i = 0; i < s->n_ext; i++) {
		switch (s->ext[i].type) {
		case IPPROTO_HOPOPTS:
			if (i)
				*why = DROP_EXT_HEADERS;
			break;
		case IPPROTO_ROUTING:
			if (!s->ext[i].routing || s->ext[i].left)
				*why = DROP_SOURCE_ROUTE;
			break;
		case IPPROTO_FRAGMENT: /* of a whole packet (RFC 6946) */
			if (fragment)
				*why = DROP_EXT_HEADERS;
			fragment = true;
			break;
		case IPPROTO_AH:
		case IPPROTO_DSTOPTS:
			break;
		default:
			return s->ext[i].type; /* no ports are to be seen */
		}
		if (*why)
			return 0;
	}
	if (s->n_ext > 5)
		*why = DROP_EXT_HEADERS;
	return s->proto;
}

static void chain_check(struct bpfrun *run, struct spec *s)
{
	struct want open = SENT, strict = SENT;
	enum drop why;
	const uint8_t proto = chain_transport(s, &why);
	char name[128];

	if (why)
		open = strict = (struct want){TC_ACT_SHOT, why};
	else if (proto != IPPROTO_TCP)
		strict = DROPPED(POLICY_EGRESS);
	snprintf(name, sizeof(name), "%zu headers: %u %u %u %u, then %u",
	         s->n_ext, s->ext[0].type, s->ext[1].type, s->ext[2].type,
	         s->ext[3].type, s->proto);
	s->smac = pod_mac(OPEN_POD);
	s->saddr = pod_addr(OPEN_POD, V6);
	spec_want(run, name, FROM_POD(OPEN_POD), s, open);
	s->smac = pod_mac(STRICT_POD);
	s->saddr = pod_addr(STRICT_POD, V6);
	spec_want(run, name, FROM_POD(STRICT_POD), s, strict);
}

static void every_chain_of_four_extension_headers(void **state)
{
	unsigned int chains = 0;

	for (size_t n = 0; n <= 4; n++)
		for (unsigned int c = 0; c < 1u << (3 * n); c++)
			for (size_t t = 0; t < ARRAY_SIZE(transports); t++) {
				struct spec s = spec_of(V6, transports[t], 80);

				s.n_payload = 16;
				s.n_ext = n;
				for (size_t i = 0; i < n; i++) {
					s.ext[i].type =
						ext_types[c >> (3 * i) & 7];
					s.ext[i].routing = 4;
				}
				chain_check(*state, &s);
				chains++;
			}
	print_message("# %u chains, twice each\n", chains);
	assert_int_equal(chains, 4 * (1 + 8 + 64 + 512 + 4096));
}

static void routing_headers_that_route_are_refused(void **state)
{
	for (unsigned int type = 0; type < 8; type++)
		for (uint8_t left = 0; left < 3; left++) {
			struct spec s = spec_of(V6, IPPROTO_TCP, 80);

			s.n_ext = 1;
			s.ext[0] = (struct ext_spec){.type = IPPROTO_ROUTING,
			                             .units = 2,
			                             .routing = (uint8_t)type,
			                             .left = left};
			chain_check(*state, &s);
		}
}

static void long_chains_and_long_headers(void **state)
{
	struct spec s = spec_of(V6, IPPROTO_TCP, 80);
	struct packet p;

	for (s.n_ext = 0; s.n_ext <= EXT_SPECS; s.n_ext++) {
		for (size_t i = 0; i < s.n_ext; i++)
			s.ext[i].type = IPPROTO_DSTOPTS;
		chain_check(*state, &s);
		if (s.n_ext == EXT_SPECS)
			break;
	}
	s.n_ext = 1;
	for (unsigned int units = 0; units < 160; units += 9) {
		s.ext[0].units = (uint8_t)units;
		chain_check(*state, &s);
	}
	/* It says that it ends behind the packet. */
	s.ext[0].units = 1;
	p = packet_make(&s);
	p.byte[ETH_BYTES + IP6_HEAD + 1] = 255;
	packet_want(*state, "beyond the end", FROM_POD(STRICT_POD), &p,
	            DROPPED(MALFORMED));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		T(a_cut_packet_never_passes_where_the_whole_one_may_not),
		T(a_cut_packet_never_reaches_an_isolated_pod),
		T(frames_cut_inside_the_ip_header_are_malformed),
		T(headers_that_lie_are_malformed),
		T(bytes_behind_the_packet_are_padding),
		T(options_of_ipv4),
		T(a_source_route_is_seen_wherever_it_stands),
		T(every_chain_of_four_extension_headers),
		T(routing_headers_that_route_are_refused),
		T(long_chains_and_long_headers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, bpfcheck_group_setup,
	                              bpfcheck_group_teardown);
}
