// SPDX-License-Identifier: Apache-2.0
/* prefix.c - CIDRs.  An IPv6 one holds no IPv4 address, however wide it is. */
#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/policy.h"

static void mask(struct addr *addr, unsigned int bits)
{
	for (unsigned int i = 0; i < 16; i++) {
		unsigned int keep = bits > i * 8 ? bits - i * 8 : 0;

		if (keep < 8)
			addr->byte[i] &= (__u8)(0xff00 >> keep);
	}
}

/* One to three digits without leading zeros, at most @max; -1 otherwise. */
static int length_parse(const char *text, int max)
{
	int n = 0;

	if (!*text || (text[0] == '0' && text[1]))
		return -1;
	for (int i = 0; text[i]; i++) {
		if (i > 2 || text[i] < '0' || text[i] > '9')
			return -1;
		n = n * 10 + (text[i] - '0');
	}
	return n <= max ? n : -1;
}

int prefix_parse(const char *text, struct prefix *ret)
{
	const char *slash = strchr(text, '/');
	char buf[ADDR_TEXT_MAX];
	struct addr addr;
	int bits;
	bool v4;

	if (!slash || (size_t)(slash - text) >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, text, (size_t)(slash - text));
	buf[slash - text] = 0;
	if (addr_parse(buf, &addr))
		return -EINVAL;
	v4 = addr_family(&addr) == FAMILY_V4;
	bits = length_parse(slash + 1, v4 ? 32 : 128);
	if (bits < 0)
		return -EINVAL;
	if (v4)
		bits += 96;
	mask(&addr, (unsigned int)bits);
	*ret = (struct prefix){.addr = addr, .bits = (uint8_t)bits};
	return 0;
}

bool prefix_contains(const struct prefix *prefix, const struct addr *addr)
{
	struct addr masked = *addr;

	if (addr_family(&prefix->addr) != addr_family(addr))
		return false;
	mask(&masked, prefix->bits);
	return !addr_compare(&masked, &prefix->addr);
}
