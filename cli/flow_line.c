// SPDX-License-Identifier: Apache-2.0
/* flow_line.c - see flow_line.h. */
#include "cli/flow_line.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "lib/util.h"

#define HEAD_MAX    900
#define TIME_MAX    40
#define INDENT      2u
#define FRACTION_AT 19 /* of RFC 3339: "2026-01-31T12:00:00" */

/* "11:02:03.5" of RFC 3339 in UTC, here. */
static const char *local_time(const char *utc, char buf[TIME_MAX])
{
	struct tm tm = {};
	time_t at;
	size_t n;

	buf[0] = '\0';
	if (!strptime(utc, "%Y-%m-%dT%H:%M:%S", &tm))
		return buf;
	at = timegm(&tm);
	localtime_r(&at, &tm);
	n = strftime(buf, TIME_MAX, "%H:%M:%S", &tm);
	if (utc[FRACTION_AT] == '.')
		snprintf(buf + n, TIME_MAX - n, ".%c", utc[FRACTION_AT + 1]);
	return buf;
}

/* The protocol's object, its word in @ret. */
static const json_t *l4_of(const json_t *flow, const char **ret)
{
	static const struct {
		const char *key, *word;
	} known[] = {
		{"TCP",    "tcp"   },
                {"UDP",    "udp"   },
                {"SCTP",   "sctp"  },
		{"ICMPv4", "icmp"  },
                {"ICMPv6", "icmpv6"},
	};
	const json_t *l4 = json_object_get(flow, "l4");

	*ret = "ip";
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		const json_t *found = json_object_get(l4, known[i].key);

		if (found) {
			*ret = known[i].word;
			return found;
		}
	}
	return NULL;
}

static bool has_label(const json_t *end, const char *label)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(end, "labels"), i, item)
	{
		if (!strcmp(json_string_value(item), label))
			return true;
	}
	return false;
}

/* "shop/web", "host", else the address; then the port. */
static int end_text(const json_t *flow, const char *end_key, const char *ip_key,
                    json_int_t port, char *buf, size_t size)
{
	const json_t *end = json_object_get(flow, end_key);
	const char *ip = get_text(json_object_get(flow, "IP"), ip_key);
	const char *pod = get_text(end, "pod_name");
	const bool v6 = !pod[0] && strchr(ip, ':');
	int n;

	if (pod[0])
		n = snprintf(buf, size, "%s/%s", get_text(end, "namespace"),
		             pod);
	else if (has_label(end, "reserved:host"))
		n = snprintf(buf, size, "host");
	else
		n = snprintf(buf, size, v6 && port ? "[%s]" : "%s",
		             ip[0] ? ip : "?");
	if (port && n >= 0 && (size_t)n < size)
		n += snprintf(buf + n, size - (size_t)n, ":%lld", port);
	return n;
}

static enum style verdict_style(const char *verdict)
{
	if (!strcmp(verdict, "DROPPED"))
		return STYLE_BAD;
	return strcmp(verdict, "AUDIT") != 0 ? STYLE_GOOD : STYLE_WARN;
}

/* A flow's end is no verdict. */
static const char *verdict_word(const json_t *flow)
{
	const json_t *value =
		json_object_get(json_object_get(flow, "extensions"), "value");

	if (!strcmp(get_text(value, "event"), "end"))
		return "ENDED";
	return get_text(flow, "verdict");
}

static const char *summary_of(const json_t *flow)
{
	const char *text = get_text(flow, "Summary");

	return !strncmp(text, "ended: ", 7) ? text + 7 : text;
}

static void print_below(FILE *out, const char *text, size_t width)
{
	const struct fill fill = {INDENT, INDENT, width};

	fprintf(out, "\n%*s", (int)INDENT, "");
	text_fill(out, text, &fill);
}

static void print_flow(FILE *out, const json_t *flow,
                       const struct table_style *style)
{
	const char *summary = summary_of(flow), *proto;
	const char *verdict = verdict_word(flow);
	const json_t *l4 = l4_of(flow, &proto);
	char when[TIME_MAX], from[HEAD_MAX / 2], to[HEAD_MAX / 2];
	size_t used;

	local_time(get_text(flow, "time"), when);
	end_text(flow, "source", "source", get_number(l4, "source_port"), from,
	         sizeof(from));
	end_text(flow, "destination", "destination",
	         get_number(l4, "destination_port"), to, sizeof(to));
	fprintf(out, "%s%s%s %s -> %s %s %s%s%s",
	        style_begin(STYLE_DIM, style->color), when,
	        style_end(STYLE_DIM, style->color), from, to, proto,
	        style_begin(verdict_style(verdict), style->color), verdict,
	        style_end(verdict_style(verdict), style->color));
	used = text_width(when) + text_width(from) + text_width(to) +
	       text_width(proto) + text_width(verdict) + strlen("  ->   ");
	if (summary[0] &&
	    (!style->width || used + 1 + text_width(summary) <= style->width))
		fprintf(out, " %s", summary);
	else if (summary[0])
		print_below(out, summary, style->width);
	fputc('\n', out);
}

void flow_line_print(FILE *out, const json_t *line,
                     const struct table_style *style)
{
	const json_t *flow = json_object_get(line, "flow");
	const json_t *lost = json_object_get(line, "lost_events");
	char when[TIME_MAX];

	if (flow)
		print_flow(out, flow, style);
	else if (lost)
		fprintf(out, "%s%s %s events are not shown: %s%s\n",
		        style_begin(STYLE_WARN, style->color),
		        local_time(get_text(line, "time"), when),
		        get_text(lost, "num_events_lost"),
		        strcmp(get_text(lost, "source"),
		               "HUBBLE_RING_BUFFER") != 0
		                ? "the kernel's ring was full, or drops came "
		                  "too fast"
		                : "they came faster than they were read",
		        style_end(STYLE_WARN, style->color));
}
