/* SPDX-License-Identifier: Apache-2.0 */
/* ops_show.h - operations that ops_show.c lists and other files do. */
#pragma once

#include <jansson.h>

struct daemon;
struct server_stream;
struct ep;

json_t *show_status(struct daemon *daemon, const json_t *request);
json_t *show_endpoints(struct daemon *daemon, const json_t *request);
json_t *show_endpoint(struct daemon *daemon, const json_t *request);
void show_ipcache(struct daemon *daemon, const json_t *request,
                  struct server_stream *stream);
void show_maps(struct daemon *daemon, const json_t *request,
               struct server_stream *stream);
void show_map(struct daemon *daemon, const json_t *request,
              struct server_stream *stream);
json_t *show_programs(struct daemon *daemon, const json_t *request);
json_t *show_nodes(struct daemon *daemon, const json_t *request);

/* {"items": @list}; takes over @list. */
json_t *show_items(json_t *list);
/* Errors as replies; the text stays the caller's. */
json_t *show_error(const char *text);
