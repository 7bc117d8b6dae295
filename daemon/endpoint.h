/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint.h - the pods of this node that have an interface of ours.
 *
 * One entry an attachment (container id, interface name), persisted as one
 * small JSON file each in <state-dir>/endpoints, written before the kernel is
 * told.  The number is the index of the maps and is not reused while a flow
 * may know it (its epoch is raised, and freed numbers queue up first-in
 * first-out).
 *
 * A file is "<container id>:<ifname>.json", 0600, ENDPOINT_FILE_BYTES long,
 * with a checksum, written by one write() within one page: whoever is killed
 * meanwhile leaves all of it or none.  Not synced: what it names (links, maps)
 * does not outlive a reboot either, and fsync() costs more than all of ADD.
 */
#pragma once

#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "lib/err.h"

#define ENDPOINT_FILE_BYTES 4096

enum endpoint_state {
	ENDPOINT_FREE,
	ENDPOINT_READY,   /* in the kernel, policed */
	ENDPOINT_CLOSING, /* closed in the maps, link to be deleted */
};

struct ep {
	enum endpoint_state state;
	uint16_t number;
	uint32_t serial; /* of this use of the number */
	char container_id[130];
	char ifname[IFNAMSIZ];      /* inside the pod */
	char host_ifname[IFNAMSIZ]; /* of our side */
	char netns[256];            /* path, as the runtime gave it */
	char network[130];          /* CNI network, for GC; may be empty */
	int ifindex;                /* of our side; 0: link is gone */
	uint8_t mac[6];             /* of the pod's side */
	uint16_t mtu;
	struct addr addr[FAMILY__COUNT]; /* zero: none of that family */
	bool own_addr[FAMILY__COUNT];    /* from our IPAM, to be freed */
	char pod_ns[64], pod_name[254];  /* empty: belongs to no namespace */
};

struct endpoints {
	struct ep ep[ENDPOINT_MAX]; /* by number; [0] unused */
	int dir_fd;                 /* <state-dir>/endpoints */
	uint16_t free_queue[ENDPOINT_MAX];
	unsigned free_head, free_n;
	uint32_t next_serial;
	bool read_only; /* --dry-run: files stay as they are */
};

/* Fit for an attachment, hence for a file's name: CNI 1.1's characters, at
 * most 129 bytes; what Linux takes for a device, without '/', ':', blanks. */
bool endpoint_id_valid(const char *container_id);
bool endpoint_ifname_valid(const char *ifname);

/**
 * endpoints_open - read the persisted attachments.
 *
 * A file that cannot be read is moved aside as NAME.bad, with a log line; the
 * others go on.  An empty one was never answered for: it is removed.
 * @eps: zeroed but for read_only.  Return: 0 or -errno with a sentence.
 */
int endpoints_open(struct endpoints *eps, const char *state_dir,
                   struct err *err);
void endpoints_close(struct endpoints *eps);

struct ep *endpoint_find(struct endpoints *eps, const char *container_id,
                         const char *ifname);
struct ep *endpoint_by_ifindex(struct endpoints *eps, int ifindex);
/* A free number, zeroed but for number and serial; NULL when all are used. */
struct ep *endpoint_new(struct endpoints *eps);
/* Write its file, new or in place. */
int endpoint_save(struct endpoints *eps, const struct ep *ep, struct err *err);
/* Remove its file, free its number. */
void endpoint_drop(struct endpoints *eps, struct ep *ep);
/* The READY one with that address (of a closing one it is free again); NULL. */
struct ep *endpoint_by_addr(struct endpoints *eps, const struct addr *addr);

/* "02:00:00:00:00:01", and back; -EINVAL. */
#define ENDPOINT_MAC_TEXT 18
int endpoint_mac_parse(const char *text, uint8_t ret[6]);
const char *endpoint_mac_format(const uint8_t mac[6],
                                char buf[ENDPOINT_MAC_TEXT]);
