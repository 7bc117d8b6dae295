// SPDX-License-Identifier: Apache-2.0
/* conf.c - see conf.h. */
#include "cni/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "cni/wire.h"
#include "lib/util.h"

const char *const cni_version_text[CNI__COUNT] = {
	[CNI_0_3_1] = "0.3.1",
	[CNI_0_4_0] = "0.4.0",
	[CNI_1_0_0] = "1.0.0",
	[CNI_1_1_0] = "1.1.0",
};

enum need { NEED_ID = 1, NEED_NETNS = 2, NEED_IFNAME = 4, NEED_PATH = 8 };

static const struct {
	const char *name;
	unsigned need; /* enum need */
	enum cni_version since;
} commands[COMMAND__COUNT] = {
	[COMMAND_ADD] = {"ADD",     NEED_ID | NEED_NETNS | NEED_IFNAME, CNI_0_3_1},
	[COMMAND_DEL] = {"DEL",     NEED_ID | NEED_IFNAME,              CNI_0_3_1},
	[COMMAND_CHECK] = {"CHECK",   NEED_ID | NEED_NETNS | NEED_IFNAME,
                         CNI_0_4_0					       },
	[COMMAND_GC] = {"GC",      NEED_PATH,                          CNI_1_1_0},
	[COMMAND_STATUS] = {"STATUS",  0,                                  CNI_1_1_0},
	[COMMAND_VERSION] = {"VERSION", 0,                                  CNI_0_3_1},
};

/* Keys of a network configuration that mean nothing to us, and may be there:
 * the specification's, libcni's, and what runtimes add. */
static const char *const known_keys[] = {
	"cniVersion", "name",        "type",         "socket",
	"stateDir",   "mtu",         "ipam",         "dns",
	"prevResult", "args",        "capabilities", "runtimeConfig",
	"disableGC",  "cniVersions", "disableCheck", "loadOnlyInlinedPlugins",
};

static bool is_empty(const char *text)
{
	return !text || !*text;
}

bool conf_name_valid(const char *text)
{
	if (!isalnum((unsigned char)*text))
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr("_.-", *text))
			return false;
	return true;
}

bool conf_ifname_valid(const char *text)
{
	const size_t len = strlen(text);

	if (!len || len > 15 || !strcmp(text, ".") || !strcmp(text, ".."))
		return false;
	for (; *text; text++)
		if (strchr("/:", *text) || !isgraph((unsigned char)*text))
			return false;
	return true;
}

/* RFC 1123: labels of [a-z0-9-], joined by dots where @dots allows them. */
static bool is_dns_name(const char *text, size_t len, size_t max, bool dots)
{
	char before = '.';

	if (!len || len > max)
		return false;
	for (size_t i = 0; i < len; i++) {
		const char c = text[i];
		const bool alnum =
			islower((unsigned char)c) || isdigit((unsigned char)c);
		const bool joint = c == '-' || (dots && c == '.');

		if (!alnum && !joint)
			return false;
		if (before == '.' && !alnum)
			return false;
		if (before == '-' && c == '.')
			return false;
		before = c;
	}
	return before != '-' && before != '.';
}

static enum cni_code env_find_command(const char *text, enum command *ret,
                                      struct err *err)
{
	for (int i = 0; i < COMMAND__COUNT; i++) {
		if (strcmp(commands[i].name, text) != 0)
			continue;
		*ret = (enum command)i;
		return CNI_OK;
	}
	return err_set(err, CNI_ENV, "CNI_COMMAND '%.32s' is not known", text);
}

static enum cni_code env_check_missing(const struct conf_env *env,
                                       unsigned need, struct err *err)
{
	const struct {
		unsigned need;
		const char *name, *value;
	} vars[] = {
		{NEED_ID,     "CNI_CONTAINERID", env->container_id},
		{NEED_NETNS,  "CNI_NETNS",       env->netns       },
		{NEED_IFNAME, "CNI_IFNAME",      env->ifname      },
		{NEED_PATH,   "CNI_PATH",        env->path        },
	};
	char list[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(vars); i++)
		if ((need & vars[i].need) && is_empty(vars[i].value))
			used += (size_t)snprintf(
				list + used, sizeof(list) - used, "%s%s",
				used ? ", " : "", vars[i].name);
	if (used)
		return err_set(err, CNI_ENV,
		               "required environment variables missing: %s",
		               list);
	return CNI_OK;
}

static enum cni_code args_take(struct conf *conf, const char *key,
                               const char *value, size_t len, bool *ret_known)
{
	*ret_known = true;
	if (!strcmp(key, "K8S_POD_NAMESPACE")) {
		if (!is_dns_name(value, len, 63, false))
			return CNI_ENV;
		snprintf(conf->pod_namespace, sizeof(conf->pod_namespace),
		         "%.*s", (int)len, value);
	} else if (!strcmp(key, "K8S_POD_NAME")) {
		if (!is_dns_name(value, len, 253, true))
			return CNI_ENV;
		snprintf(conf->pod_name, sizeof(conf->pod_name), "%.*s",
		         (int)len, value);
	} else if (!strcmp(key, "K8S_POD_UID")) {
		if (len >= sizeof(conf->pod_uid))
			return CNI_ENV;
		snprintf(conf->pod_uid, sizeof(conf->pod_uid), "%.*s", (int)len,
		         value);
	} else if (strcmp(key, "K8S_POD_INFRA_CONTAINER_ID") != 0) {
		*ret_known = false;
	}
	return CNI_OK;
}

static bool is_flag(const char *value, size_t len, bool *ret)
{
	static const struct {
		const char *text;
		bool value;
	} flags[] = {
		{"1",     true },
		{"true",  true },
		{"0",     false},
		{"false", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (strlen(flags[i].text) != len ||
		    strncasecmp(flags[i].text, value, len) != 0)
			continue;
		*ret = flags[i].value;
		return true;
	}
	return false;
}

/* "K=V;K=V": SPEC.md, "Parameters"; libcni's types.LoadArgs for the details. */
static enum cni_code env_read_args(const char *args, struct conf *conf,
                                   struct err *err)
{
	char unknown[64] = "";
	bool ignore = false;

	for (const char *at = args; *at;) {
		const size_t len = strcspn(at, ";");
		const size_t key_len = strcspn(at, "=;");
		const char *value = at + key_len + 1;
		const size_t value_len = len - key_len - 1;
		char key[64];
		bool known = true;

		if (!key_len || key_len >= len || key_len >= sizeof(key) ||
		    memchr(value, '=', value_len))
			return err_set(err, CNI_ENV,
			               "CNI_ARGS: '%.*s' is no pair KEY=VALUE",
			               len > 64 ? 64 : (int)len, at);
		snprintf(key, sizeof(key), "%.*s", (int)key_len, at);
		if (!strcmp(key, "IgnoreUnknown")) {
			if (!is_flag(value, value_len, &ignore))
				return err_set(err, CNI_ENV,
				               "CNI_ARGS: IgnoreUnknown is "
				               "neither true nor false");
		} else if (args_take(conf, key, value, value_len, &known)) {
			return err_set(err, CNI_ENV,
			               "CNI_ARGS: %s '%.*s' is not valid", key,
			               value_len > 64 ? 64 : (int)value_len,
			               value);
		}
		if (!known)
			memcpy(unknown, key, sizeof(unknown));
		at += len;
		at += *at == ';';
	}
	if (*unknown && !ignore)
		return err_set(err, CNI_ENV,
		               "CNI_ARGS: %s is not known, and IgnoreUnknown "
		               "is not set",
		               unknown);
	if (!*conf->pod_name != !*conf->pod_namespace)
		return err_set(err, CNI_ENV,
		               "CNI_ARGS: K8S_POD_NAMESPACE and K8S_POD_NAME "
		               "go together");
	return CNI_OK;
}

static enum cni_code env_check_values(const struct conf_env *env,
                                      struct err *err)
{
	if (!conf_name_valid(env->container_id))
		return err_set(err, CNI_ENV,
		               "CNI_CONTAINERID '%.64s' is not valid: a letter "
		               "or digit, then those and '_', '.', '-'",
		               env->container_id);
	if (strlen(env->container_id) > CONF_ID_MAX)
		return err_set(err, CNI_ENV,
		               "CNI_CONTAINERID is longer than %d bytes",
		               CONF_ID_MAX);
	if (!conf_ifname_valid(env->ifname))
		return err_set(err, CNI_ENV,
		               "CNI_IFNAME '%.64s' is not valid: 1 to 15 bytes "
		               "without '/', ':' and white space",
		               env->ifname);
	if (!is_empty(env->netns) && strlen(env->netns) > CONF_NETNS_MAX)
		return err_set(err, CNI_ENV,
		               "CNI_NETNS is longer than %d bytes",
		               CONF_NETNS_MAX);
	return CNI_OK;
}

enum cni_code conf_read_env(const struct conf_env *env, struct conf *ret,
                            struct err *err)
{
	enum cni_code code;
	unsigned need;

	*ret = (struct conf){};
	if (is_empty(env->command))
		return err_set(err, CNI_ENV,
		               "required environment variables missing: "
		               "CNI_COMMAND");
	code = env_find_command(env->command, &ret->command, err);
	if (code)
		return code;
	need = commands[ret->command].need;
	code = env_check_missing(env, need, err);
	if (code)
		return code;
	ret->path = is_empty(env->path) ? NULL : env->path;
	if (!(need & NEED_ID))
		return CNI_OK;

	code = env_check_values(env, err);
	if (code)
		return code;
	ret->container_id = env->container_id;
	ret->ifname = env->ifname;
	ret->netns = is_empty(env->netns) ? NULL : env->netns;
	if (ret->command != COMMAND_DEL && env->args)
		code = env_read_args(env->args, ret, err);
	return code;
}

/* ---- the network configuration ---------------------------------------- */

static bool key_is_known(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(known_keys); i++)
		if (!strcmp(key, known_keys[i]))
			return true;
	return !strncmp(key, "cni.dev/", 8); /* reserved by the specification */
}

static enum cni_code json_check_keys(const struct conf *conf, struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach(conf->json, key, value)
	{
		_cleanup_(free_p) char *text = NULL;

		if (key_is_known(key))
			continue;
		text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		return err_set(err, CNI_FIELD,
		               "network configuration: the field '%.64s' "
		               "(%.100s) is not supported",
		               key, text ? text : "?");
	}
	return CNI_OK;
}

static enum cni_code json_read_version(struct conf *conf, struct err *err)
{
	const json_t *value = json_object_get(conf->json, "cniVersion");

	if (value && !json_is_string(value))
		return err_set(
			err, CNI_DECODE,
			"network configuration: cniVersion is no string");
	if (!value)
		return err_set(err, CNI_VERSION,
		               "network configuration: no cniVersion");
	conf->said = json_string_value(value);
	for (int i = 0; i < CNI__COUNT; i++) {
		if (strcmp(conf->said, cni_version_text[i]) != 0)
			continue;
		conf->version = (enum cni_version)i;
		if (conf->version >= commands[conf->command].since)
			return CNI_OK;
		return err_set(err, CNI_VERSION, "CNI version %s knows no %s",
		               conf->said, commands[conf->command].name);
	}
	return err_set(err, CNI_VERSION,
	               "CNI version '%.32s' is none of 0.3.1, 0.4.0, 1.0.0, "
	               "1.1.0",
	               conf->said);
}

static enum cni_code json_read_name(struct conf *conf, struct err *err)
{
	const json_t *type = json_object_get(conf->json, "type");

	conf->name = json_string_value(json_object_get(conf->json, "name"));
	if (!conf->name)
		return err_set(err, CNI_CONFIG,
		               "network configuration: no name");
	if (!conf_name_valid(conf->name) || strlen(conf->name) > 128)
		return err_set(err, CNI_CONFIG,
		               "network configuration: the name '%.64s' is not "
		               "valid",
		               conf->name);
	if (type && (!json_is_string(type) ||
	             !conf_name_valid(json_string_value(type))))
		return err_set(err, CNI_CONFIG,
		               "network configuration: the type is not valid");
	return CNI_OK;
}

/* An absolute path of at most @max bytes, or @otherwise where there is none. */
static enum cni_code json_read_path(const struct conf *conf, const char *key,
                                    size_t max, const char **ret,
                                    struct err *err)
{
	const json_t *value = json_object_get(conf->json, key);
	const char *text = json_string_value(value);

	if (!value)
		return CNI_OK;
	if (!text || *text != '/' || strlen(text) > max)
		return err_set(err, CNI_CONFIG,
		               "network configuration: %s is no absolute path "
		               "of at most %zu bytes",
		               key, max);
	*ret = text;
	return CNI_OK;
}

static enum cni_code json_read_mtu(struct conf *conf, struct err *err)
{
	const json_t *value = json_object_get(conf->json, "mtu");
	const json_int_t mtu = json_integer_value(value);

	if (!value)
		return CNI_OK;
	if (!json_is_integer(value) || (mtu && mtu < 576) || mtu < 0 ||
	    mtu > 65535)
		return err_set(err, CNI_CONFIG,
		               "network configuration: mtu is neither 0 nor "
		               "576 to 65535");
	conf->mtu = (int)mtu;
	return CNI_OK;
}

/* An empty object means the same as none: kubelet and podman write both. */
static enum cni_code json_read_ipam(struct conf *conf, struct err *err)
{
	const json_t *value = json_object_get(conf->json, "ipam");
	const json_t *type = json_object_get(value, "type");

	if (!value || json_is_null(value))
		return CNI_OK;
	if (!json_is_object(value))
		return err_set(err, CNI_CONFIG,
		               "network configuration: ipam is no object");
	if (!json_object_size(value))
		return CNI_OK;
	/* The type becomes part of a path (CVE-2021-20206). */
	if (!json_is_string(type) ||
	    !conf_name_valid(json_string_value(type)) ||
	    json_string_length(type) > 64)
		return err_set(err, CNI_CONFIG,
		               "network configuration: ipam.type is no name of "
		               "a plugin");
	if (!conf->path)
		return err_set(err, CNI_ENV,
		               "required environment variables missing: "
		               "CNI_PATH (ipam '%s' is delegated)",
		               json_string_value(type));
	conf->ipam = json_string_value(type);
	return CNI_OK;
}

static enum cni_code json_read_object(const struct conf *conf, const char *key,
                                      const json_t **ret, struct err *err)
{
	const json_t *value = json_object_get(conf->json, key);

	if (!value || json_is_null(value))
		return CNI_OK;
	if (!json_is_object(value))
		return err_set(err, CNI_CONFIG,
		               "network configuration: %s is no object", key);
	*ret = value;
	return CNI_OK;
}

static enum cni_code json_read_valid(struct conf *conf, struct err *err)
{
	const char *key = "cni.dev/valid-attachments";
	const json_t *one;
	size_t i;

	conf->valid = json_object_get(conf->json, key);
	if (json_is_null(conf->valid)) /* libcni's empty list */
		return CNI_OK;
	if (!json_is_array(conf->valid))
		return err_set(err, CNI_CONFIG,
		               "network configuration: %s is no list", key);
	json_array_foreach(conf->valid, i, one) if (
		!json_is_string(json_object_get(one, "containerID")) ||
		!json_is_string(json_object_get(
			one,
			"ifname"))) return err_set(err, CNI_CONFIG,
	                                           "network configuration: %s[%zu] has no "
	                                           "containerID and ifname",
	                                           key, i);
	return CNI_OK;
}

static enum cni_code json_read_all(struct conf *conf, struct err *err)
{
	enum cni_code code;

	conf->socket = WIRE_SOCKET;
	conf->state_dir = CONF_STATE_DIR;
	code = json_read_version(conf, err);
	if (!code)
		code = json_read_name(conf, err);
	if (!code && conf->command != COMMAND_DEL &&
	    conf->command != COMMAND_GC)
		code = json_check_keys(conf, err);
	if (!code)
		code = json_read_path(
			conf, "socket",
			sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
			&conf->socket, err);
	if (!code)
		code = json_read_path(conf, "stateDir", 200, &conf->state_dir,
		                      err);
	if (!code)
		code = json_read_mtu(conf, err);
	if (!code)
		code = json_read_ipam(conf, err);
	if (!code)
		code = json_read_object(conf, "prevResult", &conf->prev, err);
	if (!code)
		code = json_read_object(conf, "dns", &conf->dns, err);
	if (!code && conf->command == COMMAND_GC)
		code = json_read_valid(conf, err);
	return code;
}

enum cni_code conf_read_json(const char *text, size_t len, struct conf *conf,
                             struct err *err)
{
	json_error_t why;

	conf->raw = text;
	conf->raw_len = len;
	conf->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (conf->command == COMMAND_VERSION) {
		conf->said = json_string_value(
			json_object_get(conf->json, "cniVersion"));
		return CNI_OK;
	}
	if (!conf->json)
		return err_set(err, CNI_DECODE,
		               "network configuration: no JSON, line %d: %s",
		               why.line, why.text);
	if (!json_is_object(conf->json))
		return err_set(err, CNI_DECODE,
		               "network configuration: no JSON object");
	return json_read_all(conf, err);
}

void conf_free(struct conf *conf)
{
	json_decref(conf->json);
	conf->json = NULL;
}
