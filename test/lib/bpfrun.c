// SPDX-License-Identifier: Apache-2.0
/* bpfrun.c - see bpfrun.h; its node is made in rig.c. */
#include "test/lib/bpfrun.h"

#include <linux/bpf.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/util.h"
#include "test/lib/rig.h"

#define BPFFS      "/sys/fs/bpf/bpfrun"
#define DROP_CELLS (HOOK__COUNT * DROP__COUNT)

const struct dp_config bpfrun_config = {
	.masquerade = 1,
	.gw_mac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee},
	/* 169.254.1.1, fe80::1 */
	.gateway = {{.byte = {[10] = 0xff, 0xff, 169, 254, 1, 1}},
                   {.byte = {0xfe, 0x80, [15] = 1}}},
	.nat_port_min = NAT_PORT_MIN,
	.nat_port_max = NAT_PORT_MAX,
	.share = 1000,
};

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "bpfrun: %s: %s\n", what, strerror(-r));
	exit(99);
}

/* ---- opening ------------------------------------------------------------- */

static void shards_open(struct bpfrun *run)
{
	const int outer = dp_map_fd(run->dp, "flows");

	for (__u32 i = 0; i < FLOW_SHARDS; i++) {
		__u32 id;

		must(bpf_map_lookup_elem(outer, &i, &id), "flow shard");
		run->shard[i] = bpf_map_get_fd_by_id(id);
		must(run->shard[i], "open flow shard");
	}
}

void bpfrun_open_bare(struct bpfrun *run, const struct dp_config *config)
{
	static const char *const name[] = {"from_pod", "to_pod", "from_net",
	                                   "to_net"};
	struct err err = {};

	memset(run, 0, sizeof(*run));
	rig_devices(run->pod_if, &run->uplink_if);
	if (dp_open(config, BPFFS, &run->dp, &err)) {
		fprintf(stderr, "bpfrun: %s\n", err.text);
		exit(99);
	}
	for (size_t i = 0; i < ARRAY_SIZE(name); i++) {
		run->prog[i] = dp_prog_fd(run->dp, name[i]);
		must(run->prog[i], name[i]);
	}
	run->drops_fd = dp_map_fd(run->dp, "drops");
	run->n_cpus = libbpf_num_possible_cpus();
	run->drops = calloc((size_t)run->n_cpus * DROP_CELLS, sizeof(__u64));
	must(run->drops ? 0 : -ENOMEM, "memory");
	shards_open(run);
}

static void unpin_all(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	(void)rmdir(path);
}

void bpfrun_close(struct bpfrun *run)
{
	char pins[256];

	if (!run->dp)
		return;
	snprintf(pins, sizeof(pins), "%s", dp_pin_dir(run->dp));
	for (size_t i = 0; i < FLOW_SHARDS; i++)
		close(run->shard[i]);
	dp_close(TAKE(run->dp));
	unpin_all(pins);
	free(TAKE(run->drops));
}

/* ---- packets ------------------------------------------------------------- */

static uint64_t *drops_read(struct bpfrun *run, uint64_t total[DROP_CELLS])
{
	__u32 keys[DROP_CELLS], out = 0, n = DROP_CELLS;
	const uint64_t *cell = run->drops;
	int r = bpf_map_lookup_batch(run->drops_fd, NULL, &out, keys,
	                             run->drops, &n, NULL);

	must(r == -ENOENT ? 0 : r, "read the drop counters");
	for (__u32 i = 0; i < n; i++) {
		total[keys[i]] = 0;
		for (int cpu = 0; cpu < run->n_cpus; cpu++)
			total[keys[i]] += *cell++;
	}
	return total;
}

/* What rose at @hook; rises at other hooks count into drops alone. */
static void drops_compare(struct outcome *o, enum hook hook,
                          const uint64_t *before, const uint64_t *after)
{
	for (unsigned int i = 0; i < DROP_CELLS; i++) {
		if (after[i] == before[i])
			continue;
		o->drops += (unsigned int)(after[i] - before[i]);
		if (i / DROP__COUNT == (unsigned int)hook)
			o->drop = i % DROP__COUNT;
	}
}

struct outcome bpfrun_gso(struct bpfrun *run, enum hook hook, uint32_t ifindex,
                          const struct packet *packet, uint32_t gso_size)
{
	struct __sk_buff skb = {.ifindex = ifindex,
	                        .ingress_ifindex = run->via_if,
	                        .gso_size = gso_size};
	uint64_t before[DROP_CELLS], after[DROP_CELLS];
	struct outcome o;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->byte,
	            .data_size_in = (__u32)packet->len, .data_out = o.out.byte,
	            .data_size_out = sizeof(o.out.byte), .ctx_in = &skb,
	            .ctx_size_in = sizeof(skb), .ctx_out = &skb,
	            .ctx_size_out = sizeof(skb), .repeat = 1);

	drops_read(run, before);
	must(bpf_prog_test_run_opts(run->prog[hook], &opts), "run a packet");
	drops_read(run, after);
	o.verdict = (int)opts.retval;
	o.drop = DROP_NONE;
	o.drops = 0;
	o.mark = skb.mark;
	o.out.len = opts.data_size_out;
	drops_compare(&o, hook, before, after);
	return o;
}

struct outcome bpfrun_packet(struct bpfrun *run, enum hook hook,
                             uint32_t ifindex, const struct packet *packet)
{
	return bpfrun_gso(run, hook, ifindex, packet, 0);
}

int bpfrun_verdict(const struct bpfrun *run, enum hook hook, uint32_t ifindex,
                   const void *bytes, size_t len)
{
	struct __sk_buff skb = {.ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = bytes,
	            .data_size_in = (__u32)len, .ctx_in = &skb,
	            .ctx_size_in = sizeof(skb), .repeat = 1);

	must(bpf_prog_test_run_opts(run->prog[hook], &opts), "run a packet");
	return (int)opts.retval;
}

int bpfrun_bytes(const struct bpfrun *run, enum hook hook, uint32_t ifindex,
                 const struct packet *packet, struct packet *ret)
{
	struct __sk_buff skb = {.ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->byte,
	            .data_size_in = (__u32)packet->len, .data_out = ret->byte,
	            .data_size_out = sizeof(ret->byte), .ctx_in = &skb,
	            .ctx_size_in = sizeof(skb), .repeat = 1);

	if (bpf_prog_test_run_opts(run->prog[hook], &opts))
		return -1;
	ret->len = opts.data_size_out;
	return (int)opts.retval;
}

uint64_t bpfrun_counter(struct bpfrun *run, enum counter which)
{
	uint64_t n = 0;

	must(dp_counter(run->dp, which, &n), "read a counter");
	return n;
}

/* ---- flows --------------------------------------------------------------- */

static void map_clear(int fd, size_t key_size)
{
	uint8_t key[64];

	if (key_size > sizeof(key))
		exit(99);
	while (!bpf_map_get_next_key(fd, NULL, key))
		(void)bpf_map_delete_elem(fd, key);
}

void bpfrun_flush(struct bpfrun *run)
{
	const int held = dp_map_fd(run->dp, "held");
	const __u32 none = 0;

	map_clear(dp_map_fd(run->dp, "flows_new"), sizeof(struct flow_key));
	map_clear(dp_map_fd(run->dp, "frags"), sizeof(struct frag_key));
	for (size_t i = 0; i < FLOW_SHARDS; i++)
		map_clear(run->shard[i], sizeof(struct flow_key));
	for (__u32 i = 0; i < ENDPOINT_MAX; i++)
		must(bpf_map_update_elem(held, &i, &none, BPF_ANY), "held");
}

/* -1, 0, 1: by half[1], half[0] as the machine's numbers, then by port. */
static int ends_compare(const struct addr *a, __be16 a_port,
                        const struct addr *b, __be16 b_port)
{
	if (a->half[1] != b->half[1])
		return a->half[1] < b->half[1] ? -1 : 1;
	if (a->half[0] != b->half[0])
		return a->half[0] < b->half[0] ? -1 : 1;
	return (a_port > b_port) - (a_port < b_port);
}

static struct flow_tuple tuple_of(const struct spec *s)
{
	struct flow_tuple t = {
		.saddr = s->saddr,
		.daddr = s->daddr,
		.sport = htons(s->sport),
		.dport = htons(s->dport),
		.proto = s->proto,
	};

	if (s->proto == IPPROTO_TCP || s->proto == IPPROTO_UDP ||
	    s->proto == IPPROTO_SCTP)
		return t;
	t.sport = t.dport = 0;
	if (s->proto != IPPROTO_ICMP && s->proto != IPPROTO_ICMPV6)
		return t;
	if (s->type == (s->proto == IPPROTO_ICMP ? 8 : 128))
		t.sport = htons((uint16_t)(s->info >> 16));
	else if (s->type == (s->proto == IPPROTO_ICMP ? 0 : 129))
		t.dport = htons((uint16_t)(s->info >> 16));
	return t;
}

struct flow_key bpfrun_key(const struct spec *s)
{
	const struct flow_tuple t = tuple_of(s);
	struct flow_key key = {.ends = t};

	if (ends_compare(&t.saddr, t.sport, &t.daddr, t.dport) > 0) {
		key.ends.saddr = t.daddr;
		key.ends.daddr = t.saddr;
		key.ends.sport = t.dport;
		key.ends.dport = t.sport;
	}
	return key;
}

/* The table that holds @key, the main one first; -1. */
static int flow_table(struct bpfrun *run, const struct flow_key *key,
                      struct flow *ret)
{
	const int young = dp_map_fd(run->dp, "flows_new");

	for (size_t i = 0; i < FLOW_SHARDS; i++)
		if (!bpf_map_lookup_elem(run->shard[i], key, ret))
			return run->shard[i];
	return bpf_map_lookup_elem(young, key, ret) ? -1 : young;
}

bool bpfrun_flow_at(struct bpfrun *run, const struct flow_key *key,
                    struct flow *ret)
{
	return flow_table(run, key, ret) >= 0;
}

bool bpfrun_flow(struct bpfrun *run, const struct spec *spec, struct flow *ret)
{
	const struct flow_key key = bpfrun_key(spec);

	if (bpfrun_flow_at(run, &key, ret) && !(ret->flags & FLOW_DEAD))
		return true;
	return !bpf_map_lookup_elem(dp_map_fd(run->dp, "flows_new"), &key,
	                            ret) &&
	       !(ret->flags & FLOW_DEAD);
}

void bpfrun_flow_write(struct bpfrun *run, const struct flow_key *key,
                       const struct flow *flow)
{
	struct flow old;
	const int table = flow_table(run, key, &old);

	must(table < 0 ? -ENOENT : 0, "the flow to write over");
	must(bpf_map_update_elem(table, key, flow, BPF_EXIST), "write a flow");
}

/* ---- policy -------------------------------------------------------------- */

static enum level level_of(__u32 peer)
{
	if (!peer)
		return LEVEL_ANY;
	return peer & ~ID_CLASS_MASK ? LEVEL_ID : LEVEL_CLASS;
}

static enum shape shape_of(const struct policy_key *key)
{
	if (key->port)
		return SHAPE_PORT;
	return key->proto ? SHAPE_PROTO : SHAPE_ALL;
}

uint32_t bpfrun_slot(struct bpfrun *run, unsigned int dirs,
                     const struct policy_entry *entry, size_t n)
{
	struct policy_entry copy[64];
	struct table table = {
		.header.isolated = {dirs & 1, dirs >> 1 & 1},
		.entry = copy,
		.n_entries = n,
	};
	struct err err = {};
	int slot;

	must(n > ARRAY_SIZE(copy) ? -E2BIG : 0, "a slot's entries");
	for (size_t i = 0; i < n; i++) {
		const struct policy_key *key = &entry[i].key;

		copy[i] = entry[i];
		table.header.shapes[key->dir] |=
			SHAPE_BIT(level_of(key->peer), shape_of(key));
	}
	slot = dp_slot_fill(run->dp, &table, &err);
	must(slot, err.text);
	return (uint32_t)slot;
}

/* ---- events -------------------------------------------------------------- */

static int event_take(void *ctx, void *data, size_t size)
{
	if (size != sizeof(struct event))
		return -EINVAL;
	memcpy(ctx, data, size);
	return -EINTR; /* one at a time */
}

static int event_skip(void *ctx, void *data, size_t size)
{
	(void)ctx;
	(void)data;
	(void)size;
	return 0;
}

static int events_consume(struct bpfrun *run, ring_buffer_sample_fn fn,
                          void *ctx)
{
	struct ring_buffer *ring =
		ring_buffer__new(dp_map_fd(run->dp, "events"), fn, ctx, NULL);
	int r;

	must(ring ? 0 : -errno, "open the event ring");
	r = ring_buffer__consume(ring);
	ring_buffer__free(ring);
	return r;
}

bool bpfrun_event(struct bpfrun *run, struct event *ret)
{
	const int r = events_consume(run, event_take, ret);

	must(r == -EINTR ? 0 : r, "read an event");
	return r == -EINTR;
}

void bpfrun_events_skip(struct bpfrun *run)
{
	must(events_consume(run, event_skip, NULL), "read events");
}
