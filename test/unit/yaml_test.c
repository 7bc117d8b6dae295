// SPDX-License-Identifier: Apache-2.0
#include "daemon/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "test/test.h"

/* Compare as compact JSON, keys sorted. */
static void want(const char *name, json_t *got, const char *json)
{
	_cleanup_(free_p) char *text =
		json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);

	if (!text || strcmp(text, json))
		fail_msg("%s: %s, want %s", name, text ? text : "NULL", json);
}

static void scalars_are_read_as_kubernetes_reads_them(void **state)
{
	static const struct {
		const char *text, *json; /* NULL: refused */
	} cases[] = {
		{"80",                   "80"                   },
		{"-1",                   "-1"                   },
		{"+7",                   "7"                    },
		{"0x1F",                 "31"                   },
		{"0o17",                 "15"                   },
		{"017",                  "15"                   },
		{"0b101",                "5"                    },
		{"-0x10",                "-16"                  },
		{"08",                   "8"                    },
		{"1_000",                "1000"                 },
		{"80.0",                 "80"                   },
		{"8e1",                  "80"                   },
		{"1.5",                  "1.5"                  },
		{".5",                   "0.5"                  },
		{"5.",                   "5"                    },
		{"9223372036854775807",  "9223372036854775807"  },
		{"-9223372036854775808", "-9223372036854775808" },
		{"9223372036854775808",  "9.2233720368547758e18"},
		{"0x",                   "\"0x\""               },
		{"0x0x1",                "\"0x0x1\""            },
		{"0x-1",                 "\"0x-1\""             },
		{"--1",                  "\"--1\""              },
		{"1.2.3",                "\"1.2.3\""            },
		{"10.0.0.0/8",           "\"10.0.0.0/8\""       },
		{"1e",                   "\"1e\""               },
		{"1:30",                 "\"1:30\""             },
		{"2001-12-14",           "\"2001-12-14\""       },
		{"2001:db8::1",          "\"2001:db8::1\""      },
		{".",                    "\".\""                },
		{"-",                    NULL                   },
		{"true",                 "true"                 },
		{"True",                 "true"                 },
		{"tRUE",                 "\"tRUE\""             },
		{"yes",                  "true"                 },
		{"on",                   "true"                 },
		{"off",                  "false"                },
		{"n",                    "false"                },
		{"null",                 "null"                 },
		{"~",                    "null"                 },
		{"",		     "null"                 },
		{"\"yes\"",              "\"yes\""              },
		{"'80'",                 "\"80\""               },
		{"!!str 80",             "\"80\""               },
		{"! 80",                 "\"80\""               },
		{"!!int 80",             "80"                   },
		{"!!float 80",           "80"                   },
		{"!!null ~",             "null"                 },
		{"!!bool no",            "false"                },
		{"!!int web",            NULL                   },
		{"!!int \"80\"",         "80"                   },
		{"!!binary aGk=",        NULL                   },
		{"!mine x",              NULL                   },
		{".inf",                 NULL                   },
		{".NaN",                 NULL                   },
		{"\"a\\0b\"",            NULL                   },
		{"\"\\u00e4\"",          "\"\xc3\xa4\""         },
		{"|\n  two\n  lines\n",  "\"two\\nlines\\n\""   },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_decrefp) json_t *docs = NULL;
		struct err err = {};
		char text[128], json[128];
		int r;

		snprintf(text, sizeof(text), "v: %s", cases[i].text);
		r = yaml_load(text, strlen(text), &docs, &err);
		if (!cases[i].json) {
			if (r != -EINVAL || strncmp(err.text, "line 1: ", 8))
				fail_msg("%s: %d '%s'", text, r, err.text);
			continue;
		}
		if (r)
			fail_msg("%s: %d '%s'", text, r, err.text);
		snprintf(json, sizeof(json), "[{\"v\":%s}]", cases[i].json);
		want(text, docs, json);
	}
}

static void texts_become_documents(void **state)
{
	static const struct {
		const char *name, *text, *json;
	} cases[] = {
		{"nothing",            "",					   "[]"                     },
		{"a comment",          "# hi\n",                                     "[]"                     },
		{"two documents",      "a: 1\n---\nb: 2\n",                          "[{\"a\":1},{\"b\":2}]"  },
		{"empty ones between", "---\n---\na: 1\n---\n",                      "[{\"a\":1}]"            },
		{"ended by dots",      "a: 1\n...\n---\nb: 2\n...\n",
	         "[{\"a\":1},{\"b\":2}]"								      },
		{"flow style",         "{a: [1, {b: ~}], \"c\": {}}",
	         "[{\"a\":[1,{\"b\":null}],\"c\":{}}]"							},
		{"empty is null",      "a:\nb: []\n",                                "[{\"a\":null,\"b\":[]}]"},
		{"keys of numbers",    "1: a\ntrue: b\n0x10: c\n",
	         "[{\"1\":\"a\",\"16\":\"c\",\"true\":\"b\"}]"                                                },
		{"an alias",           "a: &x {k: 1}\nb: *x\n",
	         "[{\"a\":{\"k\":1},\"b\":{\"k\":1}}]"							},
		{"newest anchor",      "a: &x 1\nb: &x 2\nc: *x\n",
	         "[{\"a\":1,\"b\":2,\"c\":2}]"								},
		{"a merge",            "a: &x {k: 1, l: 1}\nb:\n  k: 2\n  <<: *x\n",
	         "[{\"a\":{\"k\":1,\"l\":1},\"b\":{\"k\":2,\"l\":1}}]"                                        },
		{"merge of several",   "b:\n  <<: [{k: 1}, {k: 2, m: 3}]\n",
	         "[{\"b\":{\"k\":1,\"m\":3}}]"								},
		{"a quoted <<",        "\"<<\": 1\n",                                "[{\"<<\":1}]"           },
		{"a JSON text",        "{\"a\": \"yes\", \"b\": [true]}",
	         "[{\"a\":\"yes\",\"b\":[true]}]"							     },
		{"directive",          "%YAML 1.2\n---\na: 1\n",                     "[{\"a\":1}]"            },
		{"not a mapping",      "- 1\n- 2\n",                                 "[[1,2]]"                },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_decrefp) json_t *docs = NULL;
		struct err err = {};

		if (yaml_load(cases[i].text, strlen(cases[i].text), &docs,
		              &err))
			fail_msg("%s: %s", cases[i].name, err.text);
		want(cases[i].name, docs, cases[i].json);
	}
}

static void bad_texts_are_refused_whole_with_their_line(void **state)
{
	static const struct {
		const char *name, *text, *says;
	} cases[] = {
		{"torn flow",      "a: {b: 1\n",            "line 2: "                       },
		{"a tab",          "a:\n\tb: 1\n",          "line 2: "                       },
		{"second is bad",  "a: 1\n---\nb: [\n",     "line 4: "                       },
		{"a key twice",    "a: 1\nb: 2\na: 3\n",
	         "line 3: the key 'a' a second time"                                         },
		{"1 and \"1\"",    "1: a\n\"1\": b\n",
	         "line 2: the key '1' a second time"                                         },
		{"unknown alias",  "a: *x\n",               "line 1: alias 'x' has no anchor"},
		{"itself",         "a: &x [*x]\n",          "line 1: alias 'x' has no anchor"},
		{"over documents", "a: &x 1\n---\nb: *x\n",
	         "line 3: alias 'x' has no anchor"                                           },
		{"a list as key",  "? [1]\n: 2\n",
	         "line 1: a key that is no scalar"                                           },
		{"null as key",    "~: 2\n",                "line 1: '~' as a key: quote it" },
		{"merge of text",  "<<: abc\n",             "line 1: '<<' needs a mapping"   },
		{"tagged list",    "a: !!set [1]\n",
	         "line 1: the tag 'set' is not understood"                                   },
		{"not UTF-8",      "a: \xff\xfe\xfd\n",     "line 1: "                       },
		{"control byte",   "a: \x01\n",             "line 1: "                       },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *docs = NULL;
		struct err err = {};
		int r = yaml_load(cases[i].text, strlen(cases[i].text), &docs,
		                  &err);

		if (r != -EINVAL || docs)
			fail_msg("%s: %d", cases[i].name, r);
		if (strncmp(err.text, cases[i].says, strlen(cases[i].says)))
			fail_msg("%s: '%s'", cases[i].name, err.text);
	}
}

static void every_truncation_and_flip_is_survived(void **state)
{
	static const char text[] =
		"a: &x {k: [1, 'two', \"th\\u0072ee\"]}\n<<: *x\n"
		"b: |\n  text\n---\n? c\n: !!str 4\n";
	char copy[sizeof(text)];

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		for (unsigned bit = 0; bit <= 8; bit++) {
			json_t *docs = NULL;
			struct err err = {};
			int r;

			memcpy(copy, text, sizeof(text));
			if (bit < 8)
				copy[i] ^= (char)(1u << bit);
			r = yaml_load(copy, bit < 8 ? sizeof(text) - 1 : i,
			              &docs, &err);
			if (!r != !!docs || !r != !err.text[0])
				fail_msg("byte %zu: %d '%s'", i, r, err.text);
			json_decref(docs);
		}
	}
}

static void depth_and_aliases_are_bounded(void **state)
{
	char deep[4096] = "a: ", laughs[4096] = "a0: &a0 [x,x,x,x,x,x,x,x]\n";
	json_t *docs = NULL;
	struct err err = {};

	(void)state;
	memset(deep + 3, '[', 200);
	assert_int_equal(yaml_load(deep, strlen(deep), &docs, &err), -E2BIG);
	assert_string_equal(err.text, "line 1: nested deeper than 64");
	memset(deep, '[', 200);
	memset(deep + 200, ']', 200);
	assert_int_equal(yaml_load_json(deep, 400, &docs, &err), -E2BIG);
	assert_string_equal(err.text, "nested deeper than 64");

	for (int i = 1; i < 30; i++) {
		size_t n = strlen(laughs);

		snprintf(laughs + n, sizeof(laughs) - n,
		         "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
		         i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	}
	assert_int_equal(yaml_load(laughs, strlen(laughs), &docs, &err),
	                 -E2BIG);
	assert_non_null(strstr(err.text, "aliases written out"));
	assert_int_equal(yaml_load("", (size_t)YAML_BYTES_MAX + 1, &docs, &err),
	                 -E2BIG);
	assert_null(docs);
}

static void json_texts_become_documents(void **state)
{
	static const struct {
		const char *name, *text, *json, *says;
	} cases[] = {
		{"one",          "{\"a\": 1}",               "[{\"a\":1}]",           NULL      },
		{"two",          "{\"a\": 1}\n{\"b\": 2}\n", "[{\"a\":1},{\"b\":2}]",
	         NULL									   },
		{"none",         " \n",                      "[]",                    NULL      },
		{"torn",         "{\"a\": 1",                NULL,                    "line 1: "},
		{"second torn",  "{\"a\": 1}\n\n{\"b\"",     NULL,                    "line 3: "},
		{"a key twice",  "{\"a\": 1, \"a\": 2}",     NULL,                    "line 1: "},
		{"a NUL",        "{\"a\": \"\\u0000\"}",     NULL,                    "line 1: "},
		{"a plain text", "hello",                    NULL,                    "line 1: "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_decrefp) json_t *docs = NULL;
		struct err err = {};
		int r = yaml_load_json(cases[i].text, strlen(cases[i].text),
		                       &docs, &err);

		if (!r != !cases[i].says)
			fail_msg("%s: %d '%s'", cases[i].name, r, err.text);
		if (!r)
			want(cases[i].name, docs, cases[i].json);
		else if (strncmp(err.text, cases[i].says,
		                 strlen(cases[i].says)))
			fail_msg("%s: '%s'", cases[i].name, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars_are_read_as_kubernetes_reads_them),
		cmocka_unit_test(texts_become_documents),
		cmocka_unit_test(bad_texts_are_refused_whole_with_their_line),
		cmocka_unit_test(every_truncation_and_flip_is_survived),
		cmocka_unit_test(depth_and_aliases_are_bounded),
		cmocka_unit_test(json_texts_become_documents),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
