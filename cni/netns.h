/* SPDX-License-Identifier: Apache-2.0 */
/* netns.h - the pod's network namespace: opened once, by a judged path. */
#pragma once

#include <stdbool.h>

#include "lib/err.h"

/**
 * netns_open - open the namespace at @path.
 *
 * What is there is looked at before it is opened: a path may lead to a FIFO or
 * a device.  It must be a network namespace, and neither our own nor that of
 * process 1.
 *
 * Return: 0; -EINVAL for another thing than a pod's network namespace, -errno
 * when it can not be opened (-ENOENT: it is gone), with a sentence.
 */
int netns_open(const char *path, int *ret_fd, struct err *err);

/* Live in it from now on; @ret_home, when not NULL, is what we left.  -errno
 * with a sentence. */
int netns_enter(int netns_fd, int *ret_home, struct err *err);

/* Write net/ipv6/conf/IFNAME/KEY in the namespace that we live in; one that is
 * not there (no IPv6) is fine. */
int netns_ipv6_conf(const char *ifname, const char *key, const char *value);
