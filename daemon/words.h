/* SPDX-License-Identifier: Apache-2.0 */
/* words.h - policies and their rules as sentences. */
#pragma once

#include "bpf/abi.h"
#include "policy/policy.h"

/*
 * rule_words - "from pods with app=web of namespace shop; to tcp 80".
 *
 * @ns: the policy's own namespace.  Return: owned by the caller, NULL when out
 * of memory.
 */
char *rule_words(const struct rule *rule, enum dir dir, const char *ns);

/* "pods with app=db", "every pod".  Owned by the caller; NULL: no memory. */
char *subject_words(const struct netpol *netpol);

#define PREFIX_TEXT_MAX 50
/* "10.0.0.0/8"; IPv4 by its own length.  Returns @buf. */
const char *prefix_words(const struct prefix *prefix,
                         char buf[PREFIX_TEXT_MAX]);
