/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - rows for people: aligned, at most so many columns wide.
 *
 * Rows are kept until the widths are known (TABLE_SAMPLE rows, or the end);
 * later ones are cut to what was found.  Where a row is too wide, columns that
 * may shrink are cut with "…", the widest first; a last column that wraps goes
 * on under itself instead.  What is not printable is shown as "?".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum style {
	STYLE_NONE,
	STYLE_GOOD,
	STYLE_BAD,
	STYLE_WARN,
	STYLE_DIM,
	STYLE_HEAD,
	STYLE__COUNT
};

struct column {
	const char *title;
	bool right;  /* numbers */
	bool shrink; /* may be cut */
	bool wrap;   /* the last one only */
};

struct cell {
	const char *text; /* borrowed for the call; NULL: "" */
	enum style style;
};

struct table_style {
	size_t width; /* columns of the screen; 0: as wide as it gets */
	bool color;
};

#define TABLE_COLUMNS_MAX 12
#define TABLE_SAMPLE      256

struct table;

/* @columns: borrowed.  NULL when out of memory. */
struct table *table_new(FILE *out, const struct column *columns, size_t n,
                        const struct table_style *style);
/* One cell a column. */
void table_row(struct table *table, const struct cell *cells);
/* Print what is left; frees. */
void table_end(struct table *table);
/* Free without a word, unless rows are out already. */
void table_drop(struct table *table);

/* Columns of the screen that @text takes. */
size_t text_width(const char *text);

/*
 * text_fill - print @text from column @at on, broken at blanks.
 *
 * No line is wider than @width (0: no breaks); what goes on begins at column
 * @indent.  No newline at the end.
 */
struct fill {
	size_t at, indent, width;
};
void text_fill(FILE *out, const char *text, const struct fill *fill);
const char *style_begin(enum style style, bool color);
const char *style_end(enum style style, bool color);
