/* SPDX-License-Identifier: Apache-2.0 */
/* link.h - the veth pair of an attachment: made, found, looked at, removed. */
#pragma once

#include <linux/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/nl.h"

#define MAC_LEN      6
#define MAC_TEXT_MAX 18

/* What the kernel says of a device. */
struct link_info {
	int ifindex;
	int peer;   /* ifindex of a veth's other side, there; 0: none */
	int master; /* bridge or such; 0: none */
	uint32_t mtu;
	bool up;
	bool veth;
	uint8_t mac[MAC_LEN];
	char name[IFNAMSIZ];
	char alias[IFALIASZ];
};

struct link_pair {
	const char *host_ifname, *pod_ifname;
	uint8_t host_mac[MAC_LEN], pod_mac[MAC_LEN];
	int netns_fd; /* of the pod */
};

/* -ENODEV: no such device; with a sentence. */
int link_get(struct nl *nl, int ifindex, struct link_info *ret,
             struct err *err);

/**
 * link_create - make a veth pair, both sides down, the peer born in the pod.
 *
 * @ret_ifindex: of the host side.
 * Return: 0; -EEXIST when one of the names is taken; -errno with a sentence.
 */
int link_create(struct nl *host, const struct link_pair *pair, int *ret_ifindex,
                struct err *err);

/**
 * link_find_host - the host side of the veth @pod_ifname inside @pod.
 *
 * Both sides are looked at, and each must name the other.
 * Return: 0; -ENODEV no such device; -EINVAL not a veth whose other side is in
 * our namespace, with a sentence.
 */
int link_find_host(struct nl *host, struct nl *pod, const char *pod_ifname,
                   struct link_info *ret_host, struct link_info *ret_pod,
                   struct err *err);

/**
 * link_settle - let a device that has just got its carrier send.
 *
 * Until a worker of the kernel hears of the carrier, which may wait long for
 * others that change devices, packets to the pod are dropped by a queue that
 * is not yet there.  Asking for the link's state makes it hear at once (since
 * Linux 6.8; before, nothing happens).
 */
void link_settle(const struct nl *nl, const char *ifname);

/* Delete by number, waiting for the kernel; -ENODEV counts as done. */
int link_delete(struct nl *nl, int ifindex, struct err *err);

/**
 * link_release - free a device's name and take it down, for others to delete.
 *
 * One that went away meanwhile counts as done.
 */
int link_release(struct nl *nl, int ifindex, struct err *err);

/* Remove the IPv6 rule of WIRE_RULE_PRIORITY for @ifname, if there is one. */
int link_rule_remove(struct nl *nl, const char *ifname, struct err *err);
/* Put it into a batch; @type RTM_NEWRULE or RTM_DELRULE. */
void link_rule_put(struct nl_batch *batch, uint16_t type, const char *ifname,
                   int ignore);

/* "02:00:…"; returns @buf.  Parse: 0 or -EINVAL. */
const char *mac_format(const uint8_t mac[MAC_LEN], char buf[MAC_TEXT_MAX]);
int mac_parse(const char *text, uint8_t ret[MAC_LEN]);
