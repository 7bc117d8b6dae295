/* SPDX-License-Identifier: Apache-2.0 */
/*
 * add_wait.h - an ADD whose pod the watch has not told yet.
 *
 * The API server is asked for that pod alone, and ADD is answered with what it
 * says; meanwhile the daemon goes on.  Nothing is served for a pod that is not
 * known: without an answer in two seconds ADD is to be tried again.
 */
#pragma once

#include <jansson.h>

#include "daemon/server.h"

/* Runs @add for @request, at once or when its pod is there, and answers
 * @stream. */
void add_wait(struct daemon *daemon, const json_t *request,
              struct server_stream *stream,
              json_t *(*add)(struct daemon *daemon, const json_t *request));
