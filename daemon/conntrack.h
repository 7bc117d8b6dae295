/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conntrack.h - the flow table for people: list it, make it forget.
 *
 * Flushing marks entries dead, as the datapath does when it cuts a flow: a
 * dead entry is a miss, so a TCP connection has ended (only a SYN opens one)
 * and the next packet of anything else is judged as if it opened a flow; the
 * sweeper deletes the entry a grace period later.  User space deletes nothing:
 * the kernel hands a deleted element to another flow while a program may still
 * write to it (design D3).  The mark is a whole update of what was just read,
 * the same thing the datapath does when it judges a flow anew; packets counted
 * between read and update are lost from the counters of a flow that ends there,
 * and from nothing else.
 */
#pragma once

#include <jansson.h>

struct daemon;
struct server_stream;

/* {all?: bool, pod?: "NS/NAME"}: a line a flow; with all, also dead entries
 * and the far sides of translated flows. */
void conntrack_list(struct daemon *daemon, const json_t *request,
                    struct server_stream *stream);
/* {pod?: "NS/NAME"} -> {end, flushed: N}. */
void conntrack_flush(struct daemon *daemon, const json_t *request,
                     struct server_stream *stream);
