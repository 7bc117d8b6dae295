/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge.h - rows of "may this packet pass?", asked of the specification and of
 * the compiled tables alike.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "policy/policy.h"
#include "test/lib/world.h"

/* Directions, as they read in a row. */
#define IN  "from"
#define OUT "to"

struct row {
	const char *subject; /* "shop/web": a pod here */
	const char *dir;     /* IN or OUT */
	const char *peer;    /* a pod, then in both families, or an address */
	const char *ports;   /* "tcp/80", "udp/53", "icmp", "gre", … */
	bool want;
};

/*
 * The usual suspects, each with an IPv4 and an IPv6 address:
 *
 *	shop  (team=a): web   1  app=web   http=8080/tcp
 *	                db    2  app=db    sql=5432/tcp
 *	                plain 3            (no labels)
 *	infra (team=b): dns   4  app=dns   dns=53/udp dns-tcp=53/tcp
 *	                web   5  app=web   http=80/tcp
 *
 * Pod i has endpoint i, 10.0.0.i and fd00::i; this node 10.0.1.1 and
 * fd00:0:0:1::1, another one the same with 2.
 */
void judge_world(struct world_gen *gen);
/* A NetworkPolicy in namespace shop with that spec, ' for ". */
__attribute__((format(printf, 3, 4))) void judge_policy(struct world_gen *gen,
                                                        const char *name,
                                                        const char *spec, ...);

/* Build @gen and ask every row; a wrong answer fails the test with its row. */
void judge(struct world_gen *gen, const struct row *row, size_t n);
#define JUDGE(gen, ...)                                              \
	do {                                                         \
		const struct row rows_[] = {__VA_ARGS__};            \
		judge(gen, rows_, sizeof(rows_) / sizeof(rows_[0])); \
	} while (0)

/* A test's world, to be judged and cleared. */
#define FIXTURE(gen)               \
	struct world_gen gen = {}; \
	(void)state;               \
	judge_world(&(gen))
