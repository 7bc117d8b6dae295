/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line an event, on stderr: as text or as one JSON object. */
#pragma once

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

void log_open(bool json, enum log_level level);
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level,
                                                    const char *fmt, ...);

#define log_err(...)   log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
