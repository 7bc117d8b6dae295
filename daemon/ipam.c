// SPDX-License-Identifier: Apache-2.0
/* ipam.c - see ipam.h. */
#include "daemon/ipam.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/util.h"

#define FIRST_OFFSET 2u /* past the network's address and the first host's */
#define KEPT         3u /* and the last one */
#define IN_USE       1u

int ipam_open(struct ipam *ipam, const struct prefix *cidr, struct err *err)
{
	const unsigned host_bits = 128u - cidr->bits;
	uint32_t size = IPAM_RANGE_MAX;
	uint64_t *freed_ns;

	if (host_bits < 2)
		return err_set(err, -EINVAL,
		               "a pod CIDR with no address to give: it needs "
		               "at least 2 bits for hosts");
	if (host_bits < 17 && (1u << host_bits) - KEPT < size)
		size = (1u << host_bits) - KEPT;
	freed_ns = calloc(size, sizeof(*freed_ns));
	if (!freed_ns)
		return err_set(err, -ENOMEM, "out of memory");
	*ipam = (struct ipam){.cidr = *cidr,
	                      .size = size,
	                      .freed_ns = freed_ns,
	                      .enabled = true};
	return 0;
}

void ipam_close(struct ipam *ipam)
{
	free(ipam->freed_ns);
	*ipam = (struct ipam){};
}

/* ---- the file ----------------------------------------------------------- */

/*
 * Behind it, for each address, 8 bytes: when it was freed (CLOCK_MONOTONIC; 0:
 * never).  Each is written by itself, in place: what is torn, or of another
 * boot, is in the future, long ago, or makes an address rest for nothing.
 */
struct file_header {
	char magic[8];
	struct addr cidr;
	uint32_t bits, next;
};

#define MAGIC "stile-a1"

/* Open for the moment only: a file system can be made read-only under us. */
static void file_put(const struct ipam *ipam, const void *data, size_t n,
                     off_t at)
{
	_cleanup_(closep) int fd =
		*ipam->path
			? open(ipam->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
			: -1;
	ssize_t ignored = 0;

	/* A full disk costs rest over a restart, nothing else. */
	if (fd >= 0)
		ignored = pwrite(fd, data, n, at);
	(void)ignored;
}

static void next_put(struct ipam *ipam)
{
	file_put(ipam, &ipam->next, sizeof(ipam->next),
	         offsetof(struct file_header, next));
}

static void freed_put(struct ipam *ipam, uint32_t index)
{
	file_put(ipam, &ipam->freed_ns[index], sizeof(*ipam->freed_ns),
	         (off_t)(sizeof(struct file_header) +
	                 index * sizeof(*ipam->freed_ns)));
}

/* What the file says, if it is of this CIDR. */
static bool file_take(struct ipam *ipam, int fd, uint64_t now_ns)
{
	const size_t bytes = ipam->size * sizeof(*ipam->freed_ns);
	struct file_header header;
	ssize_t n = pread(fd, &header, sizeof(header), 0);

	if (n != (ssize_t)sizeof(header) ||
	    memcmp(header.magic, MAGIC, sizeof(header.magic)) != 0 ||
	    header.bits != ipam->cidr.bits ||
	    addr_compare(&header.cidr, &ipam->cidr.addr) != 0 ||
	    header.next >= ipam->size)
		return false;
	n = pread(fd, ipam->freed_ns, bytes, sizeof(header));
	if (n < 0)
		n = 0;
	memset((char *)ipam->freed_ns + n, 0, bytes - (size_t)n);
	for (uint32_t i = 0; i < ipam->size; i++)
		if (ipam->freed_ns[i] <= IN_USE || ipam->freed_ns[i] > now_ns)
			ipam->freed_ns[i] = 0;
	ipam->next = header.next;
	return true;
}

int ipam_keep(struct ipam *ipam, const char *state_dir, const char *name,
              uint64_t now_ns, struct err *err)
{
	struct file_header header = {.cidr = ipam->cidr.addr,
	                             .bits = ipam->cidr.bits};
	_cleanup_(closep) int fd = -1;

	memcpy(header.magic, MAGIC, sizeof(header.magic));
	snprintf(ipam->path, sizeof(ipam->path), "%s/%s", state_dir, name);
	fd = open(ipam->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, -errno, "open '%s': %s", ipam->path,
		               strerror(errno));
	ipam->resumed = file_take(ipam, fd, now_ns);
	if (ipam->resumed)
		return 0;
	if (!ftruncate(fd, 0) &&
	    pwrite(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header))
		return 0;
	return err_set(err, -errno, "write '%s': %s", ipam->path,
	               strerror(errno));
}

/* ---- addresses ---------------------------------------------------------- */

static struct addr addr_at(const struct ipam *ipam, uint32_t index)
{
	return addr_add(&ipam->cidr.addr, index + FIRST_OFFSET);
}

/* The index of @addr; -ERANGE when it is none that we give. */
static int index_of(const struct ipam *ipam, const struct addr *addr,
                    uint32_t *ret)
{
	uint64_t offset = 0;
	struct addr low;

	if (!prefix_contains(&ipam->cidr, addr))
		return -ERANGE;
	for (int i = 8; i < 16; i++)
		offset = offset << 8 |
		         (uint8_t)(addr->byte[i] ^ ipam->cidr.addr.byte[i]);
	/* The CIDR is masked: what differs is the host's part. */
	if (offset < FIRST_OFFSET || offset - FIRST_OFFSET >= ipam->size)
		return -ERANGE;
	low = addr_at(ipam, (uint32_t)(offset - FIRST_OFFSET));
	if (addr_compare(&low, addr) != 0)
		return -ERANGE; /* it differs above the low half */
	*ret = (uint32_t)(offset - FIRST_OFFSET);
	return 0;
}

static bool may_give(const struct ipam *ipam, uint32_t index, uint64_t now_ns)
{
	const uint64_t freed = ipam->freed_ns[index];

	return !freed ||
	       (freed != IN_USE && now_ns >= freed + IPAM_QUARANTINE_NS);
}

int ipam_alloc(struct ipam *ipam, uint64_t now_ns, struct addr *ret,
               struct err *err)
{
	for (uint32_t i = 0; i < ipam->size; i++) {
		const uint32_t index = (ipam->next + i) % ipam->size;

		if (!may_give(ipam, index, now_ns))
			continue;
		ipam->freed_ns[index] = IN_USE;
		ipam->next = (index + 1) % ipam->size;
		ipam->used++;
		next_put(ipam);
		*ret = addr_at(ipam, index);
		return 0;
	}
	return err_set(err, -ENOSPC,
	               "no address is free: %u of %u in use, the rest freed "
	               "less than %llu s ago",
	               ipam->used, ipam->size,
	               IPAM_QUARANTINE_NS / 1000000000ull);
}

bool ipam_has_free(const struct ipam *ipam, uint64_t now_ns)
{
	for (uint32_t i = 0; i < ipam->size; i++)
		if (may_give(ipam, (ipam->next + i) % ipam->size, now_ns))
			return true;
	return false;
}

int ipam_take(struct ipam *ipam, const struct addr *addr)
{
	uint32_t index;
	int r = index_of(ipam, addr, &index);

	if (r)
		return r;
	if (ipam->freed_ns[index] == IN_USE)
		return -EEXIST;
	ipam->freed_ns[index] = IN_USE;
	ipam->used++;
	/* Without a file: what was freed before the start rests below. */
	if (!ipam->resumed && index >= ipam->next)
		ipam->next = (index + 1) % ipam->size;
	return 0;
}

void ipam_free(struct ipam *ipam, const struct addr *addr, uint64_t now_ns)
{
	uint32_t index;

	if (index_of(ipam, addr, &index) || ipam->freed_ns[index] != IN_USE)
		return;
	ipam->freed_ns[index] = now_ns > IN_USE ? now_ns : IN_USE + 1;
	ipam->used--;
	freed_put(ipam, index);
}
