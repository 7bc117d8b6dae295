/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow_json.h - one event as a line of `hubble observe -o jsonpb`.
 *
 * Field names and enum words are those of Cilium's flow.proto and
 * observer.proto (GetFlowsResponse) in protobuf's JSON form, zero values left
 * out, so that Hubble's tools read our lines.  What has no field there (counts,
 * the datapath's own reason, the nearest rule) stands in "extensions", a
 * google.protobuf.Struct.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"

/*
 * flow_view - an event and the names of its time.
 *
 * The texts are packed: fields on lines of their own, as the flow log interns
 * them; "" or NULL where nothing is known.
 */
struct flow_view {
	const struct event *event; /* its time_ns is wall clock time here */
	const char *node;
	const char *who[2];           /* "ns pod endpoint identity label…" */
	const char *rule[DIR__COUNT]; /* "ns name index", that allowed it */
	const char *why;     /* of a policy drop: "nearest total policy…" */
	const char *service; /* "ns/name" that event->vip is of */
	unsigned
		audit; /* 0; 1 + direction whose policy would have dropped it */
};

/* The next line of a packed text, @at moves on; false at its end. */
bool packed_next(const char **at, const char **ret, size_t *ret_len);
/* Field @n of a packed text into @buf, cut to @size; "" when absent. */
const char *packed_get(const char *packed, unsigned n, char *buf, size_t size);

enum who_field { WHO_NS, WHO_POD, WHO_ENDPOINT, WHO_IDENTITY, WHO_LABELS };
enum why_field { WHY_NEAREST, WHY_TOTAL, WHY_POLICIES };

const char *flow_verdict(const struct flow_view *view); /* "DROPPED" */
/* Of the packet, or of the policy that spoke: DIR_*; -1 unknown. */
int flow_direction(const struct flow_view *view);
/* One sentence on what happened and why; owned by the caller. */
char *flow_summary(const struct flow_view *view);

/* {"flow": …, "node_name", "time"}: a new reference, NULL without memory. */
json_t *flow_json(const struct flow_view *view);
/* {"lost_events": …}: @n events did not reach the reader. */
json_t *flow_json_lost(const char *node, const char *source, uint64_t n,
                       uint64_t time_ns);

#define TIME_TEXT_MAX 40
/* RFC 3339 with nanoseconds, UTC.  Returns @buf. */
const char *time_format(uint64_t wall_ns, char buf[TIME_TEXT_MAX]);
