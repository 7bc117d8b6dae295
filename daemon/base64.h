/* SPDX-License-Identifier: Apache-2.0 */
/* base64.h - RFC 4648 section 4, decoding only. */
#pragma once

#include <stddef.h>

/* Line ends are passed over, padding may be left out.  @ret: owned by the
 * caller, a NUL behind it.  Return: 0, -EINVAL, -ENOMEM. */
int base64_decode(const char *text, void **ret, size_t *ret_len);
