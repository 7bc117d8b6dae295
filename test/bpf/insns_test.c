// SPDX-License-Identifier: Apache-2.0
/*
 * insns_test.c - what the verifier walks, and a budget that fails the build.
 *
 * A program that nears a limit of the kernel (a million instructions walked,
 * 512 bytes of stack) is found here, not on somebody's node.
 */
#include <linux/bpf.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/lib/bpfcheck.h"
#include "test/lib/bpfobject.h"

#define LOG_STATS 4 /* BPF_LOG_STATS: what it took, no more */
#define LOG_BYTES 65536
#define STACK_MAX 512

struct budget {
	const char *program;
	unsigned int walked; /* instructions the verifier processes */
	unsigned int made;   /* instructions of the program itself */
};

static const struct budget budgets[] = {
	{"from_pod",         30000, 11000},
        {"to_pod",           23000, 8500 },
	{"from_net",         27000, 10000},
        {"to_net",           7500,  900  },
	{"from_tunnel",      23000, 8500 },
        {"to_tunnel",        9000,  1500 },
	{"stub_from_tunnel", 50,    50   },
        {"stub_to_tunnel",   50,    50   },
	{"stub_from_pod",    50,    50   },
        {"stub_to_pod",      50,    50   },
	{"stub_from_net",    50,    50   },
        {"stub_to_net",      50,    50   },
	{"sweep_start",      2500,  900  },
};

static char names[ARRAY_SIZE(budgets)][160];
static char logs[ARRAY_SIZE(budgets)][LOG_BYTES];
static struct bpf_object *object;

static const struct budget *budget_of(const char *program)
{
	for (size_t i = 0; i < ARRAY_SIZE(budgets); i++)
		if (!strcmp(budgets[i].program, program))
			return &budgets[i];
	fail_msg("%s has no budget", program);
	return NULL;
}

/* The verifier passes over what the configuration turns off. */
static void tunnel_set(void)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		const char *name = bpf_map__name(map);
		const char *dot = strrchr(name, '.');
		struct dp_config config = {
			.tunnel_ifindex = 1,
			.tunnel_mtu = 1450,
			.tunnel_port = 0x1821,
			.masquerade = 1,
		};

		if (dot && !strcmp(dot, ".rodata"))
			assert_int_equal(bpf_map__set_initial_value(
						 map, &config, sizeof(config)),
			                 0);
	}
}

static int group_setup(void **state)
{
	char path[600];
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_level = LOG_STATS);
	struct bpf_program *program;

	(void)state;
	snprintf(path, sizeof(path), "%s/../../datapath.bpf.o", program_dir());
	object = bpf_object__open_file(path, &opts);
	if (!object)
		fail_msg("%s: %s", path, strerror(errno));
	bpf_object__for_each_program(program, object)
	{
		const struct budget *b = budget_of(bpf_program__name(program));

		assert_int_equal(bpf_program__set_log_buf(
					 program, logs[b - budgets], LOG_BYTES),
		                 0);
	}
	tunnel_set();
	assert_int_equal(bpf_object__load(object), 0);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	bpf_object__close(object);
	return 0;
}

/* "stack depth 272+16+0+8": of the main program and each global function. */
static unsigned int stack_depth(const char *log, unsigned int *largest)
{
	const char *at = strstr(log, "stack depth ");
	unsigned int sum = 0;

	*largest = 0;
	if (!at)
		return 0;
	at += strlen("stack depth ");
	for (;;) {
		char *end;
		const unsigned int n = (unsigned int)strtoul(at, &end, 10);

		sum += n;
		if (n > *largest)
			*largest = n;
		if (*end != '+')
			return sum;
		at = end + 1;
	}
}

static void a_program_keeps_to_its_budget(void **state)
{
	const struct budget *b = *state;
	const struct bpf_program *program =
		bpf_object__find_program_by_name(object, b->program);
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	unsigned int frame, made;

	assert_non_null(program);
	assert_int_equal(
		bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size),
		0);
	made = info.xlated_prog_len / 8;
	(void)stack_depth(logs[b - budgets], &frame);
	snprintf(names[b - budgets], sizeof(names[0]),
	         "%s keeps to its budget: %u of %u verified, %u of %u made, "
	         "%u bytes of stack, %u bytes of machine code",
	         b->program, info.verified_insns, b->walked, made, b->made,
	         frame, info.jited_prog_len);
	assert_in_range(b->walked, 1, 100000);
	assert_in_range(info.verified_insns, 1, b->walked);
	assert_in_range(made, 1, b->made);
	assert_in_range(frame, 0, STACK_MAX);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(budgets)] = {};

	for (size_t i = 0; i < ARRAY_SIZE(budgets); i++) {
		snprintf(names[i], sizeof(names[i]), "%s keeps to its budget",
		         budgets[i].program);
		tests[i].name = names[i];
		tests[i].test_func = a_program_keeps_to_its_budget;
		tests[i].initial_state = (void *)&budgets[i];
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
