/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpfobject.h - another build of the datapath on the maps of the first.
 *
 * For builds that count, or that have a bug planted: they lie as NAME.bpf.o
 * beside the test program.
 */
#pragma once

#include <bpf/libbpf.h>

#include "test/lib/bpfrun.h"

/*
 * Load @file; @run's packets meet its programs from now on.  All maps are
 * those of @run but .bss, its configuration too.  Ends the program when it can
 * not.  Close with bpf_object__close(), after which @run is of no use.
 */
struct bpf_object *bpfobject_load(struct bpfrun *run, const char *file);
/* The memory of its .bss, which is @size bytes. */
void *bpfobject_bss(struct bpf_object *object, size_t size);
/* The directory of the running program. */
const char *program_dir(void);
