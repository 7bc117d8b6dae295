// SPDX-License-Identifier: Apache-2.0
/* port_list.c - lists of ports, as in net.ipv4.ip_local_reserved_ports. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/undo.h"

#define PORTS 65536u

struct ports {
	bool has[PORTS];
};

/* A port at *@text, which then stands behind it; -1. */
static long port_read(const char **text)
{
	char *end;
	unsigned long port;

	if (**text < '0' || **text > '9')
		return -1;
	port = strtoul(*text, &end, 10);
	*text = end;
	return port < PORTS ? (long)port : -1;
}

static int ports_read(struct ports *ports, const char *text)
{
	memset(ports, 0, sizeof(*ports));
	text += strspn(text, " \t\n");
	while (*text) {
		long first = port_read(&text), last = first;

		if (*text == '-') {
			text++;
			last = port_read(&text);
		}
		if (first < 0 || last < first)
			return -EINVAL;
		for (long port = first; port <= last; port++)
			ports->has[port] = true;
		text += strspn(text, " \t\n");
		if (*text && *text++ != ',')
			return -EINVAL;
	}
	return 0;
}

/* The kernel takes a list without ports as an empty line. */
static int ports_write(const struct ports *ports, char *buf, size_t size)
{
	size_t used = 0;

	if (!size)
		return -ENOSPC;
	buf[0] = 0;
	for (unsigned first = 0, last; first < PORTS; first = last + 1) {
		int n;

		last = first;
		if (!ports->has[first])
			continue;
		while (last + 1 < PORTS && ports->has[last + 1])
			last++;
		n = snprintf(buf + used, size - used,
		             last > first ? "%s%u-%u" : "%s%u", used ? "," : "",
		             first, last);
		if (n < 0 || (size_t)n >= size - used)
			return -ENOSPC;
		used += (size_t)n;
	}
	return 0;
}

int port_list_add(const char *text, uint16_t first, uint16_t last, char *buf,
                  size_t size)
{
	struct ports ports;
	int r = ports_read(&ports, text);

	if (r)
		return r;
	for (unsigned port = first; port <= last; port++)
		ports.has[port] = true;
	return ports_write(&ports, buf, size);
}

int port_list_remove(const char *text, const char *was, uint16_t first,
                     uint16_t last, char *buf, size_t size)
{
	struct ports ports, before;
	int r = ports_read(&ports, text);

	if (!r)
		r = ports_read(&before, was);
	if (r)
		return r;
	for (unsigned port = first; port <= last; port++)
		ports.has[port] = ports.has[port] && before.has[port];
	return ports_write(&ports, buf, size);
}
