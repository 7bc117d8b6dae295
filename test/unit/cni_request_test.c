// SPDX-License-Identifier: Apache-2.0
#include "daemon/cni_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/util.h"
#include "test/test.h"

/* A good request of cni.add; a case changes one field of it. */
static json_t *good(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:[s, s], s:i, "
	                 "s:i, s:s}",
	                 "container_id", "c0ffee", "ifname", "eth0", "netns",
	                 "/run/netns/x", "host_ifname", "stl0123456789ab",
	                 "network", "stile", "pod_namespace", "shop",
	                 "pod_name", "web-1", "ips", "10.0.0.5/24", "fd00::5",
	                 "ifindex", 7, "mtu", 1400, "mac", "02:00:00:00:00:01");
}

static void a_good_request_is_read(void **state)
{
	_cleanup_(json_decrefp) json_t *json = good();
	struct cni_request request = {};
	char text[ADDR_TEXT_MAX];
	struct err err = {};

	(void)state;
	if (cni_request_parse(json, true, &request, &err))
		fail_msg("%s", err.text);
	assert_string_equal(request.container_id, "c0ffee");
	assert_string_equal(request.netns, "/run/netns/x");
	assert_string_equal(request.network, "stile");
	assert_string_equal(request.pod_ns, "shop");
	assert_int_equal(request.ifindex, 7);
	assert_int_equal(request.mtu, 1400);
	assert_int_equal(request.mac[5], 1);
	assert_int_equal(request.n_addrs, 2);
	assert_string_equal(addr_format(&request.addr[FAMILY_V4], text),
	                    "10.0.0.5");
	assert_string_equal(addr_format(&request.addr[FAMILY_V6], text),
	                    "fd00::5");
}

static void what_may_be_absent_may_be_null(void **state)
{
	static const char *const optional[] = {"network", "pod_namespace",
	                                       "pod_name", "ips", "mtu"};
	_cleanup_(json_decrefp) json_t *json = good();
	struct cni_request request = {};
	struct err err = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
		json_object_set_new(json, optional[i],
		                    i % 2 ? json_null() : NULL);
	json_object_del(json, "network");
	json_object_del(json, "pod_name");
	json_object_del(json, "mtu");
	if (cni_request_parse(json, true, &request, &err))
		fail_msg("%s", err.text);
	assert_string_equal(request.pod_ns, "");
	assert_int_equal(request.n_addrs, 0);
	assert_int_equal(request.mtu, 0);
}

static void bad_fields_get_their_code_and_a_sentence(void **state)
{
	static const struct {
		const char *field, *value; /* JSON; NULL: removed */
		int code;
		const char *says;
	} cases[] = {
		{"container_id",  NULL,                           4, "container_id is missing"             },
		{"container_id",  "\"\"",                         4, "container_id is missing"             },
		{"container_id",  "7",                            4, "container_id is missing"             },
		{"container_id",  "\"../../etc\"",                4,
	         "container_id '../../etc' is not allowed"                                                 },
		{"container_id",  "\".hidden\"",                  4, "is not allowed"                      },
		{"container_id",  "\"a/b\"",                      4, "is not allowed"                      },
		{"container_id",  "\"a:b\"",                      4, "is not allowed"                      },
		{"container_id",  "\"a b\"",                      4, "is not allowed"                      },
		{"container_id",  "\"\\u00e4\"",                  4, "is not allowed"                      },
		{"ifname",        NULL,                           4, "ifname is missing"                   },
		{"ifname",        "\"..\"",                       4, "ifname '..' is not allowed"          },
		{"ifname",        "\"a/b\"",                      4, "is not allowed"                      },
		{"ifname",        "\"a b\"",                      4, "is not allowed"                      },
		{"ifname",        "\"eth0\\n\"",                  4, "is not allowed"                      },
		{"ifname",        "\"sixteen-bytes-xx\"",         4, "is not allowed"                      },
		{"netns",         NULL,                           4, "netns is missing"                    },
		{"netns",         "\"run/netns/x\"",              4, "is not allowed"                      },
		{"netns",         "\"/run/\\u0001\"",             4, "is not allowed"                      },
		{"host_ifname",   "\"../x\"",                     4, "is not allowed"                      },
		{"host_ifname",   NULL,                           4, "host_ifname is missing"              },
		{"network",       "5",                            7, "network is no name"                  },
		{"network",       "\"a\\u0007\"",                 7, "network is no name"                  },
		{"pod_name",      NULL,                           7, "go together"                         },
		{"pod_namespace", "\"\"",                         7, "go together"                         },
		{"pod_namespace", "[]",                           7, "is no text"                          },
		{"pod_namespace", "\"Shop\"",                     7, "'Shop' is no namespace"              },
		{"pod_namespace", "\"a.b\"",                      7, "is no namespace"                     },
		{"pod_namespace", "\"../x\"",                     7, "is no namespace"                     },
		{"pod_name",      "\"web_1\"",                    7, "'web_1' is no name of a pod"         },
		{"pod_name",      "\"a/b\"",                      7, "is no name of a pod"                 },
		{"mac",           NULL,                           7, "mac '' is no address"                },
		{"mac",           "\"02:00:00:00:00\"",           7, "is no address"                       },
		{"mac",           "\"00:00:00:00:00:00\"",        7, "is no device's own"                  },
		{"mac",           "\"01:00:5e:00:00:01\"",        7, "is no device's own"                  },
		{"mac",           "\"ff:ff:ff:ff:ff:ff\"",        7, "is no device's own"                  },
		{"ips",           "\"10.0.0.5\"",                 7, "ips is no list"                      },
		{"ips",           "[5]",                          7, "ips: '' is no address"               },
		{"ips",           "[\"10.0.0\"]",                 7, "ips: '10.0.0' is no address"         },
		{"ips",           "[\"10.0.0.5/33\"]",            7, "is no address"                       },
		{"ips",           "[\"::ffff:10.0.0.5\"]",        7, "is no address"                       },
		{"ips",           "[\"10.0.0.5\", \"10.0.0.6\"]", 7, "a second one"                        },
		{"ips",           "[\"0.0.0.0\"]",                7, "can be no pod's"                     },
		{"ips",           "[\"127.0.0.1\"]",              7, "can be no pod's"                     },
		{"ips",           "[\"169.254.1.1\"]",            7, "can be no pod's"                     },
		{"ips",           "[\"224.0.0.1\"]",              7, "can be no pod's"                     },
		{"ips",           "[\"255.255.255.255\"]",        7, "can be no pod's"                     },
		{"ips",           "[\"::1\"]",                    7, "can be no pod's"                     },
		{"ips",           "[\"::\"]",                     7, "can be no pod's"                     },
		{"ips",           "[\"fe80::1\"]",                7, "can be no pod's"                     },
		{"ips",           "[\"ff02::1\"]",                7, "can be no pod's"                     },
		{"ifindex",       NULL,                           7, "ifindex is no number"                },
		{"ifindex",       "0",                            7, "ifindex is no number"                },
		{"ifindex",       "-1",                           7, "ifindex is no number"                },
		{"ifindex",       "4294967296",                   7, "ifindex is no number"                },
		{"ifindex",       "\"7\"",                        7, "ifindex is no number"                },
		{"ifindex",       "7.5",                          7, "ifindex is no number"                },
		{"mtu",           "100",                          7, "mtu is no number from 576 to 65535"  },
		{"mtu",           "65536",                        7, "mtu is no number"                    },
		{"mtu",           "-1500",                        7, "mtu is no number"                    },
		{"mtu",           "\"1500\"",                     7, "mtu is no number"                    },
		{"mtu",           "1000",                         7, "mtu 1000 is below IPv6's least, 1280"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_decrefp) json_t *json = good();
		struct cni_request request = {};
		struct err err = {};
		int r;

		if (cases[i].value)
			json_object_set_new(json, cases[i].field,
			                    json_loads(cases[i].value,
			                               JSON_DECODE_ANY, NULL));
		else
			json_object_del(json, cases[i].field);
		r = cni_request_parse(json, true, &request, &err);
		if (r != cases[i].code || !strstr(err.text, cases[i].says))
			fail_msg("%s = %s: %d '%s'", cases[i].field,
			         cases[i].value ? cases[i].value : "(none)", r,
			         err.text);
	}
}

static void long_texts_are_refused(void **state)
{
	static const struct {
		const char *field;
		size_t longest;
		int code;
		char fill;
	} cases[] = {
		{"container_id",  129, 4, 'a'},
                {"ifname",        15,  4, 'a'},
		{"host_ifname",   15,  4, 'a'},
                {"netns",         255, 4, '/'},
		{"network",       129, 7, 'a'},
                {"pod_namespace", 63,  7, 'a'},
		{"pod_name",      253, 7, 'a'},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t more = 0; more < 2; more++) {
			_cleanup_(json_decrefp) json_t *json = good();
			const size_t len = cases[i].longest + more;
			struct cni_request request = {};
			struct err err = {};
			char text[300] = "";
			int r;

			memset(text, cases[i].fill, len);
			/* A DNS name's parts have 63 at most. */
			for (size_t at = 60; at < len && len > 130; at += 60)
				if (cases[i].fill != '/')
					text[at] = '.';
			json_object_set_new(json, cases[i].field,
			                    json_string(text));
			r = cni_request_parse(json, true, &request, &err);
			if (r != (more ? cases[i].code : 0))
				fail_msg("%s of %zu: %d '%s'", cases[i].field,
				         len, r, err.text);
		}
}

static void requests_that_are_no_objects_are_refused(void **state)
{
	static const char *const texts[] = {"[]", "7", "null", "\"x\"", "{}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(json_decrefp) json_t *json =
			json_loads(texts[i], JSON_DECODE_ANY, NULL);
		struct cni_request request = {};
		struct err err = {};

		assert_int_equal(cni_request_key(json, &request, &err), 4);
		assert_int_equal(cni_request_parse(json, true, &request, &err),
		                 4);
	}
}

static void check_needs_no_more_than_it_asks_for(void **state)
{
	_cleanup_(json_decrefp) json_t *json = good();
	struct cni_request request = {};
	struct err err = {};

	(void)state;
	json_object_del(json, "netns");
	json_object_del(json, "ifindex");
	if (cni_request_parse(json, false, &request, &err))
		fail_msg("%s", err.text);
	json_object_del(json, "mac");
	assert_int_equal(cni_request_parse(json, false, &request, &err), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_request_is_read),
		cmocka_unit_test(what_may_be_absent_may_be_null),
		cmocka_unit_test(bad_fields_get_their_code_and_a_sentence),
		cmocka_unit_test(long_texts_are_refused),
		cmocka_unit_test(requests_that_are_no_objects_are_refused),
		cmocka_unit_test(check_needs_no_more_than_it_asks_for),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
