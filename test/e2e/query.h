/* SPDX-License-Identifier: Apache-2.0 */
/* query.h - as much of DNS (RFC 1035) as the prober asks and understands. */
#pragma once

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define QUERY_TEXT 600

/* A question for one name (RFC 1035 4.1), class IN. */
static size_t query_make(unsigned char *ret, const char *name, int type)
{
	static const unsigned char head[12] = {0x57, 0x1e, 1, 0, 0, 1};
	size_t n = sizeof(head);

	memcpy(ret, head, sizeof(head));
	while (*name && n < 250) {
		const size_t len = strcspn(name, ".");

		ret[n++] = (unsigned char)len;
		memcpy(ret + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	memcpy(ret + n, (unsigned char[]){0, 0, (unsigned char)type, 0, 1}, 5);
	return n + 5;
}

static bool query_is_mine(const unsigned char *answer)
{
	return answer[0] == 0x57 && answer[1] == 0x1e;
}

/* Behind the name at @at: its labels, or a pointer to them (RFC 1035 4.1.4). */
static size_t query_name_end(const unsigned char *buf, size_t n, size_t at)
{
	while (at < n && buf[at] && buf[at] < 0xc0)
		at += 1u + buf[at];
	return at + (at < n && buf[at] ? 2 : 1);
}

/*
 * The addresses of an answer's @n bytes, with blanks between, into QUERY_TEXT
 * bytes; @at is where the question ended.  Return: bytes of text.
 */
static size_t query_addresses(const unsigned char *buf, size_t n, size_t at,
                              char *ret)
{
	size_t used = 0;

	ret[0] = '\0';
	while (used < QUERY_TEXT - 100) {
		size_t len;

		at = query_name_end(buf, n, at) + 10; /* type to length */
		if (at > n)
			break;
		len = (size_t)(buf[at - 2] << 8 | buf[at - 1]);
		if (at + len > n)
			break;
		if (len == 4 || len == 16) {
			inet_ntop(len == 4 ? AF_INET : AF_INET6, buf + at,
			          ret + used, 50);
			used = strlen(ret);
			ret[used++] = ' ';
			ret[used] = '\0';
		}
		at += len;
	}
	return used;
}
