/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kinds.h - pods that no selector and no named port tells apart.
 *
 * Inside policy/ only.  Whatever holds of one pod of a kind holds of all, so
 * selectors are asked once a kind.  Sorted by namespace: those of one stand
 * together.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/labels.h"
#include "policy/policy.h"
#include "policy/vocab.h"

#define KIND_NONE UINT32_MAX

struct kind {
	const struct pod *pod; /* one of them */
	const char *key;       /* "ns=shop app=web ports=http:tcp/80" */
	size_t key_bytes;
	uint32_t ns; /* index in kinds.ns */
};

struct kind_ns {
	const char *name;
	const struct labels *labels;
	uint32_t first, end; /* its kinds */
};

struct kinds {
	struct kind *kind;
	size_t n;
	uint32_t *of_pod;   /* by index in the world; KIND_NONE: owns nothing */
	struct kind_ns *ns; /* sorted by name; those that have a kind */
	size_t n_ns;
	uint32_t *ported; /* the kinds that have a port some rule names */
	size_t n_ported;
	struct label_index by_label, ns_by_label;
};

/* @owner: indexes of the pods that own an address; repeats do no harm. */
int kinds_build(const struct world *world, const struct vocab *vocab,
                const uint32_t *owner, size_t n_owners, struct arena *arena,
                struct kinds *ret);
/* The kinds of a namespace by its name, or NULL. */
const struct kind_ns *kinds_in(const struct kinds *kinds, const char *ns);
