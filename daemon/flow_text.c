// SPDX-License-Identifier: Apache-2.0
/* flow_text.c - an event in one sentence: see flow_json.h. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/flow_json.h"
#include "daemon/names.h"
#include "lib/addr.h"
#include "lib/util.h"

#define NS_PER_S 1000000000ull

/* ---- packed texts -------------------------------------------------------- */

bool packed_next(const char **at, const char **ret, size_t *ret_len)
{
	const char *end;

	if (!*at)
		return false;
	end = strchrnul(*at, '\n');
	*ret = *at;
	*ret_len = (size_t)(end - *at);
	*at = *end ? end + 1 : NULL;
	return true;
}

const char *packed_get(const char *packed, unsigned n, char *buf, size_t size)
{
	const char *field;
	size_t len;

	buf[0] = '\0';
	while (packed_next(&packed, &field, &len)) {
		if (n--)
			continue;
		snprintf(buf, size, "%.*s", (int)len, field);
		break;
	}
	return buf;
}

/* ---- words --------------------------------------------------------------- */

const char *time_format(uint64_t wall_ns, char buf[TIME_TEXT_MAX])
{
	const time_t seconds = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(buf, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, TIME_TEXT_MAX - n, ".%09uZ",
	         (unsigned)(wall_ns % NS_PER_S));
	return buf;
}

const char *flow_verdict(const struct flow_view *view)
{
	if (view->event->type == EVENT_DROP)
		return "DROPPED";
	return view->audit ? "AUDIT" : "FORWARDED";
}

int flow_direction(const struct flow_view *view)
{
	const struct event *ev = view->event;

	if (ev->type == EVENT_DROP && ev->reason == DROP_POLICY_INGRESS)
		return DIR_INGRESS;
	if (ev->type == EVENT_DROP && ev->reason == DROP_POLICY_EGRESS)
		return DIR_EGRESS;
	switch (ev->hook) {
	case HOOK_FROM_POD:
	case HOOK_TO_NET:
	case HOOK_TO_TUNNEL:
		return DIR_EGRESS;
	case HOOK_TO_POD:
	case HOOK_FROM_NET:
	case HOOK_FROM_TUNNEL:
		return DIR_INGRESS;
	default:
		return -1;
	}
}

/* "shop/db", or the address of that end. */
static void print_end(FILE *f, const struct flow_view *view, int end)
{
	const struct flow_tuple *t = &view->event->tuple;
	char ns[64], pod[256], text[ADDR_TEXT_MAX];

	packed_get(view->who[end], WHO_NS, ns, sizeof(ns));
	packed_get(view->who[end], WHO_POD, pod, sizeof(pod));
	if (pod[0])
		fprintf(f, "%s/%s", ns, pod);
	else
		fputs(addr_format(end ? &t->daddr : &t->saddr, text), f);
}

/* " (isolated by NetworkPolicy a, b; nearest: …)" */
static void print_why(FILE *f, const char *why)
{
	const char *at = why, *field;
	char nearest[512], total[16];
	unsigned named = 0;
	size_t len;

	packed_get(why, WHY_NEAREST, nearest, sizeof(nearest));
	packed_get(why, WHY_TOTAL, total, sizeof(total));
	if (!total[0])
		return;
	fputs(" (isolated by NetworkPolicy", f);
	for (unsigned n = 0; packed_next(&at, &field, &len); n++)
		if (n >= WHY_POLICIES)
			fprintf(f, "%s %.*s", named++ ? "," : "", (int)len,
			        field);
	if (named < strtoul(total, NULL, 10))
		fprintf(f, " and %lu more", strtoul(total, NULL, 10) - named);
	fprintf(f, "%s%s)", nearest[0] ? "; nearest: " : "", nearest);
}

static void print_policy_drop(FILE *f, const struct flow_view *view)
{
	const int dir =
		view->audit ? (int)view->audit - 1 : flow_direction(view);

	fprintf(f, "%s%s: ", view->audit ? "would be dropped, " : "",
	        dir_name((unsigned)dir));
	print_end(f, view, dir == DIR_EGRESS ? 0 : 1);
	fputs(" is isolated and no rule allows it", f);
	print_why(f, view->why);
}

static void print_bytes(FILE *f, uint64_t bytes)
{
	static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
	double n = (double)bytes;
	size_t i = 0;

	for (; n >= 999.95 && i + 1 < ARRAY_SIZE(unit); i++)
		n /= 1000;
	fprintf(f, i ? "%.1f %s" : "%.0f %s", n, unit[i]);
}

static void print_count(FILE *f, const struct flow_count *count)
{
	fprintf(f, "%llu packet%s, ", (unsigned long long)count->packets,
	        count->packets == 1 ? "" : "s");
	print_bytes(f, count->bytes);
}

static void print_end_event(FILE *f, const struct event *ev)
{
	fputs("ended: ", f);
	print_count(f, &ev->count[0]);
	fputs(" there; ", f);
	print_count(f, &ev->count[1]);
	fputs(" back", f);
}

static void print_allowed(FILE *f, const struct flow_view *view)
{
	const char *before = "";

	for (int dir = DIR__COUNT - 1; dir >= 0; dir--) {
		char ns[64], name[256], index[24];

		if (!view->rule[dir] || !view->rule[dir][0])
			continue;
		packed_get(view->rule[dir], 0, ns, sizeof(ns));
		packed_get(view->rule[dir], 1, name, sizeof(name));
		packed_get(view->rule[dir], 2, index, sizeof(index));
		fprintf(f, "%s%s allowed by NetworkPolicy %s/%s %s[%s]", before,
		        dir_name((unsigned)dir), ns, name,
		        dir_name((unsigned)dir), index);
		before = "; ";
	}
}

/* What was asked for, when that was a service. */
static void print_service(FILE *f, const struct flow_view *view)
{
	const struct event *ev = view->event;
	char addr[ADDR_TEXT_MAX];

	if (addr_is_zero(&ev->vip))
		return;
	fprintf(f, "%sby service %s%s%s port %u", ftell(f) > 0 ? "; " : "",
	        view->service ? view->service : "", view->service ? ", " : "",
	        addr_format(&ev->vip, addr), ntohs(ev->vip_port));
}

static bool is_policy_drop(const struct event *ev)
{
	return ev->type == EVENT_DROP && (ev->reason == DROP_POLICY_INGRESS ||
	                                  ev->reason == DROP_POLICY_EGRESS);
}

char *flow_summary(const struct flow_view *view)
{
	const struct event *ev = view->event;
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	if (is_policy_drop(ev) || view->audit)
		print_policy_drop(f, view);
	else if (ev->type == EVENT_DROP)
		fprintf(f, "%s: %s", hook_name(ev->hook),
		        drop_text(ev->reason));
	else if (ev->type == EVENT_END)
		print_end_event(f, ev);
	else
		print_allowed(f, view);
	print_service(f, view);
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}
