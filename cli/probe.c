// SPDX-License-Identifier: Apache-2.0
/* probe.c - see probe.h. */
#include "cli/probe.h"

#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bpf/abi.h"
#include "lib/nl.h"
#include "lib/util.h"

#define LOOPBACK      1      /* its ifindex in every network namespace */
#define TCX_INGRESS   46     /* linux/bpf.h of 6.6, newer than Debian 12's */
#define BIG_GSO_BYTES 196608 /* what pods get: 192 kB */

int probe_sandbox(void)
{
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	libbpf_set_print(NULL);
	(void)setrlimit(RLIMIT_MEMLOCK, &all); /* charged so before 5.11 */
	return unshare(CLONE_NEWNET) ? -errno : 0;
}

/* ---- maps ---------------------------------------------------------------- */

static int map_make(enum bpf_map_type type, uint32_t flags, uint32_t inner_fd)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags,
	            .inner_map_fd = inner_fd);
	const bool ring = type == BPF_MAP_TYPE_RINGBUF;
	const bool trie = type == BPF_MAP_TYPE_LPM_TRIE;
	const uint32_t entries = ring ? (uint32_t)sysconf(_SC_PAGESIZE) : 8;
	int fd = bpf_map_create(type, NULL,
	                        ring   ? 0
	                        : trie ? 8
	                               : 4,
	                        ring ? 0 : 4, entries, &opts);

	return fd < 0 ? -errno : fd;
}

int probe_map(int type, int flags)
{
	_cleanup_(closep) int fd =
		map_make((enum bpf_map_type)type, (uint32_t)flags, 0);

	return fd < 0 ? fd : 0;
}

int probe_map_of_maps(int a, int b)
{
	_cleanup_(closep) int inner =
		map_make(BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, 0);
	_cleanup_(closep) int outer =
		inner < 0 ? inner
			  : map_make(BPF_MAP_TYPE_ARRAY_OF_MAPS, 0,
	                             (uint32_t)inner);

	(void)a;
	(void)b;
	return outer < 0 ? outer : 0;
}

int probe_mmap_array(int a, int b)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	_cleanup_(closep) int fd =
		map_make(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 0);
	void *mapped;

	(void)a;
	(void)b;
	if (fd < 0)
		return fd;
	mapped = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		return -errno;
	munmap(mapped, page);
	return 0;
}

int probe_batch(int a, int b)
{
	_cleanup_(closep) int fd = map_make(BPF_MAP_TYPE_HASH, 0, 0);
	uint32_t keys[8], values[8], cursor[2], n = 8, one = 1;

	(void)a;
	(void)b;
	if (fd < 0)
		return fd;
	if (bpf_map_update_elem(fd, &one, &one, BPF_ANY))
		return -errno;
	if (bpf_map_lookup_batch(fd, NULL, cursor, keys, values, &n, NULL) &&
	    errno != ENOENT) /* which means: that was all */
		return -errno;
	return n == 1 ? 0 : -EIO;
}

/* ---- programs ------------------------------------------------------------ */

/* return 0 */
static int program_load(void)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "probe", "GPL", code,
	                       ARRAY_SIZE(code), NULL);

	return fd < 0 ? -errno : fd;
}

int probe_tc_program(int a, int b)
{
	_cleanup_(closep) int fd = program_load();

	(void)a;
	(void)b;
	return fd < 0 ? fd : 0;
}

int probe_helper(int helper, int b)
{
	const int r = libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS,
	                                      (enum bpf_func_id)helper, NULL);

	(void)b;
	if (r > 0)
		return 0;
	return r ? r : -EOPNOTSUPP;
}

int probe_test_run(int a, int b)
{
	char packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet,
	            .data_size_in = sizeof(packet), .repeat = 1);
	_cleanup_(closep) int fd = program_load();

	(void)a;
	(void)b;
	if (fd < 0)
		return fd;
	return bpf_prog_test_run_opts(fd, &opts) ? -errno : 0;
}

/* BTF of our own is what maps with timers are described by. */
int probe_btf(int a, int b)
{
	struct btf *btf = btf__new_empty();
	int r;

	(void)a;
	(void)b;
	if (!btf)
		return -ENOMEM;
	r = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	if (r > 0)
		r = btf__load_into_kernel(btf);
	btf__free(btf);
	return r;
}

int probe_jit(int a, int b)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);
	_cleanup_(closep) int fd = program_load();

	(void)a;
	(void)b;
	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	return info.jited_prog_len ? 0 : -EOPNOTSUPP;
}

/* ---- devices ------------------------------------------------------------- */

int probe_clsact(int a, int b)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = LOOPBACK,
	            .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts);
	_cleanup_(closep) int fd = program_load();
	int r;

	(void)a;
	(void)b;
	if (fd < 0)
		return fd;
	opts.prog_fd = fd;
	r = bpf_tc_hook_create(&hook);
	if (r && r != -EEXIST)
		return r;
	r = bpf_tc_attach(&hook, &opts);
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	(void)bpf_tc_hook_destroy(&hook); /* with all that hangs on it */
	return r;
}

int probe_tcx(int a, int b)
{
	_cleanup_(closep) int fd = program_load();
	_cleanup_(closep) int link = -1;

	(void)a;
	(void)b;
	if (fd < 0)
		return fd;
	link = bpf_link_create(fd, LOOPBACK, (enum bpf_attach_type)TCX_INGRESS,
	                       NULL);
	return link < 0 ? -errno : 0;
}

static void put_link(struct nl_batch *batch, const char *what, uint16_t flags,
                     int ifindex)
{
	const struct ifinfomsg body = {.ifi_index = ifindex};

	nl_put(batch, what, 0, RTM_NEWLINK, flags, &body, sizeof(body));
}

static int run_alone(void (*put)(struct nl_batch *batch))
{
	struct nl_batch *batch = calloc(1, sizeof(*batch));
	struct err err;
	struct nl nl;
	int r = batch ? nl_open(&nl, &err) : -ENOMEM;

	if (!r) {
		nl_batch_begin(batch, &nl);
		put(batch);
		r = nl_batch_run(batch, &err);
		nl_close(&nl);
	}
	free(batch);
	return r;
}

static void put_veth(struct nl_batch *batch)
{
	size_t info;

	put_link(batch, "veth", NLM_F_CREATE | NLM_F_EXCL, 0);
	nl_attr_str(batch, IFLA_IFNAME, "probe0");
	info = nl_nest(batch, IFLA_LINKINFO);
	nl_attr_str(batch, IFLA_INFO_KIND, "veth");
	nl_nest_end(batch, info);
}

int probe_veth(int a, int b)
{
	(void)a;
	(void)b;
	return run_alone(put_veth); /* goes with the namespace */
}

static void put_big_tcp(struct nl_batch *batch)
{
	put_link(batch, "large packets", 0, LOOPBACK);
	nl_attr_u32(batch, IFLA_GSO_MAX_SIZE, BIG_GSO_BYTES);
}

int probe_big_tcp(int a, int b)
{
	(void)a;
	(void)b;
	return run_alone(put_big_tcp);
}
