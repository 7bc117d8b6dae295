// SPDX-License-Identifier: Apache-2.0
/* config.c - see config.h.  One table of keys serves flags and file. */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/abi.h"
#include "daemon/http.h"
#include "daemon/yaml.h"
#include "lib/addr.h"
#include "lib/file.h"
#include "lib/util.h"
#include "lib/version.h"

#define CONFIG_BYTES_MAX 65536
#define CNI_CONF_DIR     "/etc/cni/net.d" /* with --source kube */
#define RUN_DIR_MAX      90 /* sun_path holds 108, the socket's name included */

struct key {
	const char *name, *arg, *help;
	int (*set)(struct config *config, const char *key, const char *value,
	           struct err *err);
	bool repeats;
	const char *only; /* not built yet: the values taken, between blanks */
};

static int path_set(char *ret, size_t size, const char *key, const char *value,
                    struct err *err)
{
	if (value[0] != '/')
		return err_set(err, -EINVAL,
		               "%s: '%.64s' is not an absolute path", key,
		               value);
	if (strlen(value) >= size)
		return err_set(err, -EINVAL, "%s: longer than %zu bytes", key,
		               size - 1);
	memcpy(ret, value, strlen(value) + 1);
	return 0;
}

static int source_set(struct config *config, const char *key, const char *value,
                      struct err *err)
{
	config->source_kube = !strcmp(value, "kube");
	if (config->source_kube)
		return 0;
	if (strncmp(value, "dir:", 4) != 0)
		return err_set(err, -EINVAL,
		               "%s: '%.64s' is neither dir:PATH nor kube", key,
		               value);
	return path_set(config->source_dir, sizeof(config->source_dir), key,
	                value + 4, err);
}

static int kubeconfig_set(struct config *config, const char *key,
                          const char *value, struct err *err)
{
	return path_set(config->kubeconfig, sizeof(config->kubeconfig), key,
	                value, err);
}

static int cni_conf_dir_set(struct config *config, const char *key,
                            const char *value, struct err *err)
{
	config->cni_conf_given = true;
	config->cni_conf_dir[0] = '\0';
	if (!strcmp(value, "off"))
		return 0;
	return path_set(config->cni_conf_dir, sizeof(config->cni_conf_dir), key,
	                value, err);
}

/* A node's name is a DNS name: lower-case labels, joined by dots. */
static int node_name_set(struct config *config, const char *key,
                         const char *value, struct err *err)
{
	const size_t len = strlen(value);

	if (!len || len >= sizeof(config->node_name) ||
	    strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-.") != len ||
	    !isalnum((unsigned char)value[0]) ||
	    !isalnum((unsigned char)value[len - 1]))
		return err_set(err, -EINVAL, "%s: '%.64s' is no node name", key,
		               value);
	memcpy(config->node_name, value, len + 1);
	return 0;
}

bool prefix_is_reserved(const struct prefix *prefix)
{
	static const char *const reserved[] = {
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
		"::/96",     "fe80::/10",   "ff00::/8",
	};

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++) {
		struct prefix other;

		if (!prefix_parse(reserved[i], &other) &&
		    (prefix_contains(&other, &prefix->addr) ||
		     (prefix->bits < other.bits &&
		      prefix_contains(prefix, &other.addr))))
			return true;
	}
	return false;
}

static int pod_cidr_set(struct config *config, const char *key,
                        const char *value, struct err *err)
{
	struct prefix prefix;
	enum family family;

	if (prefix_parse(value, &prefix))
		return err_set(err, -EINVAL, "%s: '%.64s' is no CIDR", key,
		               value);
	family = prefix.bits >= 96 ? addr_family(&prefix.addr) : FAMILY_V6;
	if (prefix_is_reserved(&prefix))
		return err_set(err, -EINVAL,
		               "%s: '%.64s' holds addresses that are reserved",
		               key, value);
	if (config->has_pod_cidr[family])
		return err_set(err, -EINVAL,
		               "%s: '%.64s' is a second one of its family", key,
		               value);
	config->pod_cidr[family] = prefix;
	config->has_pod_cidr[family] = true;
	return 0;
}

static int external_set(struct config *config, const char *key,
                        const char *value, struct err *err)
{
	struct prefix prefix;

	if (prefix_parse(value, &prefix) || !prefix.bits ||
	    config->n_externals == CONFIG_EXTERNAL_MAX)
		return err_set(err, -EINVAL,
		               "%s: '%.64s' is no CIDR, or one too many", key,
		               value);
	config->external[config->n_externals++] = prefix;
	return 0;
}

static int device_set(struct config *config, const char *key, const char *value,
                      struct err *err)
{
	const size_t len = strlen(value);

	if (!len || len >= sizeof(config->device[0]) ||
	    strpbrk(value, "/: \t\r\n\v\f") || !strcmp(value, ".") ||
	    !strcmp(value, ".."))
		return err_set(err, -EINVAL, "%s: '%.64s' is no device name",
		               key, value);
	for (int i = 0; i < config->n_devices; i++)
		if (!strcmp(config->device[i], value))
			return 0;
	if (config->n_devices == CONFIG_DEVICES_MAX)
		return err_set(err, -EINVAL, "%s: more than %d", key,
		               CONFIG_DEVICES_MAX);
	memcpy(config->device[config->n_devices++], value, len + 1);
	return 0;
}

/* The index of @value among @words (NULL ends them). */
static int word_set(const char *const *words, const char *key,
                    const char *value, int *ret, struct err *err)
{
	char all[128] = "";
	size_t n = 0;

	for (int i = 0; words[i]; i++) {
		if (!strcmp(words[i], value)) {
			*ret = i;
			return 0;
		}
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s",
		                      i ? ", " : "", words[i]);
	}
	return err_set(err, -EINVAL, "%s: '%.64s' is none of %s", key, value,
	               all);
}

#define WORD_SETTER(name, field, ...)                                   \
	static int name(struct config *config, const char *key,         \
	                const char *value, struct err *err)             \
	{                                                               \
		static const char *const words[] = {__VA_ARGS__, NULL}; \
		int i = 0, r = word_set(words, key, value, &i, err);    \
                                                                        \
		if (!r)                                                 \
			config->field = i;                              \
		return r;                                               \
	}

WORD_SETTER(masquerade_set, masquerade, "off", "on")
WORD_SETTER(policy_set, audit, "enforce", "audit")
WORD_SETTER(big_tcp_set, big_tcp, "auto", "on", "off")
WORD_SETTER(routing_set, routing, "auto", "tunnel", "native")
WORD_SETTER(services_set, services_full, "pods", "full")
WORD_SETTER(attach_set, attach, "auto", "tcx", "clsact")
WORD_SETTER(log_format_set, log_json, "text", "json")
WORD_SETTER(log_level_set, log_level, "error", "warn", "info", "debug")
WORD_SETTER(dry_run_set, dry_run, "off", "on")

static int tunnel_port_set(struct config *config, const char *key,
                           const char *value, struct err *err)
{
	char *end;
	const unsigned long port = strtoul(value, &end, 10);

	if (!isdigit((unsigned char)value[0]) || *end || !port || port > 65535)
		return err_set(err, -EINVAL,
		               "%s: '%.64s' is no port, 1 to 65535", key,
		               value);
	config->tunnel_port = (uint16_t)port;
	return 0;
}

static int run_dir_set(struct config *config, const char *key,
                       const char *value, struct err *err)
{
	return path_set(config->run_dir, RUN_DIR_MAX, key, value, err);
}

static int state_dir_set(struct config *config, const char *key,
                         const char *value, struct err *err)
{
	return path_set(config->state_dir, sizeof(config->state_dir), key,
	                value, err);
}

static int bpffs_set(struct config *config, const char *key, const char *value,
                     struct err *err)
{
	return path_set(config->bpffs, sizeof(config->bpffs), key, value, err);
}

static int cgroup_set(struct config *config, const char *key, const char *value,
                      struct err *err)
{
	return path_set(config->cgroup, sizeof(config->cgroup), key, value,
	                err);
}

static int metrics_set(struct config *config, const char *key,
                       const char *value, struct err *err)
{
	const bool off = !strcmp(value, "off");

	if (!off && http_where_check(value))
		return err_set(err, -EINVAL, "%s: '%.64s' is not ADDR:PORT",
		               key, value);
	snprintf(config->metrics, sizeof(config->metrics), "%s",
	         off ? "" : value);
	return 0;
}

/* Keys of features that later issues build: known, and held to a default. */
static const struct key keys[] = {
	{"source",        "dir:PATH|kube",                   "where the manifests come from",                   source_set,
         false,															  NULL      },
	{"kubeconfig",    "FILE",                            "with kube; default: this pod's account",
         kubeconfig_set,													  false, NULL      },
	{"cni-conf-dir",  "DIR|off",
         "where the runtime is told; default with kube: /etc/cni/net.d",                                        cni_conf_dir_set, false, NULL      },
	{"node-name",     "NAME",                            "default: the host's name",                        node_name_set,    false,
         NULL																      },
	{"pod-cidr",      "CIDR",                            "addresses for pods, once a family",               pod_cidr_set,
         true,															   NULL      },
	{"device",        "NAME",			    "an uplink, repeat; default: the default route's",
         device_set,													      true,  NULL      },
	{"routing",       "tunnel|native",                   "how pods of other nodes are reached",
         routing_set,													     false, NULL      },
	{"tunnel-port",   "PORT",                            "of the overlay, UDP",                             tunnel_port_set,  false,
         NULL																      },
	{"big-tcp",       "auto|on|off",                     "packets above 64 kB between pods",
         big_tcp_set,													     false, NULL      },
	{"masquerade",    "on|off",                          "pods leave with the node's address",
         masquerade_set,													  false, NULL      },
	{"services",      "full|pods",                       "pods: of what pods send, ClusterIPs alone",
         services_set,													    false, NULL      },
	{"external-ips",  "CIDR",                            "where Services may have externalIPs, repeat",
         external_set,													    true,  NULL      },
	{"policy",        "enforce|audit",                   "audit: count denials, let pass",
         policy_set,													      false, NULL      },
	{"run-dir",       "DIR",			     "of the socket",                                   run_dir_set,      false, NULL      },
	{"state-dir",     "DIR",			     "of what outlives a reboot",                       state_dir_set,    false,
         NULL																      },
	{"bpffs",         "DIR",			     "of the pins; mounted where it is missing",        bpffs_set,
         false,															  NULL      },
	{"cgroup",        "DIR",			     "cgroup v2 of the pods and the host",              cgroup_set,
         false,															  NULL      },
	{"attach",        "auto|tcx|clsact",                 "how programs hang on devices",
         attach_set,													      false, NULL      },
	{"xdp",           "auto|offload|native|generic|off", "programs on uplinks",                             NULL,
         false,															  "auto off"},
	{"xdp-pods",      "on|off",                          "XDP for pods",                                    NULL,             false, "off"     },
	{"metrics",       "ADDR:PORT|off",                   "/metrics, /healthz and /readyz",
         metrics_set,													     false, NULL      },
	{"web",           "ADDR:PORT|off",                   "the page for people",                             NULL,             false, "off"     },
	{"user-programs", "TYPE,…",                          "programs that users may load",                    NULL,             false,
         ""																	},
	{"hubble",        "unix:PATH|ADDR:PORT|off",         "the Hubble API",                                  NULL,             false,
         "off"																     },
	{"log-format",    "text|json",                       "of the lines on stderr",                          log_format_set,
         false,															  NULL      },
	{"log-level",     "LEVEL",                           "error, warn, info or debug",                      log_level_set,
         false,															  NULL      },
	{"dry-run",       NULL,			      "print the plan, change nothing",                  dry_run_set,      false,
         NULL																      },
};

static const struct key *key_find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].name) == len &&
		    !memcmp(keys[i].name, name, len))
			return &keys[i];
	return NULL;
}

/* A feature to come: only what it will be by default is taken. */
static int only_set(const struct key *key, const char *shown, const char *value,
                    struct err *err)
{
	const size_t len = strlen(value);
	const char *at = key->only;

	while (len && (at = strstr(at, value))) {
		if ((at == key->only || at[-1] == ' ') &&
		    (!at[len] || at[len] == ' '))
			return 0;
		at += len;
	}
	return err_set(err, -EINVAL, "%s %.64s: not built yet", shown, value);
}

/* @shown: the key as the reader wrote it, "--source" or "source". */
static int key_set(const struct key *key, const char *shown, const char *value,
                   struct config *config, struct err *err)
{
	for (const char *c = value; *c; c++)
		if (iscntrl((unsigned char)*c))
			return err_set(err, -EINVAL, "%s: a control character",
			               shown);
	if (!key->set)
		return only_set(key, shown, value, err);
	return key->set(config, shown, value, err);
}

/* ---- the file ---- */

static int scalar_set(const struct key *key, const json_t *value,
                      struct config *config, struct err *err)
{
	char number[32];

	if (json_is_string(value))
		return key_set(key, key->name, json_string_value(value), config,
		               err);
	if (json_is_boolean(value))
		return key_set(key, key->name,
		               json_is_true(value) ? "on" : "off", config, err);
	if (!json_is_integer(value))
		return err_set(err, -EINVAL, "%s: not one word", key->name);
	snprintf(number, sizeof(number), "%lld",
	         (long long)json_integer_value(value));
	return key_set(key, key->name, number, config, err);
}

static int entry_set(const char *name, json_t *value, struct config *config,
                     struct err *err)
{
	const struct key *key = key_find(name, strlen(name));
	json_t *item;
	size_t i;

	if (!key)
		return err_set(err, -EINVAL, "%.64s: no such key", name);
	if (!json_is_array(value) || !key->repeats)
		return scalar_set(key, value, config, err);
	json_array_foreach(value, i, item)
	{
		int r = scalar_set(key, item, config, err);

		if (r)
			return r;
	}
	return 0;
}

static int file_apply(const char *path, struct config *config, struct err *err)
{
	_cleanup_(json_decrefp) json_t *docs = NULL;
	_cleanup_(free_p) char *text = malloc(CONFIG_BYTES_MAX + 1);
	json_t *doc, *value;
	const char *name;
	size_t len = 0;
	int r;

	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	r = file_read(path, text, CONFIG_BYTES_MAX + 1, &len, err);
	if (!r)
		r = yaml_load(text, len, &docs, err);
	if (r || !json_array_size(docs))
		return r;
	doc = json_array_get(docs, 0);
	if (json_array_size(docs) > 1 || !json_is_object(doc))
		return err_set(err, -EINVAL, "not one mapping of keys");
	json_object_foreach(doc, name, value)
	{
		r = entry_set(name, value, config, err);
		if (r)
			return r;
	}
	return 0;
}

/* ---- the flags ---- */

struct flag {
	const struct key *key; /* NULL: --config, --help, --version */
	char name[32];         /* with its dashes */
	const char *value;     /* NULL: it takes none */
};

static void help_print(void)
{
	puts("usage: stiled [--FLAG VALUE | --FLAG=VALUE]…\n"
	     "The node daemon of Stile.  Each flag is also a key of the file.\n");
	printf("  --%-37s %s\n", "config FILE", "YAML; flags win over it");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", keys[i].name,
		         keys[i].arg ? keys[i].arg : "");
		printf("  --%-37s %s\n", left, keys[i].help);
	}
	printf("  --%-37s %s\n", "help, --version", "and exit");
}

/* The flag at argv[*i], with its value; *i then stands on its last word. */
static int flag_read(char **argv, int *i, struct flag *ret, struct err *err)
{
	const char *word = argv[*i];
	const char *equals = strchr(word, '=');
	const size_t len = equals ? (size_t)(equals - word) : strlen(word);
	struct flag flag = {};
	bool bare;

	if (strncmp(word, "--", 2) != 0 || len < 3 || len >= sizeof(flag.name))
		return err_set(err, -EINVAL, "'%.64s' is no flag; see --help",
		               word);
	memcpy(flag.name, word, len);
	flag.key = key_find(word + 2, len - 2);
	bare = !strcmp(flag.name, "--help") || !strcmp(flag.name, "--version");
	if (!flag.key && !bare && strcmp(flag.name, "--config") != 0)
		return err_set(err, -EINVAL, "'%s' is no flag; see --help",
		               flag.name);
	if (equals)
		flag.value = equals + 1;
	if (bare && equals)
		return err_set(err, -EINVAL, "%s takes no value", flag.name);
	if (flag.key && !flag.key->arg && !equals)
		flag.value = "on";
	if (!bare && !flag.value) {
		if (!argv[*i + 1])
			return err_set(err, -EINVAL, "%s needs a value",
			               flag.name);
		flag.value = argv[++*i];
	}
	*ret = flag;
	return 0;
}

/* What stands before the flags: the file that one of them names. */
static int config_file(int argc, char **argv, struct config *config,
                       struct err *err)
{
	const char *path = NULL;

	for (int i = 1; i < argc; i++) {
		struct flag flag = {};
		int r = flag_read(argv, &i, &flag, err);

		if (r)
			return r;
		if (!strcmp(flag.name, "--help")) {
			help_print();
			return 1;
		}
		if (!strcmp(flag.name, "--version")) {
			printf("stiled %s (datapath ABI %d)\n", STILE_VERSION,
			       ABI_VERSION);
			return 1;
		}
		if (!flag.key && path)
			return err_set(err, -EINVAL, "--config a second time");
		if (!flag.key)
			path = flag.value;
	}
	if (path && file_apply(path, config, err))
		return err_wrap(err, -EINVAL, "%.128s", path);
	return 0;
}

/* A flag that repeats takes the place of what the file lists. */
static void list_forget(const struct key *key, struct config *config)
{
	if (key->set == device_set)
		config->n_devices = 0;
	else if (key->set == external_set)
		config->n_externals = 0;
	else if (key->set == pod_cidr_set)
		memset(config->has_pod_cidr, 0, sizeof(config->has_pod_cidr));
}

static int flags_apply(int argc, char **argv, struct config *config,
                       struct err *err)
{
	bool given[ARRAY_SIZE(keys)] = {};

	for (int i = 1; i < argc; i++) {
		struct flag flag = {};
		int r = flag_read(argv, &i, &flag, err);
		size_t at;

		if (r)
			return r;
		if (!flag.key || !flag.value)
			continue;
		at = (size_t)(flag.key - keys);
		if (given[at] && !flag.key->repeats)
			return err_set(err, -EINVAL, "%s a second time",
			               flag.name);
		if (!given[at] && flag.key->repeats)
			list_forget(flag.key, config);
		given[at] = true;
		r = key_set(flag.key, flag.name, flag.value, config, err);
		if (r)
			return r;
	}
	return 0;
}

static int node_name_default(struct config *config, struct err *err)
{
	char host[sizeof(config->node_name)] = "";
	const char *name = getenv("NODE_NAME");

	if (config->node_name[0])
		return 0;
	/* What a DaemonSet gives from spec.nodeName. */
	if (config->source_kube && name && *name)
		return node_name_set(config, "NODE_NAME", name, err);
	if (gethostname(host, sizeof(host) - 1))
		return err_set(err, -errno, "the host's name: %s",
		               strerror(errno));
	/* As the kubelet does: a node's name is the host's in lower case. */
	for (char *c = host; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return node_name_set(config, "--node-name", host, err);
}

int config_parse(int argc, char **argv, struct config *ret, struct err *err)
{
	struct config config = {
		.source_dir = "/etc/stile/manifests",
		.masquerade = true,
		.run_dir = "/run/stile",
		.state_dir = "/var/lib/stile",
		.bpffs = "/sys/fs/bpf/stile",
		.cgroup = "/sys/fs/cgroup",
		.log_level = LOG_LEVEL_INFO,
		.tunnel_port = 8472,
	};
	int r = config_file(argc, argv, &config, err);

	if (!r)
		r = flags_apply(argc, argv, &config, err);
	if (!r)
		r = node_name_default(&config, err);
	if (!r && config.source_kube && !config.cni_conf_given)
		memcpy(config.cni_conf_dir, CNI_CONF_DIR, sizeof(CNI_CONF_DIR));
	if (config.routing == ROUTING_AUTO)
		config.routing =
			config.source_kube ? ROUTING_TUNNEL : ROUTING_NATIVE;
	if (!r)
		*ret = config;
	return r;
}
