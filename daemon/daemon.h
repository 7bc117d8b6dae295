/* SPDX-License-Identifier: Apache-2.0 */
/* daemon.h - everything that stiled consists of, for its operations. */
#pragma once

#include "daemon/config.h"
#include "daemon/dp.h"
#include "daemon/endpoint.h"
#include "daemon/flowlog.h"
#include "daemon/http.h"
#include "daemon/ipam.h"
#include "daemon/loop.h"
#include "daemon/node.h"
#include "daemon/peers.h"
#include "daemon/reconcile.h"
#include "daemon/server.h"
#include "daemon/services.h"
#include "daemon/store.h"

#define STRAYS_MAX 256

struct daemon {
	struct config config;
	struct loop *loop;
	struct store store;
	struct endpoints endpoints;
	struct ipam ipam[FAMILY__COUNT];
	bool cidr_from_node; /* no --pod-cidr: see pod_cidr.h */
	json_t *cidr_problem;
	struct node node;
	struct peers peers;
	struct dp *dp;
	struct reconcile *reconcile;
	struct services *services; /* NULL in a dry run */
	struct flowlog *flowlog;
	struct server *server;
	struct http *http;        /* NULL: not wanted */
	struct source_kube *kube; /* NULL: the source is a directory */
	struct loop_timer reap;   /* ends closing endpoints, see attachment.h */
	bool reap_failed;         /* said so already */
	uint64_t policy_version;  /* of the API server, in force; 0: none */
	bool takes_over;          /* another version still has the devices */
	int stray[STRAYS_MAX];    /* links to be deleted that no endpoint has */
	int n_strays;
};

/* Tables of operations, each ended by a NULL name. */
extern const struct server_op cni_ops[];     /* ops_cni.c */
extern const struct server_op show_ops[];    /* ops_show.c: status, lists */
extern const struct server_op flow_ops[];    /* ops_flow.c: flows, conntrack */
extern const struct server_op service_ops[]; /* ops_service.c */
extern const struct server_op policy_ops[]; /* ops_policy.c: get, why, verify */
