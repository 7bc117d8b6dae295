/* SPDX-License-Identifier: Apache-2.0 */
/* names.h - words for numbers: who has an address, what a reason means. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "lib/err.h"
#include "policy/policy.h"

struct daemon;
struct ep;

/* "POLICY_INGRESS" and its sentence; never NULL. */
const char *drop_name(unsigned reason);
const char *drop_text(unsigned reason);
const char *counter_name(unsigned counter);
const char *counter_text(unsigned counter);
const char *hook_name(unsigned hook); /* "from_pod" */
const char *dir_name(unsigned dir);   /* "ingress", "egress" */

#define PROTO_TEXT_MAX 12
/* "tcp", "icmpv6", else the number.  Returns @buf. */
const char *proto_name(uint8_t proto, char buf[PROTO_TEXT_MAX]);
/* tcp, udp, sctp, icmp (the @family's own).  Return: 0 or -EINVAL. */
int proto_parse(const char *text, enum family family, uint8_t *ret);
bool proto_with_ports(uint8_t proto);

/*
 * The words of an identity: host, remote-node, world, init, pod, else the
 * canonical key that defines it.  Borrowed from @compiled or static.
 */
const char *identity_name(const struct compiled *compiled, uint32_t number);

/* The word alone when the identity is one of the reserved ones, else NULL. */
const char *identity_reserved(uint32_t number);

/*
 * who - who has an address, as far as this node knows now.  Pointers are
 * borrowed until the loop's next turn.
 */
struct who {
	struct addr addr; /* set by the caller */
	uint32_t identity;
	uint16_t endpoint;     /* of a pod here; 0 otherwise */
	bool local;            /* an address of this node */
	const char *ns, *name; /* of the pod; NULL when it is none or unknown */
	const struct pod *pod; /* the same; NULL for an unknown manifest */
};

/* Look up @n addresses with at most one walk over all pods. */
void who_find(const struct daemon *daemon, struct who *who, size_t n);

/* "shop/web", "host", "world" or the address; for sentences.  Returns @buf. */
#define WHO_TEXT_MAX 330
const char *who_text(const struct who *who, char buf[WHO_TEXT_MAX]);

/*
 * An end named by people: NS/POD, an address, host, world.  @family is wanted;
 * a pod or host that has no such address is -EADDRNOTAVAIL, an unknown pod
 * -ENOENT, each with a sentence.
 */
int who_parse(const struct daemon *daemon, const char *text, enum family family,
              struct who *ret, struct err *err);
