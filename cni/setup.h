/* SPDX-License-Identifier: Apache-2.0 */
/* setup.h - configure both sides of an attachment, when its policy is in. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cni/link.h"
#include "lib/addr.h"

/* An attachment, as far as ADD has come. */
struct attachment {
	char host_ifname[IFNAMSIZ];
	const char *pod_ifname;
	int host_ifindex;
	uint8_t host_mac[MAC_LEN], pod_mac[MAC_LEN];
	bool chained; /* an earlier plugin made and configured the pair */
	/* what the daemon answered */
	struct addr ip[FAMILY__COUNT], gateway[FAMILY__COUNT];
	bool has[FAMILY__COUNT]; /* an address of that family */
	uint32_t mtu, gso_max;
	char pins[256]; /* directory of the stubs */
	const char *network;
};

/**
 * setup_host - attach the programs, then bring the host side to life.
 *
 * One batch in this order: hooks first, link up after them.  The host's stack
 * does not forward for the pod (design D8): IPv4 by the device's forwarding
 * flag, IPv6 by a rule, or not at all where the pod has no IPv6 address.
 *
 * Return: 0 or -errno with a sentence; the caller deletes the link then.
 */
int setup_host(struct nl *host, const struct attachment *at, struct err *err);

/**
 * setup_pod - the same inside the pod's namespace, where the caller lives now.
 *
 * Return: 0 or -errno with a sentence.
 */
int setup_pod(const struct attachment *at, struct err *err);
