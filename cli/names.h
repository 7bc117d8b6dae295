/* SPDX-License-Identifier: Apache-2.0 */
/* names.h - quantities as people say them. */
#pragma once

#include <stdint.h>

#define QUANTITY_MAX 24

/* "3s", "5m12s", "2h10m", "3d4h".  Returns @buf. */
const char *age_text(double seconds, char buf[QUANTITY_MAX]);
/* "1 flow", "2 flows".  Returns @buf. */
#define COUNT_MAX 48
const char *count_text(long long n, const char *noun, char buf[COUNT_MAX]);
/* "999 B", "1.2 kB".  Returns @buf. */
const char *bytes_text(uint64_t bytes, char buf[QUANTITY_MAX]);
