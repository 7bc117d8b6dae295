/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kube_config.h - where the API server is, and who we are there.
 *
 * From a kubeconfig, or from what every pod is given: the variables
 * KUBERNETES_SERVICE_HOST and _PORT (which a manifest may set, where nothing
 * serves the cluster's own address yet) and the service account's files.
 *
 * TLS is never left out, and never unverified.  Programs that make credentials
 * (exec, auth-provider) are refused: a node's daemon runs nobody's program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"
#include "lib/util.h"

#define KUBE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"
#define KUBE_TOKEN_MAX   16384

/* A file that is read when it is needed, or bytes that came with the config. */
struct kube_secret {
	char *file; /* owned; or NULL */
	void *data; /* owned; or NULL */
	size_t len;
};

struct kube_config {
	char *server;          /* "https://10.0.0.1:6443", no '/' at its end */
	char *tls_server_name; /* NULL: the server's own */
	struct kube_secret ca, cert, key; /* ca: neither, the system's */
	struct kube_secret token;
};

/* @path: of a kubeconfig; "" or NULL: in the cluster. */
int kube_config_read(const char *path, struct kube_config *ret,
                     struct err *err);
/* The text of a kubeconfig; relative files are beside it, in @dir. */
int kube_config_parse(const char *text, size_t len, const char *dir,
                      struct kube_config *ret, struct err *err);
/* In the cluster, with the account's files in @dir. */
int kube_config_in_cluster(const char *dir, struct kube_config *ret,
                           struct err *err);
void kube_config_free(struct kube_config *config);

/* The token as it is now: 1 and a NUL-terminated text; 0, there is none;
 * -errno with a sentence. */
int kube_config_token(const struct kube_config *config,
                      char ret[KUBE_TOKEN_MAX], struct err *err);
