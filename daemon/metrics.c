// SPDX-License-Identifier: Apache-2.0
/*
 * metrics.c - see metrics.h.
 *
 * Text format 0.0.4 of Prometheus.  Everything is read when it is asked for.
 */
#include "daemon/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/names.h"
#include "daemon/ops_show.h"
#include "lib/version.h"

enum { OK = 200, UNAVAILABLE = 503 };

/* ---- the format --------------------------------------------------------- */

static void family(FILE *out, const char *name, const char *type,
                   const char *help)
{
	(void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
	              type);
}

static void gauge(FILE *out, const char *name, const char *help, double value)
{
	family(out, name, "gauge", help);
	(void)fprintf(out, "%s %.17g\n", name, value);
}

static void counter(FILE *out, const char *name, const char *help,
                    uint64_t value)
{
	family(out, name, "counter", help);
	(void)fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* A label's value: backslash, quote and newline are escaped. */
static void label(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			(void)fputc('\\', out);
		if (*value == '\n')
			(void)fputs("\\n", out);
		else
			(void)fputc(*value, out);
	}
}

/* ---- the daemon --------------------------------------------------------- */

static bool is_ready(struct daemon *daemon, json_t **ret_status)
{
	*ret_status = show_status(daemon, NULL);
	return json_is_true(json_object_get(*ret_status, "ready"));
}

static void daemon_put(FILE *out, struct daemon *daemon)
{
	static const struct {
		const char *key, *name, *help;
	} gauges[] = {
		{"endpoints",     "stile_endpoints",
	         "Pods of this node with an interface of ours."                    },
		{"pods",          "stile_pods",            "Pods the source knows."},
		{"namespaces",    "stile_namespaces",
	         "Namespaces the source knows."                                    },
		{"policies",      "stile_policies",
	         "NetworkPolicies the source knows."                               },
		{"refused",       "stile_objects_refused",
	         "Objects with an error: not in force as written."                 },
		{"identities",    "stile_identities",      "Identities in force."  },
		{"addresses",     "stile_addresses",
	         "Whole addresses whose identity is known."                        },
		{"policy_tables", "stile_policy_tables",
	         "Distinct policy tables in force."                                },
		{"revision",      "stile_revision",
	         "Rises when the kernel's state was changed."                      },
	};
	json_t *status;
	const bool ready = is_ready(daemon, &status);

	family(out, "stile_build_info", "gauge", "Version of this build.");
	(void)fprintf(out, "stile_build_info{version=\"%s\",abi=\"%d\"} 1\n",
	              STILE_VERSION, ABI_VERSION);
	gauge(out, "stile_ready", "1 when ADD can be served.", ready);
	for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++)
		gauge(out, gauges[i].name, gauges[i].help,
		      json_number_value(
			      json_object_get(status, gauges[i].key)));
	if (daemon->policy_version)
		gauge(out, "stile_policy_version",
		      "NetworkPolicies up to this resourceVersion are in "
		      "force.",
		      (double)daemon->policy_version);
	gauge(out, "stile_problems",
	      "Things that are not in force as they were written.",
	      (double)json_array_size(json_object_get(status, "problems")));
	json_decref(status);
}

static void process_put(FILE *out)
{
	struct rusage usage = {};
	long pages = 0, resident = 0;
	FILE *statm = fopen("/proc/self/statm", "re");
	DIR *fds = opendir("/proc/self/fd");
	int n = 0;

	(void)getrusage(RUSAGE_SELF, &usage);
	family(out, "process_cpu_seconds_total", "counter",
	       "CPU time of stiled.");
	(void)fprintf(
		out, "process_cpu_seconds_total %ld.%06ld\n",
		usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
			(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) /
				1000000,
		(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) % 1000000);
	if (statm && fscanf(statm, "%ld %ld", &pages, &resident) == 2)
		gauge(out, "process_resident_memory_bytes", "Memory of stiled.",
		      (double)resident * (double)sysconf(_SC_PAGESIZE));
	if (statm)
		(void)fclose(statm);
	while (fds && readdir(fds))
		n++;
	if (fds) {
		closedir(fds);
		gauge(out, "process_open_fds", "File descriptors of stiled.",
		      n - 3); /* ".", "..", and the one that reads */
	}
}

/* ---- the datapath ------------------------------------------------------- */

static void counters_put(FILE *out, struct dp *dp)
{
	for (unsigned i = 0; i < COUNTER__COUNT; i++) {
		char name[64] = "stile_";
		size_t at = strlen(name);
		uint64_t n = 0;

		for (const char *c = counter_name(i);
		     *c && at + sizeof("_total") < sizeof(name); c++)
			name[at++] =
				(char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a'
			                                      : *c);
		memcpy(name + at, "_total", sizeof("_total"));
		if (!dp_counter(dp, i, &n))
			counter(out, name, counter_text(i), n);
	}
}

/* Every reason of every hook, so that a rate begins with the first drop. */
static void drops_put(FILE *out, struct dp *dp)
{
	family(out, "stile_drops_total", "counter",
	       "Packets dropped, by hook and reason.");
	for (unsigned hook = 0; hook < HOOK__COUNT; hook++)
		for (unsigned why = 1; why < DROP__COUNT; why++) {
			uint64_t n = 0;

			if (dp_drop_count(dp, why, hook, &n))
				continue;
			(void)fprintf(out, "stile_drops_total{hook=\"");
			label(out, hook_name(hook));
			(void)fprintf(out, "\",reason=\"");
			label(out, drop_name(why));
			(void)fprintf(out, "\"} %" PRIu64 "\n", n);
		}
}

/* ---- pages -------------------------------------------------------------- */

static unsigned metrics_answer(struct daemon *daemon, FILE *out)
{
	daemon_put(out, daemon);
	process_put(out);
	if (daemon->dp) {
		counters_put(out, daemon->dp);
		drops_put(out, daemon->dp);
	}
	return OK;
}

/* Whoever gets this answer has seen the loop turn. */
static unsigned healthz_answer(struct daemon *daemon, FILE *out)
{
	(void)daemon;
	(void)fputs("ok\n", out);
	return OK;
}

static unsigned readyz_answer(struct daemon *daemon, FILE *out)
{
	json_t *status;
	const bool ready = is_ready(daemon, &status);
	const char *why = json_string_value(json_object_get(status, "reason"));

	(void)fprintf(out, "%s\n", ready ? "ok" : why ? why : "not ready");
	json_decref(status);
	return ready ? OK : UNAVAILABLE;
}

const struct http_route metrics_routes[] = {
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8",
         metrics_answer							},
	{"/healthz", "text/plain; charset=utf-8",                healthz_answer},
	{"/readyz",  "text/plain; charset=utf-8",                readyz_answer },
	{NULL,       NULL,				       NULL          },
};
