// SPDX-License-Identifier: Apache-2.0
/* table_test.c - tables for people: widths, cuts, wraps, nothing unprintable.
 */
#include "test/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/names.h"
#include "cli/table.h"
#include "lib/util.h"

#define COLUMNS 3u

static const struct column plain[COLUMNS] = {
	{.title = "NAME", .shrink = true},
	{.title = "N",    .right = true },
	{.title = "TEXT", .wrap = true  },
};

/* What a table of @n rows prints; the caller frees. */
static char *printed(const struct column *columns, size_t width, bool color,
                     const char *const rows[][COLUMNS], size_t n)
{
	const struct table_style style = {.width = width, .color = color};
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	struct table *table = table_new(f, columns, COLUMNS, &style);

	assert_non_null(table);
	for (size_t i = 0; i < n; i++) {
		struct cell cells[COLUMNS] = {};

		for (size_t j = 0; j < COLUMNS; j++)
			cells[j].text = rows[i][j];
		cells[0].style = STYLE_BAD;
		table_row(table, cells);
	}
	table_end(table);
	fclose(f);
	return text;
}

static void tables_are_aligned_cut_and_wrapped(void **state)
{
	static const struct {
		const char *name;
		size_t width;
		const char *row[COLUMNS];
		const char *want;
	} cases[] = {
		{"fits",
	         80, {"a", "7", "b c"},
	         "NAME  N  TEXT\na     7  b c\n"    },
		{"numbers stand right",
	         80, {"a", "1234", "b"},
	         "NAME     N  TEXT\na     1234  b\n"},
		{"no blanks at the end of a line",
	         80, {"a", "1", ""},
	         "NAME  N  TEXT\na     1\n"         },
		{"the widest that may is cut",
	         20, {"a-very-long-name", "1", "word"},
	         "NAME         N  TEXT\n"
	         "a-very-lon…  1  word\n"           },
		{"the last goes on under itself",
	         40, {"name", "1", "one two three four five six seven"},
	         "NAME  N  TEXT\n"
	         "name  1  one two three four five six\n"
	         "         seven\n"                 },
		{"letters of several bytes count once",
	         80, {"größe", "1", "ß"},
	         "NAME   N  TEXT\ngröße  1  ß\n"    },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(free_p) char *text =
			printed(plain, cases[i].width, false, &cases[i].row, 1);

		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s:\n%s\nwant:\n%s", cases[i].name, text,
			         cases[i].want);
	}
}

/* Property: no line is wider than the screen, whatever stands in the cells. */
static void no_line_is_wider_than_the_screen(void **state)
{
	static const struct column columns[COLUMNS] = {
		{.title = "NAME",  .shrink = true},
		{.title = "OTHER", .shrink = true},
		{.title = "TEXT",  .wrap = true  },
	};
	char cell[COLUMNS][200];
	unsigned seed = 20260131;

	(void)state;
	print_message("# seed %u\n", seed);
	for (int round = 0; round < 2000; round++) {
		const size_t width = 50 + (size_t)(rand_r(&seed) % 100);
		const char *row[1][COLUMNS] = {
			{cell[0], cell[1], cell[2]}
                };
		_cleanup_(free_p) char *text = NULL;

		for (size_t i = 0; i < COLUMNS; i++) {
			const int n = rand_r(&seed) % 199;

			for (int j = 0; j < n; j++)
				cell[i][j] = (char)(1 + rand_r(&seed) % 255);
			cell[i][n] = '\0';
		}
		text = printed(columns, width, false, row, 1);
		for (char *line = strtok(text, "\n"); line;
		     line = strtok(NULL, "\n")) {
			if (text_width(line) > width)
				fail_msg("round %d: %zu columns, not %zu: %s",
				         round, text_width(line), width, line);
			for (char *c = line; *c; c++)
				if ((unsigned char)*c < ' ' || *c == 0x7f)
					fail_msg("round %d: byte %d gets out",
					         round, *c);
		}
	}
}

static void a_terminal_is_not_steered(void **state)
{
	static const char *const row[1][COLUMNS] = {
		{"\033[2Jx\xc2\x9b"
	         "y", "1", "a\nb\rc\x7f\xff"}
        };
	_cleanup_(free_p) char *text = printed(plain, 80, false, row, 1);

	(void)state;
	assert_null(strchr(text, '\033'));
	assert_null(strstr(text, "\xc2\x9b"));
	assert_non_null(strstr(text, "?[2Jx?y  1  a?b?c??\n"));
}

static void colour_is_around_the_text_only(void **state)
{
	static const char *const row[1][COLUMNS] = {
		{"bad", "1", "x"}
        };
	_cleanup_(free_p) char *with = printed(plain, 80, true, row, 1);
	_cleanup_(free_p) char *without = printed(plain, 80, false, row, 1);

	(void)state;
	assert_non_null(strstr(with, "\033[31mbad\033[0m   1  x\n"));
	assert_null(strchr(without, '\033'));
}

static void many_rows_keep_the_widths_of_the_first(void **state)
{
	const char *(*rows)[COLUMNS] = calloc(TABLE_SAMPLE + 2, sizeof(*rows));
	_cleanup_(free_p) char *text = NULL;
	size_t lines = 0;

	(void)state;
	for (size_t i = 0; i < TABLE_SAMPLE + 2; i++) {
		rows[i][0] = i < TABLE_SAMPLE ? "short" : "much-longer-name";
		rows[i][1] = "1";
		rows[i][2] = "x";
	}
	text = printed(plain, 80, false, rows, TABLE_SAMPLE + 2);
	free(rows);
	assert_non_null(strstr(text, "\nmuch…  1  x\n"));
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, TABLE_SAMPLE + 3);
}

static void quantities_are_said_as_people_do(void **state)
{
	static const struct {
		double seconds;
		const char *age;
	} ages[] = {
		{0,      "0s"  },
                {-1,     "0s"  },
                {59.9,   "59s" },
		{61,     "1m1s"},
                {7260,   "2h1m"},
                {356400, "4d3h"},
	};
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{0,          "0 B"     },
                {999,        "999 B"   },
		{1000,       "1.0 kB"  },
                {999949,     "999.9 kB"},
		{999950,     "1.0 MB"  },
                {1500000000, "1.5 GB"  },
	};
	char buf[QUANTITY_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ages); i++)
		assert_string_equal(age_text(ages[i].seconds, buf),
		                    ages[i].age);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_string_equal(bytes_text(sizes[i].bytes, buf),
		                    sizes[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_aligned_cut_and_wrapped),
		cmocka_unit_test(no_line_is_wider_than_the_screen),
		cmocka_unit_test(a_terminal_is_not_steered),
		cmocka_unit_test(colour_is_around_the_text_only),
		cmocka_unit_test(many_rows_keep_the_widths_of_the_first),
		cmocka_unit_test(quantities_are_said_as_people_do),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
