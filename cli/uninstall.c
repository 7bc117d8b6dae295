// SPDX-License-Identifier: Apache-2.0
/* uninstall.c - stile uninstall: every trace of Stile out of this node. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "daemon/uninstall.h"

#define STATE_DIR "/var/lib/stile"
#define BPFFS     "/sys/fs/bpf/stile"

struct told {
	const struct cli *cli;
	json_t *removed;
};

static void say(const char *line, void *user)
{
	struct told *told = user;

	if (told->cli->format == FORMAT_JSON)
		(void)json_array_append_new(told->removed, json_string(line));
	else
		puts(line);
}

/* Only a person can be asked; a script says --yes. */
static int confirm(const struct args *args)
{
	char answer[8] = "";

	if (args_has(args, "yes"))
		return STATUS_DONE;
	if (!isatty(STDIN_FILENO))
		return fail(STATUS_USAGE,
		            "uninstall takes the network from every pod of "
		            "this node; say --yes if you mean it");
	fputs("This takes the network from every pod of this node, and every "
	      "trace of Stile with it.\nGo on? [y/N] ",
	      stderr);
	if (!fgets(answer, sizeof(answer), stdin) ||
	    (answer[0] != 'y' && answer[0] != 'Y'))
		return fail(STATUS_NO, "nothing was removed");
	return STATUS_DONE;
}

static const char *path_of(const struct args *args, const char *name,
                           const char *otherwise)
{
	const char *given = args_value(args, name);

	return given ? given : otherwise;
}

static int result(const struct cli *cli, int r, const struct err *err,
                  json_t *removed)
{
	if (cli->format == FORMAT_JSON) {
		json_t *object = json_pack("{s:O, s:s*}", "removed", removed,
		                           "error", r ? err->text : NULL);

		print_json(object);
		json_decref(object);
	} else if (!r) {
		puts("done");
	}
	if (r == -EBUSY)
		return fail(STATUS_NO,
		            "%s; stop it first (`systemctl disable --now "
		            "stiled`)",
		            err->text);
	return r ? fail(STATUS_NO, "%s", err->text) : STATUS_DONE;
}

int cmd_uninstall(const struct cli *cli, const struct args *args)
{
	struct told told = {.cli = cli, .removed = json_array()};
	const struct uninstall what = {
		.run_dir = cli->run_dir,
		.state_dir = path_of(args, "state-dir", STATE_DIR),
		.bpffs = path_of(args, "bpffs", BPFFS),
		.say = say,
		.user = &told,
	};
	struct err err = {};
	int status = confirm(args);

	if (!status)
		status = result(cli, uninstall_run(&what, &err), &err,
		                told.removed);
	json_decref(told.removed);
	return status;
}
