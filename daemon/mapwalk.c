// SPDX-License-Identifier: Apache-2.0
/* mapwalk.c - see mapwalk.h. */
#include "daemon/mapwalk.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

/* What the kernel answers where an operation does not exist (errno.h lacks it).
 */
#define KERNEL_ENOTSUPP 524
#define CURSOR_MIN      8u

const char *map_type_name(uint32_t type)
{
	const char *name = libbpf_bpf_map_type_str(type);

	return name ? name : "unknown";
}

static bool type_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static int map_info(int fd, struct bpf_map_info *ret)
{
	uint32_t size = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return bpf_obj_get_info_by_fd(fd, ret, &size) ? -errno : 0;
}

static void batch_free(struct mapwalk *walk)
{
	free(TAKE(walk->keys));
	free(TAKE(walk->values));
	free(TAKE(walk->cursor));
}

/* Get ready for the map that walk->info describes. */
static int batch_prepare(struct mapwalk *walk)
{
	const struct bpf_map_info *info = &walk->info;
	const int cpus = libbpf_num_possible_cpus();

	batch_free(walk);
	walk->n_cpus = 1;
	walk->value_size = info->value_size;
	if (type_per_cpu(info->type)) {
		if (cpus < 0)
			return cpus;
		walk->n_cpus = (uint32_t)cpus;
		walk->value_size =
			(info->value_size + 7) / 8 * 8 * walk->n_cpus;
	}
	walk->keys = calloc(MAPWALK_BATCH, info->key_size + 1u);
	walk->values = calloc(MAPWALK_BATCH, walk->value_size + 1u);
	walk->cursor = calloc(1, info->key_size + CURSOR_MIN);
	walk->n = walk->at = 0;
	walk->begun = walk->drained = walk->single = false;
	walk->steps = 0;
	walk->steps_max = 4ull * info->max_entries + MAPWALK_BATCH;
	return walk->keys && walk->values && walk->cursor ? 0 : -ENOMEM;
}

int mapwalk_open(struct mapwalk *walk, int fd, struct err *err)
{
	int r;

	*walk = (struct mapwalk){.fd = fd, .inner_fd = -1};
	r = map_info(fd, &walk->info);
	if (!r) {
		walk->nested = walk->info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
		               walk->info.type == BPF_MAP_TYPE_HASH_OF_MAPS;
		walk->outer_n = walk->info.max_entries;
		walk->drained = walk->nested;
	}
	if (!r && !walk->nested)
		r = batch_prepare(walk);
	if (!r)
		return 0;
	mapwalk_close(walk);
	return err_set(err, r, "read the map: %s", strerror(-r));
}

void mapwalk_close(struct mapwalk *walk)
{
	batch_free(walk);
	closep(&walk->inner_fd);
	walk->inner_fd = -1;
}

/* Open the inner map at the next index: 0, also for an empty place. */
static int inner_next(struct mapwalk *walk)
{
	const uint32_t index = walk->outer_begun ? walk->outer + 1 : 0;
	uint32_t id;
	int r;

	if (index >= walk->outer_n)
		return -ENODATA;
	closep(&walk->inner_fd);
	walk->inner_fd = -1;
	walk->outer = index;
	walk->outer_begun = true;
	if (bpf_map_lookup_elem(walk->fd, &index, &id))
		return 0;
	walk->inner_fd = bpf_map_get_fd_by_id(id);
	if (walk->inner_fd < 0) {
		walk->inner_fd = -1; /* replaced meanwhile */
		return 0;
	}
	r = map_info(walk->inner_fd, &walk->info);
	return r ? r : batch_prepare(walk);
}

int mapwalk_fd(const struct mapwalk *walk)
{
	return walk->nested ? walk->inner_fd : walk->fd;
}

/* One element by get_next_key: for the types that know no batches. */
static int single_fill(struct mapwalk *walk)
{
	const int fd = mapwalk_fd(walk);

	if (walk->steps++ > walk->steps_max || /* restarted by deletions */
	    bpf_map_get_next_key(fd, walk->begun ? walk->cursor : NULL,
	                         walk->keys)) {
		walk->drained = true;
		return 0;
	}
	memcpy(walk->cursor, walk->keys, walk->info.key_size);
	walk->begun = true;
	walk->at = 0;
	walk->n = !bpf_map_lookup_elem(fd, walk->keys, walk->values);
	return 0;
}

static int batch_fill(struct mapwalk *walk)
{
	uint32_t n = MAPWALK_BATCH;
	uint8_t *in = walk->begun ? walk->cursor : NULL;
	int r;

	if (walk->single)
		return single_fill(walk);
	r = bpf_map_lookup_batch(mapwalk_fd(walk), in, walk->cursor, walk->keys,
	                         walk->values, &n, NULL)
	            ? -errno
	            : 0;
	if ((r == -EINVAL || r == -KERNEL_ENOTSUPP || r == -EOPNOTSUPP) &&
	    !walk->begun) {
		walk->single = true;
		return 0;
	}
	if (r && r != -ENOENT && r != -EINTR)
		return r;
	walk->begun = walk->begun || n;
	walk->drained = r == -ENOENT;
	walk->steps += n;
	if (walk->steps > walk->steps_max)
		walk->drained = true;
	walk->n = n;
	walk->at = 0;
	return 0;
}

int mapwalk_next(struct mapwalk *walk, const void **key, const void **value)
{
	int r;

	if (walk->at < walk->n) {
		*key = walk->keys + (size_t)walk->at * walk->info.key_size;
		*value = walk->values + (size_t)walk->at * walk->value_size;
		walk->at++;
		return 1;
	}
	if (!walk->drained)
		return batch_fill(walk);
	if (!walk->nested)
		return -ENODATA;
	r = inner_next(walk);
	if (!r && walk->inner_fd >= 0)
		walk->drained = false;
	return r;
}
