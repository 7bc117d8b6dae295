// SPDX-License-Identifier: Apache-2.0
/* flow_json_test.c - events as Hubble's JSON, as sentences, and filtered. */
#include "test/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/flow_line.h"
#include "daemon/flow_filter.h"
#include "daemon/flow_json.h"
#include "daemon/intern.h"
#include "daemon/names.h"
#include "lib/addr.h"
#include "lib/util.h"

/* 2023-08-21T12:12:18.510175415Z */
#define WHEN_NS 1692619938510175415ull
#define WORLD   ID(CLASS_WORLD4, ID_SERIAL_PLAIN)
#define DB_ID   ID(CLASS_POD4, 16)

#define WEB                                     \
	"shop\nweb\n3\n16777233\nk8s:app=web\n" \
	"k8s:io.kubernetes.pod.namespace=shop"
#define DB                                    \
	"shop\ndb\n4\n16777232\nk8s:app=db\n" \
	"k8s:io.kubernetes.pod.namespace=shop"
#define OUTSIDE "\n\n0\n83886081\nreserved:world"
#define WHY                                                                  \
	"shop/db-only ingress[0] from pods with app=web of namespace shop, " \
	"on tcp 5432: differs in peer\n2\nshop/db-only\nshop/quiet"

static struct event packet(const char *from, int sport, const char *to,
                           int dport, uint8_t proto)
{
	struct event ev = {
		.time_ns = WHEN_NS,
		.type = EVENT_FLOW,
		.hook = HOOK_FROM_POD,
		.tuple = {.sport = htons((uint16_t)sport),
	                  .dport = htons((uint16_t)dport),
	                  .proto = proto},
		.ifindex = 12,
		.length = 60,
	};

	assert_int_equal(addr_parse(from, &ev.tuple.saddr), 0);
	assert_int_equal(addr_parse(to, &ev.tuple.daddr), 0);
	return ev;
}

static struct event denied(void)
{
	struct event ev =
		packet("10.0.0.9", 40000, "10.0.0.4", 5432, IPPROTO_TCP);

	ev.type = EVENT_DROP;
	ev.reason = DROP_POLICY_INGRESS;
	ev.tcp = 0x02;
	ev.endpoint[1] = 4;
	return ev;
}

static const char *at(const json_t *object, const char *path, char *buf,
                      size_t size)
{
	const json_t *value = object;
	char copy[128];

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *key = strtok(copy, "."); key; key = strtok(NULL, "."))
		value = json_is_array(value)
		                ? json_array_get(value, strtoul(key, NULL, 10))
		                : json_object_get(value, key);
	if (json_is_string(value))
		snprintf(buf, size, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(buf, size, "%lld", json_integer_value(value));
	else if (json_is_boolean(value))
		snprintf(buf, size, json_is_true(value) ? "true" : "false");
	else
		snprintf(buf, size, "%s", value ? "?" : "absent");
	return buf;
}

struct field {
	const char *path, *want;
};

static void check(const struct flow_view *view, const struct field *fields,
                  size_t n)
{
	json_t *line = flow_json(view);
	char have[600];

	assert_non_null(line);
	for (size_t i = 0; i < n; i++)
		if (strcmp(at(line, fields[i].path, have, sizeof(have)),
		           fields[i].want) != 0)
			fail_msg("%s is '%s', not '%s'", fields[i].path, have,
			         fields[i].want);
	json_decref(line);
}

static void a_denied_packet_is_hubbles_drop(void **state)
{
	const struct event ev = denied();
	const struct flow_view view = {
		.event = &ev,
		.node = "node-1",
		.who = {OUTSIDE, DB},
		.why = WHY
        };
	static const struct field fields[] = {
		{"time",			       "2023-08-21T12:12:18.510175415Z"},
		{"node_name",                          "node-1"                        },
		{"flow.time",                          "2023-08-21T12:12:18.510175415Z"},
		{"flow.verdict",                       "DROPPED"                       },
		{"flow.drop_reason",                   "133"                           },
		{"flow.drop_reason_desc",              "POLICY_DENIED"                 },
		{"flow.IP.source",                     "10.0.0.9"                      },
		{"flow.IP.destination",                "10.0.0.4"                      },
		{"flow.IP.ipVersion",                  "IPv4"                          },
		{"flow.l4.TCP.source_port",            "40000"                         },
		{"flow.l4.TCP.destination_port",       "5432"                          },
		{"flow.l4.TCP.flags.SYN",              "true"                          },
		{"flow.l4.TCP.flags.ACK",              "absent"                        },
		{"flow.source.identity",               "2"                             }, /* Hubble's world */
		{"flow.source.labels.0",               "reserved:world"                },
		{"flow.source.pod_name",               "absent"                        },
		{"flow.destination.ID",                "4"                             },
		{"flow.destination.namespace",         "shop"                          },
		{"flow.destination.pod_name",          "db"                            },
		{"flow.destination.identity",          "16777232"                      },
		{"flow.destination.labels.0",          "k8s:app=db"                    },
		{"flow.Type",                          "L3_L4"                         },
		{"flow.event_type.type",               "1"                             },
		{"flow.event_type.sub_type",           "133"                           },
		{"flow.traffic_direction",             "INGRESS"                       },
		{"flow.is_reply",                      "absent"                        },
		{"flow.interface.index",               "12"                            },
		{"flow.ingress_denied_by.0.name",      "db-only"                       },
		{"flow.ingress_denied_by.0.namespace", "shop"                          },
		{"flow.ingress_denied_by.0.kind",      "NetworkPolicy"                 },
		{"flow.ingress_denied_by.1.name",      "quiet"                         },
		{"flow.egress_denied_by",              "absent"                        },
		{"flow.extensions.@type",
	         "type.googleapis.com/google.protobuf.Struct"                          },
		{"flow.extensions.value.event",        "drop"                          },
		{"flow.extensions.value.reason",       "POLICY_INGRESS"                },
	};

	(void)state;
	check(&view, fields, ARRAY_SIZE(fields));
}

static void a_first_packet_names_the_rule_that_allowed_it(void **state)
{
	struct event ev = packet("fd00::3", 40000, "fd00::4", 53, IPPROTO_UDP);
	const struct flow_view view = {
		.event = &ev,
		.node = "node-1",
		.who = {WEB, DB},
		.rule = {[DIR_INGRESS] = "shop\ndb-only\n1"}
        };
	static const struct field fields[] = {
		{"flow.verdict",                        "FORWARDED"                       },
		{"flow.drop_reason",                    "absent"                          },
		{"flow.IP.ipVersion",                   "IPv6"                            },
		{"flow.l4.UDP.destination_port",        "53"                              },
		{"flow.ingress_allowed_by.0.name",      "db-only"                         },
		{"flow.ingress_allowed_by.0.namespace", "shop"                            },
		{"flow.egress_allowed_by",              "absent"                          },
		{"flow.trace_observation_point",        "TO_ENDPOINT"                     },
		{"flow.trace_reason",                   "NEW"                             },
		{"flow.event_type.type",                "4"                               },
		{"flow.is_reply",                       "false"                           },
		{"flow.traffic_direction",              "EGRESS"                          },
		{"flow.Summary",                        "ingress allowed by NetworkPolicy "
	                         "shop/db-only ingress[1]"},
		{"flow.extensions.value.length",        "60"                              },
	};

	(void)state;
	ev.endpoint[1] = 4;
	check(&view, fields, ARRAY_SIZE(fields));
}

static void an_end_carries_its_counts(void **state)
{
	struct event ev =
		packet("10.0.0.3", 40000, "10.0.0.4", 5432, IPPROTO_TCP);
	const struct flow_view view = {
		.event = &ev, .who = {WEB, DB}
        };
	static const struct field fields[] = {
		{"flow.verdict",                        "FORWARDED"         },
		{"flow.Summary",                        "ended: 12 packets, 1.5 kB there; 1 packet, "
	                         "60 B back"},
		{"flow.extensions.value.event",         "end"               },
		{"flow.extensions.value.packets",       "12"                },
		{"flow.extensions.value.bytes",         "1500"              },
		{"flow.extensions.value.reply_packets", "1"                 },
		{"flow.extensions.value.reply_bytes",   "60"                },
		{"flow.trace_reason",                   "absent"            },
	};

	(void)state;
	ev.type = EVENT_END;
	ev.count[0] = (struct flow_count){12, 1500};
	ev.count[1] = (struct flow_count){1, 60};
	check(&view, fields, ARRAY_SIZE(fields));
}

static void an_echo_is_told_from_its_answer_by_the_id(void **state)
{
	struct event ev = packet("10.0.0.3", 77, "10.0.0.4", 0, IPPROTO_ICMP);
	const struct flow_view view = {
		.event = &ev, .who = {WEB, DB}
        };
	static const struct field request[] = {
		{"flow.l4.ICMPv4.type", "8"}
        };
	static const struct field reply[] = {
		{"flow.l4.ICMPv4.type", "absent"}
        };

	(void)state;
	check(&view, request, 1);
	ev.tuple.sport = 0;
	ev.tuple.dport = htons(77);
	check(&view, reply, 1);
}

static void an_audited_packet_says_what_would_have_been(void **state)
{
	struct event ev = denied();
	const struct flow_view view = {
		.event = &ev,
		.who = {OUTSIDE, DB},
		.why = WHY,
		.audit = 1 + DIR_INGRESS
        };
	static const struct field fields[] = {
		{"flow.verdict",                  "AUDIT"  },
		{"flow.ingress_denied_by.0.name", "db-only"},
	};
	_cleanup_(free_p) char *summary = NULL;

	(void)state;
	ev.type = EVENT_FLOW;
	check(&view, fields, ARRAY_SIZE(fields));
	summary = flow_summary(&view);
	assert_non_null(strstr(summary, "would be dropped, ingress: shop/db"));
}

/* Every reason has a word of Hubble's, and its own sentence. */
static void every_drop_reason_is_told(void **state)
{
	(void)state;
	for (unsigned why = 1; why < DROP__COUNT; why++) {
		struct event ev = denied();
		const struct flow_view view = {
			.event = &ev, .who = {OUTSIDE, DB}
                };
		json_t *line;
		char have[200];

		ev.reason = (uint8_t)why;
		line = flow_json(&view);
		assert_string_not_equal(
			at(line, "flow.drop_reason_desc", have, sizeof(have)),
			"absent");
		assert_string_equal(at(line, "flow.extensions.value.reason",
		                       have, sizeof(have)),
		                    drop_name(why));
		assert_string_equal(at(line,
		                       "flow.extensions.value.reason_text",
		                       have, sizeof(have)),
		                    drop_text(why));
		json_decref(line);
	}
}

/* What the kernel writes may be anything: no crash, and an object. */
static void events_of_random_bytes_are_survived(void **state)
{
	unsigned seed = 7;

	(void)state;
	print_message("# seed %u\n", seed);
	for (int round = 0; round < 5000; round++) {
		struct event ev;
		const struct flow_view view = {
			.event = &ev,
			.node = "n",
			.who = {NULL, "x"},
			.why = round % 2 ? "" : "a\nb"
                };
		const struct table_style style = {.width = 100};
		char *text = NULL;
		size_t size;
		FILE *f = open_memstream(&text, &size);
		json_t *line;

		for (size_t i = 0; i < sizeof(ev); i++)
			((uint8_t *)&ev)[i] = (uint8_t)rand_r(&seed);
		ev.time_ns %= 4000000000ull * 1000000000ull;
		ev.type = (uint8_t)(ev.type % 5);
		line = flow_json(&view);
		assert_non_null(line);
		flow_line_print(f, line, &style);
		fclose(f);
		free(text);
		json_decref(line);
	}
}

/* ---- lines for people -----------------------------------------------------
 */

static char *printed(const struct flow_view *view, size_t width)
{
	const struct table_style style = {.width = width};
	json_t *line = flow_json(view);
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	flow_line_print(f, line, &style);
	fclose(f);
	json_decref(line);
	return text;
}

static void a_line_for_people_fits_the_screen(void **state)
{
	const struct event ev = denied();
	const struct flow_view view = {
		.event = &ev, .who = {OUTSIDE, DB},
                     .why = WHY
        };
	_cleanup_(free_p) char *text = NULL;
	_cleanup_(free_p) char *wide = NULL;
	size_t lines = 0;

	(void)state;
	setenv("TZ", "UTC", 1);
	text = printed(&view, 100);
	assert_memory_equal(text,
	                    "12:12:18.5 10.0.0.9:40000 -> shop/db:5432 tcp "
	                    "DROPPED\n  ingress: shop/db is isolated",
	                    60);
	wide = printed(&view, 0);
	assert_ptr_equal(strchr(wide, '\n'), wide + strlen(wide) - 1);
	assert_non_null(strstr(wide, "no rule allows it (isolated by "
	                             "NetworkPolicy shop/db-only, shop/quiet; "
	                             "nearest: shop/db-only ingress[0]"));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		assert_in_range(text_width(line), 1, 100);
		lines++;
	}
	assert_true(lines >= 2);
}

static void a_short_reason_stays_on_the_line(void **state)
{
	struct event ev = denied();
	const struct flow_view view = {
		.event = &ev, .who = {OUTSIDE, DB}
        };
	_cleanup_(free_p) char *text = NULL;

	(void)state;
	setenv("TZ", "UTC", 1);
	ev.reason = DROP_TTL;
	text = printed(&view, 100);
	assert_string_equal(
		text, "12:12:18.5 10.0.0.9:40000 -> shop/db:5432 tcp "
		      "DROPPED from_pod: the packet has lived its hops\n");
}

/* ---- filters --------------------------------------------------------------
 */

static void filters_are_hubbles(void **state)
{
	static const struct {
		const char *filter;
		bool match;
	} cases[] = {
		{"{}",					 true },
		{"{'from_pod': ['shop/web']}",                 true },
		{"{'from_pod': ['shop/db']}",                  false},
		{"{'from_pod': ['web']}",                      true },
		{"{'from_pod': ['shop/']}",                    true },
		{"{'from_pod': ['sho/']}",                     false},
		{"{'from_pod': ['shop/we']}",                  true },
		{"{'to_pod': ['shop/db']}",                    true },
		{"{'pod': ['shop/db']}",                       true },
		{"{'pod': ['other/db', 'shop/web']}",          true },
		{"{'pod': ['other/db']}",                      false},
		{"{'namespace': ['shop']}",                    true },
		{"{'namespace': ['sho']}",                     false},
		{"{'ip': ['10.0.0.3']}",                       true },
		{"{'ip': ['10.0.0.0/24']}",                    true },
		{"{'ip': ['10.0.1.0/24']}",                    false},
		{"{'ip': ['fd00::/8']}",                       false},
		{"{'port': ['5432']}",                         true },
		{"{'port': ['40000']}",                        true },
		{"{'port': ['1']}",                            false},
		{"{'protocol': ['tcp']}",                      true },
		{"{'protocol': ['TCP']}",                      true },
		{"{'protocol': ['udp', 'icmp']}",              false},
		{"{'verdict': ['dropped']}",                   false},
		{"{'verdict': ['FORWARDED', 'DROPPED']}",      true },
		{"{'port': ['5432'], 'verdict': ['DROPPED']}", false},
	};
	const struct event ev =
		packet("10.0.0.3", 40000, "10.0.0.4", 5432, IPPROTO_TCP);
	const struct flow_view view = {
		.event = &ev, .who = {WEB, DB}
        };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct flow_filter *filter = NULL;
		struct err err = {};
		char text[200];
		json_t *doc;

		snprintf(text, sizeof(text), "%s", cases[i].filter);
		for (char *c = text; *c; c++)
			if (*c == '\'')
				*c = '"';
		doc = json_loads(text, 0, NULL);
		if (flow_filter_new(doc, &filter, &err))
			fail_msg("%s: %s", cases[i].filter, err.text);
		json_decref(doc);
		if (flow_filter_match(filter, &view) != cases[i].match)
			fail_msg("%s", cases[i].filter);
		flow_filter_free(filter);
	}
}

static void filters_that_make_no_sense_are_refused(void **state)
{
	static const char *const bad[][2] = {
		{"ip",       "10.0.0.300"},
                {"port",     "65536"     },
                {"port",     "http"      },
		{"protocol", "tcpp"      },
                {"verdict",  "MAYBE"     },
                {"pod",      ""          },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *doc = json_pack("{s:[s]}", bad[i][0], bad[i][1]);
		struct flow_filter *filter = NULL;
		struct err err = {};

		assert_int_equal(flow_filter_new(doc, &filter, &err), -EINVAL);
		assert_null(filter);
		assert_non_null(strstr(err.text, bad[i][0]));
		json_decref(doc);
	}
}

/* ---- names -----------------------------------------------------------------
 */

static void equal_texts_are_stored_once(void **state)
{
	struct intern intern = {};
	struct text *a = intern_get(&intern, "shop\nweb", 8);
	const size_t one = intern.bytes;
	struct text *b = intern_get(&intern, "shop\nweb!", 8);
	struct text *c = intern_get(&intern, "shop\ndb", 7);

	(void)state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	intern_drop(&intern, c);
	assert_int_equal(intern.bytes, one);
	intern_drop(&intern, a);
	assert_string_equal(b->s, "shop\nweb");
	intern_drop(&intern, b);
	assert_int_equal(intern.bytes, 0);
	intern_drop(&intern, NULL);
	intern_close(&intern);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_denied_packet_is_hubbles_drop),
		cmocka_unit_test(a_first_packet_names_the_rule_that_allowed_it),
		cmocka_unit_test(an_end_carries_its_counts),
		cmocka_unit_test(an_echo_is_told_from_its_answer_by_the_id),
		cmocka_unit_test(an_audited_packet_says_what_would_have_been),
		cmocka_unit_test(every_drop_reason_is_told),
		cmocka_unit_test(events_of_random_bytes_are_survived),
		cmocka_unit_test(a_line_for_people_fits_the_screen),
		cmocka_unit_test(a_short_reason_stays_on_the_line),
		cmocka_unit_test(filters_are_hubbles),
		cmocka_unit_test(filters_that_make_no_sense_are_refused),
		cmocka_unit_test(equal_texts_are_stored_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
