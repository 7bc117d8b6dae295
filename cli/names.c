// SPDX-License-Identifier: Apache-2.0
/* names.c - see names.h. */
#include "cli/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/util.h"

const char *age_text(double seconds, char buf[QUANTITY_MAX])
{
	const unsigned long long s =
		seconds > 0 ? (unsigned long long)seconds : 0;

	if (s < 60)
		snprintf(buf, QUANTITY_MAX, "%llus", s);
	else if (s < 3600)
		snprintf(buf, QUANTITY_MAX, "%llum%llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, QUANTITY_MAX, "%lluh%llum", s / 3600,
		         s % 3600 / 60);
	else
		snprintf(buf, QUANTITY_MAX, "%llud%lluh", s / 86400,
		         s % 86400 / 3600);
	return buf;
}

const char *count_text(long long n, const char *noun, char buf[COUNT_MAX])
{
	const size_t len = strlen(noun);
	const bool y = n != 1 && len && noun[len - 1] == 'y';
	const bool s = n != 1 && len && noun[len - 1] == 's';

	snprintf(buf, COUNT_MAX, "%lld %.*s%s", n, (int)(len - y), noun,
	         n == 1 ? ""
	         : y    ? "ies"
	         : s    ? "es"
	                : "s");
	return buf;
}

const char *bytes_text(uint64_t bytes, char buf[QUANTITY_MAX])
{
	static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
	double n = (double)bytes;
	size_t i = 0;

	for (; n >= 999.95 && i + 1 < ARRAY_SIZE(unit); i++)
		n /= 1000;
	snprintf(buf, QUANTITY_MAX, i ? "%.1f %s" : "%.0f %s", n, unit[i]);
	return buf;
}
