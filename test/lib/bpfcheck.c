// SPDX-License-Identifier: Apache-2.0
/* bpfcheck.c - see bpfcheck.h. */
#include "test/lib/bpfcheck.h"

#include <stdio.h>

#include "lib/addr.h"

static const char *const drop_name[] = {"none",
#define NAME(name, text) [DROP_##name] = #name,
                                        DROP_REASONS(NAME)
#undef NAME
};

int bpfcheck_group_setup(void **state)
{
	static struct bpfrun run;

	bpfrun_open(&run, *state ? *state : &bpfrun_config);
	*state = &run;
	return 0;
}

int bpfcheck_group_teardown(void **state)
{
	bpfrun_close(*state);
	return 0;
}

int bpfcheck_setup(void **state)
{
	struct bpfrun *run = *state;

	bpfrun_flush(run);
	for (unsigned int n = 1; n < BPFRUN_PODS; n++)
		bpfrun_pod(run, n, SLOT_OPEN);
	return 0;
}

struct outcome packet_want(struct bpfrun *run, const char *name,
                           struct place at, const struct packet *packet,
                           struct want want)
{
	const bool net = at.hook == HOOK_FROM_NET || at.hook == HOOK_TO_NET;
	struct outcome o;

	run->via_if = at.via;
	o = bpfrun_packet(run, at.hook,
	                  net ? run->uplink_if : run->pod_if[at.pod], packet);
	run->via_if = 0;
	if (o.verdict != want.verdict || o.drop != want.drop ||
	    o.drops != (want.drop != DROP_NONE))
		fail_msg("%s: verdict %d, drop %s (%u counted); want %d, %s: "
		         "%s",
		         name, o.verdict, drop_name[o.drop], o.drops,
		         want.verdict, drop_name[want.drop],
		         packet_text(packet));
	return o;
}

struct outcome spec_want(struct bpfrun *run, const char *name, struct place at,
                         const struct spec *spec, struct want want)
{
	struct spec s = *spec;
	struct packet packet;

	if (!s.smac && at.hook == HOOK_FROM_POD)
		s.smac = pod_mac(at.pod);
	packet = packet_make(&s);
	return packet_want(run, name, at, &packet, want);
}

struct facts facts_of(const char *name, const struct packet *packet)
{
	const char *wrong = packet_wrong_checksum(packet);
	struct facts facts = {};

	if (wrong)
		fail_msg("%s: %s: %s", name, wrong, packet_text(packet));
	assert_true(packet_read(packet, &facts));
	return facts;
}

void addr_want(const char *name, struct addr got, struct addr want)
{
	char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];

	if (addr_compare(&got, &want))
		fail_msg("%s: the address is %s, not %s", name,
		         addr_format(&got, a), addr_format(&want, b));
}

struct spec pod_spec(unsigned int from, unsigned int to, enum family family,
                     uint8_t proto, uint8_t tcp)
{
	return (struct spec){
		.saddr = pod_addr(from, family),
		.daddr = pod_addr(to, family),
		.proto = proto,
		.sport = 40000,
		.dport = 80,
		.tcp = tcp,
		.n_payload = 10,
	};
}

void pod_mute(struct bpfrun *run, unsigned int pod)
{
	bpfrun_pod(run, pod, bpfrun_slot(run, 1 << DIR_EGRESS, NULL, 0));
}

void tcp_establish(struct bpfrun *run, const struct spec *syn, struct place a,
                   struct place b)
{
	const struct spec synack = spec_answer(syn, SYN | ACK);
	struct spec ack = *syn;
	struct flow flow;

	ack.tcp = ACK;
	spec_want(run, "SYN", a, syn, SENT);
	spec_want(run, "SYN-ACK", b, &synack, SENT);
	spec_want(run, "ACK", a, &ack, SENT);
	assert_true(bpfrun_flow(run, syn, &flow));
	assert_true(flow.flags & FLOW_MAIN);
}
