// SPDX-License-Identifier: Apache-2.0
/* table.c - see table.h. */
#include "cli/table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

#define GAP       2u
#define SHRINK_TO 8u  /* no column becomes narrower */
#define WRAP_TO   24u /* nor a wrapped one */
#define ELLIPSIS  "…"

struct stored {
	char *text; /* owned, printable */
	size_t width;
	enum style style;
};

struct table {
	FILE *out;
	const struct column *column;
	size_t n;
	struct table_style style;
	size_t width[TABLE_COLUMNS_MAX];
	struct stored (*row)[TABLE_COLUMNS_MAX];
	size_t n_rows;
	bool settled; /* widths are fixed, the head is printed */
};

/* ---- text ---------------------------------------------------------------- */

/* Bytes of the UTF-8 character at @s; 1 for what is none. */
static size_t char_bytes(const char *s)
{
	const unsigned char c = (unsigned char)s[0];
	size_t n = 1;

	if (c >= 0xf0 && c < 0xf8)
		n = 4;
	else if (c >= 0xe0)
		n = c < 0xf0 ? 3 : 1;
	else if (c >= 0xc2)
		n = 2;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 1;
	return n;
}

/* A terminal must not be steered by what it shows (C0, DEL, C1, stray bytes).
 */
static bool char_printable(const char *s, size_t n)
{
	const unsigned char c = (unsigned char)s[0];

	if (n == 1)
		return c >= ' ' && c < 0x7f;
	return n > 2 || c != 0xc2 || (unsigned char)s[1] >= 0xa0;
}

size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text += char_bytes(text))
		width++;
	return width;
}

static char *text_clean(const char *text)
{
	char *clean = malloc(strlen(text) + 1);
	size_t used = 0;

	if (!clean)
		return NULL;
	while (*text) {
		const size_t n = char_bytes(text);

		if (char_printable(text, n)) {
			memcpy(clean + used, text, n);
			used += n;
		} else {
			clean[used++] = '?';
		}
		text += n;
	}
	clean[used] = '\0';
	return clean;
}

/* Bytes of the first @width characters. */
static size_t text_bytes(const char *text, size_t width)
{
	size_t bytes = 0;

	while (width-- && text[bytes])
		bytes += char_bytes(text + bytes);
	return bytes;
}

/* Bytes of a line of at most @width characters, broken at a blank if it can. */
static size_t line_bytes(const char *text, size_t width)
{
	const size_t most = text_bytes(text, width);

	if (!text[most])
		return most;
	for (size_t at = most; at > most / 2; at--)
		if (text[at] == ' ')
			return at;
	return most;
}

static const char *const codes[STYLE__COUNT] = {
	[STYLE_NONE] = "",        [STYLE_GOOD] = "\033[32m",
	[STYLE_BAD] = "\033[31m", [STYLE_WARN] = "\033[33m",
	[STYLE_DIM] = "\033[2m",  [STYLE_HEAD] = "\033[1m",
};

const char *style_begin(enum style style, bool color)
{
	return color ? codes[style] : "";
}

const char *style_end(enum style style, bool color)
{
	return color && style != STYLE_NONE ? "\033[0m" : "";
}

/* ---- widths -------------------------------------------------------------- */

static size_t total_width(const struct table *table)
{
	size_t total = GAP * (table->n - 1);

	for (size_t i = 0; i < table->n; i++)
		total += table->width[i];
	return total;
}

static bool may_shrink(const struct table *table, size_t i)
{
	const struct column *column = &table->column[i];
	const size_t least = column->wrap ? WRAP_TO : SHRINK_TO;

	return (column->shrink || column->wrap) && table->width[i] > least;
}

static void widths_settle(struct table *table)
{
	for (size_t i = 0; i < table->n; i++) {
		table->width[i] = text_width(table->column[i].title);
		for (size_t j = 0; j < table->n_rows; j++)
			if (table->row[j][i].width > table->width[i])
				table->width[i] = table->row[j][i].width;
	}
	while (table->style.width && total_width(table) > table->style.width) {
		size_t widest = SIZE_MAX;

		for (size_t i = 0; i < table->n; i++)
			if (may_shrink(table, i) &&
			    (widest == SIZE_MAX ||
			     table->width[i] > table->width[widest]))
				widest = i;
		if (widest == SIZE_MAX)
			return;
		table->width[widest]--;
	}
}

/* ---- printing ------------------------------------------------------------ */

static void pad(FILE *out, size_t n)
{
	while (n--)
		fputc(' ', out);
}

void text_fill(FILE *out, const char *text, const struct fill *fill)
{
	size_t at = fill->at;

	while (*text) {
		const size_t room = fill->width > at + 1 ? fill->width - at : 1;
		const size_t bytes =
			fill->width ? line_bytes(text, room) : strlen(text);

		fwrite(text, 1, bytes, out);
		text += bytes + strspn(text + bytes, " ");
		if (!*text)
			return;
		fputc('\n', out);
		pad(out, fill->indent);
		at = fill->indent;
	}
}

static void print_wrapped(const struct table *table, const char *text)
{
	const size_t at = total_width(table) - table->width[table->n - 1];
	const struct fill fill = {at, at, table->style.width};

	text_fill(table->out, text, &fill);
}

static void print_cut(const struct table *table, const struct stored *cell,
                      size_t width)
{
	if (cell->width <= width) {
		fputs(cell->text, table->out);
		return;
	}
	fwrite(cell->text, 1, text_bytes(cell->text, width - 1), table->out);
	fputs(ELLIPSIS, table->out);
}

static void print_cell(const struct table *table, size_t i, bool last,
                       const struct stored *cell)
{
	const size_t width = table->width[i];
	const size_t shown = cell->width < width ? cell->width : width;

	if (i)
		pad(table->out, GAP);
	if (table->column[i].right)
		pad(table->out, width - shown);
	fputs(style_begin(cell->style, table->style.color), table->out);
	if (table->column[i].wrap)
		print_wrapped(table, cell->text);
	else
		print_cut(table, cell, width);
	fputs(style_end(cell->style, table->style.color), table->out);
	if (!last && !table->column[i].right)
		pad(table->out, width - shown);
}

static void print_row(const struct table *table, const struct stored *row)
{
	size_t n = table->n;

	while (n > 1 && !row[n - 1].width)
		n--; /* no blanks at the end of a line */
	for (size_t i = 0; i < n; i++)
		print_cell(table, i, i + 1 == n, &row[i]);
	fputc('\n', table->out);
}

static void row_free(struct table *table, struct stored *row)
{
	for (size_t i = 0; i < table->n; i++)
		free(row[i].text);
}

static void table_settle(struct table *table)
{
	struct stored head[TABLE_COLUMNS_MAX] = {};

	widths_settle(table);
	for (size_t i = 0; i < table->n; i++) {
		head[i].text = (char *)table->column[i].title;
		head[i].width = text_width(head[i].text);
		head[i].style = STYLE_HEAD;
	}
	print_row(table, head);
	for (size_t j = 0; j < table->n_rows; j++) {
		print_row(table, table->row[j]);
		row_free(table, table->row[j]);
	}
	table->n_rows = 0;
	table->settled = true;
}

/* ---- the table ----------------------------------------------------------- */

struct table *table_new(FILE *out, const struct column *columns, size_t n,
                        const struct table_style *style)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table || n > TABLE_COLUMNS_MAX) {
		free(table);
		return NULL;
	}
	table->row = calloc(TABLE_SAMPLE, sizeof(*table->row));
	if (!table->row) {
		free(table);
		return NULL;
	}
	table->out = out;
	table->column = columns;
	table->n = n;
	table->style = *style;
	return table;
}

void table_row(struct table *table, const struct cell *cells)
{
	struct stored row[TABLE_COLUMNS_MAX] = {};

	for (size_t i = 0; i < table->n; i++) {
		row[i].text = text_clean(cells[i].text ? cells[i].text : "");
		if (!row[i].text)
			row[i].text = strdup("");
		row[i].width = row[i].text ? text_width(row[i].text) : 0;
		row[i].style = cells[i].style;
	}
	if (table->settled) {
		print_row(table, row);
		row_free(table, row);
		return;
	}
	memcpy(table->row[table->n_rows++], row, sizeof(row));
	if (table->n_rows == TABLE_SAMPLE)
		table_settle(table);
}

void table_end(struct table *table)
{
	if (!table)
		return;
	if (!table->settled)
		table_settle(table);
	free(table->row);
	free(table);
}

void table_drop(struct table *table)
{
	if (!table)
		return;
	for (size_t j = 0; j < table->n_rows; j++)
		row_free(table, table->row[j]);
	free(table->row);
	free(table);
}
