/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint_file.h - an endpoint as the text of its file, and back. */
#pragma once

#include "daemon/endpoint.h"

#define ENDPOINT_NAME_MAX 160 /* of a file */

/* One JSON object with a checksum, filled up with blanks. */
int endpoint_format(const struct ep *ep, char ret[ENDPOINT_FILE_BYTES],
                    struct err *err);
/* -EINVAL with a sentence for anything that endpoint_format() did not write;
 * @ret untouched then. */
int endpoint_parse(const char *text, size_t len, struct ep *ret,
                   struct err *err);
