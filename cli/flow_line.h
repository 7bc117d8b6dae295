/* SPDX-License-Identifier: Apache-2.0 */
/* flow_line.h - an event of `flows -o json` as a line for people. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "cli/table.h"

/*
 * flow_line_print - "11:02:03.5 shop/web:40000 -> shop/db:5432 tcp DROPPED …".
 *
 * @line: {"flow": …} or {"lost_events": …}.  What is wider than @style allows
 * goes on in indented lines.  Times are the reader's own.
 */
void flow_line_print(FILE *out, const json_t *line,
                     const struct table_style *style);
