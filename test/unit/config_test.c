// SPDX-License-Identifier: Apache-2.0
#include "daemon/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/addr.h"
#include "lib/util.h"
#include "test/test.h"

#define WORDS_MAX 24

/* Parse "stiled " and the words of @line, which blanks part. */
static int parse(const char *line, struct config *ret, struct err *err)
{
	char text[1024], *argv[WORDS_MAX + 2] = {"stiled"}, *save = NULL;
	int argc = 1;

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok_r(text, " ", &save); word && argc <= WORDS_MAX;
	     word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	return config_parse(argc, argv, ret, err);
}

/* The same with --config of a file that holds @yaml. */
static int parse_file(const char *yaml, const char *flags, struct config *ret,
                      struct err *err)
{
	char path[] = "/tmp/config_test.XXXXXX", line[256];
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
	close(fd);
	snprintf(line, sizeof(line), "--config %s %s", path, flags);
	r = parse(line, ret, err);
	unlink(path);
	return r;
}

static const char *cidr(const struct config *config, enum family family)
{
	static char text[ADDR_TEXT_MAX + 8];
	char addr[ADDR_TEXT_MAX];

	if (!config->has_pod_cidr[family])
		return "none";
	snprintf(text, sizeof(text), "%s/%d",
	         addr_format(&config->pod_cidr[family].addr, addr),
	         config->pod_cidr[family].bits -
	                 (family == FAMILY_V4 ? 96 : 0));
	return text;
}

static void defaults_are_those_of_the_design(void **state)
{
	struct config config;
	struct err err = {};

	(void)state;
	assert_int_equal(parse("--node-name n1", &config, &err), 0);
	assert_string_equal(config.run_dir, "/run/stile");
	assert_string_equal(config.state_dir, "/var/lib/stile");
	assert_string_equal(config.bpffs, "/sys/fs/bpf/stile");
	assert_false(config.source_kube);
	assert_true(config.masquerade);
	assert_false(config.audit);
	assert_int_equal(config.big_tcp, TOGGLE_AUTO);
	assert_int_equal(config.attach, ATTACH_AUTO);
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
	assert_false(config.log_json);
	assert_false(config.dry_run);
	assert_int_equal(config.n_devices, 0);
	assert_string_equal(cidr(&config, FAMILY_V4), "none");
	/* Without --node-name it is the host's. */
	assert_int_equal(parse("", &config, &err), 0);
	assert_true(config.node_name[0]);
}

static void every_flag_is_taken(void **state)
{
	struct config config;
	struct err err = {};

	(void)state;
	if (parse("--source dir:/m --node-name=a.b --pod-cidr 10.1.2.3/16 "
	          "--pod-cidr fd00::/64 --device eth0 --device eth1 "
	          "--big-tcp off --masquerade off --policy audit --run-dir /r "
	          "--state-dir=/s --bpffs /b --cgroup /c",
	          &config, &err))
		fail_msg("%s", err.text);
	assert_string_equal(config.source_dir, "/m");
	assert_string_equal(config.node_name, "a.b");
	assert_string_equal(cidr(&config, FAMILY_V4), "10.1.0.0/16");
	assert_string_equal(cidr(&config, FAMILY_V6), "fd00::/64");
	assert_int_equal(config.n_devices, 2);
	assert_string_equal(config.device[1], "eth1");
	assert_int_equal(config.big_tcp, TOGGLE_OFF);
	assert_false(config.masquerade);
	assert_true(config.audit);
	assert_string_equal(config.run_dir, "/r");
	assert_string_equal(config.cgroup, "/c");
	if (parse("--attach clsact --log-format json --log-level debug "
	          "--dry-run --routing native --tunnel-port 8472 --xdp off "
	          "--xdp-pods off --metrics off --web off --hubble off "
	          "--services pods",
	          &config, &err))
		fail_msg("%s", err.text);
	assert_int_equal(config.attach, ATTACH_CLSACT);
	assert_true(config.log_json);
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	assert_true(config.dry_run);
}

static void the_file_has_the_same_keys_and_flags_win(void **state)
{
	struct config config;
	struct err err = {};

	(void)state;
	if (parse_file("source: dir:/file\n"
	               "pod-cidr: [10.1.0.0/16, 'fd00::/64']\n"
	               "device: eth9\nmasquerade: off\nbig-tcp: on\n"
	               "log-level: warn\ndry-run: true\ntunnel-port: 8472\n",
	               "--log-level error --pod-cidr 10.2.0.0/16", &config,
	               &err))
		fail_msg("%s", err.text);
	assert_string_equal(config.source_dir, "/file");
	assert_string_equal(cidr(&config, FAMILY_V4), "10.2.0.0/16");
	assert_string_equal(cidr(&config, FAMILY_V6), "none");
	assert_string_equal(config.device[0], "eth9");
	assert_false(config.masquerade);
	assert_int_equal(config.big_tcp, TOGGLE_ON);
	assert_int_equal(config.log_level, LOG_LEVEL_ERR);
	assert_true(config.dry_run);
	assert_int_equal(parse_file("", "", &config, &err), 0);
}

static void bad_flags_are_refused_by_name(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{"--sauce dir:/m",                              "'--sauce' is no flag; see --help"           },
		{"source",				      "'source' is no flag; see --help"            },
		{"--",					  "'--' is no flag; see --help"                },
		{"-h",					  "'-h' is no flag; see --help"                },
		{"--source",				    "--source needs a value"                     },
		{"--source /m",				 "--source: '/m' is neither dir:PATH nor kube"},
		{"--source dir:m",                              "--source: 'm' is not an absolute path"      },
		{"--source=dir:/a --source=dir:/b",             "--source a second time"                     },
		{"--routing bus",
	         "--routing: 'bus' is none of auto, tunnel, native"                                          },

		{"--xdp native",                                "--xdp native: not built yet"                },
		{"--xdp ff",				    "--xdp ff: not built yet"                    },
		{"--xdp-pods on",                               "--xdp-pods on: not built yet"               },
		{"--metrics 127.0.0.1:",
	         "--metrics: '127.0.0.1:' is not ADDR:PORT"                                                  },
		{"--web :80",				   "--web :80: not built yet"                   },
		{"--hubble unix:/h",                            "--hubble unix:/h: not built yet"            },
		{"--user-programs xdp",                         "--user-programs xdp: not built yet"         },
		{"--node-name A",                               "--node-name: 'A' is no node name"           },
		{"--node-name ../x",                            "--node-name: '../x' is no node name"        },
		{"--node-name=",                                "--node-name: '' is no node name"            },
		{"--pod-cidr 10.0.0.0",                         "--pod-cidr: '10.0.0.0' is no CIDR"          },
		{"--pod-cidr 10.0.0.0/33",
	         "--pod-cidr: '10.0.0.0/33' is no CIDR"                                                      },
		{"--pod-cidr 10.0.0.0/8 --pod-cidr 11.0.0.0/8",
	         "--pod-cidr: '11.0.0.0/8' is a second one of its family"                                    },
		{"--pod-cidr 127.1.0.0/16",
	         "--pod-cidr: '127.1.0.0/16' holds addresses that are reserved"                              },
		{"--pod-cidr 0.0.0.0/0",
	         "--pod-cidr: '0.0.0.0/0' holds addresses that are reserved"                                 },
		{"--pod-cidr 169.254.0.0/24",
	         "--pod-cidr: '169.254.0.0/24' holds addresses that are reserved"                            },
		{"--pod-cidr fe80::/64",
	         "--pod-cidr: 'fe80::/64' holds addresses that are reserved"                                 },
		{"--pod-cidr ::/0",
	         "--pod-cidr: '::/0' holds addresses that are reserved"                                      },
		{"--device ../eth0",                            "--device: '../eth0' is no device name"      },
		{"--device sixteen-bytes-xx",
	         "--device: 'sixteen-bytes-xx' is no device name"                                            },
		{"--big-tcp yes",                               "--big-tcp: 'yes' is none of auto, on, off"  },
		{"--masquerade 1",                              "--masquerade: '1' is none of off, on"       },
		{"--policy off",                                "--policy: 'off' is none of enforce, audit"  },
		{"--attach xdp",
	         "--attach: 'xdp' is none of auto, tcx, clsact"                                              },
		{"--log-level 9",
	         "--log-level: '9' is none of error, warn, info, debug"                                      },
		{"--run-dir run",                               "--run-dir: 'run' is not an absolute path"   },
		{"--run-dir /a\n",                              "--run-dir: a control character"             },
		{"--help=1",				    "--help takes no value"                      },
		{"--dry-run=maybe",                             "--dry-run: 'maybe' is none of off, on"      },
		{"--config /nonexistent/f",
	         "/nonexistent/f: No such file or directory"                                                 },
		{"--config /dev/zero",                          "/dev/zero: not a file"                      },
		{"--config /a --config /b",                     "--config a second time"                     },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config config = {.n_devices = -7};
		struct err err = {};
		int r = parse(cases[i].line, &config, &err);

		if (r >= 0 || strcmp(err.text, cases[i].says) != 0)
			fail_msg("%s: %d '%s'", cases[i].line, r, err.text);
		if (config.n_devices != -7)
			fail_msg("%s: the result was touched", cases[i].line);
	}
}

static void bad_files_are_refused_by_key(void **state)
{
	static const struct {
		const char *yaml, *says;
	} cases[] = {
		{"sauce: x\n",                       "sauce: no such key"          },
		{"source: [dir:/a]\n",               "source: not one word"        },
		{"source: {dir: /a}\n",              "source: not one word"        },
		{"source:\n",                        "source: not one word"        },
		{"device: [eth0, {a: b}]\n",         "device: not one word"        },
		{"masquerade: maybe\n",
	         "masquerade: 'maybe' is none of off, on"                          },
		{"- source\n",                       "not one mapping of keys"     },
		{"a: 1\n---\nb: 2\n",                "not one mapping of keys"     },
		{"source: dir:/a\nsource: dir:/b\n",
	         "line 2: the key 'source' a second time"                          },
		{"hubble: on\n",                     "hubble on: not built yet"    },
		{"run-dir: \"/a\\nb\"\n",            "run-dir: a control character"},
		{"a: [\n",			   "line 2: "                    },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config config;
		struct err err = {};
		int r = parse_file(cases[i].yaml, "", &config, &err);
		const char *text = strstr(err.text, ": ");

		if (r != -EINVAL || !text ||
		    strncmp(text + 2, cases[i].says, strlen(cases[i].says)))
			fail_msg("%s: %d '%s'", cases[i].yaml, r, err.text);
	}
}

static void long_paths_are_refused(void **state)
{
	char line[400] = "--run-dir /";
	struct config config;
	struct err err = {};

	(void)state;
	memset(line + strlen(line), 'x', 100);
	assert_int_equal(parse(line, &config, &err), -EINVAL);
	assert_string_equal(err.text, "--run-dir: longer than 89 bytes");
	memset(line, 0, sizeof(line));
	strcpy(line, "--source dir:/");
	memset(line + strlen(line), 'x', 300);
	assert_int_equal(parse(line, &config, &err), -EINVAL);
	assert_string_equal(err.text, "--source: longer than 255 bytes");
}

static void help_and_version_are_printed_and_end_it(void **state)
{
	int out = dup(STDOUT_FILENO), null = open("/dev/null", O_WRONLY);
	struct config config;
	struct err err = {};
	int help, version;

	(void)state;
	fflush(stdout);
	dup2(null, STDOUT_FILENO);
	help = parse("--big-tcp on --help", &config, &err);
	version = parse("--version", &config, &err);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	close(out);
	close(null);
	assert_int_equal(help, 1);
	assert_int_equal(version, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_design),
		cmocka_unit_test(every_flag_is_taken),
		cmocka_unit_test(the_file_has_the_same_keys_and_flags_win),
		cmocka_unit_test(bad_flags_are_refused_by_name),
		cmocka_unit_test(bad_files_are_refused_by_key),
		cmocka_unit_test(long_paths_are_refused),
		cmocka_unit_test(help_and_version_are_printed_and_end_it),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
