// SPDX-License-Identifier: Apache-2.0
/* cli_args_test.c - the command line: words, options anywhere, clear errors. */
#include "test/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "lib/util.h"

static const struct opt global[] = {
	{"run-dir", 0, OPT_NEEDED, false, "DIR", ""},
	{"output", 'o', OPT_NEEDED, false, "FORMAT", ""},
	{"help", 'h', OPT_NONE, false, NULL, ""},
	{},
};

static const struct opt flow_opts[] = {
	{"follow", 'f', OPT_NONE, false, NULL, ""},
	{"pod", 0, OPT_NEEDED, true, "POD", ""},
	{"last", 0, OPT_NEEDED, false, "N", ""},
	{},
};

static const struct opt status_opts[] = {
	{"wait", 0, OPT_MAYBE, false, "=30s", ""},
	{},
};

static const struct command commands[] = {
	{"status", "", "", 0, 0, status_opts, NULL},
	{"flows", "", "", 0, 0, flow_opts, NULL},
	{"policy list", "", "", 0, 0, NULL, NULL},
	{"policy why", "FROM TO PORT/PROTO", "", 3, 3, NULL, NULL},
	{"help", "[COMMAND]", "", 0, 2, NULL, NULL},
	{},
};

#define WORDS_MAX 10

/* Parse a line cut at blanks. */
static int parse(const char *line, struct args *args, struct err *err)
{
	static char text[256];
	char *argv[WORDS_MAX];
	int argc = 0;

	*err = (struct err){};
	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word && argc < WORDS_MAX;
	     word = strtok(NULL, " "))
		argv[argc++] = word;
	return args_parse(argc, argv, commands, global, args, err);
}

static void lines_that_make_sense(void **state)
{
	static const struct {
		const char *line, *words;
		int n;
		const char *arg, *option, *value;
	} cases[] = {
		{"status",                   "status",     0, NULL,     NULL,      NULL  },
		{"status --wait",            "status",     0, NULL,     "wait",    NULL  },
		{"status --wait=5s",         "status",     0, NULL,     "wait",    "5s"  },
		{"--run-dir /x status",      "status",     0, NULL,     "run-dir", "/x"  },
		{"status --run-dir=/x",      "status",     0, NULL,     "run-dir", "/x"  },
		{"flows -f",                 "flows",      0, NULL,     "follow",  NULL  },
		{"flows -o json",            "flows",      0, NULL,     "output",  "json"},
		{"flows -ojson",             "flows",      0, NULL,     "output",  "json"},
		{"-o json flows",            "flows",      0, NULL,     "output",  "json"},
		{"flows --pod a --pod b",    "flows",      0, NULL,     "pod",     "b"   },
		{"policy why a b 80/tcp",    "policy why", 3, "a",      NULL,      NULL  },
		{"policy -o json why a b c", "policy why", 3, "a",      "output",
	         "json"								  },
		{"policy why -- -a b c",     "policy why", 3, "-a",     NULL,      NULL  },
		{"help policy why",          "help",       2, "policy", NULL,      NULL  },
		{"flows --last -1",          "flows",      0, NULL,     "last",    "-1"  },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct args args;
		struct err err;
		const char *value;

		if (parse(cases[i].line, &args, &err))
			fail_msg("%s: %s", cases[i].line, err.text);
		assert_string_equal(args.command->words, cases[i].words);
		assert_int_equal(args.n, cases[i].n);
		if (cases[i].arg)
			assert_string_equal(args.arg[0], cases[i].arg);
		if (!cases[i].option)
			continue;
		assert_true(args_has(&args, cases[i].option));
		value = args_value(&args, cases[i].option);
		if (!cases[i].value)
			assert_null(value);
		else
			assert_string_equal(value, cases[i].value);
	}
}

static void nothing_typed_is_no_command(void **state)
{
	struct args args;
	struct err err;

	(void)state;
	assert_int_equal(parse("", &args, &err), 0);
	assert_null(args.command);
}

static void lines_that_do_not(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{"frobnicate",              "unknown command 'frobnicate'"         },
		{"policy",                  "policy: say one of list, why"         },
		{"policy frob",             "policy: say one of list, why"         },
		{"policy why a b",
	         "usage: stile policy why FROM TO PORT/PROTO"                      },
		{"policy list extra",       "usage: stile policy list"             },
		{"flows --frob",            "unknown option --frob"                },
		{"flows -x",                "unknown option -x"                    },
		{"status --last 3",         "--last is no option of this command"  },
		{"status -f",               "--follow is no option of this command"},
		{"flows --last",            "--last wants N"                       },
		{"flows --follow=yes",      "--follow takes no value"              },
		{"flows --last 1 --last 2", "--last is given twice"                },
		{"1 2 3 4 5 6 7 8 9 0",     "unknown command '1'"                  },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct args args;
		struct err err;

		if (parse(cases[i].line, &args, &err) != -EINVAL)
			fail_msg("'%s' was accepted", cases[i].line);
		if (!strstr(err.text, cases[i].says))
			fail_msg("'%s' says '%s', not '%s'", cases[i].line,
			         err.text, cases[i].says);
	}
}

static void more_than_fits_is_refused(void **state)
{
	char *argv[200];
	struct args args;
	struct err err = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(argv); i++)
		argv[i] = (char *)(i ? "--pod=x" : "flows");
	assert_int_equal(args_parse(ARRAY_SIZE(argv), argv, commands, global,
	                            &args, &err),
	                 -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(argv); i++)
		argv[i] = (char *)"help";
	assert_int_equal(args_parse(ARRAY_SIZE(argv), argv, commands, global,
	                            &args, &err),
	                 -EINVAL);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int r;
		double seconds;
	} cases[] = {
		{"30s",   0,       30    },
                {"30",    0,       30    },
                {"250ms", 0,       0.25  },
		{"5m",    0,       300   },
                {"1.5h",  0,       5400  },
                {"2d",    0,       172800},
		{"",      -EINVAL, 0     },
                {"s",     -EINVAL, 0     },
                {"-1s",   -EINVAL, 0     },
		{"5x",    -EINVAL, 0     },
                {"inf",   -EINVAL, 0     },
                {"nan",   -EINVAL, 0     },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		double seconds = 0;

		if (duration_parse(cases[i].text, &seconds) != cases[i].r)
			fail_msg("'%s'", cases[i].text);
		if (!cases[i].r && (seconds < cases[i].seconds - 1e-9 ||
		                    seconds > cases[i].seconds + 1e-9))
			fail_msg("'%s' is %f", cases[i].text, seconds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_that_make_sense),
		cmocka_unit_test(nothing_typed_is_no_command),
		cmocka_unit_test(lines_that_do_not),
		cmocka_unit_test(more_than_fits_is_refused),
		cmocka_unit_test(durations),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
