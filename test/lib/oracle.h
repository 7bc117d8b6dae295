/* SPDX-License-Identifier: Apache-2.0 */
/* oracle.h - does the compiled world say what the specification says? */
#pragma once

#include <stdio.h>

#include "policy/policy.h"
#include "test/lib/world.h"

/*
 * Both ends of a packet that are pods here are asked, by policy_eval() and by
 * the tables; the rule that a table names must allow the packet by itself.
 * @asked: raised by the number of verdicts compared.
 *
 * Return: true when they agree; else @why holds a sentence.
 */
bool oracle_agrees(const struct world *world, const struct compiled *compiled,
                   const struct probe *probe, unsigned long *asked,
                   struct err *why);

/* Arrays sorted, numbers and keys unique, headers true to their entries. */
bool oracle_is_sound(const struct compiled *compiled, struct err *why);
