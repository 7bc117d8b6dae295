// SPDX-License-Identifier: Apache-2.0
/* main.c - stile: the command table, and what every command shares. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/abi.h"
#include "cli/cli.h"
#include "lib/util.h"
#include "lib/version.h"

#define RUN_DIR "/run/stile"

static const struct opt global[] = {
	{"run-dir", 0, OPT_NEEDED, false, "DIR",
         "where the daemon's socket is (default " RUN_DIR ")"},
	{"output", 'o', OPT_NEEDED, false, "table|wide|json",
         "for people, for people with wide screens, for programs"},
	{"color", 0, OPT_NEEDED, false, "auto|always|never",
         "auto: on a terminal, without NO_COLOR"},
	{"help", 'h', OPT_NONE, false, NULL, "about this command"},
	{},
};

static const struct opt status_opts[] = {
	{"brief", 0, OPT_NONE, false, NULL, "one word"},
	{"wait", 0, OPT_MAYBE, false, "=30s",
         "until pods can be made, for so long at most"},
	{},
};

static const struct opt flow_opts[] = {
	{"follow", 'f', OPT_NONE, false, NULL, "and what comes, until ^C"},
	{"last", 0, OPT_NEEDED, false, "N", "of what is kept, the newest N"},
	{"since", 0, OPT_NEEDED, false, "TIME",
         "not older: 5m, or 2026-01-31T12:00:00Z"},
	{"pod", 0, OPT_NEEDED, true, "[NS/]POD",
         "either end; the name's beginning will do"},
	{"from-pod", 0, OPT_NEEDED, true, "[NS/]POD", "the opener"},
	{"to-pod", 0, OPT_NEEDED, true, "[NS/]POD", "the other"},
	{"namespace", 'n', OPT_NEEDED, true, "NS", "either end's"},
	{"ip", 0, OPT_NEEDED, true, "ADDR|CIDR", "either end's"},
	{"port", 0, OPT_NEEDED, true, "PORT", "either end's"},
	{"protocol", 0, OPT_NEEDED, true, "PROTO",
         "tcp, udp, sctp, icmp or icmpv6"},
	{"verdict", 0, OPT_NEEDED, true, "VERDICT",
         "FORWARDED, DROPPED or AUDIT"},
	{},
};

static const struct opt conntrack_list_opts[] = {
	{"pod", 0, OPT_NEEDED, true, "NS/POD", "of this pod only"},
	{"all", 0, OPT_NONE, false, NULL,
         "dead entries too, and far sides of translated flows"},
	{},
};

static const struct opt conntrack_flush_opts[] = {
	{"pod", 0, OPT_NEEDED, true, "NS/POD", "of this pod only"},
	{},
};

static const struct opt uninstall_opts[] = {
	{"yes", 'y', OPT_NONE, false, NULL, "do not ask"},
	{"state-dir", 0, OPT_NEEDED, false, "DIR", "as stiled was told"},
	{"bpffs", 0, OPT_NEEDED, false, "DIR", "as stiled was told"},
	{},
};

static const struct opt check_opts[] = {
	{"peers", 0, OPT_NEEDED, true, "NAME|ADDR",
         "pods that run `stile check serve`; a name stands for all it has"},
	{"service", 0, OPT_NEEDED, true, "NAME|ADDR", "a Service of such pods"},
	{"port", 0, OPT_NEEDED, false, "PORT", "of both (default 8080)"},
	{"denied-port", 0, OPT_NEEDED, false, "PORT",
         "of the pods: policy lets nobody reach it"},
	{"api", 0, OPT_NEEDED, true, "ADDR:PORT",
         "the API server (default: what Kubernetes says)"},
	{"node", 0, OPT_NEEDED, true, "ADDR:PORT", "anything of a node's own"},
	{"outside", 0, OPT_NEEDED, true, "ADDR:PORT", "beyond the cluster"},
	{"dns", 0, OPT_NEEDED, true, "NAME", "to be resolved"},
	{"timeout", 0, OPT_NEEDED, false, "5s", "for each answer"},
	{},
};

static const struct opt serve_opts[] = {
	{"port", 0, OPT_NEEDED, true, "PORT", "TCP and UDP (default 8080)"},
	{},
};

static int cmd_version(const struct cli *cli, const struct args *args);
static int cmd_help(const struct cli *cli, const struct args *args);

static const struct command commands[] = {
	{"status", "", "can this node serve pods? what is in force?", 0, 0,
         status_opts, cmd_status},
	{"endpoint list", "", "the pods of this node", 0, 0, NULL,
         cmd_endpoint_list},
	{"endpoint get", "ID|NS/POD", "one of them", 1, 1, NULL,
         cmd_endpoint_get},
	{"identity list", "", "what policy can tell apart", 0, 0, NULL,
         cmd_identity_list},
	{"ipcache list", "", "which identity each address has", 0, 0, NULL,
         cmd_ipcache_list},
	{"node list", "", "this node", 0, 0, NULL, cmd_node_list},
	{"policy list", "", "policies, and whether they are in force", 0, 0,
         NULL, cmd_policy_list},
	{"policy get", "[NS/]NAME", "one of them, its rules in words", 1, 1,
         NULL, cmd_policy_get},
	{"policy why", "FROM TO PORT/PROTO",
         "may FROM speak to TO, and which rule says so?\n"
         "ends are NS/POD, an address, host or world", 3, 3, NULL, cmd_policy_why},
	{"policy verify", "", "compare every map with the manifests", 0, 0,
         NULL, cmd_policy_verify},
	{"flows", "", "what the datapath saw: flows, drops and why", 0, 0,
         flow_opts, cmd_flows},
	{"service list", "", "ClusterIPs that are translated for pods", 0, 0,
         NULL, cmd_service_list},
	{"backend list", "", "who answers for them", 0, 0, NULL,
         cmd_backend_list},
	{"conntrack list", "", "the flow table", 0, 0, conntrack_list_opts,
         cmd_conntrack_list},
	{"conntrack flush", "", "forget flows: TCP has to connect anew", 0, 0,
         conntrack_flush_opts, cmd_conntrack_flush},
	{"map list", "", "the datapath's maps", 0, 0, NULL, cmd_map_list},
	{"map dump", "NAME", "what is in one", 1, 1, NULL, cmd_map_dump},
	{"program list", "", "the datapath's programs", 0, 0, NULL,
         cmd_program_list},
	{"kernel-check", "", "what this kernel has, tried one by one", 0, 0,
         NULL, cmd_kernel_check},
	{"check connectivity", "",
         "from a pod: does the network do what it should?", 0, 0, check_opts,
         cmd_check_connectivity},
	{"check serve", "", "the other end of that: an echo", 0, 0, serve_opts,
         cmd_check_serve},
	{"uninstall", "", "remove every trace of Stile from this node", 0, 0,
         uninstall_opts, cmd_uninstall},
	{"version", "", "of this program", 0, 0, NULL, cmd_version},
	{"help", "[COMMAND]", "this", 0, 2, NULL, cmd_help},
	{},
};

/* ---- help and version ---------------------------------------------------- */

static void print_opts(const struct opt *opts)
{
	for (; opts && opts->name; opts++) {
		char left[64], letter[8] = "";

		if (opts->letter)
			snprintf(letter, sizeof(letter), "-%c, ", opts->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s%s%s", letter,
		         opts->name, opts->value == OPT_NEEDED ? " " : "",
		         opts->value == OPT_MAYBE ? "[" : "",
		         opts->what ? opts->what : "",
		         opts->value == OPT_MAYBE ? "]" : "");
		printf("  %-34s %s%s\n", left, opts->help,
		       opts->repeat ? " (repeat: any of them)" : "");
	}
}

static void help_command(const struct command *command)
{
	printf("usage: stile %s%s%s%s\n\n%s\n", command->words,
	       command->opts ? " [OPTION]…" : "", command->usage[0] ? " " : "",
	       command->usage, command->help);
	if (command->opts) {
		puts("\noptions:");
		print_opts(command->opts);
	}
	puts("\noptions of every command:");
	print_opts(global);
}

static void help_all(void)
{
	puts("usage: stile [--run-dir DIR] COMMAND [OPTION]… [ARGUMENT]…\n");
	for (const struct command *c = commands; c->words; c++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s", c->words,
		         c->usage[0] ? " " : "", c->usage);
		printf("  %-34s %.*s\n", left, (int)strcspn(c->help, "\n"),
		       c->help);
	}
	puts("\noptions of every command:");
	print_opts(global);
	puts("\nexit status: 0 done, 1 the answer is no, 2 usage, 3 the daemon "
	     "is not reachable\n`stile help COMMAND` says more");
}

static int cmd_help(const struct cli *cli, const struct args *args)
{
	char words[64];
	int found = 0;

	(void)cli;
	if (!args->n) {
		help_all();
		return STATUS_DONE;
	}
	snprintf(words, sizeof(words), "%s%s%s", args->arg[0],
	         args->n > 1 ? " " : "", args->n > 1 ? args->arg[1] : "");
	for (const struct command *c = commands; c->words; c++) {
		const size_t n = strlen(words);

		if (strncmp(c->words, words, n) != 0 ||
		    (c->words[n] && c->words[n] != ' '))
			continue;
		if (found++)
			putchar('\n');
		help_command(c);
	}
	return found ? STATUS_DONE
	             : fail(STATUS_USAGE,
	                    "no command '%s'; `stile help` lists them", words);
}

static int cmd_version(const struct cli *cli, const struct args *args)
{
	(void)args;
	if (cli->format == FORMAT_JSON) {
		json_t *version =
			json_pack("{s:s, s:i}", "version", STILE_VERSION,
		                  "abi_version", ABI_VERSION);

		print_json(version);
		json_decref(version);
	} else {
		printf("stile %s (datapath ABI %d)\n", STILE_VERSION,
		       ABI_VERSION);
	}
	return STATUS_DONE;
}

/* ---- what every command shares ------------------------------------------- */

static int read_format(struct cli *cli, const char *text)
{
	if (!text || !strcmp(text, "table"))
		cli->format = FORMAT_TABLE;
	else if (!strcmp(text, "wide"))
		cli->format = FORMAT_WIDE;
	else if (!strcmp(text, "json"))
		cli->format = FORMAT_JSON;
	else
		return fail(STATUS_USAGE, "-o %s: want table, wide or json",
		            text);
	return STATUS_DONE;
}

/* no-color.org: the variable counts when it is not empty. */
static int read_color(struct cli *cli, const char *text)
{
	const char *no_color = getenv("NO_COLOR");

	if (!text || !strcmp(text, "auto"))
		cli->color =
			isatty(STDOUT_FILENO) && !(no_color && no_color[0]);
	else if (!strcmp(text, "always"))
		cli->color = true;
	else if (strcmp(text, "never") != 0)
		return fail(STATUS_USAGE,
		            "--color %s: want auto, always or never", text);
	return STATUS_DONE;
}

static int cli_open(struct cli *cli, const struct args *args)
{
	const char *dir = args_value(args, "run-dir");
	int status;

	dir = dir ? dir : RUN_DIR;
	if (strlen(dir) >= sizeof(cli->run_dir))
		return fail(STATUS_USAGE, "--run-dir: the path is too long");
	memcpy(cli->run_dir, dir, strlen(dir) + 1);
	snprintf(cli->socket, sizeof(cli->socket), "%s/stile.sock", dir);
	status = read_format(cli, args_value(args, "output"));
	return status ? status : read_color(cli, args_value(args, "color"));
}

int main(int argc, char **argv)
{
	struct cli cli = {};
	struct args args;
	struct err err = {};
	int status;

	if (args_parse(argc - 1, argv + 1, commands, global, &args, &err))
		return fail(STATUS_USAGE, "%s", err.text);
	status = cli_open(&cli, &args);
	if (status)
		return status;
	if (args.command && args_has(&args, "help")) {
		help_command(args.command);
		return STATUS_DONE;
	}
	if (!args.command) {
		help_all();
		return args_has(&args, "help") ? STATUS_DONE : STATUS_USAGE;
	}
	status = args.command->run(&cli, &args);
	if (fflush(stdout) && !status)
		return fail(STATUS_NO, "not all could be written");
	return status;
}
