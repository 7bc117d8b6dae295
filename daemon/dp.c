// SPDX-License-Identifier: Apache-2.0
/* dp.c - loading the datapath: adopt, load, fill what is empty, switch. */
#include "daemon/dp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/dp_impl.h"
#include "lib/log.h"

#include "datapath.skel.h"

#define TEST_PACKET_BYTES 64

const char *const dp_stub_name[STUB__COUNT] = {
	[STUB_FROM_POD] = "stub_from_pod",
	[STUB_TO_POD] = "stub_to_pod",
	[STUB_FROM_NET] = "stub_from_net",
	[STUB_TO_NET] = "stub_to_net",
	[STUB_FROM_TUNNEL] = "stub_from_tunnel",
	[STUB_TO_TUNNEL] = "stub_to_tunnel",
};

/* Programs behind the hooks; a build without one leaves its place empty. */
static const char *const hook_prog[HOOK__COUNT] = {
	[HOOK_FROM_POD] = "from_pod",       [HOOK_TO_POD] = "to_pod",
	[HOOK_FROM_NET] = "from_net",       [HOOK_TO_NET] = "to_net",
	[HOOK_FROM_TUNNEL] = "from_tunnel", [HOOK_TO_TUNNEL] = "to_tunnel",
};

/* libbpf's own words go to our log, once each, with our levels. */
static int libbpf_says(enum libbpf_print_level level, const char *fmt,
                       va_list ap)
{
	char text[1024];
	size_t n;

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	if (n && text[n - 1] == '\n')
		text[n - 1] = 0;
	log_line(level == LIBBPF_WARN ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s",
	         text);
	return 0;
}

static void *map_memory(int fd, size_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (fd < 0)
		return MAP_FAILED;
	return mmap(NULL, (bytes + page - 1) / page * page,
	            PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* The shards of the main flow table: made once, kept for ever. */
static int flows_open(struct dp *dp, struct err *err)
{
	const int outer = dp_map_fd(dp, "flows");
	__u32 place[FLOW_SHARDS], n = 0;
	int shard[FLOW_SHARDS];
	int r = 0;

	for (__u32 i = 0; i < FLOW_SHARDS; i++) {
		__u32 id;

		if (!bpf_map_lookup_elem(outer, &i, &id))
			continue;
		place[n] = i;
		shard[n] = bpf_map_create(BPF_MAP_TYPE_HASH, "flow_shard",
		                          sizeof(struct flow_key),
		                          sizeof(struct flow), FLOW_SHARD_MAX,
		                          NULL);
		if (shard[n] < 0) {
			r = err_set(err, shard[n], "flow table, shard %u: %s",
			            i, strerror(-shard[n]));
			break;
		}
		n++;
	}
	if (!r && n) {
		__u32 count = n;

		r = bpf_map_update_batch(outer, place, shard, &count, NULL);
		if (r)
			err_set(err, r, "flow table: %s", strerror(-r));
	}
	for (__u32 i = 0; i < n; i++)
		close(shard[i]);
	return r;
}

/* One run of sweep_start arms the sweeper's timer with this build's code. */
static int sweeper_start(struct dp *dp, struct err *err)
{
	const int fd = dp_prog_fd(dp, "sweep_start");
	char packet[TEST_PACKET_BYTES] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet,
	            .data_size_in = sizeof(packet), .repeat = 1);
	int r;

	if (fd < 0)
		return err_set(err, -ENOENT, "program sweep_start is missing");
	r = bpf_prog_test_run_opts(fd, &opts);
	if (r)
		return err_set(err, r, "start the sweeper: %s", strerror(-r));
	if (opts.retval)
		return err_set(err, -EIO, "the sweeper's timer: error %d",
		               (int)opts.retval);
	return 0;
}

int dp_hooks_fill(struct dp *dp, int fd, struct err *err)
{
	for (__u32 i = 0; i < HOOK__COUNT; i++) {
		const int prog = dp_prog_fd(dp, hook_prog[i]);
		int r;

		if (prog < 0) {
			(void)bpf_map_delete_elem(fd, &i);
			continue;
		}
		r = bpf_map_update_elem(fd, &i, &prog, BPF_ANY);
		if (r)
			return err_set(err, r, "hook %s: %s", hook_prog[i],
			               strerror(-r));
	}
	return 0;
}

static void fds_learn(struct dp *dp)
{
	dp->policies_fd = dp_map_fd(dp, "policies");
	dp->ranges_fd = dp_map_fd(dp, "ranges");
	dp->slots_fd = dp_map_fd(dp, "slots");
}

static int kept_add(struct dp_kept *kept, int *n, const char *name, int fd)
{
	if (fd < 0)
		return 0;
	if (*n == DP_KEPT_MAX)
		return -E2BIG;
	kept[*n].fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (kept[*n].fd < 0)
		return -errno;
	snprintf(kept[*n].name, sizeof(kept[*n].name), "%s", name);
	++*n;
	return 0;
}

/* Descriptors are all that we need; libbpf keeps half a megabyte of code and
 * types for as long as the object is open. */
static int object_close(struct dp *dp, struct err *err)
{
	struct bpf_program *prog;
	struct bpf_map *map;
	int r = 0;

	bpf_object__for_each_map(map, dp->obj)
	{
		if (!r)
			r = kept_add(dp->map, &dp->n_maps, bpf_map__name(map),
			             bpf_map__fd(map));
	}
	bpf_object__for_each_program(prog, dp->obj)
	{
		if (!r)
			r = kept_add(dp->prog, &dp->n_progs,
			             bpf_program__name(prog),
			             bpf_program__fd(prog));
	}
	if (r)
		return err_set(err, r, "keep the datapath's descriptors: %s",
		               strerror(-r));
	datapath__destroy(dp->skel);
	dp->skel = NULL;
	dp->obj = NULL;
	fds_learn(dp);
	return 0;
}

static int dp_load(struct dp *dp, const struct dp_config *config,
                   struct err *err)
{
	int r;

	dp->skel = datapath__open();
	if (!dp->skel)
		return err_set(err, -ENOMEM, "open the datapath object");
	dp->obj = dp->skel->obj;
	dp->skel->rodata->config = *config;
	r = dp_pins_adopt(dp, err);
	if (r)
		return r;
	r = datapath__load(dp->skel);
	if (r)
		return err_set(err, r, "the kernel rejects the datapath: %s",
		               strerror(-r));

	fds_learn(dp);
	dp->epochs = map_memory(dp_map_fd(dp, "epochs"), sizeof(*dp->epochs));
	if (dp->epochs == MAP_FAILED) {
		dp->epochs = NULL;
		return err_set(err, -errno, "map the epochs: %s",
		               strerror(errno));
	}
	return 0;
}

int dp_open(const struct dp_config *config, const char *bpffs, struct dp **ret,
            struct err *err)
{
	_cleanup_(dp_closep) struct dp *dp = calloc(1, sizeof(*dp));
	int r;

	if (!dp)
		return err_set(err, -ENOMEM, "out of memory");
	for (int i = 0; i < STUB__COUNT; i++)
		dp->stub_fd[i] = -1;
	dp->n_cpus = libbpf_num_possible_cpus();
	if (dp->n_cpus < 0)
		return err_set(err, dp->n_cpus, "count the CPUs: %s",
		               strerror(-dp->n_cpus));
	libbpf_set_print(libbpf_says);
	if (snprintf(dp->pin_dir, sizeof(dp->pin_dir), "%s/v%d", bpffs,
	             ABI_VERSION) >= (int)sizeof(dp->pin_dir))
		return err_set(err, -ENAMETOOLONG, "bpffs path %s", bpffs);

	r = dp_dir_make(bpffs, err);
	if (!r)
		r = dp_dir_make(dp->pin_dir, err);
	if (!r)
		r = dp_load(dp, config, err);
	if (!r)
		r = flows_open(dp, err);
	if (!r)
		r = dp_slots_open(dp, err);
	if (!r)
		r = sweeper_start(dp, err);
	if (!r)
		r = dp_hooks_fill(dp, dp_map_fd(dp, "hooks"), err);
	if (!r)
		r = dp_pins_write(dp, err);
	if (!r)
		r = object_close(dp, err);
	if (r)
		return r;
	*ret = TAKE(dp);
	return 0;
}

void dp_close(struct dp *dp)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!dp)
		return;
	if (dp->epochs)
		munmap(dp->epochs,
		       (sizeof(*dp->epochs) + page - 1) / page * page);
	for (int i = 0; i < STUB__COUNT; i++)
		if (dp->stub_fd[i] >= 0)
			close(dp->stub_fd[i]);
	for (int i = 0; i < dp->n_maps; i++)
		close(dp->map[i].fd);
	for (int i = 0; i < dp->n_progs; i++)
		close(dp->prog[i].fd);
	datapath__destroy(dp->skel);
	free(dp);
}

bool dp_adopted(const struct dp *dp)
{
	return dp->adopted;
}

const char *dp_pin_dir(const struct dp *dp)
{
	return dp->pin_dir;
}

static int kept_find(const struct dp_kept *kept, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(kept[i].name, name))
			return kept[i].fd;
	return -ENOENT;
}

int dp_map_fd(const struct dp *dp, const char *name)
{
	return dp->obj ? bpf_object__find_map_fd_by_name(dp->obj, name)
	               : kept_find(dp->map, dp->n_maps, name);
}

int dp_prog_fd(const struct dp *dp, const char *name)
{
	const struct bpf_program *prog;
	int fd;

	for (int i = 0; i < STUB__COUNT; i++)
		if (dp->stub_fd[i] >= 0 && !strcmp(name, dp_stub_name[i]))
			return dp->stub_fd[i];
	if (!dp->obj)
		return kept_find(dp->prog, dp->n_progs, name);
	prog = bpf_object__find_program_by_name(dp->obj, name);
	if (!prog)
		return -ENOENT;
	fd = bpf_program__fd(prog);
	return fd < 0 ? -ENOENT : fd;
}
