/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_kube.h - the Kubernetes API as the source of the store.
 *
 * Every kind is listed and watched (kube_reflect.h); the store is synced once
 * all first lists are in.  While the API server does not answer everything
 * stays as it is, and "Source/kube" stands in the store with the reason.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "daemon/loop.h"
#include "daemon/store.h"
#include "lib/err.h"
#include "lib/util.h"

struct source_kube;
struct kube_fetch;

struct source_kube_config {
	const char *kubeconfig; /* "": in the cluster */
	const char *node_name;
	bool read_only; /* nothing is told to the API server */
	/* Once: the store is synced now. */
	void (*on_synced)(void *user);
	/* What is not in force and why, see reconcile_problems(). */
	json_t *(*problems)(void *user);
	void *user;
};

/* Returns at once; -errno with a sentence when the configuration is no good. */
int source_kube_open(struct loop *loop, struct store *store,
                     const struct source_kube_config *config,
                     struct source_kube **ret, struct err *err);
/* The store keeps what it has. */
void source_kube_close(struct source_kube *source);
DEFINE_CLEANUP(struct source_kube *, source_kube_close)

/* ADD can be served: the Node object is told. */
void source_kube_ready(struct source_kube *source);

/* The resourceVersion up to which NetworkPolicies have been seen; 0: none yet.
 */
uint64_t source_kube_policy_version(const struct source_kube *source);

/* ---- a pod that is asked for by itself ------------------------------------
 */

/* Which pod is meant; strings borrowed for the call. */
struct kube_pod_key {
	const char *ns, *name;
	const char *uid; /* "": any */
};

/* Is it in the store, and is it that one and no other of its name? */
bool source_kube_knows(const struct source_kube *source,
                       const struct kube_pod_key *key);

/**
 * source_kube_fetch - ask the API server for one pod.
 *
 * @done: once, from the loop, within two seconds.  @why: NULL when the pod is
 *        in the store now; else the sentence why it is not.
 *
 * Return: what source_kube_fetch_cancel() takes, until done() is called; NULL
 * when it cannot even be asked for, with @err.
 */
struct kube_fetch *source_kube_fetch(struct source_kube *source,
                                     const struct kube_pod_key *key,
                                     void (*done)(void *user, const char *why),
                                     void *user, struct err *err);
void source_kube_fetch_cancel(struct kube_fetch *fetch);
