// SPDX-License-Identifier: Apache-2.0
/* kube_config.c - see kube_config.h. */
#include "daemon/kube_config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base64.h"
#include "daemon/yaml.h"
#include "lib/file.h"

#define FILE_MAX ((size_t)1 << 20)

/* ---- memory -------------------------------------------------------------- */

static void secret_free(struct kube_secret *secret)
{
	if (secret->data)
		explicit_bzero(secret->data, secret->len);
	free(secret->data);
	free(secret->file);
}

void kube_config_free(struct kube_config *config)
{
	free(config->server);
	free(config->tls_server_name);
	secret_free(&config->ca);
	secret_free(&config->cert);
	secret_free(&config->key);
	secret_free(&config->token);
	*config = (struct kube_config){};
}

/* ---- the token ----------------------------------------------------------- */

/* What stands in a header may hold neither blanks nor line ends. */
static int token_check(char *text, struct err *err)
{
	size_t len = strlen(text);

	while (len && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	if (!len)
		return err_set(err, -EINVAL, "the token is empty");
	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			return err_set(err, -EINVAL,
			               "the token holds a byte that no token "
			               "may hold");
	return 1;
}

int kube_config_token(const struct kube_config *config,
                      char ret[KUBE_TOKEN_MAX], struct err *err)
{
	size_t len = 0;
	int r = 0;

	if (config->token.file) {
		r = file_read(config->token.file, ret, KUBE_TOKEN_MAX, &len,
		              err);
		if (r)
			return err_wrap(err, r, "%.160s", config->token.file);
	} else if (!config->token.data) {
		return 0;
	} else if (config->token.len >= KUBE_TOKEN_MAX) {
		return err_set(err, -E2BIG, "the token is too long");
	} else {
		memcpy(ret, config->token.data, config->token.len + 1);
	}
	return token_check(ret, err);
}

/* ---- a kubeconfig -------------------------------------------------------- */

static const char *text_at(const json_t *object, const char *field)
{
	const char *text = json_string_value(json_object_get(object, field));

	return text && *text ? text : NULL;
}

static int path_set(const char *dir, const char *path, char **ret,
                    struct err *err)
{
	int r = path[0] == '/' ? asprintf(ret, "%s", path)
	                       : asprintf(ret, "%s/%s", dir, path);

	return r < 0 ? err_set(err, -ENOMEM, "out of memory") : 0;
}

/* "certificate-authority" names a file; with "-data" it is here, in base64. */
static int secret_read(const json_t *object, const char *field, const char *dir,
                       struct kube_secret *ret, struct err *err)
{
	const char *file = text_at(object, field), *text;
	char with_data[64];

	snprintf(with_data, sizeof(with_data), "%s-data", field);
	text = text_at(object, with_data);
	if (!text)
		return file ? path_set(dir, file, &ret->file, err) : 0;
	if (base64_decode(text, &ret->data, &ret->len))
		return err_set(err, -EINVAL, "%s is no base64", with_data);
	return 0;
}

/* Entry "NAME" of a list of {name, FIELD}: its FIELD. */
static json_t *entry_find(const json_t *doc, const char *list,
                          const char *field, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(doc, list), i, entry)
	{
		const char *own = text_at(entry, "name");

		if (own && name && !strcmp(own, name))
			return json_object_get(entry, field);
	}
	return NULL;
}

/* "https://HOST[:PORT][/PATH]" without what is behind the path. */
static int server_set(const char *text, struct kube_config *ret,
                      struct err *err)
{
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return err_set(err, -EINVAL, "the cluster has no server");
	if (strncasecmp(text, "https://", 8) != 0)
		return err_set(err, -EINVAL,
		               "server '%.100s' does not begin with https://: "
		               "without TLS nobody is asked",
		               text);
	if (strpbrk(text, "?#@ \t\r\n\\\"<>{}|^`"))
		return err_set(err, -EINVAL, "server '%.100s' is no address",
		               text);
	while (text[len - 1] == '/')
		len--;
	if (len <= 8)
		return err_set(err, -EINVAL, "server '%.100s' has no host",
		               text);
	ret->server = strndup(text, len);
	return ret->server ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int cluster_read(const json_t *cluster, const char *dir,
                        struct kube_config *ret, struct err *err)
{
	const char *name = text_at(cluster, "tls-server-name");
	const json_t *insecure =
		json_object_get(cluster, "insecure-skip-tls-verify");
	int r;

	if (insecure && !json_is_false(insecure))
		return err_set(err, -EINVAL,
		               "insecure-skip-tls-verify is refused: a server "
		               "that cannot prove who it is would decide "
		               "policy");
	if (text_at(cluster, "proxy-url"))
		return err_set(err, -EINVAL,
		               "proxy-url is refused: the node's daemon asks "
		               "the API server itself");
	r = server_set(text_at(cluster, "server"), ret, err);
	if (!r)
		r = secret_read(cluster, "certificate-authority", dir, &ret->ca,
		                err);
	if (r || !name)
		return r;
	if (strpbrk(name, ":/?#@ \t\r\n[]"))
		return err_set(err, -EINVAL,
		               "tls-server-name '%.100s' is no name", name);
	ret->tls_server_name = strdup(name);
	return ret->tls_server_name ? 0
	                            : err_set(err, -ENOMEM, "out of memory");
}

/* tokenFile wins over token, as with kubectl. */
static int token_read(const json_t *user, const char *dir,
                      struct kube_config *ret, struct err *err)
{
	const char *file = text_at(user, "tokenFile"),
		   *token = text_at(user, "token");

	if (file)
		return path_set(dir, file, &ret->token.file, err);
	if (!token)
		return 0;
	ret->token.data = strdup(token);
	if (!ret->token.data)
		return err_set(err, -ENOMEM, "out of memory");
	ret->token.len = strlen(token);
	return 0;
}

static int user_read(const json_t *user, const char *dir,
                     struct kube_config *ret, struct err *err)
{
	static const char *const refused[] = {"exec", "auth-provider",
	                                      "username", "password"};
	bool has_cert, has_key;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (json_object_get(user, refused[i]))
			return err_set(err, -EINVAL,
			               "the user's '%s' is refused: give a "
			               "token, a tokenFile or a client "
			               "certificate",
			               refused[i]);
	r = secret_read(user, "client-certificate", dir, &ret->cert, err);
	if (!r)
		r = secret_read(user, "client-key", dir, &ret->key, err);
	if (!r)
		r = token_read(user, dir, ret, err);
	if (r)
		return r;
	has_cert = ret->cert.file || ret->cert.data;
	has_key = ret->key.file || ret->key.data;
	if (has_cert != has_key)
		return err_set(err, -EINVAL,
		               "client-certificate and client-key go together");
	if (!has_cert && !ret->token.file && !ret->token.data)
		return err_set(err, -EINVAL,
		               "the user has neither a token nor a client "
		               "certificate");
	return 0;
}

static int doc_read(const json_t *doc, const char *dir, struct kube_config *ret,
                    struct err *err)
{
	const char *name = text_at(doc, "current-context");
	const json_t *context = entry_find(doc, "contexts", "context", name);
	const json_t *cluster = entry_find(doc, "clusters", "cluster",
	                                   text_at(context, "cluster"));
	const json_t *user =
		entry_find(doc, "users", "user", text_at(context, "user"));
	int r;

	if (!name)
		return err_set(err, -EINVAL, "current-context is missing");
	if (!context)
		return err_set(err, -EINVAL, "there is no context '%.100s'",
		               name);
	if (!cluster)
		return err_set(err, -EINVAL,
		               "context '%.64s': its cluster is not there",
		               name);
	if (!user)
		return err_set(err, -EINVAL,
		               "context '%.64s': its user is not there", name);
	r = cluster_read(cluster, dir, ret, err);
	return r ? r : user_read(user, dir, ret, err);
}

int kube_config_parse(const char *text, size_t len, const char *dir,
                      struct kube_config *ret, struct err *err)
{
	_cleanup_(json_decrefp) json_t *docs = NULL;
	struct kube_config config = {};
	int r = yaml_load(text, len, &docs, err);

	if (!r && json_array_size(docs) != 1)
		r = err_set(err, -EINVAL, "not one document");
	if (!r)
		r = doc_read(json_array_get(docs, 0), dir, &config, err);
	if (r)
		kube_config_free(&config);
	else
		*ret = config;
	return r;
}

static int file_parse(const char *path, struct kube_config *ret,
                      struct err *err)
{
	_cleanup_(free_p) char *text = malloc(FILE_MAX + 1),
			       *dir = strdup(path);
	size_t len = 0;
	int r;

	if (!text || !dir)
		return err_set(err, -ENOMEM, "out of memory");
	r = file_read(path, text, FILE_MAX + 1, &len, err);
	if (r)
		return err_wrap(err, r, "%.160s", path);
	if (strrchr(dir, '/'))
		*strrchr(dir, '/') = '\0';
	r = kube_config_parse(text, len, dir, ret, err);
	explicit_bzero(text, len);
	return r ? err_wrap(err, r, "kubeconfig %.100s", path) : 0;
}

/* ---- in the cluster ------------------------------------------------------ */

int kube_config_in_cluster(const char *dir, struct kube_config *ret,
                           struct err *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"),
		   *port = getenv("KUBERNETES_SERVICE_PORT");
	struct kube_config config = {};
	char text[300];
	bool six;
	int r;

	if (!host || !*host || !port || !*port)
		return err_set(err, -EINVAL,
		               "--source kube: no --kubeconfig, and this is no "
		               "pod (KUBERNETES_SERVICE_HOST and "
		               "KUBERNETES_SERVICE_PORT are not set)");
	six = strchr(host, ':') && host[0] != '[';
	snprintf(text, sizeof(text), "https://%s%.200s%s:%.16s", six ? "[" : "",
	         host, six ? "]" : "", port);
	r = server_set(text, &config, err);
	if (!r)
		r = path_set(dir, "ca.crt", &config.ca.file, err);
	if (!r)
		r = path_set(dir, "token", &config.token.file, err);
	if (!r && access(config.ca.file, R_OK))
		r = err_set(err, -errno, "%s: %s", config.ca.file,
		            strerror(errno));
	if (r)
		kube_config_free(&config);
	else
		*ret = config;
	return r;
}

int kube_config_read(const char *path, struct kube_config *ret, struct err *err)
{
	return path && *path
	               ? file_parse(path, ret, err)
	               : kube_config_in_cluster(KUBE_ACCOUNT_DIR, ret, err);
}
