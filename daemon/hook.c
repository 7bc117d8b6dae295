// SPDX-License-Identifier: Apache-2.0
/* hook.c - see hook.h. */
#include "daemon/hook.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <bpf/bpf.h>
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/util.h"

/* Of enum bpf_attach_type, since Linux 6.6: our headers are older. */
enum { TCX_INGRESS = 46, TCX_EGRESS = 47 };

#define FILTER_PREFERENCE 1u
#define FILTER_HANDLE     1u

/* ---- tcx ---------------------------------------------------------------- */

static uint32_t prog_id(int fd)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

/* The part of struct bpf_link_info that a tcx link fills, since 6.6. */
struct tcx_info {
	__u32 type, id, prog_id, pad;
	__u32 ifindex, attach_type;
};

static int tcx_info(int link, struct tcx_info *ret)
{
	union {
		struct bpf_link_info info;
		struct tcx_info tcx;
		char room[256]; /* newer kernels fill no more than we offer */
	} u = {};
	__u32 len = sizeof(u.info);
	int r = bpf_obj_get_info_by_fd(link, &u.info, &len);

	if (!r)
		*ret = u.tcx;
	return r;
}

/* Return: 1 when the pinned link serves, 0 when one must be made. */
static int tcx_adopt(int ifindex, const struct hook_stub *stub, const char *pin,
                     struct err *err)
{
	_cleanup_(closep) int link = bpf_obj_get(pin);
	struct tcx_info info;
	int r;

	if (link < 0)
		return 0;
	/* The kernel takes the device's number away when that goes. */
	if (tcx_info(link, &info) || info.ifindex != (__u32)ifindex) {
		if (unlink(pin))
			return err_set(err, -errno, "remove %s: %s", pin,
			               strerror(errno));
		return 0;
	}
	if (info.prog_id == prog_id(stub->prog_fd))
		return 1;
	r = bpf_link_update(link, stub->prog_fd, NULL);
	if (r)
		return err_set(err, r, "exchange the program of %s: %s", pin,
		               strerror(-r));
	return 1;
}

int hook_attach_tcx(int ifindex, const struct hook_stub *stub, const char *pin,
                    struct err *err)
{
	const int where = stub->dir == DIR_INGRESS ? TCX_INGRESS : TCX_EGRESS;
	_cleanup_(closep) int link = -1;
	int r = tcx_adopt(ifindex, stub, pin, err);

	if (r)
		return r < 0 ? r : 0;
	link = bpf_link_create(stub->prog_fd, ifindex,
	                       (enum bpf_attach_type)where, NULL);
	if (link < 0)
		return err_set(err, link, "device %d: attach %s by tcx: %s",
		               ifindex, stub->name, strerror(-link));
	r = bpf_obj_pin(link, pin);
	if (r)
		return err_set(err, r, "pin %s: %s", pin, strerror(-r));
	return 0;
}

/* ---- clsact ------------------------------------------------------------- */

static uint32_t filter_parent(enum dir dir)
{
	return TC_H_MAKE(TC_H_CLSACT, dir == DIR_INGRESS ? TC_H_MIN_INGRESS
	                                                 : TC_H_MIN_EGRESS);
}

static struct tcmsg filter_body(int ifindex, enum dir dir)
{
	return (struct tcmsg){
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_handle = FILTER_HANDLE,
		.tcm_parent = filter_parent(dir),
		.tcm_info =
			TC_H_MAKE(FILTER_PREFERENCE << 16, htons(ETH_P_ALL)),
	};
}

static void put_clsact(struct nl_batch *batch, int ifindex)
{
	const struct tcmsg body = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
		.tcm_parent = TC_H_CLSACT,
	};

	nl_put(batch, "clsact", EEXIST, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
	       &body, sizeof(body));
	nl_attr_str(batch, TCA_KIND, "clsact");
}

static void put_filter(struct nl_batch *batch, int ifindex,
                       const struct hook_stub *stub)
{
	const struct tcmsg body = filter_body(ifindex, stub->dir);
	size_t nest;

	nl_put(batch, stub->name, 0, RTM_NEWTFILTER,
	       NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof(body));
	nl_attr_str(batch, TCA_KIND, "bpf");
	nest = nl_nest(batch, TCA_OPTIONS);
	nl_attr_u32(batch, TCA_BPF_FD, (uint32_t)stub->prog_fd);
	nl_attr_str(batch, TCA_BPF_NAME, stub->name);
	nl_attr_u32(batch, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	nl_nest_end(batch, nest);
}

int hook_attach_tc(struct nl *nl, int ifindex, const struct hook_stub stub[2],
                   struct err *err)
{
	struct nl_batch batch;
	int r;

	nl_batch_begin(&batch, nl);
	put_clsact(&batch, ifindex);
	put_filter(&batch, ifindex, &stub[0]);
	put_filter(&batch, ifindex, &stub[1]);
	r = nl_batch_run(&batch, err);
	return r ? err_wrap(err, r, "device %d: attach", ifindex) : 0;
}

static int filter_count(const struct nlmsghdr *msg, void *user)
{
	*(int *)user += msg->nlmsg_type == RTM_NEWTFILTER;
	return 0;
}

/* The clsact goes when nobody has a filter there any more. */
static int clsact_drop(struct nl *nl, int ifindex, struct err *err)
{
	struct tcmsg body = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = ifindex,
		.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
		.tcm_parent = TC_H_CLSACT,
	};
	struct nl_batch batch;
	int left = 0;

	for (int dir = 0; dir < DIR__COUNT; dir++) {
		const struct tcmsg ask = {
			.tcm_family = AF_UNSPEC,
			.tcm_ifindex = ifindex,
			.tcm_parent = filter_parent((enum dir)dir),
		};
		int r = nl_dump(nl, RTM_GETTFILTER, &ask, sizeof(ask),
		                filter_count, NULL, &left, err);

		if (r)
			return r == -EINVAL || r == -ENODEV ? 0 : r;
	}
	if (left)
		return 0;
	nl_batch_begin(&batch, nl);
	nl_put(&batch, "clsact", ENOENT, RTM_DELQDISC, 0, &body, sizeof(body));
	return nl_batch_run(&batch, err);
}

int hook_detach_tc(struct nl *nl, int ifindex, struct err *err)
{
	struct nl_batch batch;
	int r = 0;

	for (int dir = 0; dir < DIR__COUNT && !r; dir++) {
		const struct tcmsg body = filter_body(ifindex, (enum dir)dir);

		/* Without a clsact the kernel says EINVAL, not ENOENT. */
		nl_batch_begin(&batch, nl);
		nl_put(&batch, "filter", ENOENT, RTM_DELTFILTER, 0, &body,
		       sizeof(body));
		r = nl_batch_run(&batch, err);
		if (r == -EINVAL || r == -ENODEV)
			r = 0;
	}
	if (!r)
		r = clsact_drop(nl, ifindex, err);
	return r ? err_wrap(err, r, "device %d: detach", ifindex) : 0;
}

static int filter_prog(const struct nlmsghdr *msg, void *user)
{
	const struct tcmsg *tc = NLMSG_DATA(msg);
	uint32_t *id = user;
	char kind[16] = "";

	if (msg->nlmsg_type != RTM_NEWTFILTER ||
	    tc->tcm_handle != FILTER_HANDLE ||
	    tc->tcm_info >> 16 != FILTER_PREFERENCE)
		return 0;
	(void)nl_text(nl_find(msg, sizeof(*tc), TCA_KIND), kind, sizeof(kind));
	if (!strcmp(kind, "bpf"))
		*id = nl_u32(nl_find_in(nl_find(msg, sizeof(*tc), TCA_OPTIONS),
		                        TCA_BPF_ID),
		             0);
	return 0;
}

int hook_check_tc(struct nl *nl, int ifindex, const struct hook_stub *stub,
                  struct err *err)
{
	struct tcmsg body = filter_body(ifindex, stub->dir);
	uint32_t id = 0;
	int r;

	body.tcm_handle = 0;
	body.tcm_info = 0;
	r = nl_dump(nl, RTM_GETTFILTER, &body, sizeof(body), filter_prog, NULL,
	            &id, err);
	if (r == -EINVAL) /* no clsact there */
		return 0;
	if (r)
		return err_wrap(err, r, "device %d: filters", ifindex);
	return id && id == prog_id(stub->prog_fd);
}
