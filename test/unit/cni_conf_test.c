// SPDX-License-Identifier: Apache-2.0
/* cni_conf_test.c - requests of the runtime, judged. */
#include "cni/conf.h"

#include <stdio.h>
#include <string.h>

#include "cni/wire.h"
#include "lib/util.h"
#include "test/test.h"

static const struct conf_env good_env = {
	.command = "ADD",
	.container_id = "c1",
	.netns = "/run/netns/c1",
	.ifname = "eth0",
	.path = "/opt/cni/bin",
};

/* The code for @text as the network configuration of @command. */
static enum cni_code read_json(const char *command, const char *text,
                               struct conf *conf, struct err *err)
{
	struct conf_env env = good_env;
	enum cni_code code;

	env.command = command;
	code = conf_read_env(&env, conf, err);
	if (code)
		return code;
	return conf_read_json(text, strlen(text), conf, err);
}

static void commands_say_what_they_lack(void **state)
{
	static const struct {
		const char *name;
		struct conf_env env;
		enum cni_code code;
		const char *says, *not;
	} cases[] = {
		{"nothing",            {},                               CNI_ENV, "CNI_COMMAND",                            NULL},
		{"empty command",
	         {.command = ""},
	         CNI_ENV,	                                                 "CNI_COMMAND",
	         NULL													   },
		{"unknown command",    {.command = "add"},               CNI_ENV, "'add'",                                  NULL},
		{"ADD lacks three",
	         {.command = "ADD"},
	         CNI_ENV,	                                                 "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME",
	         "CNI_PATH"												     },
		{"CHECK lacks three",
	         {.command = "CHECK"},
	         CNI_ENV,	                                                 "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME",
	         "CNI_PATH"												     },
		{"DEL lacks two",
	         {.command = "DEL"},
	         CNI_ENV,	                                                 "CNI_CONTAINERID, CNI_IFNAME",
	         "CNI_NETNS"												    },
		{"GC lacks a path",
	         {.command = "GC"},
	         CNI_ENV,	                                                 "CNI_PATH",
	         "CNI_NETNS"												    },
		{"STATUS lacks none",  {.command = "STATUS"},            CNI_OK,  "",                                       NULL},
		{"VERSION lacks none",
	         {.command = "VERSION"},
	         CNI_OK,	                                                  "",
	         NULL													   },
		{"GC",                 {.command = "GC", .path = "/"},   CNI_OK,  "",                                       NULL},
		{"DEL, no namespace",
	         {.command = "DEL", .container_id = "a", .ifname = "b"},
	         CNI_OK,	                                                  "",
	         NULL													   },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct conf conf;
		struct err err = {};
		enum cni_code code = conf_read_env(&cases[i].env, &conf, &err);

		if (code != cases[i].code)
			fail_msg("%s: code %d", cases[i].name, (int)code);
		if (!strstr(err.text, cases[i].says) ||
		    (cases[i].not&&strstr(err.text, cases[i].not)))
			fail_msg("%s: says '%s'", cases[i].name, err.text);
	}
}

static void names_are_judged_by_the_specification(void **state)
{
	static const struct {
		const char *text;
		bool name, ifname;
	} cases[] = {
		{"a",                true,  true },
		{"0",                true,  true },
		{"eth0.1_2-3",       true,  true },
		{"a-",               true,  true },
		{"",                 false, false},
		{".",                false, false},
		{"..",               false, false},
		{".a",               false, true },
		{"-a",               false, true },
		{"a/b",              false, false},
		{"a:b",              false, false},
		{"a b",              false, false},
		{"a\n",              false, false},
		{"a@b",              false, true },
		{"\xc3\xa4",         false, false},
		{"123456789012345",  true,  true },
		{"1234567890123456", true,  false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (conf_name_valid(cases[i].text) != cases[i].name ||
		    conf_ifname_valid(cases[i].text) != cases[i].ifname)
			fail_msg("'%s'", cases[i].text);
}

static void arguments_name_the_pod(void **state)
{
	static const struct {
		const char *args;
		enum cni_code code;
		const char *ns, *name;
	} cases[] = {
		{"",					      CNI_OK,  "",  "" },
		{"IgnoreUnknown=1",                               CNI_OK,  "",  "" },
		{"K8S_POD_NAMESPACE=a;K8S_POD_NAME=b",            CNI_OK,  "a", "b"},
		{"K8S_POD_NAME=b.c-d;K8S_POD_NAMESPACE=a",        CNI_OK,  "a",
	         "b.c-d"							   },
		{"K8S_POD_NAME=b;K8S_POD_NAMESPACE=a;",           CNI_OK,  "a", "b"},
		{"K8S_POD_NAME=b;K8S_POD_NAMESPACE=a;K8S_POD_UID=x;"
	         "K8S_POD_INFRA_CONTAINER_ID=y", CNI_OK,  "a", "b"},
		{"X=1;IgnoreUnknown=true",                        CNI_OK,  "",  "" },
		{"X=;IgnoreUnknown=TRUE",                         CNI_OK,  "",  "" },
		{"X=1;IgnoreUnknown=false",                       CNI_ENV, "",  "" },
		{"X=1",					   CNI_ENV, "",  "" },
		{"IgnoreUnknown=2",                               CNI_ENV, "",  "" },
		{"IgnoreUnknown=",                                CNI_ENV, "",  "" },
		{"K8S_POD_NAMESPACE=a",                           CNI_ENV, "",  "" },
		{"K8S_POD_NAME=a",                                CNI_ENV, "",  "" },
		{"K8S_POD_NAMESPACE=a.b;K8S_POD_NAME=b",          CNI_ENV, "",  "" },
		{"K8S_POD_NAMESPACE=;K8S_POD_NAME=",              CNI_ENV, "",  "" },
		{";",					     CNI_ENV, "",  "" },
		{"=",					     CNI_ENV, "",  "" },
		{"a=b=c;IgnoreUnknown=1",                         CNI_ENV, "",  "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct conf_env env = good_env;
		struct err err = {};
		struct conf conf;
		enum cni_code code;

		env.args = cases[i].args;
		code = conf_read_env(&env, &conf, &err);
		if (code != cases[i].code)
			fail_msg("'%s': code %d", cases[i].args, (int)code);
		if (!code && (strcmp(conf.pod_namespace, cases[i].ns) != 0 ||
		              strcmp(conf.pod_name, cases[i].name) != 0))
			fail_msg("'%s': %s/%s", cases[i].args,
			         conf.pod_namespace, conf.pod_name);
	}
}

#define HEAD "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"type\":\"stile-cni\""

static void configurations_get_the_code_of_the_specification(void **state)
{
	static const struct {
		const char *command, *text;
		enum cni_code code;
	} cases[] = {
		{"ADD",     HEAD "}",				    CNI_OK     },
		{"ADD",     "",					  CNI_DECODE },
		{"ADD",     "[]",					CNI_DECODE },
		{"ADD",     HEAD,					CNI_DECODE },
		{"ADD",     "{\"name\":\"n\"}",                          CNI_VERSION},
		{"ADD",     "{\"cniVersion\":\"1.1.0\"}",                CNI_CONFIG },
		{"ADD",     "{\"cniVersion\":1,\"name\":\"n\"}",         CNI_DECODE },
		{"ADD",     "{\"cniVersion\":\"0.2.0\",\"name\":\"n\"}",
	         CNI_VERSION							},
		{"CHECK",   "{\"cniVersion\":\"0.3.1\",\"name\":\"n\"}",
	         CNI_VERSION							},
		{"CHECK",   "{\"cniVersion\":\"0.4.0\",\"name\":\"n\"}", CNI_OK     },
		{"STATUS",  "{\"cniVersion\":\"1.0.0\",\"name\":\"n\"}",
	         CNI_VERSION							},
		{"GC",      "{\"cniVersion\":\"1.0.0\",\"name\":\"n\"}",
	         CNI_VERSION							},
		{"GC",      HEAD "}",				    CNI_CONFIG },
		{"GC",      HEAD ",\"cni.dev/valid-attachments\":[]}",   CNI_OK     },
		{"GC",      HEAD ",\"cni.dev/valid-attachments\":null}", CNI_OK     },
		{"GC",      HEAD ",\"cni.dev/valid-attachments\":[1]}",  CNI_CONFIG },
		{"ADD",     HEAD ",\"ipMasq\":true}",                    CNI_FIELD  },
		{"CHECK",   HEAD ",\"ipMasq\":true}",                    CNI_FIELD  },
		{"STATUS",  HEAD ",\"ipMasq\":true}",                    CNI_FIELD  },
		{"DEL",     HEAD ",\"ipMasq\":true}",                    CNI_OK     },
		{"ADD",     HEAD ",\"cni.dev/x\":true}",                 CNI_OK     },
		{"ADD",     HEAD ",\"mtu\":0}",                          CNI_OK     },
		{"ADD",     HEAD ",\"mtu\":576}",                        CNI_OK     },
		{"ADD",     HEAD ",\"mtu\":65535}",                      CNI_OK     },
		{"ADD",     HEAD ",\"mtu\":575}",                        CNI_CONFIG },
		{"ADD",     HEAD ",\"mtu\":65536}",                      CNI_CONFIG },
		{"ADD",     HEAD ",\"mtu\":null}",                       CNI_CONFIG },
		{"ADD",     HEAD ",\"ipam\":{}}",                        CNI_OK     },
		{"ADD",     HEAD ",\"ipam\":null}",                      CNI_OK     },
		{"ADD",     HEAD ",\"ipam\":{\"type\":\"host-local\"}}", CNI_OK     },
		{"ADD",     HEAD ",\"ipam\":{\"type\":\"../x\"}}",       CNI_CONFIG },
		{"ADD",     HEAD ",\"ipam\":[]}",                        CNI_CONFIG },
		{"ADD",     HEAD ",\"prevResult\":null}",                CNI_OK     },
		{"ADD",     HEAD ",\"prevResult\":[]}",                  CNI_CONFIG },
		{"ADD",     HEAD ",\"dns\":[]}",                         CNI_CONFIG },
		{"ADD",     HEAD ",\"socket\":\"x\"}",                   CNI_CONFIG },
		{"ADD",     HEAD ",\"stateDir\":\"x\"}",                 CNI_CONFIG },
		{"ADD",     HEAD ",\"name\":\"m\"}",                     CNI_DECODE },
		{"VERSION", "garbage",                                   CNI_OK     },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {};
		struct conf conf;
		enum cni_code code =
			read_json(cases[i].command, cases[i].text, &conf, &err);

		if (code != cases[i].code)
			fail_msg("%s %s: code %d (%s)", cases[i].command,
			         cases[i].text, (int)code, err.text);
		if (!code != !err.text[0])
			fail_msg("%s: '%s'", cases[i].text, err.text);
		conf_free(&conf);
	}
}

static void defaults_are_those_of_the_design(void **state)
{
	struct err err = {};
	struct conf conf;

	(void)state;
	assert_int_equal(read_json("ADD", HEAD "}", &conf, &err), CNI_OK);
	assert_string_equal(conf.socket, "/run/stile/stile.sock");
	assert_string_equal(conf.state_dir, "/var/lib/stile");
	assert_int_equal(conf.mtu, 0);
	assert_int_equal(conf.version, CNI_1_1_0);
	assert_null(conf.ipam);
	assert_null(conf.prev);
	conf_free(&conf);
}

static void an_unknown_field_is_named_with_its_value(void **state)
{
	struct err err = {};
	struct conf conf;

	(void)state;
	assert_int_equal(
		read_json("ADD", HEAD ",\"x\":{\"y\":[1]}}", &conf, &err),
		CNI_FIELD);
	assert_non_null(strstr(err.text, "'x'"));
	assert_non_null(strstr(err.text, "{\"y\":[1]}"));
	conf_free(&conf);
}

static void a_delegated_plugin_needs_a_path(void **state)
{
	struct conf_env env = good_env;
	static const char text[] = HEAD ",\"ipam\":{\"type\":\"host-local\"}}";
	struct err err = {};
	struct conf conf;

	(void)state;
	env.path = NULL;
	assert_int_equal(conf_read_env(&env, &conf, &err), CNI_OK);
	assert_int_equal(conf_read_json(text, strlen(text), &conf, &err),
	                 CNI_ENV);
	assert_non_null(strstr(err.text, "CNI_PATH"));
	conf_free(&conf);
}

static void host_names_are_stable_and_apart(void **state)
{
	char names[512][16], again[16];
	int n = 0;

	(void)state;
	for (int i = 0; i < 256; i++) {
		char id[16];

		snprintf(id, sizeof(id), "c%d", i);
		wire_host_ifname(id, "eth0", names[n++]);
		wire_host_ifname(id, "net1", names[n++]);
	}
	for (int i = 0; i < n; i++) {
		assert_int_equal(strlen(names[i]), 15);
		assert_int_equal(strncmp(names[i], "stl", 3), 0);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(names[i], names[j]);
	}
	wire_host_ifname("c0", "eth0", again);
	assert_string_equal(again, names[0]);
	wire_host_ifname("c", "0eth0", again);
	assert_string_not_equal(again, names[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_say_what_they_lack),
		cmocka_unit_test(names_are_judged_by_the_specification),
		cmocka_unit_test(arguments_name_the_pod),
		cmocka_unit_test(
			configurations_get_the_code_of_the_specification),
		cmocka_unit_test(defaults_are_those_of_the_design),
		cmocka_unit_test(an_unknown_field_is_named_with_its_value),
		cmocka_unit_test(a_delegated_plugin_needs_a_path),
		cmocka_unit_test(host_names_are_stable_and_apart),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
