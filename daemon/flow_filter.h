/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow_filter.h - which events somebody wants to see.
 *
 * The filters of `hubble observe`: within one key any value may match, every
 * key given must.  Pods are [NS/]PREFIX; "NS/" is every pod of a namespace.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/flow_json.h"
#include "lib/err.h"

struct flow_filter;

/**
 * flow_filter_new - read {from_pod, to_pod, pod, namespace, ip, port,
 * protocol, verdict: [text, …]}; absent keys match everything.
 *
 * Return: 0; -EINVAL with a sentence naming key and value; -ENOMEM.
 */
int flow_filter_new(const json_t *doc, struct flow_filter **ret,
                    struct err *err);
void flow_filter_free(struct flow_filter *filter);

bool flow_filter_match(const struct flow_filter *filter,
                       const struct flow_view *view);
