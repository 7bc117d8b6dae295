/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - what this kernel can do, found by doing it.
 *
 * Each returns 0 when it works, else -errno, and leaves nothing behind.  Those
 * that need a device use the loopback of the network namespace at hand, which
 * probe_sandbox() makes a new one.  Arguments that one does not need are 0.
 */
#pragma once

/* A network namespace of this process's own, and room for maps.  -errno. */
int probe_sandbox(void);

int probe_map(int type, int flags); /* enum bpf_map_type; BPF_F_* */
int probe_map_of_maps(int a, int b);
int probe_mmap_array(int a, int b);
int probe_batch(int a, int b);
int probe_helper(int helper, int b); /* BPF_FUNC_*, in a tc program */
int probe_tc_program(int a, int b);
int probe_test_run(int a, int b);
int probe_btf(int a, int b);
int probe_jit(int a, int b);
int probe_clsact(int a, int b);
int probe_tcx(int a, int b);
int probe_veth(int a, int b);
int probe_big_tcp(int a, int b);
