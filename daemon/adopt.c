// SPDX-License-Identifier: Apache-2.0
/* adopt.c - attachments across a restart, see attachment.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cni/wire.h"
#include "daemon/attachment.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/util.h"

#define QUEUE_DIR   "del-queue" /* cni/queue.h */
#define QUEUE_BYTES 4096

/* ---- what the files say ---- */

static void addresses_take(struct daemon *daemon, struct ep *ep)
{
	for (int f = 0; f < FAMILY__COUNT; f++) {
		struct ipam *ipam = &daemon->ipam[f];
		char text[ADDR_TEXT_MAX];
		int r;

		if (!ep->own_addr[f])
			continue;
		r = ipam->enabled ? ipam_take(ipam, &ep->addr[f]) : -ERANGE;
		if (!r)
			continue;
		/* It stays the pod's; only, nobody gets it after that. */
		ep->own_addr[f] = false;
		log_warn("endpoint %u: its address %s is %s", ep->number,
		         addr_format(&ep->addr[f], text),
		         r == -EEXIST ? "another's too"
		                      : "not of the pod CIDR any more");
	}
}

static void ep_adopt(struct daemon *daemon, struct ep *ep)
{
	addresses_take(daemon, ep);
	if (ep->state == ENDPOINT_READY && attachment_alive(daemon, ep))
		return;
	if (ep->state == ENDPOINT_READY)
		log_info("endpoint %u (container %.12s): its link %s is gone",
		         ep->number, ep->container_id, ep->host_ifname);
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (ep->own_addr[f])
			ipam_free(&daemon->ipam[f], &ep->addr[f],
			          loop_now_ns());
	if (attachment_has_link(daemon, ep)) {
		ep->state = ENDPOINT_CLOSING;
		return;
	}
	endpoint_drop(&daemon->endpoints, ep);
}

/* Links of ours that no endpoint has. */
struct orphans {
	struct daemon *daemon;  /* its strays: those that were left to us */
	int lost[ENDPOINT_MAX]; /* those that are in use */
	char name[ENDPOINT_MAX][IFNAMSIZ];
	int n_lost;
};

/* Does the name end in the hexadecimal digits of an attachment's? */
static bool is_plugins(const char *name)
{
	const char *digits = name + strlen(WIRE_LINK_PREFIX);

	return !strncmp(name, WIRE_LINK_PREFIX, strlen(WIRE_LINK_PREFIX)) &&
	       strlen(digits) == 12 && strspn(digits, "0123456789abcdef") == 12;
}

/* One that is not up yet is an ADD's that has not asked us so far. */
static int orphan_see(const struct nlmsghdr *msg, void *user)
{
	const struct ifinfomsg *body = NLMSG_DATA(msg);
	const struct rtattr *attr = nl_find(msg, sizeof(*body), IFLA_IFNAME);
	struct orphans *orphans = user;
	struct daemon *daemon = orphans->daemon;
	char name[IFNAMSIZ], released[IFNAMSIZ];

	snprintf(released, sizeof(released), WIRE_LINK_PREFIX "d%x",
	         (unsigned)body->ifi_index);
	if (msg->nlmsg_type != RTM_NEWLINK ||
	    !nl_text(attr, name, sizeof(name)) ||
	    endpoint_by_ifindex(&daemon->endpoints, body->ifi_index))
		return 0;
	if (!strcmp(name, released) && daemon->n_strays < STRAYS_MAX) {
		daemon->stray[daemon->n_strays++] = body->ifi_index;
	} else if (is_plugins(name) && body->ifi_flags & IFF_UP &&
	           orphans->n_lost < (int)ENDPOINT_MAX) {
		memcpy(orphans->name[orphans->n_lost], name, IFNAMSIZ);
		orphans->lost[orphans->n_lost++] = body->ifi_index;
	}
	return 0;
}

static void orphans_forget(void *user)
{
	struct orphans *orphans = user;

	orphans->daemon->n_strays = orphans->n_lost = 0;
}

/*
 * Pods whose files are lost.  Who they are is not known, hence not what is
 * allowed to them: they are cut off in any case.  Their links would keep routes
 * to addresses that others are about to get.
 */
static void lost_end(const struct orphans *orphans)
{
	struct daemon *daemon = orphans->daemon;
	struct err err = {};

	if (!orphans->n_lost)
		return;
	for (int i = 0; i < orphans->n_lost; i++)
		log_err("link %s: the state directory knows no endpoint of it; "
		        "it is deleted, its pod has no network any more and "
		        "must be made again",
		        orphans->name[i]);
	if (node_links_delete(&daemon->node, orphans->lost, orphans->n_lost,
	                      &err))
		log_err("delete %d links that no endpoint has: %s",
		        orphans->n_lost, err.text);
}

void attachments_adopt(struct daemon *daemon)
{
	const struct ifinfomsg all = {.ifi_family = AF_UNSPEC};
	struct orphans orphans = {.daemon = daemon};
	struct err err = {};
	int alive = 0, closing = 0;

	for (int i = 1; i < (int)ENDPOINT_MAX; i++) {
		struct ep *ep = &daemon->endpoints.ep[i];

		if (ep->state != ENDPOINT_FREE)
			ep_adopt(daemon, ep);
		alive += ep->state == ENDPOINT_READY;
		closing += ep->state == ENDPOINT_CLOSING;
	}
	if (nl_dump(&daemon->node.nl, RTM_GETLINK, &all, sizeof(all),
	            orphan_see, orphans_forget, &orphans, &err))
		log_warn("look for links left behind: %s", err.text);
	lost_end(&orphans);
	if (closing || daemon->n_strays)
		loop_timer_arm(daemon->loop, &daemon->reap, 0);
	log_info("%d endpoints adopted, %d links to be deleted", alive,
	         closing + daemon->n_strays);
}

/* ---- what the plugin could not tell us ---- */

static int release_read(int dir_fd, const char *name, json_t **ret)
{
	_cleanup_(closep) int fd = openat(
		dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char text[QUEUE_BYTES];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return -EINVAL;
	n = read(fd, text, sizeof(text));
	if (n <= 0 || n == (ssize_t)sizeof(text))
		return -EINVAL;
	*ret = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
	return *ret ? 0 : -EINVAL;
}

static int release_replay(struct daemon *daemon, int dir_fd, const char *name)
{
	_cleanup_(json_decrefp) json_t *release = NULL;
	const char *container_id, *ifname, *host_ifname;
	struct ep *ep;

	if (release_read(dir_fd, name, &release) ||
	    json_unpack(release, "{s:s, s:s, s:s}", "container_id",
	                &container_id, "ifname", &ifname, "host_ifname",
	                &host_ifname) ||
	    !endpoint_id_valid(container_id) ||
	    !endpoint_ifname_valid(ifname) || strcmp(host_ifname, name) != 0)
		return -EINVAL;
	ep = endpoint_find(&daemon->endpoints, container_id, ifname);
	if (ep)
		attachment_close(daemon, ep);
	return 0;
}

static void release_quarantine(int dir_fd, const char *name)
{
	char bad[300];

	/* With a '.' in front it is never read again. */
	snprintf(bad, sizeof(bad), ".%s.bad", name);
	log_err("del-queue file '%s' is no release; it is now '%s'", name, bad);
	if (renameat(dir_fd, name, dir_fd, bad) < 0)
		log_err("rename '%s': %s", name, strerror(errno));
}

void attachments_replay(struct daemon *daemon)
{
	char path[sizeof(daemon->config.state_dir) + sizeof(QUEUE_DIR) + 1];
	struct dirent **list = NULL;
	int n, done = 0;

	snprintf(path, sizeof(path), "%s/" QUEUE_DIR, daemon->config.state_dir);
	_cleanup_(closep) int fd =
		open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	/* A list first: the directory changes under our hands. */
	n = fd < 0 ? -1 : scandirat(fd, ".", &list, NULL, NULL);
	if (n < 0 && errno != ENOENT)
		log_err("del-queue '%s': %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;

		if (name[0] != '.' && release_replay(daemon, fd, name))
			release_quarantine(fd, name);
		else if (name[0] != '.')
			done += !unlinkat(fd, name, 0);
		free(list[i]);
	}
	free(list);
	if (!done)
		return;
	log_info("%d releases of the plugin caught up with", done);
	attachments_settle(daemon);
}
