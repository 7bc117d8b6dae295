/* SPDX-License-Identifier: Apache-2.0 */
/* addr.h - addresses as text: 16 bytes inside, both versions outside. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bpf/abi.h"

#define ADDR_TEXT_MAX 46

/* "10.0.0.1" or "2001:db8::1".  Return: 0 or -EINVAL, @ret then untouched. */
int addr_parse(const char *text, struct addr *ret);
/* IPv4 dotted for mapped addresses, RFC 5952 for the rest.  Returns @buf. */
const char *addr_format(const struct addr *addr, char buf[ADDR_TEXT_MAX]);
enum family addr_family(const struct addr *addr);
bool addr_is_zero(const struct addr *addr);
/* "0.0.0.0" or "::": of a service's key, every address of the node. */
struct addr addr_any(enum family family);
int addr_compare(const struct addr *a, const struct addr *b);
/* The @n-th address after @addr; carries into higher bytes. */
struct addr addr_add(const struct addr *addr, unsigned long n);
