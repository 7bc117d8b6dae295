// SPDX-License-Identifier: Apache-2.0
/* mapwalk_test.c - every element of every kind of map is seen once. */
#include "test/test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/mapwalk.h"
#include "lib/util.h"

#define MANY  3000u /* more than ten batches */
#define INNER 5u

static int make(enum bpf_map_type type, uint32_t key, uint32_t room,
                uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	const int fd = bpf_map_create(type, "walked", key, 8, room, &opts);

	assert_true(fd >= 0);
	return fd;
}

/* Walk @fd; the value of each element is a number that is counted in @seen. */
static unsigned walk_all(int fd, unsigned *seen, unsigned n_seen)
{
	struct mapwalk walk;
	const void *key, *value;
	struct err err = {};
	unsigned n = 0;
	int r;

	assert_int_equal(mapwalk_open(&walk, fd, &err), 0);
	while ((r = mapwalk_next(&walk, &key, &value)) >= 0) {
		uint64_t number;

		if (!r)
			continue;
		memcpy(&number, value, sizeof(number));
		assert_in_range(number, 0, n_seen - 1);
		seen[number]++;
		n++;
	}
	assert_int_equal(r, -ENODATA);
	mapwalk_close(&walk);
	return n;
}

static void fill(int fd, uint32_t key_size, uint32_t from, uint32_t n)
{
	for (uint32_t i = from; i < from + n; i++) {
		const uint32_t key[2] = {key_size == 8 ? 32 : i,
		                         __builtin_bswap32(i)};
		const uint64_t value = i;

		assert_int_equal(bpf_map_update_elem(fd, key, &value, BPF_ANY),
		                 0);
	}
}

static void every_kind_of_map_is_walked_once(void **state)
{
	static const struct {
		const char *name;
		enum bpf_map_type type;
		uint32_t key, flags, n;
	} cases[] = {
		{"hash",         BPF_MAP_TYPE_HASH,     4, 0,                 MANY},
		{"hash by need", BPF_MAP_TYPE_HASH,     4, BPF_F_NO_PREALLOC, MANY},
		{"LRU hash",     BPF_MAP_TYPE_LRU_HASH, 4, 0,                 MANY},
		{"trie",         BPF_MAP_TYPE_LPM_TRIE, 8, BPF_F_NO_PREALLOC, MANY},
		{"array",        BPF_MAP_TYPE_ARRAY,    4, 0,                 MANY},
		{"a single one", BPF_MAP_TYPE_HASH,     4, 0,                 1   },
		{"an empty one", BPF_MAP_TYPE_HASH,     4, 0,                 0   },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* An LRU map evicts ahead of being full: give it room. */
		const uint32_t room = cases[i].type == BPF_MAP_TYPE_ARRAY
		                              ? cases[i].n
		                              : 4 * cases[i].n + 1;
		_cleanup_(closep) int fd =
			make(cases[i].type, cases[i].key, room, cases[i].flags);
		_cleanup_(free_p) unsigned *seen = calloc(MANY, sizeof(*seen));

		fill(fd, cases[i].key, 0, cases[i].n);
		if (walk_all(fd, seen, MANY) != cases[i].n)
			fail_msg("%s: not %u elements", cases[i].name,
			         cases[i].n);
		for (unsigned j = 0; j < cases[i].n; j++)
			if (seen[j] != 1)
				fail_msg("%s: element %u seen %u times",
				         cases[i].name, j, seen[j]);
	}
}

static void inner_maps_are_walked_with_their_index(void **state)
{
	_cleanup_(closep) int model = make(BPF_MAP_TYPE_HASH, 4, MANY, 0);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = (__u32)model);
	_cleanup_(closep) int outer = bpf_map_create(
		BPF_MAP_TYPE_ARRAY_OF_MAPS, "outer", 4, 4, INNER, &opts);
	unsigned seen[INNER] = {};
	struct mapwalk walk;
	const void *key, *value;
	struct err err = {};
	int r;

	(void)state;
	assert_true(outer >= 0);
	for (uint32_t i = 0; i < INNER; i += 2) { /* the others stay empty */
		_cleanup_(closep) int inner =
			make(BPF_MAP_TYPE_HASH, 4, MANY, 0);

		fill(inner, 4, 1000 * i, 500);
		assert_int_equal(
			bpf_map_update_elem(outer, &i, &inner, BPF_ANY), 0);
	}
	assert_int_equal(mapwalk_open(&walk, outer, &err), 0);
	while ((r = mapwalk_next(&walk, &key, &value)) >= 0) {
		if (!r)
			continue;
		assert_int_equal(*(const uint32_t *)key / 1000, walk.outer);
		seen[walk.outer]++;
	}
	assert_int_equal(r, -ENODATA);
	mapwalk_close(&walk);
	for (uint32_t i = 0; i < INNER; i++)
		assert_int_equal(seen[i], i % 2 ? 0 : 500);
}

static void values_of_each_cpu_are_together(void **state)
{
	const int cpus = libbpf_num_possible_cpus();
	_cleanup_(closep) int fd = make(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 3, 0);
	_cleanup_(free_p) uint64_t *values =
		calloc((size_t)cpus, sizeof(*values));
	struct mapwalk walk;
	const void *key, *value;
	struct err err = {};
	unsigned n = 0;
	int r;

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		for (int cpu = 0; cpu < cpus; cpu++)
			values[cpu] = i * 100 + (uint64_t)cpu;
		assert_int_equal(bpf_map_update_elem(fd, &i, values, BPF_ANY),
		                 0);
	}
	assert_int_equal(mapwalk_open(&walk, fd, &err), 0);
	assert_int_equal(walk.n_cpus, cpus);
	while ((r = mapwalk_next(&walk, &key, &value)) >= 0) {
		if (!r)
			continue;
		for (int cpu = 0; cpu < cpus; cpu++)
			assert_int_equal(((const uint64_t *)value)[cpu],
			                 *(const uint32_t *)key * 100 +
			                         (uint64_t)cpu);
		n++;
	}
	mapwalk_close(&walk);
	assert_int_equal(n, 3);
}

/* Elements come and go under the walk: it ends, and sees those that stay. */
static void a_walk_ends_whatever_happens(void **state)
{
	_cleanup_(closep) int fd = make(BPF_MAP_TYPE_HASH, 4, 4 * MANY, 0);
	_cleanup_(free_p) unsigned *seen = calloc(MANY, sizeof(*seen));
	struct mapwalk walk;
	const void *key, *value;
	struct err err = {};
	uint32_t coming = MANY;
	int r;

	(void)state;
	fill(fd, 4, 0, MANY);
	assert_int_equal(mapwalk_open(&walk, fd, &err), 0);
	while ((r = mapwalk_next(&walk, &key, &value)) >= 0) {
		uint32_t number;

		if (!r)
			continue;
		memcpy(&number, key, sizeof(number));
		if (number < MANY)
			seen[number]++;
		if (coming < 3 * MANY) {
			const uint64_t one = 1;

			coming++;
			(void)bpf_map_update_elem(fd, &coming, &one, BPF_ANY);
		}
		if (number >= MANY)
			(void)bpf_map_delete_elem(fd, &number);
	}
	assert_int_equal(r, -ENODATA);
	mapwalk_close(&walk);
	for (unsigned j = 0; j < MANY; j++)
		assert_in_range(seen[j], 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_map_is_walked_once),
		cmocka_unit_test(inner_maps_are_walked_with_their_index),
		cmocka_unit_test(values_of_each_cpu_are_together),
		cmocka_unit_test(a_walk_ends_whatever_happens),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
