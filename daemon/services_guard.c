// SPDX-License-Identifier: Apache-2.0
/* services_guard.c - see services_guard.h. */
#include "daemon/services_guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"

static int addr_order(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static int prefix_order(const void *a, const void *b)
{
	const struct prefix *x = a, *y = b;
	const int cmp = addr_compare(&x->addr, &y->addr);

	return cmp ? cmp : (int)x->bits - (int)y->bits;
}

int services_guard_make(const struct services_input *in, struct arena *arena,
                        struct services_guard *ret)
{
	struct services_guard g = {
		.node = arena_array(arena, in->n_nodes, sizeof(*g.node)),
		.n_nodes = in->n_nodes,
		.pods = arena_array(arena, in->n_pods, sizeof(*g.pods)),
	};

	if (!g.node || !g.pods)
		return -ENOMEM;
	if (in->n_nodes) {
		memcpy(g.node, in->node, in->n_nodes * sizeof(*g.node));
		qsort(g.node, in->n_nodes, sizeof(*g.node), addr_order);
	}
	if (in->n_pods) {
		memcpy(g.pods, in->pods, in->n_pods * sizeof(*g.pods));
		qsort(g.pods, in->n_pods, sizeof(*g.pods), prefix_order);
	}
	/* The wider of two sorts first. */
	for (size_t i = 0; i < in->n_pods; i++)
		if (!g.n_pods ||
		    !prefix_contains(&g.pods[g.n_pods - 1], &g.pods[i].addr))
			g.pods[g.n_pods++] = g.pods[i];
	*ret = g;
	return 0;
}

static bool is_pods(const struct services_guard *guard, const struct addr *addr)
{
	size_t lo = 0, hi = guard->n_pods;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (addr_compare(&guard->pods[mid].addr, addr) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && prefix_contains(&guard->pods[lo - 1], addr);
}

const char *services_unroutable(const struct addr *addr)
{
	const uint8_t *b = addr->byte;
	static const uint8_t zero[15];

	if (addr_family(addr) == FAMILY_V4)
		return !b[12]                         ? "unspecified"
		       : b[12] == 127                 ? "a loopback address"
		       : b[12] == 169 && b[13] == 254 ? "a link-local address"
		       : b[12] >= 240                 ? "reserved"
		       : b[12] >= 224                 ? "a multicast address"
		                                      : NULL;
	if (!memcmp(b, zero, sizeof(zero)))
		return b[15] ? "a loopback address" : "unspecified";
	return b[0] == 0xff                            ? "a multicast address"
	       : b[0] == 0xfe && (b[1] & 0xc0) == 0x80 ? "a link-local address"
	       : !memcmp(b, zero, 12)                  ? "reserved"
	                                               : NULL;
}

const char *services_guard_says(const struct services_guard *guard,
                                const struct addr *ip)
{
	if (bsearch(ip, guard->node, guard->n_nodes, sizeof(*ip), addr_order))
		return "an address of a node";
	return is_pods(guard, ip) ? "inside a pod CIDR"
	                          : services_unroutable(ip);
}
