// SPDX-License-Identifier: Apache-2.0
/* base64.c - see base64.h. */
#include "daemon/base64.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

static int digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

int base64_decode(const char *text, void **ret, size_t *ret_len)
{
	_cleanup_(free_p) uint8_t *out = malloc(strlen(text) / 4 * 3 + 4);
	uint32_t bits = 0;
	size_t len = 0, digits = 0;

	if (!out)
		return -ENOMEM;
	for (; *text && *text != '='; text++) {
		const int value = digit(*text);

		if (*text == '\n' || *text == '\r' || *text == ' ')
			continue;
		if (value < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)value;
		if (++digits % 4 != 1)
			out[len++] =
				(uint8_t)(bits >> (6 - 2 * ((digits - 1) % 4)));
	}
	if (digits % 4 == 1 || text[strspn(text, "=\r\n ")])
		return -EINVAL;
	out[len] = 0;
	*ret = TAKE(out);
	*ret_len = len;
	return 0;
}
