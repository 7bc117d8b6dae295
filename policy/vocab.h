/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vocab.h - the words by which the policies in force tell peers apart.
 *
 * Inside policy/ only.  Only what is said of the other end counts: by which
 * labels a policy chooses whom it protects makes no two peers different.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

struct port_word {
	const char *name;
	uint8_t proto;
};

struct vocab {
	const char **pod_key; /* sorted, unique; borrowed from the world */
	size_t n_pod_keys;
	const char **ns_key;
	size_t n_ns_keys;
	struct port_word *port; /* in egress rules: sorted by name, proto */
	size_t n_ports;
	struct prefix *cidr; /* as met: unsorted, repeated */
	size_t n_cidrs;
	size_t n_rules; /* of all policies */
	size_t n_peers;
};

int vocab_collect(const struct world *world, struct arena *arena,
                  struct vocab *ret);
