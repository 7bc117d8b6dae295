/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint.h - the pods of this node that have an interface of ours.
 *
 * One entry an attachment (container id, interface name), persisted as one
 * small JSON file each in <state-dir>/endpoints, written before the kernel is
 * told.  The number is the index of the maps and is not reused while a flow
 * may know it (its epoch is raised, and freed numbers queue up first-in
 * first-out).
 */
#pragma once

#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "lib/err.h"

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
};

/**
 * endpoints_open - read the persisted attachments.
 *
 * A file that cannot be read is moved aside as NAME.bad, with a log line; the
 * others go on.  Return: 0 or -errno with a sentence.
 */
int endpoints_open(struct endpoints *eps, const char *state_dir,
                   struct err *err);
void endpoints_close(struct endpoints *eps);

struct ep *endpoint_find(struct endpoints *eps, const char *container_id,
                         const char *ifname);
struct ep *endpoint_by_ifindex(struct endpoints *eps, int ifindex);
/* A free number, zeroed but for number and serial; NULL when all are used. */
struct ep *endpoint_new(struct endpoints *eps);
/* Write its file (tmp, fsync, rename). */
int endpoint_save(struct endpoints *eps, const struct ep *ep, struct err *err);
/* Remove its file, free its number. */
void endpoint_drop(struct endpoints *eps, struct ep *ep);
/* Does some file hold this attachment's address? (for ipam at start) */
