// SPDX-License-Identifier: Apache-2.0
/* takeover.c - see takeover.h. */
#include "daemon/takeover.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "lib/log.h"

#define PATH_BYTES 320

/* ---- the other version's pins ------------------------------------------- */

/* Pins of another version beside ours: its directory.  False: there is none. */
static bool other_find(const struct daemon *daemon, char ret[PATH_BYTES])
{
	const char *own = strrchr(dp_pin_dir(daemon->dp), '/') + 1;
	DIR *dir = opendir(daemon->config.bpffs);
	const struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		unsigned version;
		char hooks[PATH_BYTES], end;

		if (sscanf(entry->d_name, "v%u%c", &version, &end) != 1 ||
		    !strcmp(entry->d_name, own))
			continue;
		snprintf(ret, PATH_BYTES, "%s/v%u", daemon->config.bpffs,
		         version);
		snprintf(hooks, sizeof(hooks), "%.300s/hooks", ret);
		found = !access(hooks, F_OK);
	}
	if (dir)
		closedir(dir);
	return found;
}

bool takeover_due(const struct daemon *daemon)
{
	char other[PATH_BYTES];

	return daemon->dp && other_find(daemon, other);
}

/* Call @each with the names of the pins in @dir; 0 or what @each returned. */
static int pins_walk(const char *dir,
                     int (*each)(const struct daemon *daemon, const char *dir,
                                 const char *name),
                     const struct daemon *daemon)
{
	DIR *list = opendir(dir);
	const struct dirent *entry;
	int r = list ? 0 : -errno;

	while (!r && (entry = readdir(list)))
		if (entry->d_name[0] != '.')
			r = each(daemon, dir, entry->d_name);
	if (list)
		closedir(list);
	return r;
}

/* A link keeps its place on the device; only its program is exchanged. */
static int link_move(const struct daemon *daemon, const char *dir,
                     const char *name)
{
	char from[PATH_BYTES * 2], to[PATH_BYTES * 2];

	if (strncmp(name, "link_", 5) != 0)
		return 0;
	snprintf(from, sizeof(from), "%s/%s", dir, name);
	snprintf(to, sizeof(to), "%s/%s", dp_pin_dir(daemon->dp), name);
	return rename(from, to) ? -errno : 0;
}

static int pin_remove(const struct daemon *daemon, const char *dir,
                      const char *name)
{
	char path[PATH_BYTES * 2];

	(void)daemon;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return unlink(path) ? -errno : 0;
}

/* ---- flows -------------------------------------------------------------- */

struct copy {
	struct dp *dp;
	int shard[FLOW_SHARDS]; /* ours */
	int young;              /* borrowed */
	bool again;             /* the second time: ours may know better */
	uint32_t held[ENDPOINT_MAX];
	size_t copied;
};

static void copy_close(struct copy *copy)
{
	for (unsigned i = 0; i < FLOW_SHARDS; i++)
		closep(&copy->shard[i]);
}

static int copy_open(struct copy *copy, struct dp *dp)
{
	const int outer = dp_map_fd(dp, "flows");
	int r = 0;

	copy->dp = dp;
	copy->young = dp_map_fd(dp, "flows_new");
	for (__u32 i = 0; i < FLOW_SHARDS; i++) {
		__u32 id;

		copy->shard[i] = -1;
		if (r)
			continue;
		r = bpf_map_lookup_elem(outer, &i, &id);
		if (!r)
			copy->shard[i] = bpf_map_get_fd_by_id(id);
		if (!r && copy->shard[i] < 0)
			r = copy->shard[i];
	}
	return r;
}

/* An epoch in which nothing of ours was decided. */
static uint32_t epoch_stale(const struct copy *copy, const struct flow *flow)
{
	const struct epochs *epochs = dp_epochs(copy->dp);

	return epochs->node +
	       epochs->endpoint[flow->way[0].endpoint % ENDPOINT_MAX] +
	       epochs->endpoint[flow->way[1].endpoint % ENDPOINT_MAX] - 1;
}

static int flow_copy(const void *key, const void *value, void *user)
{
	struct copy *copy = user;
	struct flow flow;
	int fd, r;

	memcpy(&flow, value, sizeof(flow));
	if (flow.flags & (FLOW_DEAD | FLOW_SWEPT))
		return 0;
	flow.epoch = epoch_stale(copy, &flow);
	/* What the datapath counts meanwhile must not be written over. */
	if (copy->again)
		flow.flags &= ~FLOW_CHARGED;
	fd = flow.flags & FLOW_MAIN ? copy->shard[flow.tag % FLOW_SHARDS]
	                            : copy->young;
	r = bpf_map_update_elem(fd, key, &flow, BPF_NOEXIST);
	copy->copied += !r;
	if (!r && flow.flags & FLOW_CHARGED)
		copy->held[flow.owner % ENDPOINT_MAX]++;
	return 0; /* full, or there already: the others go on */
}

/* A table of theirs has the layout of ours. */
static bool is_flow_table(int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) &&
	       info.key_size == sizeof(struct flow_key) &&
	       info.value_size == sizeof(struct flow);
}

static int main_copy(struct copy *copy, const char *dir)
{
	char path[PATH_BYTES * 2];

	snprintf(path, sizeof(path), "%s/flows", dir);
	_cleanup_(closep) int outer = bpf_obj_get(path);

	if (outer < 0)
		return outer;
	for (__u32 i = 0, id; !bpf_map_lookup_elem(outer, &i, &id); i++) {
		_cleanup_(closep) int fd = bpf_map_get_fd_by_id(id);
		int r;

		if (!is_flow_table(fd))
			return -EPROTO;
		r = dp_map_each(fd, flow_copy, copy);
		if (r)
			return r;
	}
	return 0;
}

static int young_copy(struct copy *copy, const char *dir)
{
	char path[PATH_BYTES * 2];

	snprintf(path, sizeof(path), "%s/flows_new", dir);
	_cleanup_(closep) int fd = bpf_obj_get(path);

	return is_flow_table(fd) ? dp_map_each(fd, flow_copy, copy) : -EPROTO;
}

static int held_put(struct copy *copy)
{
	const int fd = dp_map_fd(copy->dp, "held");
	int r = 0;

	for (__u32 i = 1; i < ENDPOINT_MAX && !r; i++)
		if (copy->held[i])
			r = bpf_map_update_elem(fd, &i, &copy->held[i],
			                        BPF_ANY);
	return r;
}

/* What cannot be carried over is said; connections then begin anew. */
static void flows_copy(struct daemon *daemon, const char *other, bool again)
{
	_cleanup_(copy_close) struct copy copy = {.again = again};
	int r = copy_open(&copy, daemon->dp);

	if (!r)
		r = main_copy(&copy, other);
	if (!r)
		r = young_copy(&copy, other);
	if (!r && !again)
		r = held_put(&copy);
	if (r == -EPROTO)
		log_warn("flows in %s have another layout: they begin anew",
		         other);
	else if (r)
		log_err("flows in %s: %s; %zu were carried over", other,
		        strerror(-r), copy.copied);
	else
		log_info("%zu flows carried over from %s", copy.copied, other);
}

/* ---- the switch --------------------------------------------------------- */

/* Their stubs jump to our programs: all devices at once. */
static int hooks_switch(struct daemon *daemon, const char *other,
                        struct err *err)
{
	char path[PATH_BYTES * 2];
	int r = node_uplinks_put(&daemon->node, daemon->dp, err);

	snprintf(path, sizeof(path), "%s/hooks", other);
	_cleanup_(closep) int fd = bpf_obj_get(path);

	if (!r && fd < 0)
		r = err_set(err, fd, "%s: %s", path, strerror(-fd));
	return r ? r : dp_hooks_fill(daemon->dp, fd, err);
}

static int stubs_switch(struct daemon *daemon, const char *other,
                        struct err *err)
{
	int r = pins_walk(other, link_move, daemon);

	if (r)
		return err_set(err, r, "links in %s: %s", other, strerror(-r));
	r = node_attach(&daemon->node, daemon->dp, err);
	for (unsigned i = 1; !r && i < ENDPOINT_MAX; i++) {
		const struct ep *ep = &daemon->endpoints.ep[i];

		if (ep->state != ENDPOINT_READY || !ep->ifindex)
			continue;
		r = node_attach_pod(&daemon->node, daemon->dp, ep, err);
		if (r == 1 || r == -ENODEV)
			r = 0;
	}
	return r;
}

static int take_from(struct daemon *daemon, const char *other, struct err *err)
{
	int r;

	flows_copy(daemon, other, false);
	r = hooks_switch(daemon, other, err);
	if (r)
		return r;
	flows_copy(daemon, other, true);
	r = stubs_switch(daemon, other, err);
	if (r)
		return r;
	r = pins_walk(other, pin_remove, daemon);
	if (!r && rmdir(other))
		r = -errno;
	if (r)
		return err_set(err, r, "remove the pins in %s: %s", other,
		               strerror(-r));
	log_info("the datapath of %s is replaced", other);
	return 0;
}

int takeover_run(struct daemon *daemon, struct err *err)
{
	char other[PATH_BYTES];
	int r = 0;

	while (!r && other_find(daemon, other))
		r = take_from(daemon, other, err);
	return r;
}
