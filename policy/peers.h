/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - which identities an item of from or to means.
 *
 * Inside policy/ only.  Each distinct item is worked out once, however many
 * policies say it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/identity.h"
#include "policy/index.h"
#include "policy/rules.h"
#include "policy/text.h"

#define PEER_SET_ANY 0u /* the set of a rule that names no peers */

struct peer_set {
	uint32_t classes;      /* bits by enum id_class; CLASS_ANY: everyone */
	const uint32_t *ident; /* and these */
	size_t n;
	const char *said; /* what it was worked out from */
	size_t said_bytes;
};

struct peers {
	const struct identities *ids;
	struct arena *arena;
	struct peer_set *set;
	size_t n;
	uint32_t *of_peer; /* by the peer's count through all rules; plus one */
	struct index by_said;
	struct text text;
	uint32_t *kinds, *ns; /* room for all of them */
	bool *ns_hit;
};

int peers_init(struct peers *peers, const struct identities *ids,
               size_t n_peers, struct arena *arena);

/* The set of a peer, which is the @count-th through all rules and stands in a
 * policy of namespace @ns.  Return: 0 or -ENOMEM. */
int peers_set(struct peers *peers, const struct peer *peer, uint32_t count,
              const char *ns, uint32_t *ret);
