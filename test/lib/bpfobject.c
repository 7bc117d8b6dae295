// SPDX-License-Identifier: Apache-2.0
/* bpfobject.c - see bpfobject.h. */
#include "test/lib/bpfobject.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/util.h"

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "bpfobject: %s: %s\n", what, strerror(-r));
	exit(99);
}

const char *program_dir(void)
{
	static char self[512];
	const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	must(n < 0 ? -errno : 0, "/proc/self/exe");
	self[n] = 0;
	return dirname(self);
}

/* The configuration that the first build was loaded with. */
static void rodata_copy(struct bpfrun *run, struct bpf_map *map)
{
	const __u32 zero = 0;
	uint8_t data[sizeof(struct dp_config)];

	must(bpf_map__value_size(map) == sizeof(data) ? 0 : -EINVAL, "rodata");
	must(bpf_map_lookup_elem(dp_map_fd(run->dp, "datapath.rodata"), &zero,
	                         data),
	     "read the configuration");
	must(bpf_map__set_initial_value(map, data, sizeof(data)),
	     "write the configuration");
}

struct bpf_object *bpfobject_load(struct bpfrun *run, const char *file)
{
	static const char *const name[] = {"from_pod", "to_pod", "from_net",
	                                   "to_net"};
	struct bpf_object *object;
	struct bpf_map *map;
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", program_dir(), file);
	object = bpf_object__open(path);
	must(object ? 0 : -errno, path);
	bpf_object__for_each_map(map, object)
	{
		const char *map_name = bpf_map__name(map);

		if (strstr(map_name, ".rodata"))
			rodata_copy(run, map);
		else if (!strstr(map_name, ".bss"))
			must(bpf_map__reuse_fd(map,
			                       dp_map_fd(run->dp, map_name)),
			     map_name);
	}
	must(bpf_object__load(object), path);
	for (size_t i = 0; i < ARRAY_SIZE(name); i++)
		run->prog[i] = bpf_program__fd(
			bpf_object__find_program_by_name(object, name[i]));
	return object;
}

void *bpfobject_bss(struct bpf_object *object, size_t size)
{
	struct bpf_map *map;
	void *memory = NULL;

	bpf_object__for_each_map(map, object)
	{
		if (!strstr(bpf_map__name(map), ".bss"))
			continue;
		must(bpf_map__value_size(map) == size ? 0 : -EINVAL, ".bss");
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		              bpf_map__fd(map), 0);
		must(memory == MAP_FAILED ? -errno : 0, "map .bss");
	}
	must(memory ? 0 : -ENOENT, ".bss");
	return memory;
}
