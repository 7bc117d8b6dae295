/* SPDX-License-Identifier: Apache-2.0 */
/* delegate.h - run the IPAM plugin that the configuration names. */
#pragma once

#include <jansson.h>

#include "cni/conf.h"

#define DELEGATE_TIMEOUT_MS 30000

/**
 * delegate_run - run conf->ipam, found in CNI_PATH, as SPEC.md section 4 says.
 *
 * It gets our configuration and our environment, with CNI_COMMAND @command.
 * @ret: what it printed, owned by the caller; NULL when that does not matter.
 *
 * Return: CNI_OK, also when nothing is delegated (@ret NULL then); else the
 * delegate's code, or ours, with a sentence that names it.
 */
enum cni_code delegate_run(const struct conf *conf, const char *command,
                           json_t **ret, struct err *err);
