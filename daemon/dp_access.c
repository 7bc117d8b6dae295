// SPDX-License-Identifier: Apache-2.0
/* dp_access.c - typed reads and writes of the maps, epochs, grace periods. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>

#include "daemon/dp_impl.h"

#define BATCH_ENTRIES 512u

/* ---- single entries ----------------------------------------------------- */

static int map_put(struct dp *dp, const char *map, const void *key,
                   const void *value)
{
	return bpf_map_update_elem(dp_map_fd(dp, map), key, value, BPF_ANY);
}

/* An entry that is not there is removed already. */
static int map_remove(struct dp *dp, const char *map, const void *key)
{
	const int r = bpf_map_delete_elem(dp_map_fd(dp, map), key);

	return r == -ENOENT ? 0 : r;
}

int dp_endpoint_put(struct dp *dp, uint16_t number, const struct endpoint *ep)
{
	const __u32 key = number;

	if (!number || number >= ENDPOINT_MAX)
		return -EINVAL;
	return map_put(dp, "endpoints", &key, ep);
}

int dp_endpoint_get(struct dp *dp, uint16_t number, struct endpoint *ret)
{
	const __u32 key = number;

	return bpf_map_lookup_elem(dp_map_fd(dp, "endpoints"), &key, ret);
}

int dp_addr_put(struct dp *dp, const struct addr *addr,
                const struct addr_info *info)
{
	return map_put(dp, "addrs", addr, info);
}

int dp_addr_remove(struct dp *dp, const struct addr *addr)
{
	return map_remove(dp, "addrs", addr);
}

int dp_prefix_put(struct dp *dp, const struct prefix_key *key,
                  const struct prefix_info *info)
{
	return map_put(dp, "prefixes", key, info);
}

int dp_prefix_remove(struct dp *dp, const struct prefix_key *key)
{
	return map_remove(dp, "prefixes", key);
}

int dp_uplink_put(struct dp *dp, uint32_t ifindex, const struct uplink *uplink)
{
	return map_put(dp, "uplinks", &ifindex, uplink);
}

int dp_uplink_get(struct dp *dp, uint32_t ifindex, struct uplink *ret)
{
	return bpf_map_lookup_elem(dp_map_fd(dp, "uplinks"), &ifindex, ret);
}

int dp_uplink_stray(struct dp *dp, bool (*wanted)(uint32_t ifindex, void *user),
                    void *user, uint32_t *ret)
{
	const int fd = dp_map_fd(dp, "uplinks");
	uint32_t at, *last = NULL;

	while (!bpf_map_get_next_key(fd, last, ret)) {
		if (!wanted(*ret, user))
			return 0;
		at = *ret;
		last = &at;
	}
	return -ENOENT;
}

int dp_uplink_remove(struct dp *dp, uint32_t ifindex)
{
	return map_remove(dp, "uplinks", &ifindex);
}

int dp_node_put(struct dp *dp, uint16_t number, const struct node_info *node)
{
	const __u32 key = number;

	return number < NODE_MAX ? map_put(dp, "nodes", &key, node) : -EINVAL;
}

/* ---- many --------------------------------------------------------------- */

static int map_put_all(struct dp *dp, const char *map, const void *keys,
                       const void *values, size_t n)
{
	__u32 count = (__u32)n;

	if (n > UINT32_MAX)
		return -E2BIG;
	if (!n)
		return 0;
	return bpf_map_update_batch(dp_map_fd(dp, map), keys, values, &count,
	                            NULL);
}

int dp_addrs_put(struct dp *dp, const struct addr *addr,
                 const struct addr_info *info, size_t n)
{
	return map_put_all(dp, "addrs", addr, info, n);
}

int dp_prefixes_put(struct dp *dp, const struct prefix_key *key,
                    const struct prefix_info *info, size_t n)
{
	return map_put_all(dp, "prefixes", key, info, n);
}

int dp_services_put(struct dp *dp, const struct service_key *key,
                    const struct service *service, size_t n)
{
	return map_put_all(dp, "services", key, service, n);
}

int dp_service_remove(struct dp *dp, const struct service_key *key)
{
	return map_remove(dp, "services", key);
}

int dp_backends_put(struct dp *dp, const uint32_t *at,
                    const struct backend *backend, size_t n)
{
	return map_put_all(dp, "backends", at, backend, n);
}

int dp_backend_remove(struct dp *dp, uint32_t at)
{
	return map_remove(dp, "backends", &at);
}

static bool is_per_cpu(__u32 type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

struct batch {
	int fd;
	size_t key_size, value_size;
	char *keys, *values, *at, *next; /* at, next: where the kernel stands */
	__u32 room;
};

static void batch_free(struct batch *b)
{
	free(b->keys);
	free(b->values);
	free(b->at);
	free(b->next);
}

static int batch_alloc(struct batch *b, __u32 room)
{
	/* The kernel's place in the map is a key or a bucket's number. */
	const size_t place = b->key_size + sizeof(__u64);

	batch_free(b);
	b->room = room;
	b->keys = calloc(room, b->key_size);
	b->values = calloc(room, b->value_size);
	b->at = calloc(1, place);
	b->next = calloc(1, place);
	return b->keys && b->values && b->at && b->next ? 0 : -ENOMEM;
}

static int batch_open(struct batch *b, int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int r = bpf_obj_get_info_by_fd(fd, &info, &len);

	if (r)
		return r;
	*b = (struct batch){
		.fd = fd,
		.key_size = info.key_size,
		.value_size = info.value_size,
	};
	if (is_per_cpu(info.type))
		b->value_size = (info.value_size + 7u) / 8u * 8u *
		                (unsigned)libbpf_num_possible_cpus();
	return batch_alloc(b, BATCH_ENTRIES);
}

int dp_map_each(int map_fd,
                int (*each)(const void *key, const void *value, void *user),
                void *user)
{
	_cleanup_(batch_free) struct batch b = {};
	bool first = true;
	int r = batch_open(&b, map_fd);

	while (!r) {
		__u32 n = b.room;
		char *spare;
		int got = bpf_map_lookup_batch(map_fd, first ? NULL : b.at,
		                               b.next, b.keys, b.values, &n,
		                               NULL);

		if (got == -ENOSPC && first) { /* one bucket holds more */
			r = batch_alloc(&b, b.room * 4);
			continue;
		}
		if (got && got != -ENOENT)
			return got;
		for (__u32 i = 0; i < n && !r; i++)
			r = each(b.keys + i * b.key_size,
			         b.values + i * b.value_size, user);
		if (got == -ENOENT)
			break;
		first = false;
		spare = b.at;
		b.at = b.next;
		b.next = spare;
	}
	return r;
}

/* ---- counters ----------------------------------------------------------- */

static int per_cpu_sum(struct dp *dp, const char *map, __u32 key, uint64_t *ret)
{
	_cleanup_(free_p) __u64 *value =
		calloc((size_t)dp->n_cpus, sizeof(*value));
	int r;

	if (!value)
		return -ENOMEM;
	r = bpf_map_lookup_elem(dp_map_fd(dp, map), &key, value);
	if (r)
		return r;
	*ret = 0;
	for (int i = 0; i < dp->n_cpus; i++)
		*ret += value[i];
	return 0;
}

int dp_drop_count(struct dp *dp, enum drop why, enum hook hook, uint64_t *ret)
{
	return per_cpu_sum(dp, "drops", (__u32)hook * DROP__COUNT + (__u32)why,
	                   ret);
}

int dp_counter(struct dp *dp, enum counter which, uint64_t *ret)
{
	return per_cpu_sum(dp, "counters", (__u32)which, ret);
}

/* ---- epochs ------------------------------------------------------------- */

struct epochs *dp_epochs(struct dp *dp)
{
	return dp->epochs;
}

void dp_epoch_raise(struct dp *dp, uint16_t endpoint)
{
	__u32 *epoch =
		endpoint ? &dp->epochs->endpoint[endpoint] : &dp->epochs->node;

	if (endpoint < ENDPOINT_MAX)
		__atomic_add_fetch(epoch, 1, __ATOMIC_SEQ_CST);
}

/*
 * The kernel waits for RCU after an update of an outer map, so that user space
 * may rely on the old inner map being unused (maybe_wait_bpf_programs() in
 * kernel/bpf/syscall.c).  Putting back what slot 0 holds changes nothing.
 */
int dp_grace(struct dp *dp)
{
	const __u32 key = SLOT_OPEN;
	_cleanup_(closep) int inner = -1;
	__u32 id;
	int r = bpf_map_lookup_elem(dp->policies_fd, &key, &id);

	if (r)
		return r;
	inner = bpf_map_get_fd_by_id(id);
	if (inner < 0)
		return inner;
	return bpf_map_update_elem(dp->policies_fd, &key, &inner, BPF_ANY);
}
