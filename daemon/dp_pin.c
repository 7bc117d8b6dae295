// SPDX-License-Identifier: Apache-2.0
/* dp_pin.c - what is pinned: opened, compared, written. */
#include <linux/magic.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "daemon/dp_impl.h"

#define PIN_PATH_MAX  320
#define STUB_MAPS_MAX 16

/* ---- the file system ---------------------------------------------------- */

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

/* Somebody else has mounted it: host_bpffs() in the daemon. */
int dp_dir_make(const char *path, struct err *err)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!is_bpffs(path))
		return err_set(err, -EINVAL, "%s is not on a bpffs", path);
	return 0;
}

static const char *pin_path(const struct dp *dp, const char *name,
                            char buf[PIN_PATH_MAX])
{
	snprintf(buf, PIN_PATH_MAX, "%s/%s", dp->pin_dir, name);
	return buf;
}

/* ---- maps --------------------------------------------------------------- */

/* What the object's map says of itself, beside what the pinned one says. */
static int layout_compare(const struct bpf_map *map,
                          const struct bpf_map_info *have, const char *path,
                          struct err *err)
{
	const struct {
		const char *name;
		__u32 want, have;
	} part[] = {
		{"type",        bpf_map__type(map),        have->type       },
		{"key size",    bpf_map__key_size(map),    have->key_size   },
		{"value size",  bpf_map__value_size(map),  have->value_size },
		{"max entries", bpf_map__max_entries(map), have->max_entries},
		{"flags",       bpf_map__map_flags(map),   have->map_flags  },
	};

	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		if (part[i].want != part[i].have)
			return err_set(err, -EEXIST,
			               "pinned map %s: its %s is %u, this "
			               "build has %u; nothing was changed",
			               path, part[i].name, part[i].have,
			               part[i].want);
	return 0;
}

static bool is_pinned_kind(const struct bpf_map *map)
{
	return !bpf_map__is_internal(map) &&
	       strcmp(bpf_map__name(map), "scratch") != 0;
}

/* Return: 1 when the pinned map will be used, 0 when there is none. */
static int map_adopt(struct dp *dp, struct bpf_map *map, struct err *err)
{
	char path[PIN_PATH_MAX];
	_cleanup_(closep) int fd =
		bpf_obj_get(pin_path(dp, bpf_map__name(map), path));
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	int r;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return err_set(err, fd, "pinned map %s: %s", path,
		               strerror(-fd));
	r = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (r)
		return err_set(err, r, "pinned map %s: %s", path, strerror(-r));
	r = layout_compare(map, &info, path, err);
	if (r)
		return r;
	r = bpf_map__reuse_fd(map, fd);
	if (r)
		return err_set(err, r, "pinned map %s: %s", path, strerror(-r));
	return 1;
}

/* ---- stubs -------------------------------------------------------------- */

static __u32 map_id(int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

/* Does the program jump through this very array? */
static bool prog_uses_map(int prog, __u32 id)
{
	__u32 ids[STUB_MAPS_MAX];
	struct bpf_prog_info info = {
		.nr_map_ids = STUB_MAPS_MAX,
		.map_ids = (__u64)(uintptr_t)ids,
	};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		return false;
	for (__u32 i = 0; i < info.nr_map_ids && i < STUB_MAPS_MAX; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/*
 * The pinned stubs are what the devices carry: they stay, as long as they jump
 * through the array that is pinned beside them.
 */
static int stubs_adopt(struct dp *dp, int hooks_fd, struct err *err)
{
	const __u32 id = map_id(hooks_fd);

	for (int i = 0; i < STUB__COUNT; i++) {
		char path[PIN_PATH_MAX];
		_cleanup_(closep) int fd =
			bpf_obj_get(pin_path(dp, dp_stub_name[i], path));
		struct bpf_program *prog = bpf_object__find_program_by_name(
			dp->obj, dp_stub_name[i]);

		if (!prog)
			return err_set(err, -ENOENT, "program %s is missing",
			               dp_stub_name[i]);
		if (fd < 0 || !id || !prog_uses_map(fd, id))
			continue;
		(void)bpf_program__set_autoload(prog, false);
		dp->stub_fd[i] = TAKE_FD(fd);
	}
	return 0;
}

int dp_pins_adopt(struct dp *dp, struct err *err)
{
	struct bpf_map *map;
	int hooks_fd = -1;

	bpf_object__for_each_map(map, dp->obj)
	{
		int r;

		if (!is_pinned_kind(map))
			continue;
		r = map_adopt(dp, map, err);
		if (r < 0)
			return r;
		if (r && !strcmp(bpf_map__name(map), "hooks")) {
			hooks_fd = bpf_map__fd(map);
			dp->adopted = true;
		}
	}
	return stubs_adopt(dp, hooks_fd, err);
}

/* ---- writing ------------------------------------------------------------ */

/* Over an older pin of that name, without a moment in which there is none. */
static int pin_replace(struct dp *dp, const char *name, int fd, struct err *err)
{
	char path[PIN_PATH_MAX], fresh[PIN_PATH_MAX];
	int r;

	pin_path(dp, name, path);
	pin_path(dp, "being_pinned", fresh); /* the name of no map or stub */
	(void)unlink(fresh);
	r = bpf_obj_pin(fd, fresh);
	if (!r && rename(fresh, path))
		r = -errno;
	if (r)
		return err_set(err, r, "pin %s: %s", path, strerror(-r));
	return 0;
}

static int map_pin(struct dp *dp, const struct bpf_map *map, struct err *err)
{
	char path[PIN_PATH_MAX];

	if (!access(pin_path(dp, bpf_map__name(map), path), F_OK))
		return 0; /* it is the one we use, or dp_pins_adopt() failed */
	return pin_replace(dp, bpf_map__name(map), bpf_map__fd(map), err);
}

static int stubs_pin(struct dp *dp, struct err *err)
{
	for (int i = 0; i < STUB__COUNT; i++) {
		int r, fd;

		if (dp->stub_fd[i] >= 0)
			continue;
		fd = dp_prog_fd(dp, dp_stub_name[i]);
		r = pin_replace(dp, dp_stub_name[i], fd, err);
		if (r)
			return r;
		dp->stub_fd[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (dp->stub_fd[i] < 0)
			return err_set(err, -errno, "%s: %s", dp_stub_name[i],
			               strerror(errno));
	}
	return 0;
}

/* "hooks" comes after all other maps: where it is pinned, they all are. */
int dp_pins_write(struct dp *dp, struct err *err)
{
	const struct bpf_map *hooks =
		bpf_object__find_map_by_name(dp->obj, "hooks");
	struct bpf_map *map;
	int r;

	bpf_object__for_each_map(map, dp->obj)
	{
		if (!is_pinned_kind(map) || map == hooks)
			continue;
		r = map_pin(dp, map, err);
		if (r)
			return r;
	}
	r = map_pin(dp, hooks, err);
	return r ? r : stubs_pin(dp, err);
}
