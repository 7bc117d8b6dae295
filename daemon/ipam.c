// SPDX-License-Identifier: Apache-2.0
/* ipam.c - see ipam.h. */
#include "daemon/ipam.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	/* After a start: what was freed before it rests below. */
	if (index >= ipam->next)
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
}
