/* SPDX-License-Identifier: Apache-2.0 */
/* command.h - the commands of CNI, each from a judged request to a result. */
#pragma once

#include <jansson.h>

#include "cni/conf.h"

#define ASK_TIMEOUT_MS 5000

/* Each returns CNI_OK or a code with a sentence. */

/* @ret: what to print.  On failure nothing of the attachment is left. */
enum cni_code command_add(const struct conf *conf, json_t **ret,
                          struct err *err);
/* Succeeds however little of the attachment there is, and with the daemon
 * down. */
enum cni_code command_del(const struct conf *conf, struct err *err);
enum cni_code command_check(const struct conf *conf, struct err *err);
enum cni_code command_gc(const struct conf *conf, struct err *err);
enum cni_code command_status(const struct conf *conf, struct err *err);

/**
 * command_ask - one exchange with the daemon.
 *
 * @request: taken.  @ret: its reply, owned by the caller; may be NULL.
 * Return: 0; -errno with a sentence when it could not be reached or did not
 * answer in time; the code of its refusal (positive, enum cni_code or
 * WIRE_OTHER) with its sentence.
 */
int command_ask(const struct conf *conf, json_t *request, json_t **ret,
                struct err *err);
