/* SPDX-License-Identifier: Apache-2.0 */
/* host.h - what stiled needs of the host before anything else. */
#pragma once

#include "lib/err.h"

/*
 * A directory of our own, made where it is missing (parents 0755, it 0700).
 * -EPERM when it is another's or others may write to it.
 */
int host_dir(const char *path, struct err *err);

/*
 * One daemon a state directory: the lock's descriptor in @ret_fd, to be kept
 * open; -EEXIST when another daemon has it.  It ends with the process.
 */
int host_lock(const char *state_dir, int *ret_fd, struct err *err);

/* A bpffs under @path: mounted at it, or above it where that is where it
 * belongs (/sys/fs/bpf), if there is none. */
int host_bpffs(const char *path, struct err *err);

/* In a container /proc/sys is read-only; the node's settings are set there.  It
 * is ours alone to remount, and who is refused is told by the first setting. */
void host_sysctls(void);

/* As far as we may: kernels before 5.11 charge maps against RLIMIT_MEMLOCK,
 * and each map, program and peer is a descriptor.  Who needs more than he gets
 * says so himself. */
void host_limits(void);

/* Tell systemd, if it asked (sd_notify(3)): "READY=1", "STOPPING=1". */
void host_notify(const char *state);
