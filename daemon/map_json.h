/* SPDX-License-Identifier: Apache-2.0 */
/* map_json.h - elements of the datapath's maps as JSON, with names. */
#pragma once

#include <jansson.h>

#include "daemon/mapwalk.h"

struct daemon;

/**
 * map_element_json - one element of the map called @name (bpf/maps.h).
 *
 * @walk: where it was found; gives the sizes, and the outer index of maps of
 * maps.  Arrays' unused places yield NULL; a map without a reader of its own
 * is shown in hex.  Return: a new reference, or NULL: nothing to show.
 */
json_t *map_element_json(const struct daemon *daemon, const char *name,
                         const struct mapwalk *walk, const void *key,
                         const void *value);

/* Is this element in use?  Arrays hold empty places, hashes none. */
bool map_element_used(const char *name, const struct mapwalk *walk,
                      const void *key, const void *value);

/* The word for a flow's state: half-open, established, closing, cut, dead. */
struct flow;
const char *flow_state(const struct flow *flow, unsigned char proto);

/* "shop/web ingress[0]" of a rule's number; "" for 0.  Returns @buf. */
#define RULE_TEXT_MAX 360
const char *rule_text(const struct daemon *daemon, unsigned number,
                      char buf[RULE_TEXT_MAX]);
