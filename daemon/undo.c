// SPDX-License-Identifier: Apache-2.0
/* undo.c - see undo.h. */
#include "daemon/undo.h"

#include <linux/if_link.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"

/* Of enum IFLA_*, since Linux 6.3: our headers are older. */
enum { ATTR_GSO_IPV4_MAX_SIZE = 63 };

#define DEVICE_KIND_MAX 16
#define RESERVED_PORTS  "net/ipv4/ip_local_reserved_ports"

/* ---- the file ----------------------------------------------------------- */

int undo_open(struct undo *undo, const char *state_dir, struct err *err)
{
	char bad[sizeof(undo->path) + 4];
	json_error_t why;

	*undo = (struct undo){};
	if (snprintf(undo->path, sizeof(undo->path), "%s/undo", state_dir) >=
	    (int)sizeof(undo->path))
		return err_set(err, -ENAMETOOLONG, "state directory %s",
		               state_dir);
	if (mkdir(state_dir, 0700) && errno != EEXIST)
		return err_set(err, -errno, "%s: %s", state_dir,
		               strerror(errno));
	if (access(undo->path, F_OK) == 0) {
		undo->changes = json_load_file(undo->path, 0, &why);
		if (!json_is_array(undo->changes)) {
			snprintf(bad, sizeof(bad), "%s.bad", undo->path);
			(void)rename(undo->path, bad);
			err_set(err, 0,
			        "%s: no list of changes (%s); moved to "
			        "%s",
			        undo->path, undo->changes ? "" : why.text, bad);
			json_decref(undo->changes);
			undo->changes = NULL;
		}
	}
	if (!undo->changes)
		undo->changes = json_array();
	return undo->changes ? 0 : -ENOMEM;
}

void undo_close(struct undo *undo)
{
	json_decref(undo->changes);
	undo->changes = NULL;
}

/* A whole file or the old one, and on the disk before we go on. */
static int undo_save(const struct undo *undo, struct err *err)
{
	char fresh[sizeof(undo->path) + 4];
	_cleanup_(closep) int fd = -1;

	snprintf(fresh, sizeof(fresh), "%s.new", undo->path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	          0600);
	if (fd < 0 || json_dumpfd(undo->changes, fd, JSON_INDENT(1)) ||
	    fsync(fd) || rename(fresh, undo->path))
		return err_set(err, errno ? -errno : -EIO, "write %s: %s",
		               undo->path, strerror(errno));
	return 0;
}

static json_t *change_find(const struct undo *undo, const char *kind,
                           const char *name)
{
	json_t *change;
	size_t i;

	json_array_foreach(undo->changes, i, change)
	{
		const char *k =
			json_string_value(json_object_get(change, "kind"));
		const char *n =
			json_string_value(json_object_get(change, "name"));

		if (k && n && !strcmp(k, kind) && !strcmp(n, name))
			return change;
	}
	return NULL;
}

/*
 * Write a change down before it is made.  One that is written already keeps
 * its first "was" and learns the new "set".  Takes @was and @set.
 */
static int undo_record(struct undo *undo, const char *kind, const char *name,
                       json_t *was, json_t *set, struct err *err)
{
	json_t *change = change_find(undo, kind, name);
	int r;

	if (change) {
		json_decref(was);
		r = json_object_set_new(change, "set", set);
	} else {
		r = json_array_append_new(undo->changes,
		                          json_pack("{s:s,s:s,s:o,s:o}", "kind",
		                                    kind, "name", name, "was",
		                                    was, "set", set));
	}
	return r ? err_set(err, -ENOMEM, "out of memory")
	         : undo_save(undo, err);
}

/* ---- sysctls ------------------------------------------------------------ */

static int sysctl_open(const char *name, int flags)
{
	char path[160];
	int fd;

	if (strstr(name, "..") || snprintf(path, sizeof(path), "/proc/sys/%s",
	                                   name) >= (int)sizeof(path))
		return -EINVAL;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int sysctl_read(const char *name, char *buf, size_t size)
{
	_cleanup_(closep) int fd = sysctl_open(name, O_RDONLY);
	size_t used = 0;

	if (fd < 0)
		return fd;
	while (used < size - 1) {
		ssize_t n = read(fd, buf + used, size - 1 - used);

		if (n < 0)
			return -errno;
		if (!n)
			break;
		used += (size_t)n;
	}
	while (used && buf[used - 1] == '\n')
		used--;
	buf[used] = 0;
	return 0;
}

static int sysctl_write(const char *name, const char *value)
{
	_cleanup_(closep) int fd = sysctl_open(name, O_WRONLY);
	char line[PORT_LIST_MAX + 2];
	const int n = snprintf(line, sizeof(line), "%s\n", value);

	if (fd < 0)
		return fd;
	if (n >= (int)sizeof(line))
		return -E2BIG;
	return write(fd, line, (size_t)n) == n ? 0 : -errno;
}

static int sysctl_change(struct undo *undo, const char *name, const char *was,
                         const char *value, struct err *err)
{
	int r = undo_record(undo, "sysctl", name, json_string(was),
	                    json_string(value), err);

	if (r)
		return r;
	r = sysctl_write(name, value);
	return r ? err_set(err, r, "set %s to %s: %s", name, value,
	                   strerror(-r))
	         : 0;
}

int undo_sysctl_set(struct undo *undo, const char *name, const char *value,
                    struct err *err)
{
	char was[PORT_LIST_MAX];
	int r = sysctl_read(name, was, sizeof(was));

	if (r)
		return err_set(err, r, "read %s: %s", name, strerror(-r));
	return strcmp(was, value) ? sysctl_change(undo, name, was, value, err)
	                          : 0;
}

int undo_ports_reserve(struct undo *undo, uint16_t first, uint16_t last,
                       struct err *err)
{
	char was[PORT_LIST_MAX], want[PORT_LIST_MAX], range[16];
	int r = sysctl_read(RESERVED_PORTS, was, sizeof(was));

	if (!r)
		r = port_list_add(was, first, last, want, sizeof(want));
	if (r)
		return err_set(err, r, "read %s: %s", RESERVED_PORTS,
		               strerror(-r));
	if (!strcmp(was, want))
		return 0;
	snprintf(range, sizeof(range), "%u-%u", first, last);
	r = undo_record(undo, "ports", RESERVED_PORTS, json_string(was),
	                json_string(range), err);
	if (r)
		return r;
	r = sysctl_write(RESERVED_PORTS, want);
	return r ? err_set(err, r, "reserve ports %s: %s", range, strerror(-r))
	         : 0;
}

/* ---- devices ------------------------------------------------------------ */

static int gso_write(struct nl *nl, int ifindex, const struct gso_sizes *sizes,
                     struct err *err)
{
	const struct ifinfomsg body = {.ifi_index = ifindex};
	struct nl_batch batch;

	nl_batch_begin(&batch, nl);
	nl_put(&batch, "packet sizes", ENODEV, RTM_NEWLINK, 0, &body,
	       sizeof(body));
	nl_attr_u32(&batch, IFLA_GSO_MAX_SIZE, sizes->gso);
	if (sizes->gso_ipv4)
		nl_attr_u32(&batch, ATTR_GSO_IPV4_MAX_SIZE, sizes->gso_ipv4);
	return nl_batch_run(&batch, err);
}

static json_t *gso_json(const struct gso_sizes *sizes)
{
	return json_pack("{s:I,s:I}", "gso", (json_int_t)sizes->gso, "gso_ipv4",
	                 (json_int_t)sizes->gso_ipv4);
}

int undo_gso_set(struct undo *undo, struct nl *nl, const char *ifname,
                 const struct gso_sizes *was, const struct gso_sizes *want,
                 struct err *err)
{
	const int ifindex = nl_ifindex(nl, ifname);
	int r;

	if (ifindex < 0)
		return err_set(err, ifindex, "device %s: %s", ifname,
		               strerror(-ifindex));
	if (was->gso == want->gso && was->gso_ipv4 == want->gso_ipv4)
		return 0;
	r = undo_record(undo, "gso", ifname, gso_json(was), gso_json(want),
	                err);
	if (!r)
		r = gso_write(nl, ifindex, want, err);
	return r ? err_wrap(err, r, "device %s", ifname) : 0;
}

int undo_device_note(struct undo *undo, const char *ifname, const char *kind,
                     struct err *err)
{
	if (change_find(undo, "device", ifname))
		return 0;
	return undo_record(undo, "device", ifname, json_null(),
	                   json_string(kind), err);
}

/* ---- putting back ------------------------------------------------------- */

static int sysctl_undo(const char *name, const json_t *was, const json_t *set,
                       struct err *err)
{
	char now[PORT_LIST_MAX];
	int r = sysctl_read(name, now, sizeof(now));

	if (r == -ENOENT)
		return 0;
	if (!r && json_is_string(was) && json_is_string(set) &&
	    !strcmp(now, json_string_value(set)))
		r = sysctl_write(name, json_string_value(was));
	return r ? err_set(err, r, "put back %s: %s", name, strerror(-r)) : 0;
}

static int ports_undo(const char *name, const json_t *was, const json_t *set,
                      struct err *err)
{
	char now[PORT_LIST_MAX], want[PORT_LIST_MAX];
	unsigned short first, last;
	int r = sysctl_read(name, now, sizeof(now));

	if (!r &&
	    (!json_is_string(was) || !json_is_string(set) ||
	     sscanf(json_string_value(set), "%hu-%hu", &first, &last) != 2))
		r = -EINVAL;
	if (!r)
		r = port_list_remove(now, json_string_value(was), first, last,
		                     want, sizeof(want));
	if (!r)
		r = sysctl_write(name, want);
	return r ? err_set(err, r, "put back %s: %s", name, strerror(-r)) : 0;
}

static int gso_undo(struct nl *nl, const char *ifname, const json_t *was,
                    struct err *err)
{
	const int ifindex = nl_ifindex(nl, ifname);
	const struct gso_sizes sizes = {
		.gso = (uint32_t)json_integer_value(
			json_object_get(was, "gso")),
		.gso_ipv4 = (uint32_t)json_integer_value(
			json_object_get(was, "gso_ipv4")),
	};

	if (ifindex < 0 || !sizes.gso)
		return 0;
	return gso_write(nl, ifindex, &sizes, err);
}

static int kind_note(const struct nlmsghdr *msg, void *user)
{
	const struct rtattr *info =
		nl_find(msg, sizeof(struct ifinfomsg), IFLA_LINKINFO);

	if (msg->nlmsg_type == RTM_NEWLINK)
		(void)nl_text(nl_find_in(info, IFLA_INFO_KIND), user,
		              DEVICE_KIND_MAX);
	return 0;
}

static int device_undo(struct nl *nl, const char *ifname, const json_t *set,
                       struct err *err)
{
	const struct ifinfomsg body = {.ifi_index = nl_ifindex(nl, ifname)};
	char kind[DEVICE_KIND_MAX] = "";
	struct nl_batch batch;
	int r;

	if (body.ifi_index < 0)
		return 0;
	r = nl_get(nl, RTM_GETLINK, &body, sizeof(body), kind_note, kind, err);
	if (r)
		return r == -ENODEV ? 0 : r;
	if (!json_is_string(set) || strcmp(kind, json_string_value(set)) != 0)
		return 0; /* somebody else's by now */
	nl_batch_begin(&batch, nl);
	nl_put(&batch, "delete the tunnel", ENODEV, RTM_DELLINK, 0, &body,
	       sizeof(body));
	return nl_batch_run(&batch, err);
}

static int change_undo(struct nl *nl, const json_t *change, struct err *err)
{
	const char *kind = json_string_value(json_object_get(change, "kind"));
	const char *name = json_string_value(json_object_get(change, "name"));
	const json_t *was = json_object_get(change, "was");
	const json_t *set = json_object_get(change, "set");

	if (!kind || !name)
		return err_set(err, -EINVAL, "a change without kind or name");
	if (!strcmp(kind, "sysctl"))
		return sysctl_undo(name, was, set, err);
	if (!strcmp(kind, "ports"))
		return ports_undo(name, was, set, err);
	if (!strcmp(kind, "gso"))
		return gso_undo(nl, name, was, err);
	if (!strcmp(kind, "device"))
		return device_undo(nl, name, set, err);
	return err_set(err, -EINVAL, "a change of kind '%.40s'", kind);
}

int undo_all(struct undo *undo, struct nl *nl, struct err *err)
{
	int first = 0;

	for (size_t i = json_array_size(undo->changes); i-- > 0;) {
		struct err why = {};
		int r = change_undo(nl, json_array_get(undo->changes, i), &why);

		if (!r)
			json_array_remove(undo->changes, i);
		else if (!first)
			first = err_set(err, r, "%s", why.text);
	}
	if (json_array_size(undo->changes)) {
		struct err ignored;

		(void)undo_save(undo, &ignored);
	} else if (unlink(undo->path) && errno != ENOENT && !first) {
		first = err_set(err, -errno, "%s: %s", undo->path,
		                strerror(errno));
	}
	return first;
}
