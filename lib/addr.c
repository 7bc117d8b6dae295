// SPDX-License-Identifier: Apache-2.0
/* addr.c - see addr.h. */
#include "lib/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static const __u8 mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int addr_parse(const char *text, struct addr *ret)
{
	struct addr addr = {};

	if (inet_pton(AF_INET, text, &addr.word[3]) == 1) {
		memcpy(addr.byte, mapped, sizeof(mapped));
	} else if (inet_pton(AF_INET6, text, addr.byte) != 1 ||
	           addr_family(&addr) == FAMILY_V4) {
		/* A mapped address in IPv6's text is refused: one name. */
		return -EINVAL;
	}
	*ret = addr;
	return 0;
}

const char *addr_format(const struct addr *addr, char buf[ADDR_TEXT_MAX])
{
	if (addr_family(addr) == FAMILY_V4)
		inet_ntop(AF_INET, &addr->word[3], buf, ADDR_TEXT_MAX);
	else
		inet_ntop(AF_INET6, addr->byte, buf, ADDR_TEXT_MAX);
	return buf;
}

enum family addr_family(const struct addr *addr)
{
	return memcmp(addr->byte, mapped, sizeof(mapped)) ? FAMILY_V6
	                                                  : FAMILY_V4;
}

struct addr addr_any(enum family family)
{
	struct addr any = {};

	if (family == FAMILY_V4)
		any.byte[10] = any.byte[11] = 0xff;
	return any;
}

bool addr_is_zero(const struct addr *addr)
{
	return !addr->half[0] && !addr->half[1];
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	return memcmp(a->byte, b->byte, sizeof(a->byte));
}

struct addr addr_add(const struct addr *addr, unsigned long n)
{
	struct addr sum = *addr;
	unsigned long carry = n;

	for (int i = 15; i >= 0 && carry; i--) {
		carry += sum.byte[i];
		sum.byte[i] = (__u8)carry;
		carry >>= 8;
	}
	return sum;
}
