/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - what every command has: how to ask, how to print, how to end. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/args.h"
#include "cli/table.h"
#include "lib/err.h"

/* Exit statuses: an interface (docs/cli.md). */
enum status {
	STATUS_DONE = 0,
	STATUS_NO = 1,          /* the answer is no, or something failed */
	STATUS_USAGE = 2,       /* what was typed makes no sense */
	STATUS_UNREACHABLE = 3, /* no daemon answers */
};

enum format { FORMAT_TABLE, FORMAT_WIDE, FORMAT_JSON };

#define SCREEN_WIDTH 100

struct cli {
	char run_dir[256];
	char socket[300];
	enum format format;
	bool color; /* on stdout */
};

/* ---- asking -------------------------------------------------------------- */

/* A request: {"op": @op}; more keys are the caller's to set. */
json_t *request_new(const char *op);

/**
 * cli_ask - one request, one reply.
 *
 * Takes over @request.  What goes wrong is told on stderr.
 * Return: STATUS_DONE with *ret owned by the caller; STATUS_NO when the daemon
 * refused; STATUS_UNREACHABLE.
 */
int cli_ask(const struct cli *cli, json_t *request, json_t **ret);

/**
 * cli_stream - one request, many lines, until {"end": true}.
 *
 * @line: called for each but the last; false ends it (STATUS_DONE).
 * @ret_end: the last line, owned by the caller; may be NULL.
 */
int cli_stream(const struct cli *cli, json_t *request,
               bool (*line)(const json_t *line, void *user), void *user,
               json_t **ret_end);

/* "stile: …" on stderr; returns @status. */
__attribute__((format(printf, 2, 3))) int fail(enum status status,
                                               const char *fmt, ...);

/* ---- printing ------------------------------------------------------------ */

/* A printer of items: a table, or one JSON array as they come. */
struct items {
	const struct cli *cli;
	struct table *table;
	bool begun;
	/* Fill one row from an item. */
	void (*row)(struct table *table, const json_t *item);
};

int items_begin(struct items *items, const struct cli *cli,
                const struct column *columns, size_t n,
                void (*row)(struct table *table, const json_t *item));
void items_add(struct items *items, const json_t *item);
void items_end(struct items *items);

/* Ask for {"items": […]} and print them: the whole of a simple list. */
int items_ask(const struct cli *cli, json_t *request,
              const struct column *columns, size_t n,
              void (*row)(struct table *table, const json_t *item));
/* The same of a stream. */
int items_stream(const struct cli *cli, json_t *request,
                 const struct column *columns, size_t n,
                 void (*row)(struct table *table, const json_t *item));

void print_json(const json_t *value); /* indented, with a newline */
/* "Label:   value", the label padded; "" values are left out. */
void print_field(const struct cli *cli, const char *label, const char *value);
struct table_style cli_style(const struct cli *cli);

/* ---- reading replies ----------------------------------------------------- */

const char *get_text(const json_t *object, const char *key); /* never NULL */
json_int_t get_number(const json_t *object, const char *key);
double get_real(const json_t *object, const char *key);
bool get_bool(const json_t *object, const char *key);

/* ---- the commands, one file a noun --------------------------------------- */

int cmd_status(const struct cli *cli, const struct args *args);
int cmd_endpoint_list(const struct cli *cli, const struct args *args);
int cmd_endpoint_get(const struct cli *cli, const struct args *args);
int cmd_identity_list(const struct cli *cli, const struct args *args);
int cmd_ipcache_list(const struct cli *cli, const struct args *args);
int cmd_node_list(const struct cli *cli, const struct args *args);
int cmd_policy_list(const struct cli *cli, const struct args *args);
int cmd_policy_get(const struct cli *cli, const struct args *args);
int cmd_policy_why(const struct cli *cli, const struct args *args);
int cmd_policy_verify(const struct cli *cli, const struct args *args);
int cmd_flows(const struct cli *cli, const struct args *args);
int cmd_service_list(const struct cli *cli, const struct args *args);
int cmd_backend_list(const struct cli *cli, const struct args *args);
int cmd_conntrack_list(const struct cli *cli, const struct args *args);
int cmd_conntrack_flush(const struct cli *cli, const struct args *args);
int cmd_map_list(const struct cli *cli, const struct args *args);
int cmd_map_dump(const struct cli *cli, const struct args *args);
int cmd_program_list(const struct cli *cli, const struct args *args);
int cmd_kernel_check(const struct cli *cli, const struct args *args);
int cmd_check_connectivity(const struct cli *cli, const struct args *args);
int cmd_check_serve(const struct cli *cli, const struct args *args);
int cmd_uninstall(const struct cli *cli, const struct args *args);
