// SPDX-License-Identifier: Apache-2.0
#include "daemon/kube_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/test.h"

/* A kubeconfig of one cluster and one user, with these fields. */
static int parse(const char *cluster, const char *user, struct kube_config *ret,
                 struct err *err)
{
	char text[2048];

	snprintf(text, sizeof(text),
	         "current-context: x\n"
	         "clusters: [{name: c, cluster: {%s}}]\n"
	         "users: [{name: u, user: {%s}}, {name: v, user: {token: w}}]\n"
	         "contexts: [{name: x, context: {cluster: c, user: u}}]\n",
	         cluster, user);
	*err = (struct err){};
	return kube_config_parse(text, strlen(text), "/etc/k", ret, err);
}

static void what_a_kubeconfig_holds_is_read(void **state)
{
	char token[KUBE_TOKEN_MAX];
	struct kube_config config;
	struct err err;

	(void)state;
	assert_int_equal(
		parse("server: 'https://[fd00::1]:6443/p/', tls-server-name: kube, "
	              "certificate-authority-data: Q0E=",
	              "token: secret, client-certificate: cert.pem, "
	              "client-key: /k.pem",
	              &config, &err),
		0);
	assert_string_equal(config.server, "https://[fd00::1]:6443/p");
	assert_string_equal(config.tls_server_name, "kube");
	assert_int_equal(config.ca.len, 2);
	assert_memory_equal(config.ca.data, "CA", 2);
	assert_string_equal(config.cert.file, "/etc/k/cert.pem");
	assert_string_equal(config.key.file, "/k.pem");
	assert_int_equal(kube_config_token(&config, token, &err), 1);
	assert_string_equal(token, "secret");
	kube_config_free(&config);
}

static void what_is_not_safe_is_refused_in_words(void **state)
{
	static const struct {
		const char *cluster, *user, *say;
	} rows[] = {
		{"server: 'http://a'",                                   "token: t",                 "without TLS"                        },
		{"server: 'https://a', insecure-skip-tls-verify: true",
	         "token: t",									 "insecure-skip-tls-verify is refused"},
		{"server: 'https://a', proxy-url: 'http://b'",           "token: t",
	         "proxy-url is refused"												   },
		{"server: 'https://a'",                                  "exec: {command: x}",
	         "'exec' is refused"												      },
		{"server: 'https://a'",                                  "auth-provider: {name: x}",
	         "'auth-provider' is refused"											     },
		{"server: 'https://a'",                                  "username: u, password: p",
	         "'username' is refused"												  },
		{"server: 'https://a'",                                  "",                         "neither a token nor"                },
		{"server: 'https://a'",                                  "client-certificate: c",    "go together"                        },
		{"server: 'https://a', certificate-authority-data: '?'",
	         "token: t",									 "no base64"                          },
		{"server: 'https://'",                                   "token: t",                 "has no host"                        },
		{"server: 'https://u:p@a'",                              "token: t",                 "no address"                         },
		{"a: b",						 "token: t",                 "has no server"                      },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kube_config config;
		struct err err;

		assert_int_equal(
			parse(rows[i].cluster, rows[i].user, &config, &err),
			-EINVAL);
		if (!strstr(err.text, rows[i].say))
			fail_msg("%s: not '%s'", err.text, rows[i].say);
	}
}

static void a_token_that_would_end_the_header_is_refused(void **state)
{
	char token[KUBE_TOKEN_MAX];
	struct kube_config config;
	struct err err;

	(void)state;
	assert_int_equal(parse("server: 'https://a'",
	                       "token: \"a\\r\\nHost: b\"", &config, &err),
	                 0);
	assert_int_equal(kube_config_token(&config, token, &err), -EINVAL);
	kube_config_free(&config);
}

static void in_a_cluster_the_variables_say_where(void **state)
{
	static const struct {
		const char *host, *port, *want;
	} rows[] = {
		{"10.96.0.1", "443",  "https://10.96.0.1:443" },
		{"fd00::1",   "6443", "https://[fd00::1]:6443"},
		{"api.local", "443",  "https://api.local:443" },
		{"",          "443",  NULL                    },
		{"10.96.0.1", "",     NULL                    },
		{"a b",       "443",  NULL                    },
	};
	char dir[] = "/tmp/kube_config_test.XXXXXX", path[64];
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ca.crt", dir);
	file = fopen(path, "we");
	assert_non_null(file);
	(void)fclose(file);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct kube_config config = {};
		struct err err = {};
		int r;

		setenv("KUBERNETES_SERVICE_HOST", rows[i].host, 1);
		setenv("KUBERNETES_SERVICE_PORT", rows[i].port, 1);
		r = kube_config_in_cluster(dir, &config, &err);
		assert_int_equal(r, rows[i].want ? 0 : -EINVAL);
		if (!r)
			assert_string_equal(config.server, rows[i].want);
		kube_config_free(&config);
	}
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_kubeconfig_holds_is_read),
		cmocka_unit_test(what_is_not_safe_is_refused_in_words),
		cmocka_unit_test(a_token_that_would_end_the_header_is_refused),
		cmocka_unit_test(in_a_cluster_the_variables_say_where),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
