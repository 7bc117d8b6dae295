// SPDX-License-Identifier: Apache-2.0
/* kernel_check.c - stile kernel-check: what this kernel has, tried one by one.
 */
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/probe.h"
#include "lib/util.h"

/* What is wanted of a kernel; @instead NULL: Stile can not do without. */
static const struct feature {
	const char *name;
	int (*probe)(int a, int b);
	int a, b;
	const char *lost, *instead;
} features[] = {
	{"tc programs",                       probe_tc_program,  0,                          0, "nothing can look at packets",
         NULL																				       },
	{"BPF machine code (JIT)",            probe_jit,         0,                          0,
         "programs are interpreted, several times slower",                                                                     "set net.core.bpf_jit_enable=1; else they run slowly"},
	{"BTF of our own",                    probe_btf,         0,                          0, "the sweeper's timer",         NULL                                                 },
	{"running a program once (test_run)", probe_test_run,    0,                          0,
         "nobody starts the sweeper",											  NULL						 },
	{"maps: hash, filled as needed",      probe_map,         BPF_MAP_TYPE_HASH,
         BPF_F_NO_PREALLOC,								     "addresses and policies",      NULL                                                 },
	{"maps: LRU hash",                    probe_map,         BPF_MAP_TYPE_LRU_HASH,      0,
         "half-open flows",												    NULL						 },
	{"maps: prefix trie (LPM)",           probe_map,         BPF_MAP_TYPE_LPM_TRIE,
         BPF_F_NO_PREALLOC,								     "ipBlock and port ranges",     NULL                                                 },
	{"maps: array of maps",               probe_map_of_maps, 0,                          0,
         "policies that change in one step",										   NULL						 },
	{"maps: one value a CPU",             probe_map,         BPF_MAP_TYPE_PERCPU_ARRAY,  0,
         "counters",													   NULL						 },
	{"maps: array of programs",           probe_map,         BPF_MAP_TYPE_PROG_ARRAY,    0,
         "new versions without touching devices",									      NULL                                                 },
	{"maps: memory shared with us",       probe_mmap_array,  0,                          0,
         "epochs, by which a change of policy reaches live flows",                                                             NULL                                                 },
	{"maps: ring buffer",                 probe_map,         BPF_MAP_TYPE_RINGBUF,       0, "flow events",
         NULL																				       },
	{"maps: reading by batches",          probe_batch,       0,                          0,
         "lists and dumps in one call for many entries",								       "one call an entry"                                  },
	{"helper: redirect_peer",             probe_helper,      BPF_FUNC_redirect_peer,     0,
         "the short way between pods",											 NULL						 },
	{"helper: redirect_neigh",            probe_helper,      BPF_FUNC_redirect_neigh,    0,
         "the short way out of the node",										      NULL						 },
	{"helper: fib_lookup",                probe_helper,      BPF_FUNC_fib_lookup,        0,
         "the node's routes",												  NULL						 },
	{"helper: timer_init",                probe_helper,      BPF_FUNC_timer_init,        0,
         "sweeping while the daemon is away",										  NULL                                                 },
	{"helper: for_each_map_elem",         probe_helper,      BPF_FUNC_for_each_map_elem,
         0,										     "sweeping",                    NULL						 },
	{"helper: loop",                      probe_helper,      BPF_FUNC_loop,              0,
         "trying masquerade ports one after another",									  NULL                                                 },
	{"helper: ktime_get_coarse_ns",       probe_helper,
         BPF_FUNC_ktime_get_coarse_ns,						       0, "cheap time for flows",        NULL                                                 },
	{"helper: ringbuf_reserve",           probe_helper,      BPF_FUNC_ringbuf_reserve,   0,
         "flow events",													NULL						 },
	{"veth devices",                      probe_veth,        0,                          0, "pods have no interface",      NULL                                                 },
	{"clsact with cls_bpf",               probe_clsact,      0,                          0,
         "programs on the pods' devices",										      NULL						 },
	{"tcx links",			 probe_tcx,         0,                          0,
         "a fixed order and ownership beside other programs on uplinks",                                                       "uplinks get clsact, as pods do"                     },
	{"packets above 64 kB (BIG TCP)",     probe_big_tcp,     0,                          0,
         "about a sixth of the throughput between pods",                                                                       "packets of at most 64 kB"                           },
};

static const struct column columns[] = {
	{.title = "FEATURE"},
	{.title = "HERE"},
	{.title = "WITHOUT IT", .wrap = true},
};

static void row(struct table *table, const json_t *item)
{
	const bool have = get_bool(item, "have");
	const bool required = get_bool(item, "required");
	char without[400] = "";
	const struct cell cells[] = {
		{.text = get_text(item, "feature")},
		{.text = have ? "yes" : "missing",
	         .style = have       ? STYLE_GOOD
	                  : required ? STYLE_BAD
	                             : STYLE_WARN},
		{.text = without},
	};

	if (!have)
		snprintf(without, sizeof(without), "lost: %s; instead: %s (%s)",
		         get_text(item, "lost"),
		         required ? "nothing, Stile needs it"
		                  : get_text(item, "instead"),
		         get_text(item, "error"));
	table_row(table, cells);
}

static json_t *feature_json(const struct feature *feature)
{
	const int r = feature->probe(feature->a, feature->b);
	json_t *item =
		json_pack("{s:s, s:b, s:b, s:s}", "feature", feature->name,
	                  "have", r == 0, "required", feature->instead == NULL,
	                  "lost", feature->lost);

	if (feature->instead)
		(void)json_object_set_new(item, "instead",
		                          json_string(feature->instead));
	if (r)
		(void)json_object_set_new(item, "error",
		                          json_string(strerror(-r)));
	return item;
}

static void verdict(const struct cli *cli, int missing)
{
	if (cli->format == FORMAT_JSON)
		return;
	printf("\n%s%s%s\n",
	       style_begin(missing ? STYLE_BAD : STYLE_GOOD, cli->color),
	       missing ? "Stile can not run here" : "Stile can run here",
	       style_end(STYLE_GOOD, cli->color));
}

int cmd_kernel_check(const struct cli *cli, const struct args *args)
{
	struct items items;
	int missing = 0, r;

	(void)args;
	if (geteuid())
		return fail(STATUS_NO, "kernel-check tries things that only "
		                       "root may; try sudo");
	r = probe_sandbox();
	if (r)
		return fail(STATUS_NO, "no network namespace can be made: %s",
		            strerror(-r));
	r = items_begin(&items, cli, columns, ARRAY_SIZE(columns), row);
	for (size_t i = 0; !r && i < ARRAY_SIZE(features); i++) {
		json_t *item = feature_json(&features[i]);

		missing +=
			!get_bool(item, "have") && get_bool(item, "required");
		items_add(&items, item);
		json_decref(item);
	}
	if (r)
		return r;
	items_end(&items);
	verdict(cli, missing);
	return missing ? STATUS_NO : STATUS_DONE;
}
