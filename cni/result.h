/* SPDX-License-Identifier: Apache-2.0 */
/* result.h - CNI results and errors: read those of others, write our own. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cni/conf.h"
#include "cni/setup.h"
#include "lib/addr.h"

/* The addresses of one interface: at most one a family. */
struct result_ips {
	bool has[FAMILY__COUNT];
	struct addr ip[FAMILY__COUNT];
	char text[FAMILY__COUNT][ADDR_TEXT_MAX + 4]; /* "10.0.0.5/24" */
};

/**
 * result_read_ips - the addresses in a result (prevResult or IPAM's).
 *
 * @ifname: only those of this interface inside the pod, and those that name no
 * interface; NULL: all.
 * Return: 0; -EINVAL, -E2BIG (two of one family) with a sentence.
 */
int result_read_ips(const json_t *result, const char *ifname,
                    struct result_ips *ret, struct err *err);

/* The interface @ifname inside the pod that an earlier plugin made; or NULL. */
const json_t *result_find_interface(const json_t *result, const char *ifname);

/**
 * result_new - what ADD prints, in the version that was asked for.
 *
 * An earlier plugin's result is passed on, ours added to it.  @dns: of a
 * delegated plugin, or NULL; the configuration's own goes first.
 * Return: a new reference; NULL out of memory.
 */
json_t *result_new(const struct conf *conf, const struct attachment *at,
                   const json_t *dns);

/* What is printed when something failed. */
json_t *result_error(const struct conf *conf, enum cni_code code,
                     const char *msg);
/* What VERSION prints. */
json_t *result_version(const struct conf *conf);
