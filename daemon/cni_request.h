/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cni_request.h - what the plugin asks, read and checked.
 *
 * The plugin runs as root, but what it passes on comes from runtimes and
 * users: nothing is believed that could become a path, a device or a map key.
 * Failures are positive: the CNI specification's code, with a sentence.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "lib/err.h"

#define CNI_BAD_ENV    4 /* container id, interface, network namespace */
#define CNI_BAD_CONFIG 7 /* the rest */

/* Strings are borrowed from the request. */
struct cni_request {
	const char *container_id, *ifname;
	const char *netns, *host_ifname;
	const char *network;           /* "" when absent */
	const char *pod_ns, *pod_name; /* both or neither ("") */
	const char *pod_uid;           /* "" when absent */
	int ifindex;
	uint8_t mac[6];
	uint16_t mtu;                    /* 0: not asked for */
	struct addr addr[FAMILY__COUNT]; /* zero: none of that family */
	int n_addrs;
};

/* container_id and ifname alone, as every request has them. */
int cni_request_key(const json_t *json, struct cni_request *ret,
                    struct err *err);
/* All that cni.add and cni.check have; @add: what only cni.add needs, too. */
int cni_request_parse(const json_t *json, bool add, struct cni_request *ret,
                      struct err *err);
