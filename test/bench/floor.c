/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor.c - put floor.bpf.c on the host sides of some pods' veths.
 *
 *	floor OBJECT ADDR,IFNAME,MAC ...
 *
 * All of them may speak to all of them.  Prints "ready", and takes everything
 * away when its standard input ends.  By tcx links, as the measure does.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test/bench/floor.h"

#define TCX_INGRESS 46 /* linux/bpf.h of 6.6: BPF_TCX_INGRESS */

/* The tcx part of union bpf_attr, which the header here does not know yet. */
struct link_create {
	uint32_t prog_fd, ifindex, attach_type, flags, relative, zero;
	uint64_t revision;
	uint8_t rest[64];
};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void attach(int prog, uint32_t ifindex)
{
	struct link_create attr = {.prog_fd = (uint32_t)prog,
	                           .ifindex = ifindex,
	                           .attach_type = TCX_INGRESS};

	if (syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)) < 0)
		die("attach");
}

static void host_mac(const char *ifname, uint8_t mac[6])
{
	struct ifreq req = {};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCGIFHWADDR, &req))
		die(ifname);
	memcpy(mac, req.ifr_hwaddr.sa_data, 6);
	close(fd);
}

static uint32_t pod_add(int pods, const char *text, uint32_t id)
{
	struct floor_pod pod = {.id = id};
	char addr[64], ifname[IF_NAMESIZE];
	uint8_t *m = pod.mac;
	uint32_t key;

	if (sscanf(text, "%63[^,],%15[^,],%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", addr,
	           ifname, m, m + 1, m + 2, m + 3, m + 4, m + 5) != 8 ||
	    inet_pton(AF_INET, addr, &key) != 1) {
		errno = EINVAL;
		die(text);
	}
	pod.ifindex = if_nametoindex(ifname);
	host_mac(ifname, pod.host_mac);
	if (bpf_map_update_elem(pods, &key, &pod, BPF_ANY))
		die("pods");
	return pod.ifindex;
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	const int n = argc - 2;
	int prog, rules;
	char byte;

	if (n < 1) {
		(void)fputs("usage: floor OBJECT ADDR,IFNAME,MAC...\n", stderr);
		return 2;
	}
	object = bpf_object__open(argv[1]);
	if (!object || bpf_object__load(object))
		die(argv[1]);
	prog = bpf_program__fd(
		bpf_object__find_program_by_name(object, "floor_from_pod"));
	rules = bpf_object__find_map_fd_by_name(object, "rules");
	for (int i = 0; i < n; i++) {
		attach(prog,
		       pod_add(bpf_object__find_map_fd_by_name(object, "pods"),
		               argv[i + 2], (uint32_t)i + 1));
		for (int j = 0; j < n; j++) {
			const struct floor_rule rule = {.pod = (uint32_t)i + 1,
			                                .peer = (uint32_t)j +
			                                        1};
			const uint32_t yes = 1;

			if (bpf_map_update_elem(rules, &rule, &yes, BPF_ANY))
				die("rules");
		}
	}
	puts("ready");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	bpf_object__close(object);
	return 0;
}
