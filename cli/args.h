/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args.h - the command line as data: one table says what there is to type.
 *
 * Options may stand anywhere, "--" ends them; "--name VALUE", "--name=VALUE",
 * "-x VALUE", "-xVALUE".  An option means the same wherever it is known.
 */
#pragma once

#include <stdbool.h>

#include "lib/err.h"

enum opt_value { OPT_NONE, OPT_NEEDED, OPT_MAYBE }; /* MAYBE: only with '=' */

struct opt {
	const char *name; /* without the dashes */
	char letter;      /* or 0 */
	enum opt_value value;
	bool repeat;      /* may be given more than once */
	const char *what; /* of the value, for help: "DIR" */
	const char *help;
};

struct cli;
struct args;

struct command {
	const char *words; /* "policy why" */
	const char *usage; /* of the arguments: "FROM TO PORT/PROTO" */
	const char *help;
	int min, max;           /* arguments after the words */
	const struct opt *opts; /* ended by a NULL name; NULL: none */
	/* Return: the exit status. */
	int (*run)(const struct cli *cli, const struct args *args);
};

#define ARGS_MAX  8
#define GIVEN_MAX 64

struct args {
	const struct command *command; /* NULL: none was named */
	const char *arg[ARGS_MAX];     /* after the words; borrowed */
	int n;
	struct {
		const struct opt *opt;
		const char *value; /* NULL: none */
	} given[GIVEN_MAX];
	int n_given;
};

/**
 * args_parse - read @argv (without the program's name).
 *
 * @commands: ended by NULL words.  @global: options that every command takes.
 * Return: 0; -EINVAL with a sentence that says what to do.
 */
int args_parse(int argc, char **argv, const struct command *commands,
               const struct opt *global, struct args *ret, struct err *err);

/* Was it given?  Its last value, which may be NULL for OPT_MAYBE. */
bool args_has(const struct args *args, const char *name);
const char *args_value(const struct args *args, const char *name);

/* "30s", "5m", "2h", "1d", "250ms", or plain seconds; -EINVAL. */
int duration_parse(const char *text, double *ret_seconds);
