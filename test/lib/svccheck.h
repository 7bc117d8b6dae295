/* SPDX-License-Identifier: Apache-2.0 */
/*
 * svccheck.h - pod 1 asks a service, for tests of the datapath.
 *
 * The service has one address a family and one port; its backends answer at
 * port 80.
 */
#pragma once

#include "test/lib/bpfcheck.h"

#define VIP_PORT 8000
#define V4       FAMILY_V4
#define V6       FAMILY_V6

struct addr vip(enum family f);
struct backend backend_of(struct addr addr, uint16_t port);
/* The service of that protocol has these backends from now on. */
void service_set(struct bpfrun *run, enum family f, uint8_t proto,
                 const struct backend *backend, uint32_t n);
void service_one(struct bpfrun *run, enum family f, uint8_t proto,
                 struct addr addr, uint16_t port);

/* What pod @pod sends to it, from port 40000. */
struct spec to_vip(unsigned int pod, enum family f, uint8_t proto, uint8_t tcp);
/* What pod 1 sends to pod 2's port 80 itself, from the same port. */
struct spec direct(enum family f, uint8_t proto, uint8_t tcp);
/* What the far end answers to what it saw. */
struct spec answer_to(const struct spec *s, const struct facts *seen,
                      uint8_t tcp);
/* The answer reaches the pod as the service's. */
void answer_check(struct bpfrun *run, struct place at, struct want want,
                  const struct spec *s, const struct spec *back);

/* A kind of backend of pod 1's. */
struct kind {
	const char *name;
	const char *addr[FAMILY__COUNT];
	struct place at; /* where its answers come from */
	struct want out, back;
	bool masquerade, hairpin;
};

#define KINDS 5
extern const struct kind kinds[KINDS];

/* Pod 1's packet leaves to the backend, as it must; what the backend sees. */
struct facts out_check(struct bpfrun *run, const struct kind *kind,
                       const struct spec *s, uint16_t port);
/* A flow of @kind to the point where it is live; what the backend saw. */
struct facts live(struct bpfrun *run, const struct kind *kind, struct spec *s,
                  struct spec *back);
