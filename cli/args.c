// SPDX-License-Identifier: Apache-2.0
/* args.c - see args.h. */
#include "cli/args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

struct parse {
	const struct command *commands;
	const struct opt *global;
	const char *word[ARGS_MAX + 4];
	int n_words;
	struct args *args;
	struct err *err;
};

static const struct opt *opt_among(const struct opt *opts, const char *name,
                                   size_t len, char letter)
{
	for (; opts && opts->name; opts++) {
		if (letter && opts->letter == letter)
			return opts;
		if (!letter && strlen(opts->name) == len &&
		    !strncmp(opts->name, name, len))
			return opts;
	}
	return NULL;
}

/* Known anywhere: whether this command takes it is asked later. */
static const struct opt *opt_find(const struct parse *p, const char *name,
                                  size_t len, char letter)
{
	const struct opt *opt = opt_among(p->global, name, len, letter);

	for (const struct command *c = p->commands; !opt && c->words; c++)
		opt = opt_among(c->opts, name, len, letter);
	return opt;
}

static int given_add(struct parse *p, const struct opt *opt, const char *value)
{
	struct args *args = p->args;

	if (args->n_given == GIVEN_MAX)
		return err_set(p->err, -EINVAL, "more than %d options",
		               GIVEN_MAX);
	args->given[args->n_given].opt = opt;
	args->given[args->n_given++].value = value;
	return 0;
}

/* @used: set when the next argument was the value. */
static int read_option(struct parse *p, const char *arg, const char *next,
                       bool *used)
{
	const bool is_long = arg[1] == '-';
	const char *name = is_long ? arg + 2 : arg + 1;
	const char *equals = is_long ? strchr(name, '=') : NULL;
	const size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const char *value = equals ? equals + 1 : NULL;
	const struct opt *opt =
		opt_find(p, name, len, is_long ? '\0' : name[0]);

	if (!opt)
		return err_set(p->err, -EINVAL,
		               "unknown option %s; see `stile help`", arg);
	if (!is_long && name[1])
		value = name + 1;
	if (value && opt->value == OPT_NONE)
		return err_set(p->err, -EINVAL, "--%s takes no value",
		               opt->name);
	if (!value && opt->value == OPT_NEEDED) {
		if (!next)
			return err_set(p->err, -EINVAL, "--%s wants %s",
			               opt->name, opt->what);
		value = next;
		*used = true;
	}
	return given_add(p, opt, value);
}

static int read_words(struct parse *p, int argc, char **argv)
{
	bool options = true;

	for (int i = 0; i < argc; i++) {
		bool used = false;
		int r;

		if (options && !strcmp(argv[i], "--")) {
			options = false;
			continue;
		}
		if (!options || argv[i][0] != '-' || !argv[i][1]) {
			if (p->n_words == ARRAY_SIZE(p->word))
				return err_set(p->err, -EINVAL,
				               "too many arguments");
			p->word[p->n_words++] = argv[i];
			continue;
		}
		r = read_option(p, argv[i], i + 1 < argc ? argv[i + 1] : NULL,
		                &used);
		if (r)
			return r;
		i += used;
	}
	return 0;
}

/* How many words of the line are this command's name; 0: it is another. */
static int words_match(const struct parse *p, const char *words)
{
	int n = 0;

	while (*words) {
		const size_t len = strcspn(words, " ");

		if (n == p->n_words || strlen(p->word[n]) != len ||
		    strncmp(p->word[n], words, len) != 0)
			return 0;
		n++;
		words += len + strspn(words + len, " ");
	}
	return n;
}

/* "list, get": what may follow a noun; "" when there is no such noun. */
static void verbs_of(const struct parse *p, const char *noun, char *buf,
                     size_t size)
{
	const size_t len = strlen(noun);
	size_t used = 0;

	buf[0] = '\0';
	for (const struct command *c = p->commands; c->words; c++)
		if (!strncmp(c->words, noun, len) && c->words[len] == ' ' &&
		    used < size)
			used += (size_t)snprintf(buf + used, size - used,
			                         "%s%s", used ? ", " : "",
			                         c->words + len + 1);
}

static int command_find(struct parse *p)
{
	struct args *args = p->args;
	char verbs[128];
	int best = 0;

	if (!p->n_words)
		return 0;
	for (const struct command *c = p->commands; c->words; c++) {
		const int n = words_match(p, c->words);

		if (n > best) {
			best = n;
			args->command = c;
		}
	}
	if (!best) {
		verbs_of(p, p->word[0], verbs, sizeof(verbs));
		if (verbs[0])
			return err_set(p->err, -EINVAL, "%s: say one of %s",
			               p->word[0], verbs);
		return err_set(p->err, -EINVAL,
		               "unknown command '%s'; see `stile help`",
		               p->word[0]);
	}
	args->n = p->n_words - best;
	if (args->n < args->command->min || args->n > args->command->max ||
	    args->n > ARGS_MAX)
		return err_set(p->err, -EINVAL, "usage: stile %s %s",
		               args->command->words, args->command->usage);
	for (int i = 0; i < args->n; i++)
		args->arg[i] = p->word[best + i];
	return 0;
}

/* The same option in the table of the command at hand. */
static int given_check(struct parse *p)
{
	struct args *args = p->args;

	for (int i = 0; i < args->n_given; i++) {
		const struct opt *opt = args->given[i].opt;
		const struct opt *own =
			opt_among(p->global, opt->name, strlen(opt->name), 0);

		if (!own && args->command)
			own = opt_among(args->command->opts, opt->name,
			                strlen(opt->name), 0);
		if (!own)
			return err_set(p->err, -EINVAL,
			               "--%s is no option of this command; see "
			               "`stile help %s`",
			               opt->name,
			               args->command ? args->command->words
			                             : "");
		for (int j = 0; j < i && !own->repeat; j++)
			if (args->given[j].opt == own)
				return err_set(p->err, -EINVAL,
				               "--%s is given twice",
				               own->name);
		args->given[i].opt = own;
	}
	return 0;
}

int args_parse(int argc, char **argv, const struct command *commands,
               const struct opt *global, struct args *ret, struct err *err)
{
	struct parse p = {
		.commands = commands,
		.global = global,
		.args = ret,
		.err = err,
	};
	int r;

	*ret = (struct args){};
	r = read_words(&p, argc, argv);
	if (!r)
		r = command_find(&p);
	if (!r)
		r = given_check(&p);
	return r;
}

bool args_has(const struct args *args, const char *name)
{
	for (int i = 0; i < args->n_given; i++)
		if (!strcmp(args->given[i].opt->name, name))
			return true;
	return false;
}

const char *args_value(const struct args *args, const char *name)
{
	const char *value = NULL;

	for (int i = 0; i < args->n_given; i++)
		if (!strcmp(args->given[i].opt->name, name))
			value = args->given[i].value;
	return value;
}

int duration_parse(const char *text, double *ret_seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {
		{"",   1    },
                {"ms", 0.001},
                {"s",  1    },
		{"m",  60   },
                {"h",  3600 },
                {"d",  86400},
	};
	char *end;
	const double n = strtod(text, &end);

	if (end == text || !isfinite(n) || n < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(end, units[i].unit)) {
			*ret_seconds = n * units[i].seconds;
			return 0;
		}
	return -EINVAL;
}
