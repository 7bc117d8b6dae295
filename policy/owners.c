// SPDX-License-Identifier: Apache-2.0
/* owners.c - see owners.h. */
#include "policy/owners.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* Who may have an address, strongest first. */
enum claim_by { BY_NODE, BY_ATTACHED, BY_HOST_POD, BY_POD };

/* @hi, @lo: the address as numbers, which compare faster than its bytes. */
struct claim {
	uint64_t hi, lo;
	uint32_t pod;
	uint8_t by;
	bool local;
};

static struct claim claim_make(const struct addr *addr, enum claim_by by)
{
	return (struct claim){
		.hi = be64toh(addr->half[0]),
		.lo = be64toh(addr->half[1]),
		.pod = OWNER_NODE,
		.by = (uint8_t)by,
	};
}

static enum claim_by pod_claims_by(const struct pod *pod)
{
	if (pod->host_network)
		return BY_HOST_POD;
	return pod->endpoint ? BY_ATTACHED : BY_POD;
}

static int claim_compare(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	if (x->hi != y->hi)
		return x->hi < y->hi ? -1 : 1;
	if (x->lo != y->lo)
		return x->lo < y->lo ? -1 : 1;
	if (x->by != y->by)
		return x->by - y->by;
	if (x->pod != y->pod)
		return x->pod < y->pod ? -1 : 1;
	return y->local - x->local;
}

static size_t claims_count(const struct world *world)
{
	size_t n = world->n_nodes;

	for (size_t i = 0; i < world->n_pods; i++)
		n += world->pod[i]->n_addrs;
	return n;
}

static size_t claims_fill(const struct world *world, struct claim *claim)
{
	size_t n = 0;

	for (size_t i = 0; i < world->n_nodes; i++) {
		claim[n] = claim_make(&world->node[i].addr, BY_NODE);
		claim[n++].local = world->node[i].local;
	}
	for (size_t i = 0; i < world->n_pods; i++) {
		const struct pod *pod = world->pod[i];
		enum claim_by by = pod_claims_by(pod);

		for (size_t j = 0; j < pod->n_addrs && !pod->finished; j++) {
			claim[n] = claim_make(&pod->addr[j], by);
			if (by != BY_HOST_POD)
				claim[n].pod = (uint32_t)i;
			n++;
		}
	}
	return n;
}

static bool same_addr(const struct claim *a, const struct claim *b)
{
	return a->hi == b->hi && a->lo == b->lo;
}

/* The first of one address's sorted claims wins, unless another is its equal.
 */
static bool decided(const struct claim *claim, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (claim[i].by == claim->by && claim[i].pod != claim->pod)
			return false;
	return true;
}

int owners_find(const struct world *world, struct arena *arena,
                struct owned **ret, size_t *ret_n)
{
	size_t n = claims_count(world), n_owned = 0;
	struct claim *claim = arena_array(arena, n, sizeof(*claim));
	struct owned *owned = arena_array(arena, n, sizeof(*owned));

	if (!claim || !owned)
		return -ENOMEM;
	n = claims_fill(world, claim);
	qsort(claim, n, sizeof(*claim), claim_compare);
	for (size_t i = 0, same; i < n; i += same) {
		same = 1;
		while (i + same < n && same_addr(&claim[i], &claim[i + same]))
			same++;
		if (!decided(&claim[i], same))
			continue;
		owned[n_owned].addr.half[0] = htobe64(claim[i].hi);
		owned[n_owned].addr.half[1] = htobe64(claim[i].lo);
		owned[n_owned].pod = claim[i].pod;
		owned[n_owned++].local = claim[i].local;
	}
	*ret = owned;
	*ret_n = n_owned;
	return 0;
}
