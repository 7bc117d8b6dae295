// SPDX-License-Identifier: Apache-2.0
/* rig.c - see rig.h. */
#include "test/lib/rig.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/veth.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/nl.h"
#include "lib/util.h"

#define UPLINK "uplink"

__attribute__((format(printf, 1, 2), noreturn)) static void give_up(
	const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("rig: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(99);
}

/* ---- the sandbox --------------------------------------------------------- */

static void sandbox_check(void)
{
	struct if_nameindex *all = if_nameindex();
	struct statfs fs;

	if (statfs("/sys/fs/bpf", &fs) || fs.f_type != BPF_FS_MAGIC)
		give_up("/sys/fs/bpf is no bpffs: run this test by "
		        "scripts/test-run, which makes a sandbox");
	if (!all)
		give_up("list the devices: %s", strerror(errno));
	for (const struct if_nameindex *i = all; i->if_index; i++)
		if (i->if_index != 1)
			give_up("there is a device %s: this test wants a "
			        "network namespace of its own, run it by "
			        "scripts/test-run",
			        i->if_name);
	if_freenameindex(all);
}

static void sysctl_write(const char *path, const char *value)
{
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		give_up("%s: %s", path, strerror(errno));
}

/* ---- devices ------------------------------------------------------------- */

static void batch_run(struct nl_batch *batch)
{
	struct err err = {};

	if (nl_batch_run(batch, &err))
		give_up("%s", err.text);
}

static void link_up(struct nl *nl, const char *name)
{
	const struct ifinfomsg body = {.ifi_index = (int)if_nametoindex(name),
	                               .ifi_flags = IFF_UP,
	                               .ifi_change = IFF_UP};
	struct nl_batch batch;

	nl_batch_begin(&batch, nl);
	nl_put(&batch, name, 0, RTM_NEWLINK, 0, &body, sizeof(body));
	batch_run(&batch);
}

static void veth_make(struct nl *nl, const char *name, const char *peer_name)
{
	const struct ifinfomsg body = {};
	struct nl_batch batch;
	size_t info, data, peer;

	nl_batch_begin(&batch, nl);
	nl_put(&batch, name, 0, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body,
	       sizeof(body));
	nl_attr_str(&batch, IFLA_IFNAME, name);
	info = nl_nest(&batch, IFLA_LINKINFO);
	nl_attr_str(&batch, IFLA_INFO_KIND, "veth");
	data = nl_nest(&batch, IFLA_INFO_DATA);
	peer = nl_nest(&batch, VETH_INFO_PEER);
	nl_raw(&batch, &body, sizeof(body));
	nl_attr_str(&batch, IFLA_IFNAME, peer_name);
	nl_nest_end(&batch, peer);
	nl_nest_end(&batch, data);
	nl_nest_end(&batch, info);
	batch_run(&batch);
	link_up(nl, name);
	link_up(nl, peer_name);
}

static void addr_add_to(struct nl *nl, uint32_t ifindex, const char *text,
                        uint8_t bits)
{
	const struct addr addr = A(text);
	const bool v4 = addr_family(&addr) == FAMILY_V4;
	const struct ifaddrmsg body = {
		.ifa_family = v4 ? AF_INET : AF_INET6,
		.ifa_prefixlen = bits,
		.ifa_flags = IFA_F_NODAD,
		.ifa_index = ifindex,
	};
	const size_t n = v4 ? 4 : 16;
	struct nl_batch batch;

	nl_batch_begin(&batch, nl);
	nl_put(&batch, text, 0, RTM_NEWADDR, NLM_F_CREATE, &body, sizeof(body));
	nl_attr(&batch, IFA_LOCAL, addr.byte + 16 - n, n);
	nl_attr(&batch, IFA_ADDRESS, addr.byte + 16 - n, n);
	batch_run(&batch);
}

struct route {
	const char *to; /* NULL: default */
	uint8_t bits;
	const char *via;
	uint32_t mtu; /* 0: the device's */
};

static void route_add(struct nl *nl, uint32_t ifindex, const struct route *r)
{
	const struct addr via = A(r->via);
	const bool v4 = addr_family(&via) == FAMILY_V4;
	const struct rtmsg body = {
		.rtm_family = v4 ? AF_INET : AF_INET6,
		.rtm_dst_len = r->bits,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_type = RTN_UNICAST,
	};
	const size_t n = v4 ? 4 : 16;
	struct nl_batch batch;

	nl_batch_begin(&batch, nl);
	nl_put(&batch, r->via, 0, RTM_NEWROUTE, NLM_F_CREATE, &body,
	       sizeof(body));
	nl_attr(&batch, RTA_GATEWAY, via.byte + 16 - n, n);
	nl_attr_u32(&batch, RTA_OIF, ifindex);
	if (r->to) {
		const struct addr to = A(r->to);

		nl_attr(&batch, RTA_DST, to.byte + 16 - n, n);
	}
	if (r->mtu) {
		const size_t nest = nl_nest(&batch, RTA_METRICS);

		/* Locked: bpf_fib_lookup() sees no other of IPv4. */
		nl_attr_u32(&batch, RTAX_LOCK, 1u << RTAX_MTU);
		nl_attr_u32(&batch, RTAX_MTU, r->mtu);
		nl_nest_end(&batch, nest);
	}
	batch_run(&batch);
}

static void routes_make(struct nl *nl, uint32_t ifindex)
{
	static const struct route routes[] = {
		{NULL,             0,  "192.0.2.254",    0             },
		{NULL,             0,  "2001:db8:9::fe", 0             },
		{"198.51.100.0",   24, "192.0.2.254",    RIG_NARROW_MTU},
		{"2001:db8:100::", 48, "2001:db8:9::fe", RIG_NARROW_MTU},
	};

	addr_add_to(nl, ifindex, RIG_NODE4, 24);
	addr_add_to(nl, ifindex, RIG_NODE6, 64);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		route_add(nl, ifindex, &routes[i]);
}

static void devices_make(uint32_t pod_if[BPFRUN_PODS], uint32_t *uplink_if)
{
	struct err err = {};
	struct nl nl;

	sandbox_check();
	if (nl_open(&nl, &err))
		give_up("%s", err.text);
	for (unsigned int n = 1; n < BPFRUN_PODS; n += 2) {
		char name[16], peer[16];

		snprintf(name, sizeof(name), "pod%u", n);
		snprintf(peer, sizeof(peer), "pod%u", n + 1);
		veth_make(&nl, name, n + 1 < BPFRUN_PODS ? peer : UPLINK);
		pod_if[n] = if_nametoindex(name);
		if (n + 1 < BPFRUN_PODS)
			pod_if[n + 1] = if_nametoindex(peer);
	}
	*uplink_if = if_nametoindex(UPLINK);
	sysctl_write("/proc/sys/net/ipv4/ip_forward", "1");
	sysctl_write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	routes_make(&nl, *uplink_if);
	nl_close(&nl);
}

void rig_devices(uint32_t pod_if[BPFRUN_PODS], uint32_t *uplink_if)
{
	static uint32_t made[BPFRUN_PODS], uplink;

	if (!uplink)
		devices_make(made, &uplink);
	memcpy(pod_if, made, sizeof(made));
	*uplink_if = uplink;
}

/* ---- pods ---------------------------------------------------------------- */

const uint8_t *pod_mac(unsigned int n)
{
	static uint8_t mac[BPFRUN_PODS][6];

	mac[n][0] = 2;
	mac[n][5] = (uint8_t)n;
	return mac[n];
}

struct addr pod_addr(unsigned int n, enum family family)
{
	struct addr addr = A(family == FAMILY_V4 ? "10.0.0.0" : "fd00::");

	addr.byte[15] = (uint8_t)n;
	return addr;
}

static void must(int r, const char *what)
{
	if (r < 0)
		give_up("%s: %s", what, strerror(-r));
}

void bpfrun_pod(struct bpfrun *run, unsigned int n, uint32_t slot)
{
	struct endpoint ep = {
		.ifindex = run->pod_if[n], .slot = slot, .mtu = 1500};

	memcpy(ep.mac, pod_mac(n), sizeof(ep.mac));
	must(dp_endpoint_put(run->dp, (uint16_t)n, &ep), "endpoint");
	for (enum family f = 0; f < FAMILY__COUNT; f++) {
		const struct addr addr = pod_addr(n, f);
		const struct addr_info info = {
			.identity = f ? BPFRUN_ID6(n) : BPFRUN_ID4(n),
			.endpoint = (uint16_t)n,
		};

		must(dp_addr_put(run->dp, &addr, &info), "address");
	}
}

static void prefix_put(struct bpfrun *run, const char *text, __u32 bits,
                       __u8 class, __u8 pool)
{
	const struct prefix_info info = {
		.identity = ID(class, ID_SERIAL_PLAIN),
		.pool = pool,
		.no_masq = 1,
	};
	const struct addr addr = A(text);
	struct prefix_key key = {.bits = bits};

	memcpy(key.addr, addr.byte, sizeof(key.addr));
	must(dp_prefix_put(run->dp, &key, &info), text);
}

static void node_put(struct bpfrun *run, const char *text, __u8 class)
{
	const struct addr addr = A(text);
	const struct addr_info info = {.identity = ID(class, ID_SERIAL_HOST),
	                               .local = 1};

	must(dp_addr_put(run->dp, &addr, &info), text);
}

void bpfrun_open(struct bpfrun *run, const struct dp_config *config)
{
	const struct uplink uplink = {
		.addr = {A(RIG_NODE4), A(RIG_NODE6)},
                  .mtu = 1500
        };

	bpfrun_open_bare(run, config);
	for (unsigned int n = 1; n < BPFRUN_PODS; n++)
		bpfrun_pod(run, n, SLOT_OPEN);
	prefix_put(run, "10.0.0.0", 96 + 24, CLASS_WORLD4, 1);
	prefix_put(run, "fd00::", 64, CLASS_WORLD6, 1);
	/* Reached as they are: another node's pods, say. */
	prefix_put(run, "10.1.0.0", 96 + 16, CLASS_WORLD4, 0);
	prefix_put(run, "fd01::", 64, CLASS_WORLD6, 0);
	node_put(run, RIG_NODE4, CLASS_NODE4);
	node_put(run, RIG_NODE6, CLASS_NODE6);
	must(dp_uplink_put(run->dp, run->uplink_if, &uplink), "uplink");
}
