/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hop.c - put hop.bpf.c on a pod's veth and on the way out of its node.
 *
 *	hop OBJECT POD-DEVICE POD-MAC EXIT-DEVICE REMOTE
 *
 * REMOTE is the other node's IPv4 address when EXIT-DEVICE is a VXLAN device
 * with outer addresses by packet, else "-".  Prints "ready"; the programs go
 * with the devices.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test/bench/hop.h"

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "hop: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void attach(struct bpf_object *object, const char *name,
                   uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
	            .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts,
	            .prog_fd = bpf_program__fd(
			    bpf_object__find_program_by_name(object, name)));
	const int r = bpf_tc_hook_create(&hook);

	if ((r && r != -EEXIST) || bpf_tc_attach(&hook, &opts))
		die(name);
}

int main(int argc, char **argv)
{
	struct hop hop = {};
	uint8_t *m = hop.mac;
	struct bpf_object *object;
	struct bpf_map *map;
	uint32_t remote = 0;
	char byte;

	if (argc != 6 ||
	    sscanf(argv[3], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2,
	           m + 3, m + 4, m + 5) != 6 ||
	    (strcmp(argv[5], "-") != 0 &&
	     inet_pton(AF_INET, argv[5], &remote) != 1)) {
		(void)fputs("usage: hop OBJECT POD-DEVICE POD-MAC EXIT-DEVICE "
		            "REMOTE|-\n",
		            stderr);
		return 2;
	}
	hop.pod = if_nametoindex(argv[2]);
	hop.exit = if_nametoindex(argv[4]);
	hop.remote = ntohl(remote);
	object = bpf_object__open(argv[1]);
	if (!object)
		die(argv[1]);
	bpf_object__for_each_map(map, object)
	{
		if (strstr(bpf_map__name(map), ".rodata") &&
		    bpf_map__set_initial_value(map, &hop, sizeof(hop)))
			die("constants");
	}
	if (bpf_object__load(object))
		die(argv[1]);
	attach(object, "hop_out", hop.pod);
	attach(object, "hop_in", hop.exit);
	puts("ready");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	bpf_object__close(object);
	return 0;
}
