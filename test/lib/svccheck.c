// SPDX-License-Identifier: Apache-2.0
/* svccheck.c - see svccheck.h. */
#include "test/lib/svccheck.h"

#include <arpa/inet.h>

struct addr vip(enum family f)
{
	return A(f ? "fd00:96::1" : "10.96.0.1");
}

static struct addr node_addr(enum family f)
{
	return f ? A(RIG_NODE6) : A(RIG_NODE4);
}

void service_set(struct bpfrun *run, enum family f, uint8_t proto,
                 const struct backend *backend, uint32_t n)
{
	static struct service rested[64]; /* the oldest are freed */
	static uint32_t next = 1, round;
	struct service *old = &rested[round++ % ARRAY_SIZE(rested)];
	const struct service_key key = {
		.vip = vip(f), .port = htons(VIP_PORT), .proto = proto};
	const struct service service = {
		.first = next, .count = n, .tag = service_tag(&key)};

	for (uint32_t i = 0; i < n; i++) {
		struct backend b = backend[i];
		const uint32_t at = next++;

		b.tag = service_tag(&key);
		assert_int_equal(dp_backends_put(run->dp, &at, &b, 1), 0);
	}
	assert_int_equal(dp_services_put(run->dp, &key, &service, 1), 0);
	for (uint32_t i = 0; i < old->count; i++)
		dp_backend_remove(run->dp, old->first + i);
	*old = service;
}

struct backend backend_of(struct addr addr, uint16_t port)
{
	return (struct backend){.addr = addr, .port = htons(port)};
}

void service_one(struct bpfrun *run, enum family f, uint8_t proto,
                 struct addr addr, uint16_t port)
{
	const struct backend b = backend_of(addr, port);

	service_set(run, f, proto, &b, 1);
}

struct spec to_vip(unsigned int pod, enum family f, uint8_t proto, uint8_t tcp)
{
	struct spec s = pod_spec(pod, pod, f, proto, tcp);

	s.daddr = vip(f);
	s.dport = VIP_PORT;
	return s;
}

struct spec answer_to(const struct spec *s, const struct facts *seen,
                      uint8_t tcp)
{
	struct spec back = spec_answer(s, tcp);

	back.smac = back.dmac = NULL;
	back.saddr = seen->daddr;
	back.sport = seen->dport;
	back.daddr = seen->saddr;
	back.dport = seen->sport;
	return back;
}

void answer_check(struct bpfrun *run, struct place at, struct want want,
                  const struct spec *s, const struct spec *back)
{
	const struct outcome o = spec_want(run, "answer", at, back, want);
	const struct facts got = facts_of("answer", &o.out);

	addr_want("answer from", got.saddr, s->daddr);
	addr_want("answer to", got.daddr, s->saddr);
	assert_int_equal(got.sport, s->dport);
	assert_int_equal(got.dport, s->sport);
}

const struct kind kinds[KINDS] = {
	{"a pod here",
         {"10.0.0.2", "fd00::2"},
         FROM_POD(2),
         SENT,              SENT,
         false,                           false},
	{"the pod itself",
         {"10.0.0.1", "fd00::1"},
         FROM_POD(1),
         SENT,              SENT,
         false,                           true },
	{"this node",
         {RIG_NODE4, RIG_NODE6},
         TO_POD(1),
         STACK,             STACK,
         false,                           false},
	{"another node's pod",
         {"10.1.0.2", "fd01::2"},
         FROM_NETW,   SENT,
         SENT,                     false,
         false				 },
	{"the world",
         {RIG_WORLD4, RIG_WORLD6},
         FROM_NETW,   SENT,
         SENT,                     true,
         false				 },
};

struct facts out_check(struct bpfrun *run, const struct kind *kind,
                       const struct spec *s, uint16_t port)
{
	const enum family f = s->daddr.byte[0] ? V6 : V4;
	const struct outcome o =
		spec_want(run, kind->name, FROM_POD(1), s, kind->out);
	const struct facts seen = facts_of(kind->name, &o.out);

	addr_want(kind->name, seen.daddr, A(kind->addr[f]));
	assert_int_equal(seen.dport, port);
	addr_want(kind->name, seen.saddr,
	          kind->masquerade ? node_addr(f)
	          : kind->hairpin  ? vip(f)
	                           : s->saddr);
	if (kind->masquerade)
		assert_in_range(seen.sport, NAT_PORT_MIN, NAT_PORT_MAX);
	else
		assert_int_equal(seen.sport, s->sport);
	return seen;
}

struct facts live(struct bpfrun *run, const struct kind *kind, struct spec *s,
                  struct spec *back)
{
	const enum family f = s->daddr.byte[0] ? V6 : V4;
	struct facts seen;

	service_one(run, f, s->proto, A(kind->addr[f]), 80);
	s->tcp = SYN;
	seen = out_check(run, kind, s, 80);
	*back = answer_to(s, &seen, SYN | ACK);
	answer_check(run, kind->at, kind->back, s, back);
	s->tcp = ACK;
	out_check(run, kind, s, 80);
	back->tcp = ACK;
	return seen;
}

struct spec direct(enum family f, uint8_t proto, uint8_t tcp)
{
	return pod_spec(1, 2, f, proto, tcp);
}
