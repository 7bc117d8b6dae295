/* SPDX-License-Identifier: Apache-2.0 */
/*
 * undo.h - what Stile changed of this node, written down before it was done.
 *
 * <state-dir>/undo is a JSON array of changes: what, its value before us, and
 * ours.  undo_all() puts the old values back, newest first, save where somebody
 * else has changed them since.  Few dependencies: `stile uninstall` uses it
 * without a daemon.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/nl.h"

struct undo {
	char path[300];
	json_t *changes; /* array */
};

/**
 * undo_open - read what is written down; makes the state directory.
 *
 * A file that cannot be read is moved aside as undo.bad, the list is then
 * empty and @err says so (the return is still 0).
 */
int undo_open(struct undo *undo, const char *state_dir, struct err *err);
void undo_close(struct undo *undo);

/* Set a sysctl ("net/ipv4/conf/lo/forwarding"), unless it has the value. */
int undo_sysctl_set(struct undo *undo, const char *name, const char *value,
                    struct err *err);
/* Add ports to net.ipv4.ip_local_reserved_ports. */
int undo_ports_reserve(struct undo *undo, uint16_t first, uint16_t last,
                       struct err *err);

/* Largest packets that a device takes from the stack, bytes. */
struct gso_sizes {
	uint32_t gso, gso_ipv4; /* IPv6 and all; IPv4 */
};
/* Set a device's, from what it has now (@was). */
int undo_gso_set(struct undo *undo, struct nl *nl, const char *ifname,
                 const struct gso_sizes *was, const struct gso_sizes *want,
                 struct err *err);

/* A device is about to be made; undo_all() deletes it if it is of that kind. */
int undo_device_note(struct undo *undo, const char *ifname, const char *kind,
                     struct err *err);

/**
 * undo_all - put everything back, then forget it.
 *
 * Goes on after a failure; what failed stays written down.  A device that is
 * gone counts as done.  Return: 0, or the first failure with its sentence.
 */
int undo_all(struct undo *undo, struct nl *nl, struct err *err);

/* ---- lists of ports, as the kernel writes them: "80,8080-8090" ---------- */

#define PORT_LIST_MAX 16384 /* bytes of text looked at */

/* Both into @buf: the kernel's form of @text with the range added, and of
 * @text without those of the range that @was did not hold.
 * Return: 0; -EINVAL for a text that is no such list; -ENOSPC. */
int port_list_add(const char *text, uint16_t first, uint16_t last, char *buf,
                  size_t size);
int port_list_remove(const char *text, const char *was, uint16_t first,
                     uint16_t last, char *buf, size_t size);
