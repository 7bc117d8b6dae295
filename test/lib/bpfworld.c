// SPDX-License-Identifier: Apache-2.0
/* bpfworld.c - see bpfworld.h. */
#include "test/lib/bpfworld.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/util.h"
#include "test/lib/rig.h"

/* Slots that are fresh before a world is loaded. */
#define SLOTS_READY 24

static uint32_t slot_of_table[SLOT_MAX]; /* of the world that is loaded */

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "bpfworld: %s: %s\n", what, strerror(-r));
	exit(99);
}

void bpfworld_open(struct bpfrun *run)
{
	const struct uplink uplink = {.mtu = 1500};
	struct dp_config config = bpfrun_config;

	config.masquerade = 0;
	bpfrun_open_bare(run, &config);
	must(dp_uplink_put(run->dp, run->uplink_if, &uplink), "uplink");
}

/* ---- loading ------------------------------------------------------------- */

static void tables_load(struct bpfrun *run, const struct compiled *c)
{
	struct err err = {};

	must(c->n_tables > SLOT_MAX ? -1 : 0, "more tables than slots");
	while (dp_slots_fresh(run->dp) < SLOTS_READY)
		must(dp_slots_tend(run->dp, &err), err.text);
	slot_of_table[0] = SLOT_OPEN;
	for (size_t i = 1; i < c->n_tables; i++) {
		const int slot = dp_slot_fill(run->dp, &c->table[i], &err);

		must(slot, err.text);
		slot_of_table[i] = (uint32_t)slot;
	}
}

static void prefix_key_of(const struct prefix_entry *e, struct prefix_key *key)
{
	key->bits = e->prefix.bits;
	memcpy(key->addr, e->prefix.addr.byte, sizeof(key->addr));
}

void bpfworld_load(struct bpfrun *run, const struct compiled *c)
{
	tables_load(run, c);
	for (size_t i = 0; i < c->n_endpoints; i++) {
		const uint16_t n = c->endpoint[i].endpoint;
		struct endpoint ep = {
			.slot = slot_of_table[c->endpoint[i].table],
			.mtu = 1500};

		must(n < BPFRUN_PODS ? 0 : -1, "more pods than devices");
		ep.ifindex = run->pod_if[n];
		memcpy(ep.mac, pod_mac(n), sizeof(ep.mac));
		must(dp_endpoint_put(run->dp, n, &ep), "endpoint");
	}
	for (size_t i = 0; i < c->n_addrs; i++) {
		const struct addr_info info = {
			.identity = c->addr[i].identity,
			.endpoint = c->addr[i].endpoint,
			.local = c->addr[i].local,
		};

		must(dp_addr_put(run->dp, &c->addr[i].addr, &info), "address");
	}
	for (size_t i = 0; i < c->n_prefixes; i++) {
		const struct prefix_info info = {.identity =
		                                         c->prefix[i].identity};
		struct prefix_key key;

		prefix_key_of(&c->prefix[i], &key);
		must(dp_prefix_put(run->dp, &key, &info), "prefix");
	}
}

void bpfworld_unload(struct bpfrun *run, const struct compiled *c)
{
	const struct endpoint none = {.closed = 1};

	for (size_t i = 0; i < c->n_endpoints; i++)
		must(dp_endpoint_put(run->dp, c->endpoint[i].endpoint, &none),
		     "endpoint");
	for (size_t i = 0; i < c->n_addrs; i++)
		must(dp_addr_remove(run->dp, &c->addr[i].addr), "address");
	for (size_t i = 0; i < c->n_prefixes; i++) {
		struct prefix_key key;

		prefix_key_of(&c->prefix[i], &key);
		must(dp_prefix_remove(run->dp, &key), "prefix");
	}
	for (size_t i = 1; i < c->n_tables; i++)
		dp_slot_retire(run->dp, slot_of_table[i]);
}

/* ---- packets ------------------------------------------------------------- */

static const struct addr_entry *entry_of(const struct compiled *c,
                                         const struct addr *addr)
{
	for (size_t i = 0; i < c->n_addrs; i++)
		if (!addr_compare(&c->addr[i].addr, addr))
			return &c->addr[i];
	return NULL;
}

static const struct pod *pod_of(const struct world *world,
                                const struct addr_entry *entry)
{
	for (size_t i = 0; entry && entry->endpoint && i < world->n_pods; i++)
		if (world->pod[i]->endpoint == entry->endpoint)
			return world->pod[i];
	return NULL;
}

/* What routers do not route, whatever policy says (RFC 6890). */
static bool is_martian(const struct addr *a)
{
	const uint8_t *b = a->byte;
	static const uint8_t zero[12];

	if (addr_family(a) == FAMILY_V4)
		return b[12] >= 224 || b[12] == 127 || b[12] == 0;
	return b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) ||
	       !memcmp(b, zero, sizeof(zero));
}

static void visit_spec(const struct probe *probe, uint16_t sport,
                       struct spec *ret)
{
	*ret = (struct spec){
		.saddr = probe->src,
		.daddr = probe->dst,
		.proto = probe->proto,
		.sport = sport,
		.dport = probe->port,
		.tcp = SYN,
		.type = probe->proto == IPPROTO_ICMP ? 8 : 128,
		.info = (uint32_t)sport << 16,
		.n_payload = 8,
	};
}

bool visit_make(const struct bpfrun *run, const struct world *world,
                const struct compiled *c, const struct probe *probe,
                unsigned int way, uint16_t sport, struct visit *ret)
{
	const struct addr_entry *src = entry_of(c, &probe->src);
	const struct addr_entry *dst = entry_of(c, &probe->dst);
	const bool v6 = addr_family(&probe->src) == FAMILY_V6;
	struct visit v = {
		.pod = {pod_of(world, src), pod_of(world, dst)}
        };

	if (is_martian(&probe->src) || is_martian(&probe->dst) ||
	    (!v.pod[0] && !v.pod[1]) ||
	    probe->proto == (v6 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return false;
	visit_spec(probe, sport, &v.spec);
	for (int end = 0; end < 2; end++)
		v.endpoint[end] = v.pod[end] ? v.pod[end]->endpoint : 0;
	if (v.pod[0]) {
		v.hook = HOOK_FROM_POD;
		v.ifindex = run->pod_if[v.endpoint[0]];
		v.spec.smac = pod_mac(v.endpoint[0]);
	} else if ((src && src->local) || way & 1) {
		v.hook = HOOK_TO_POD;
		v.ifindex = run->pod_if[v.endpoint[1]];
	} else {
		v.hook = HOOK_FROM_NET;
		v.ifindex = run->uplink_if;
	}
	*ret = v;
	return true;
}
