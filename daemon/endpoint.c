// SPDX-License-Identifier: Apache-2.0
/* endpoint.c - see endpoint.h. */
#include "daemon/endpoint.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/endpoint_file.h"
#include "daemon/loop.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/util.h"

#define NS_PER_MS 1000000u
#define SUFFIX    ".json"

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

bool endpoint_id_valid(const char *container_id)
{
	const size_t len = strlen(container_id);

	if (!len || len >= sizeof(((struct ep *)0)->container_id) ||
	    !isalnum((unsigned char)container_id[0]))
		return false;
	for (const char *c = container_id; *c; c++)
		if (!isascii(*c) ||
		    (!isalnum((unsigned char)*c) && !strchr("_.-", *c)))
			return false;
	return true;
}

/* As dev_valid_name() of net/core/dev.c, and nothing unprintable. */
bool endpoint_ifname_valid(const char *ifname)
{
	const size_t len = strlen(ifname);

	if (!len || len >= IFNAMSIZ || !strcmp(ifname, ".") ||
	    !strcmp(ifname, ".."))
		return false;
	for (const char *c = ifname; *c; c++)
		if (!isascii(*c) || !isgraph((unsigned char)*c) || *c == '/' ||
		    *c == ':')
			return false;
	return true;
}

static void name_of(const struct ep *ep, char ret[ENDPOINT_NAME_MAX])
{
	snprintf(ret, ENDPOINT_NAME_MAX, "%s:%s" SUFFIX, ep->container_id,
	         ep->ifname);
}

/* ---- start ---- */

/* One file's text into @buf; its length or -errno. */
static ssize_t text_read(int dir_fd, const char *name, char *buf)
{
	_cleanup_(closep) int fd = openat(
		dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	n = read(fd, buf, ENDPOINT_FILE_BYTES + 1);
	return n < 0 ? -errno : n;
}

static int ep_adopt(struct endpoints *eps, const char *name, struct err *err)
{
	char text[ENDPOINT_FILE_BYTES + 1], want[ENDPOINT_NAME_MAX];
	const ssize_t len = text_read(eps->dir_fd, name, text);
	struct ep ep;
	int r;

	if (len < 0)
		return err_set(err, (int)len, "%s", strerror((int)-len));
	if (!len) {
		/* Made, and killed before the write: nobody had an answer. */
		if (!eps->read_only)
			unlinkat(eps->dir_fd, name, 0);
		return 0;
	}
	r = endpoint_parse(text, (size_t)len, &ep, err);
	if (r)
		return r;
	name_of(&ep, want);
	if (strcmp(want, name) != 0)
		return err_set(err, -EINVAL, "it speaks for '%.100s'", want);
	if (eps->ep[ep.number].state != ENDPOINT_FREE)
		return err_set(err, -EEXIST, "its number %u is another's",
		               ep.number);
	eps->ep[ep.number] = ep;
	if (ep.serial >= eps->next_serial)
		eps->next_serial = ep.serial + 1;
	return 0;
}

static void file_quarantine(const struct endpoints *eps, const char *name,
                            const char *why)
{
	char bad[ENDPOINT_NAME_MAX + 8];

	snprintf(bad, sizeof(bad), "%s.bad", name);
	log_err("endpoint file '%s': %s; its pod is cut off, the file %s %s",
	        name, why, eps->read_only ? "would become" : "is now", bad);
	if (!eps->read_only &&
	    renameat(eps->dir_fd, name, eps->dir_fd, bad) < 0)
		log_err("endpoint file '%s': %s", bad, strerror(errno));
}

static bool is_record(const char *name)
{
	const size_t len = strlen(name), suffix = sizeof(SUFFIX) - 1;

	return name[0] != '.' && len > suffix && len < ENDPOINT_NAME_MAX &&
	       !strcmp(name + len - suffix, SUFFIX);
}

static int dir_read(struct endpoints *eps)
{
	int fd = dup(eps->dir_fd);
	_cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		const int r = -errno;

		closep(&fd);
		return r;
	}
	rewinddir(dir);
	for (const struct dirent *at; (at = readdir(dir));) {
		struct err err = {};

		if (is_record(at->d_name) && ep_adopt(eps, at->d_name, &err))
			file_quarantine(eps, at->d_name, err.text);
	}
	return 0;
}

static int dir_open(const char *state_dir, bool read_only, int *ret,
                    struct err *err)
{
	_cleanup_(closep) int state =
		open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (state < 0)
		return err_set(err, -errno, "state directory '%s': %s",
		               state_dir, strerror(errno));
	if (!read_only && mkdirat(state, "endpoints", 0700) < 0 &&
	    errno != EEXIST)
		return err_set(err, -errno, "make '%s/endpoints': %s",
		               state_dir, strerror(errno));
	fd = openat(state, "endpoints",
	            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && !(read_only && errno == ENOENT))
		return err_set(err, -errno, "open '%s/endpoints': %s",
		               state_dir, strerror(errno));
	*ret = fd;
	return 0;
}

int endpoints_open(struct endpoints *eps, const char *state_dir,
                   struct err *err)
{
	int r;

	eps->dir_fd = -1;
	/*
	 * A serial that an earlier daemon has not given: more than one ADD a
	 * millisecond since boot would be needed to get ahead of the clock.
	 */
	eps->next_serial = (uint32_t)(loop_now_ns() / NS_PER_MS) | 1;
	r = dir_open(state_dir, eps->read_only, &eps->dir_fd, err);
	if (!r && eps->dir_fd >= 0) {
		r = dir_read(eps);
		if (r)
			err_set(err, r, "read '%s/endpoints': %s", state_dir,
			        strerror(-r));
	}
	for (uint16_t i = 1; i < ENDPOINT_MAX; i++)
		if (eps->ep[i].state == ENDPOINT_FREE)
			eps->free_queue[eps->free_n++] = i;
	return r;
}

void endpoints_close(struct endpoints *eps)
{
	if (eps->dir_fd >= 0)
		close(eps->dir_fd);
	eps->dir_fd = -1;
}

/* ---- use ---- */

struct ep *endpoint_find(struct endpoints *eps, const char *container_id,
                         const char *ifname)
{
	for (int i = 1; i < (int)ENDPOINT_MAX; i++) {
		struct ep *ep = &eps->ep[i];

		if (ep->state != ENDPOINT_FREE &&
		    !strcmp(ep->container_id, container_id) &&
		    !strcmp(ep->ifname, ifname))
			return ep;
	}
	return NULL;
}

struct ep *endpoint_by_ifindex(struct endpoints *eps, int ifindex)
{
	for (int i = 1; i < (int)ENDPOINT_MAX; i++)
		if (eps->ep[i].state != ENDPOINT_FREE &&
		    eps->ep[i].ifindex == ifindex)
			return &eps->ep[i];
	return NULL;
}

struct ep *endpoint_by_addr(struct endpoints *eps, const struct addr *addr)
{
	for (int i = 1; i < (int)ENDPOINT_MAX; i++)
		for (int f = 0; f < FAMILY__COUNT; f++)
			if (eps->ep[i].state == ENDPOINT_READY &&
			    !addr_compare(&eps->ep[i].addr[f], addr))
				return &eps->ep[i];
	return NULL;
}

struct ep *endpoint_new(struct endpoints *eps)
{
	struct ep *ep;
	uint16_t number;

	if (!eps->free_n)
		return NULL;
	number = eps->free_queue[eps->free_head];
	eps->free_head = (eps->free_head + 1) % ENDPOINT_MAX;
	eps->free_n--;
	ep = &eps->ep[number];
	*ep = (struct ep){.number = number, .serial = eps->next_serial++};
	return ep;
}

/* One write within one page; what was there stays when it fails. */
static int text_write(int dir_fd, const char *name, const char *text)
{
	_cleanup_(closep) int fd = openat(
		dir_fd, name,
		O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pwrite(fd, text, ENDPOINT_FILE_BYTES, 0);
	if (n == ENDPOINT_FILE_BYTES)
		return 0;
	return n < 0 ? -errno : -ENOSPC;
}

int endpoint_save(struct endpoints *eps, const struct ep *ep, struct err *err)
{
	char text[ENDPOINT_FILE_BYTES], name[ENDPOINT_NAME_MAX];
	int r;

	if (!endpoint_id_valid(ep->container_id) ||
	    !endpoint_ifname_valid(ep->ifname))
		return err_set(err, -EINVAL, "no name for an attachment");
	r = endpoint_format(ep, text, err);
	if (r)
		return r;
	name_of(ep, name);
	r = text_write(eps->dir_fd, name, text);
	if (r)
		return err_set(err, r, "write endpoint file '%s': %s", name,
		               strerror(-r));
	return 0;
}

void endpoint_drop(struct endpoints *eps, struct ep *ep)
{
	char name[ENDPOINT_NAME_MAX];
	const uint16_t number = ep->number;

	/* Made but never named: there is no file. */
	if (ep->container_id[0] && ep->ifname[0]) {
		name_of(ep, name);
		if (unlinkat(eps->dir_fd, name, 0) < 0 && errno != ENOENT)
			log_err("remove endpoint file '%s': %s", name,
			        strerror(errno));
	}
	*ep = (struct ep){};
	eps->free_queue[(eps->free_head + eps->free_n++) % ENDPOINT_MAX] =
		number;
}

int endpoint_mac_parse(const char *text, uint8_t ret[6])
{
	uint8_t mac[6];

	if (strlen(text) != ENDPOINT_MAC_TEXT - 1)
		return -EINVAL;
	for (int i = 0; i < 6; i++) {
		const char *at = text + (size_t)i * 3;
		const char digits[] = {at[0], at[1], '\0'};

		if (!isxdigit((unsigned char)at[0]) ||
		    !isxdigit((unsigned char)at[1]) ||
		    at[2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

const char *endpoint_mac_format(const uint8_t mac[6],
                                char buf[ENDPOINT_MAC_TEXT])
{
	snprintf(buf, ENDPOINT_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x",
	         mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buf;
}
