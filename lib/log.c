// SPDX-License-Identifier: Apache-2.0
/* log.c - see log.h. */
#include "lib/log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct {
	bool json;
	enum log_level level;
} log_state = {.level = LOG_LEVEL_INFO};

static const char *const level_name[] = {
	[LOG_LEVEL_ERR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void log_open(bool json, enum log_level level)
{
	log_state.json = json;
	log_state.level = level;
}

static void print_json(const char *ts, const char *level, const char *msg)
{
	json_t *line = json_pack("{s:s, s:s, s:s+}", "time", ts, "level", level,
	                         "msg", msg, "");
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

	if (text)
		fprintf(stderr, "%s\n", text);
	free(text);
	json_decref(line);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char ts[40], msg[1024];
	struct timespec now;
	struct tm tm;
	va_list ap;
	size_t n;

	if (level > log_state.level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(ts, sizeof(ts), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ts + n, sizeof(ts) - n, ".%03ldZ", now.tv_nsec / 1000000);
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	for (char *c = msg; *c; c++)
		if ((unsigned char)*c < ' ') /* one line, whatever was quoted */
			*c = ' ';
	if (log_state.json)
		print_json(ts, level_name[level], msg);
	else
		fprintf(stderr, "%s %-5s %s\n", ts, level_name[level], msg);
}
