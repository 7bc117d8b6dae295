// SPDX-License-Identifier: Apache-2.0
/* cni_result_test.c - results read and written, releases queued. */
#include "cni/result.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni/queue.h"
#include "lib/util.h"
#include "test/test.h"

static void addresses_of_a_result_are_read(void **state)
{
	static const struct {
		const char *name, *text, *ifname;
		int r;
		const char *v4, *v6;
	} cases[] = {
		{"none",            "{}",											NULL,   0,       NULL,          NULL        },
		{"null",            "{'ips':null}",									      NULL,   0,       NULL,          NULL        },
		{"both",
	         "{'ips':[{'address':'10.0.0.5/24'},{'address':'fd00::5/64'}]}",	                                         NULL,   0,       "10.0.0.5/24", "fd00::5/64"},
		{"two of one",
	         "{'ips':[{'address':'10.0.0.5/24'},{'address':'10.0.0.6/24'}]}",
	         NULL,														   -E2BIG,  NULL,          NULL        },
		{"no length",       "{'ips':[{'address':'10.0.0.5'}]}",                                                          NULL,   -EINVAL,
	         NULL,																	   NULL        },
		{"long length",     "{'ips':[{'address':'10.0.0.5/33'}]}",                                                       NULL,
	         -EINVAL,															 NULL,          NULL        },
		{"IPv6 length",     "{'ips':[{'address':'fd00::5/129'}]}",                                                       NULL,
	         -EINVAL,															 NULL,          NULL        },
		{"signed length",   "{'ips':[{'address':'10.0.0.5/+8'}]}",                                                       NULL,
	         -EINVAL,															 NULL,          NULL        },
		{"tail",            "{'ips':[{'address':'10.0.0.5/24x'}]}",                                                      NULL,   -EINVAL,
	         NULL,																	   NULL        },
		{"mapped",          "{'ips':[{'address':'::ffff:10.0.0.5/128'}]}",                                               NULL,
	         -EINVAL,															 NULL,          NULL        },
		{"number",          "{'ips':[{'address':5}]}",								   NULL,   -EINVAL, NULL,
	         NULL																			},
		{"no object",       "{'ips':[5]}",									       NULL,   -EINVAL, NULL,          NULL        },
		{"no list",         "{'ips':{}}",										NULL,   -EINVAL, NULL,          NULL        },
		{"of ours",
	         "{'interfaces':[{'name':'h'},{'name':'eth0','sandbox':'/n'}],'ips':[{'address':'10.0.0.5/24','interface':1}]}",
	         "eth0",														 0,       "10.0.0.5/24", NULL        },
		{"of another",
	         "{'interfaces':[{'name':'h'},{'name':'eth0','sandbox':'/n'}],'ips':[{'address':'10.0.0.5/24','interface':0}]}",
	         "eth0",														 0,       NULL,          NULL        },
		{"of nobody",       "{'ips':[{'address':'10.0.0.5/24'}]}",                                                       "eth0", 0,
	         "10.0.0.5/24",																  NULL        },
		{"of none said",
	         "{'ips':[{'address':'10.0.0.5/24','interface':-1}]}",                                                           "eth0",
	         0,															       "10.0.0.5/24", NULL        },
		{"beyond the list",
	         "{'interfaces':[{'name':'eth0','sandbox':'/n'}],'ips':[{'address':'10.0.0.5/24','interface':7}]}",
	         "eth0",														 0,       NULL,          NULL        },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(free_p) char *text = strdup(cases[i].text);
		struct result_ips ips;
		struct err err = {};
		json_t *json;
		int r;

		for (char *c = text; *c; c++)
			*c = *c == '\'' ? '"' : *c;
		json = json_loads(text, 0, NULL);
		assert_non_null(json);
		r = result_read_ips(json, cases[i].ifname, &ips, &err);
		if (r != cases[i].r)
			fail_msg("%s: %d (%s)", cases[i].name, r, err.text);
		if (!r && (ips.has[FAMILY_V4] != !!cases[i].v4 ||
		           ips.has[FAMILY_V6] != !!cases[i].v6 ||
		           (cases[i].v4 &&
		            strcmp(cases[i].v4, ips.text[FAMILY_V4]) != 0)))
			fail_msg("%s: %s", cases[i].name, ips.text[FAMILY_V4]);
		json_decref(json);
	}
}

static struct attachment made(void)
{
	struct attachment at = {.host_ifname = "stl0", .mtu = 1450};

	addr_parse("10.0.0.5", &at.ip[FAMILY_V4]);
	addr_parse("169.254.1.1", &at.gateway[FAMILY_V4]);
	addr_parse("fd00::5", &at.ip[FAMILY_V6]);
	addr_parse("fe80::1", &at.gateway[FAMILY_V6]);
	at.has[FAMILY_V4] = at.has[FAMILY_V6] = true;
	return at;
}

static void each_version_has_its_own_keys(void **state)
{
	const struct attachment at = made();

	(void)state;
	for (int v = 0; v < CNI__COUNT; v++) {
		const struct conf conf = {.version = (enum cni_version)v,
		                          .ifname = "eth0",
		                          .netns = "/n"};
		json_t *result = result_new(&conf, &at, NULL);
		const json_t *ip =
			json_array_get(json_object_get(result, "ips"), 1);
		const json_t *pod = json_array_get(
			json_object_get(result, "interfaces"), 1);

		assert_string_equal(json_string_value(json_object_get(
					    result, "cniVersion")),
		                    cni_version_text[v]);
		assert_string_equal(
			json_string_value(json_object_get(ip, "address")),
			"fd00::5/128");
		assert_int_equal(
			json_integer_value(json_object_get(ip, "interface")),
			1);
		assert_int_equal(!!json_object_get(ip, "version"),
		                 v < CNI_1_0_0);
		assert_int_equal(!!json_object_get(pod, "mtu"), v >= CNI_1_1_0);
		assert_true(json_is_object(json_object_get(result, "dns")));
		json_decref(result);
	}
}

static void an_earlier_result_is_added_to(void **state)
{
	const struct attachment at = made();
	struct conf conf = {
		.version = CNI_1_1_0, .ifname = "eth0", .netns = "/n"};
	json_t *prev = json_pack("{s:[{s:s}],s:[{s:s,s:i}],s:{s:[s]},s:i}",
	                         "interfaces", "name", "lo9", "ips", "address",
	                         "192.0.2.9/24", "interface", 0, "dns",
	                         "nameservers", "192.0.2.53", "x", 7);
	json_t *before = json_deep_copy(prev);
	json_t *result;

	(void)state;
	conf.prev = prev;
	result = result_new(&conf, &at, NULL);
	assert_int_equal(json_array_size(json_object_get(result, "interfaces")),
	                 3);
	assert_int_equal(json_array_size(json_object_get(result, "ips")), 3);
	assert_int_equal(
		json_integer_value(json_object_get(
			json_array_get(json_object_get(result, "ips"), 1),
			"interface")),
		2);
	assert_true(json_equal(json_object_get(result, "dns"),
	                       json_object_get(prev, "dns")));
	assert_int_equal(json_integer_value(json_object_get(result, "x")), 7);
	assert_true(json_equal(prev, before)); /* it is not ours to change */
	json_decref(result);
	json_decref(prev);
	json_decref(before);
}

static void a_chained_result_is_passed_on_as_it_is(void **state)
{
	struct attachment at = made();
	struct conf conf = {
		.version = CNI_1_0_0, .ifname = "eth0", .netns = "/n"};
	json_t *prev = json_pack("{s:s,s:[{s:s}],s:{}}", "cniVersion", "1.0.0",
	                         "ips", "address", "192.0.2.9/24", "dns");
	json_t *result;

	(void)state;
	at.chained = true;
	conf.prev = prev;
	result = result_new(&conf, &at, NULL);
	assert_true(json_equal(result, prev));
	json_decref(result);
	json_decref(prev);
}

static void an_error_survives_any_text(void **state)
{
	const struct conf conf = {.said = "0.4.0"}, odd = {.said = "9.9"};
	json_t *error = result_error(&conf, CNI_ENV, "bad \xff\xc3 \n'x'");

	(void)state;
	assert_non_null(error);
	assert_string_equal(json_string_value(json_object_get(error, "msg")),
	                    "bad ?? ?'x'");
	assert_string_equal(
		json_string_value(json_object_get(error, "cniVersion")),
		"0.4.0");
	json_decref(error);
	error = result_error(&odd, CNI_VERSION, "x");
	assert_string_equal(
		json_string_value(json_object_get(error, "cniVersion")),
		"1.1.0");
	json_decref(error);
}

static void macs_are_read_and_written(void **state)
{
	static const char *const bad[] = {
		"",
		"ee:ee:ee:ee:ee",
		"ee:ee:ee:ee:ee:ee:ee",
		"eeeeeeeeeeee",
		"ee:ee:ee:ee:ee:gg",
		"ee-ee-ee-ee-ee-ee",
		" ee:ee:ee:ee:ee:e",
	};
	char text[MAC_TEXT_MAX];
	uint8_t mac[MAC_LEN];

	(void)state;
	assert_int_equal(mac_parse("02:00:5e:10:0a:ff", mac), 0);
	assert_string_equal(mac_format(mac, text), "02:00:5e:10:0a:ff");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (mac_parse(bad[i], mac) != -EINVAL)
			fail_msg("'%s'", bad[i]);
}

static void a_release_is_queued_and_taken_back(void **state)
{
	char dir[] = "/tmp/queue-XXXXXX", path[64];
	struct err err = {};
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(queue_add(dir, "c1", "eth0", "stl0123", &err), 0);
	assert_int_equal(queue_add(dir, "c1", "eth0", "stl0123", &err), 0);
	snprintf(path, sizeof(path), "%s/del-queue/stl0123", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	queue_remove(dir, "stl0123");
	assert_int_equal(stat(path, &st), -1);
	queue_remove(dir, "stl0123"); /* nothing to do is fine */
	snprintf(path, sizeof(path), "%s/del-queue", dir);
	assert_int_equal(rmdir(path), 0); /* no draft was left either */
	assert_int_equal(rmdir(dir), 0);
	queue_remove(dir, "stl0123");
	assert_int_equal(queue_add("/proc/none", "c1", "eth0", "stl0", &err),
	                 -ENOENT);
	assert_non_null(strstr(err.text, "/proc/none"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_of_a_result_are_read),
		cmocka_unit_test(each_version_has_its_own_keys),
		cmocka_unit_test(an_earlier_result_is_added_to),
		cmocka_unit_test(a_chained_result_is_passed_on_as_it_is),
		cmocka_unit_test(an_error_survives_any_text),
		cmocka_unit_test(macs_are_read_and_written),
		cmocka_unit_test(a_release_is_queued_and_taken_back),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
