/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why.h - the operation policy.why: may FROM speak to TO, and which rule says
 * so.
 *
 * {from, to, protocol, port?} -> {from, to, protocol, port, allowed, agrees,
 * sides: [{direction, …}]}: one side for each end that is a pod here, egress
 * first.  Each is judged twice: by the specification (policy_eval) on the
 * world in force, and by the compiled table in force.  They must agree, unless
 * that table is known not to be the one of its policies (reconcile_held): then
 * it has the last word, for that is what the kernel does.
 */
#pragma once

#include <jansson.h>

struct daemon;

json_t *policy_why(struct daemon *daemon, const json_t *request);
