// SPDX-License-Identifier: Apache-2.0
/* ops_map.c - the datapath's maps and programs as they stand in the kernel. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/map_json.h"
#include "daemon/mapwalk.h"
#include "daemon/names.h"
#include "daemon/ops_show.h"
#include "daemon/pieces.h"

/* Every pinned map of bpf/maps.h. */
static const char *const map_names[] = {
	"endpoints", "addrs",  "prefixes", "uplinks",   "slots",
	"policies",  "ranges", "flows",    "flows_new", "frags",
	"held",      "epochs", "drops",    "counters",  "events",
	"sweeps",    "hooks",  "nodes",    "services",  "backends",
};

#define STEP_ELEMENTS 512u /* counted in one step */

struct mapshow {
	struct pieces pieces;
	struct daemon *daemon;
	struct mapwalk walk;
	bool walking;
	size_t map;       /* index of map_names */
	uint64_t entries; /* of the one walked */
	const char *dump; /* name of the only one, its elements wanted */
};

static void mapshow_free(struct pieces *pieces)
{
	struct mapshow *show = container_of(pieces, struct mapshow, pieces);

	if (show->walking)
		mapwalk_close(&show->walk);
	free(show);
}

static void mapshow_start(struct mapshow *show, struct daemon *daemon,
                          struct server_stream *stream)
{
	show->daemon = daemon;
	show->pieces.free = mapshow_free;
	pieces_start(&show->pieces, daemon->loop, stream);
}

/* ---- map list ------------------------------------------------------------ */

/* Memory that the kernel charges for the map: its fdinfo says. */
static uint64_t map_memory(int fd)
{
	char path[64], line[128];
	unsigned long long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	fclose(f);
	return bytes;
}

static json_t *map_line(const struct mapshow *show, int fd)
{
	const char *name = map_names[show->map];
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);
	char pin[512];

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return NULL;
	snprintf(pin, sizeof(pin), "%s/%s", dp_pin_dir(show->daemon->dp), name);
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}",
	                 "name", name, "type", map_type_name(info.type), "id",
	                 (json_int_t)info.id, "entries",
	                 (json_int_t)show->entries, "max_entries",
	                 (json_int_t)info.max_entries, "key_bytes",
	                 (json_int_t)info.key_size, "value_bytes",
	                 (json_int_t)info.value_size, "memory_bytes",
	                 (json_int_t)map_memory(fd), "pin", pin);
}

/* Count for one step; false when the map has been walked. */
static bool map_count(struct mapshow *show)
{
	for (unsigned i = 0; i < STEP_ELEMENTS; i++) {
		const void *key, *value;
		const int r = mapwalk_next(&show->walk, &key, &value);

		if (r < 0)
			return false;
		if (r)
			show->entries += map_element_used(
				map_names[show->map], &show->walk, key, value);
	}
	return true;
}

static bool maps_next(struct pieces *pieces, json_t **ret)
{
	struct mapshow *show = container_of(pieces, struct mapshow, pieces);
	struct err err;
	int fd;

	*ret = NULL;
	if (show->map == ARRAY_SIZE(map_names))
		return false;
	fd = dp_map_fd(show->daemon->dp, map_names[show->map]);
	if (fd < 0) {
		show->map++;
		return true;
	}
	if (!show->walking) {
		show->entries = 0;
		show->walking = !mapwalk_open(&show->walk, fd, &err);
	}
	if (show->walking && map_count(show))
		return true;
	if (show->walking)
		mapwalk_close(&show->walk);
	show->walking = false;
	*ret = map_line(show, fd);
	show->map++;
	return true;
}

void show_maps(struct daemon *daemon, const json_t *request,
               struct server_stream *stream)
{
	struct mapshow *show = calloc(1, sizeof(*show));

	(void)request;
	if (!show) {
		stream_error(stream, "out of memory");
		return;
	}
	show->pieces.next = maps_next;
	mapshow_start(show, daemon, stream);
}

/* ---- map dump ------------------------------------------------------------ */

static bool dump_next(struct pieces *pieces, json_t **ret)
{
	struct mapshow *show = container_of(pieces, struct mapshow, pieces);
	const void *key, *value;
	const int r = mapwalk_next(&show->walk, &key, &value);

	*ret = NULL;
	if (r > 0)
		*ret = map_element_json(show->daemon, show->dump, &show->walk,
		                        key, value);
	return r >= 0;
}

static const char *map_known(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(map_names); i++)
		if (!strcmp(map_names[i], name))
			return map_names[i];
	return NULL;
}

void show_map(struct daemon *daemon, const json_t *request,
              struct server_stream *stream)
{
	const char *name =
		map_known(json_string_value(json_object_get(request, "name")));
	const int fd = name ? dp_map_fd(daemon->dp, name) : -ENOENT;
	struct mapshow *show;
	struct err err = {};

	if (fd < 0 || !strcmp(name, "events") || !strcmp(name, "sweeps")) {
		stream_error(stream, name ? "this map has nothing to dump"
		                          : "no such map; `stile map list` "
		                            "shows them");
		return;
	}
	show = calloc(1, sizeof(*show));
	if (!show || mapwalk_open(&show->walk, fd, &err)) {
		stream_error(stream, show ? err.text : "out of memory");
		free(show);
		return;
	}
	show->walking = true;
	show->dump = name;
	show->pieces.next = dump_next;
	mapshow_start(show, daemon, stream);
}

/* ---- program list -------------------------------------------------------- */

static const char *const prog_names[] = {
	"from_pod",      "to_pod",      "from_net",      "to_net",
	"from_tunnel",   "to_tunnel",   "stub_from_pod", "stub_to_pod",
	"stub_from_net", "stub_to_net", "sweep_start",
};

/* Devices that carry a stub, by what daemon and node know. */
static int devices_of(const struct daemon *daemon, const char *name)
{
	int n = 0;

	if (!strcmp(name, "stub_from_net") || !strcmp(name, "stub_to_net")) {
		for (int i = 0; i < daemon->node.n_uplinks; i++)
			n += daemon->node.uplink[i].attached;
		return n;
	}
	if (strcmp(name, "stub_from_pod") != 0 &&
	    strcmp(name, "stub_to_pod") != 0)
		return 0;
	for (unsigned i = 1; i < ENDPOINT_MAX; i++)
		n += daemon->endpoints.ep[i].state == ENDPOINT_READY;
	return n;
}

static json_t *program_json(const struct daemon *daemon, const char *name,
                            int fd)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);
	char tag[17] = "";

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return NULL;
	for (size_t i = 0; i < sizeof(info.tag); i++)
		snprintf(tag + 2 * i, 3, "%02x", info.tag[i]);
	return json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:i}",
	                 "name", name, "id", (json_int_t)info.id, "tag", tag,
	                 "verified_instructions",
	                 (json_int_t)info.verified_insns, "xlated_bytes",
	                 (json_int_t)info.xlated_prog_len, "jited_bytes",
	                 (json_int_t)info.jited_prog_len, "runs",
	                 (json_int_t)info.run_cnt, "run_ns",
	                 (json_int_t)info.run_time_ns, "devices",
	                 devices_of(daemon, name));
}

json_t *show_programs(struct daemon *daemon, const json_t *request)
{
	json_t *list = json_array();

	(void)request;
	for (size_t i = 0; i < ARRAY_SIZE(prog_names); i++) {
		const int fd = dp_prog_fd(daemon->dp, prog_names[i]);

		if (fd >= 0)
			(void)json_array_append_new(
				list, program_json(daemon, prog_names[i], fd));
	}
	return show_items(list);
}
