/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_probe.h - does an address answer?  Many asked at once.
 *
 * The other end echoes what it gets (check_serve.c); a probe of no bytes asks
 * for a connection alone, of anybody.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define CHECK_PROBES_MAX 512
#define CHECK_WHERE_MAX  80
#define CHECK_PORTS_MAX  8

union check_dest {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct check_probe {
	union check_dest to;
	int type;       /* SOCK_STREAM or SOCK_DGRAM */
	size_t bytes;   /* to be echoed; 0: connect only */
	bool path_mtu;  /* a datagram that fills the path's MTU; bytes is set */
	bool denied;    /* it passes when nothing answers */
	int timeout_ms; /* at least */

	/* the answer */
	bool passed;
	char why[80]; /* when it did not */

	/* while it runs */
	int fd;
	bool connected;
	size_t sent, got;
	long long again_ms, end_ms;
};

/* "10.0.0.1:80/tcp".  Returns @buf. */
const char *check_where(const struct check_probe *probe,
                        char buf[CHECK_WHERE_MAX]);

/* All at once; @tick is called now and then with how many are done. */
void check_probes_run(struct check_probe *probe, size_t n,
                      void (*tick)(size_t done, size_t n));

/* Echo on each of @n ports, 1 to CHECK_PORTS_MAX, by TCP and UDP and both
 * families, until SIGTERM. */
int check_serve(const int *port, int n);
