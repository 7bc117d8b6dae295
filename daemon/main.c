// SPDX-License-Identifier: Apache-2.0
/* main.c - stiled: every part of it, in the order in which they start. */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni/wire.h"
#include "daemon/attachment.h"
#include "daemon/daemon.h"
#include "daemon/host.h"
#include "daemon/metrics.h"
#include "daemon/pod_cidr.h"
#include "daemon/readiness.h"
#include "daemon/source_dir.h"
#include "daemon/source_kube.h"
#include "daemon/takeover.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/util.h"
#include "lib/version.h"

#define EXIT_USAGE 2

/* A pod may hold a quarter of the main table. */
#define FLOW_SHARE (FLOW_SHARDS * FLOW_SHARD_MAX / 4)

struct stiled {
	struct daemon daemon;      /* first: most of it */
	struct source_dir *source; /* or daemon.kube */
	struct readiness readiness;
	struct loop_fd signals;
	int lock_fd;
	bool has_node, has_endpoints; /* opened, to be closed */
};

static const struct server_op *const tables[] = {
	cni_ops, show_ops, flow_ops, policy_ops, service_ops, NULL};

/* ---- what wakes us ---- */

static void signals_ready(struct loop_fd *self, uint32_t epoll_events)
{
	struct stiled *s = container_of(self, struct stiled, signals);
	struct signalfd_siginfo info;

	(void)epoll_events;
	if (read(self->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		log_info("SIGHUP: everything is compared anew");
		reconcile_reread(s->daemon.reconcile);
		services_reread(s->daemon.services);
		return;
	}
	log_info("%s: stopping; what is attached stays attached",
	         strsignal((int)info.ssi_signo));
	loop_stop(s->daemon.loop);
}

static int signals_open(struct stiled *s, struct err *err)
{
	sigset_t set;
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return err_set(err, -errno, "signals: %s", strerror(errno));
	s->signals.ready = signals_ready;
	s->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->signals.fd < 0)
		return err_set(err, -errno, "signals: %s", strerror(errno));
	r = loop_fd_add(s->daemon.loop, &s->signals, EPOLLIN);
	return r ? err_set(err, r, "signals: %s", strerror(-r)) : 0;
}

static void something_changed(void *user)
{
	struct daemon *daemon = user;

	pod_cidrs_learn(daemon);
	if (daemon->reconcile)
		reconcile_schedule(daemon->reconcile);
	if (daemon->services)
		services_schedule(daemon->services);
}

/* Devices and addresses; routes may have gone with them. */
static void node_changed(void *user)
{
	struct daemon *daemon = user;

	something_changed(user);
	peers_schedule(&daemon->peers);
}

/* ---- start ---- */

/* Nothing of the host is touched in a dry run. */
static int start_host(struct stiled *s, struct err *err)
{
	const struct config *config = &s->daemon.config;
	int r = 0;

	if (!config->dry_run)
		r = host_dir(config->run_dir, err);
	if (!r && !config->dry_run)
		r = host_dir(config->state_dir, err);
	if (!r && !config->dry_run)
		r = host_lock(config->state_dir, &s->lock_fd, err);
	if (!r && !config->dry_run)
		r = host_bpffs(config->bpffs, err);
	host_sysctls();
	host_limits();
	/* What anybody writes from here on is root's alone. */
	(void)umask(077);
	return r;
}

static int start_loop(struct stiled *s, struct err *err)
{
	int r = loop_new(&s->daemon.loop);

	return r ? err_set(err, r, "event loop: %s", strerror(-r))
	         : signals_open(s, err);
}

static int start_dp(struct daemon *daemon, struct err *err)
{
	struct dp_config config = {
		.masquerade = daemon->config.masquerade,
		.audit = daemon->config.audit,
		.nat_port_min = NAT_PORT_MIN,
		.nat_port_max = NAT_PORT_MAX,
		.share = FLOW_SHARE,
		.tunnel_ifindex = (uint32_t)daemon->node.tunnel.ifindex,
		.tunnel_mtu = daemon->node.tunnel.mtu,
		.tunnel_port = htons(daemon->config.tunnel_port),
		.full = daemon->config.services_full,
	};

	if (daemon->config.dry_run)
		return 0;
	if (endpoint_mac_parse(GATEWAY_MAC, config.gw_mac) ||
	    addr_parse(GATEWAY_V4, &config.gateway[FAMILY_V4]) ||
	    addr_parse(GATEWAY_V6, &config.gateway[FAMILY_V6]))
		return err_set(err, -EINVAL, "the gateways in abi.h");
	return dp_open(&config, daemon->config.bpffs, &daemon->dp, err);
}

static int start_node(struct stiled *s, struct err *err)
{
	struct daemon *daemon = &s->daemon;
	int r = node_open(&daemon->node, &daemon->config, daemon->loop, err);

	s->has_node = !r;
	return r;
}

static int start_state(struct stiled *s, struct err *err)
{
	struct daemon *daemon = &s->daemon;
	int r = 0;

	daemon->endpoints.read_only = daemon->config.dry_run;
	if (!daemon->config.dry_run || !access(daemon->config.state_dir, F_OK))
		r = endpoints_open(&daemon->endpoints, daemon->config.state_dir,
		                   err);
	s->has_endpoints = !r;
	return r ? r : pod_cidrs_open(daemon, err);
}

/* What the source said is in force, and devices may run our programs. */
static void passed(void *user)
{
	struct daemon *daemon = user;
	struct err err = {};

	if (daemon->kube)
		daemon->policy_version =
			source_kube_policy_version(daemon->kube);
	if (!daemon->takes_over)
		return;
	if (takeover_run(daemon, &err))
		log_err("%s; it is tried again after the next change",
		        err.text);
	else
		daemon->takes_over = false;
}

static int start_reconcile(struct daemon *daemon, struct err *err)
{
	const struct reconcile_input input = {
		.config = &daemon->config,
		.loop = daemon->loop,
		.dp = daemon->dp,
		.store = &daemon->store,
		.endpoints = &daemon->endpoints,
		.node = &daemon->node,
		.passed = passed,
		.user = daemon,
		.peers = &daemon->peers,
	};
	int r;

	daemon->peers.config = &daemon->config;
	daemon->peers.store = &daemon->store;
	daemon->peers.node = &daemon->node;
	daemon->peers.loop = daemon->loop;
	daemon->peers.dp = daemon->dp;
	r = peers_open(&daemon->peers, err);
	if (!r)
		r = reconcile_new(&input, &daemon->reconcile, err);

	if (r)
		return r;
	daemon->store.on_change = something_changed;
	daemon->store.user = daemon;
	daemon->node.on_change = node_changed;
	daemon->node.user = daemon;
	daemon->node.endpoints = &daemon->endpoints;
	return 0;
}

static json_t *kube_problems(void *user)
{
	const struct stiled *s = user;

	return reconcile_problems(s->daemon.reconcile);
}

/* A dry run waits for the source, and for nothing else. */
static void kube_synced(void *user)
{
	struct stiled *s = user;

	if (s->daemon.config.dry_run)
		loop_stop(s->daemon.loop);
}

static int start_kube(struct stiled *s, struct err *err)
{
	const struct config *config = &s->daemon.config;
	const struct source_kube_config source = {
		.kubeconfig = config->kubeconfig,
		.node_name = config->node_name,
		.read_only = config->dry_run,
		.on_synced = kube_synced,
		.problems = kube_problems,
		.user = s,
	};

	return source_kube_open(s->daemon.loop, &s->daemon.store, &source,
	                        &s->daemon.kube, err);
}

static int start_services(struct daemon *daemon, struct err *err)
{
	const struct services_deps deps = {
		.config = &daemon->config,
		.loop = daemon->loop,
		.dp = daemon->dp,
		.store = &daemon->store,
		.node = &daemon->node,
	};

	return daemon->dp ? services_new(&deps, &daemon->services, err) : 0;
}

static int start_source(struct stiled *s, struct err *err)
{
	const struct config *config = &s->daemon.config;
	const struct source_dir_config source = {
		.path = config->source_dir,
		.state_dir = config->state_dir,
		.read_only = config->dry_run,
	};

	if (config->source_kube)
		return start_kube(s, err);
	return source_dir_open(s->daemon.loop, &s->daemon.store, &source,
	                       &s->source, err);
}

/* The pass that makes the kernel equal to what the source says. */
static void first_pass(struct daemon *daemon)
{
	struct err err = {};

	daemon->takes_over = takeover_due(daemon);
	if (!daemon->takes_over &&
	    node_attach(&daemon->node, daemon->dp, &err)) {
		log_err("uplinks: %s", err.text);
		err = (struct err){};
	}
	/* A cluster's first full answer is still to come. */
	if (!daemon->store.synced && daemon->kube)
		return;
	if (reconcile_now(daemon->reconcile, &err)) {
		log_err("the first pass: %s; it is tried again", err.text);
		reconcile_schedule(daemon->reconcile);
	}
	services_schedule(daemon->services);
	services_settle(daemon->services);
	/* Reading all the manifests took more than keeping them does. */
	(void)malloc_trim(0);
}

/* Who asks after he changed a manifest is answered by the new one. */
static void settle(struct daemon *daemon)
{
	reconcile_settle(daemon->reconcile);
	services_settle(daemon->services);
}

static int start_service(struct daemon *daemon, struct err *err)
{
	char path[sizeof(daemon->config.run_dir) + 16];
	int r = flowlog_new(daemon->loop, daemon->dp, daemon, &daemon->flowlog,
	                    err);

	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/stile.sock", daemon->config.run_dir);
	r = server_new(daemon->loop, path, tables, daemon, &daemon->server,
	               err);
	if (r)
		return r;
	server_before(daemon->server, settle);
	/* It listens, but nobody is answered before these are caught up with
	 * (cni/queue.h). */
	attachments_replay(daemon);
	return daemon->config.metrics[0]
	               ? http_open(daemon->loop, daemon->config.metrics,
	                           metrics_routes, daemon, &daemon->http, err)
	               : 0;
}

/* In this order: each part stands on those before it. */
static int start(struct stiled *s, struct err *err)
{
	struct daemon *daemon = &s->daemon;
	int r = start_host(s, err);

	if (!r)
		r = start_loop(s, err);
	if (!r)
		r = start_node(s, err);
	if (!r)
		r = start_dp(daemon, err);
	if (!r)
		r = start_state(s, err);
	if (!r && !daemon->config.dry_run)
		attachments_adopt(daemon);
	if (!r)
		r = start_reconcile(daemon, err);
	if (!r)
		r = start_services(daemon, err);
	if (!r)
		r = start_source(s, err);
	if (r || daemon->config.dry_run)
		return r;
	first_pass(daemon);
	r = start_service(daemon, err);
	if (!r)
		readiness_open(&s->readiness, daemon);
	return r;
}

/* The other way round; what is in the kernel stays there. */
static void stop(struct stiled *s)
{
	struct daemon *daemon = &s->daemon;

	daemon->store.on_change = NULL;
	http_close(daemon->http);
	server_free(daemon->server);
	readiness_close(&s->readiness);
	source_dir_close(s->source);
	source_kube_close(daemon->kube);
	flowlog_free(daemon->flowlog);
	services_free(daemon->services);
	reconcile_free(daemon->reconcile);
	peers_close(&daemon->peers);
	dp_close(daemon->dp);
	for (int f = 0; f < FAMILY__COUNT; f++)
		ipam_close(&daemon->ipam[f]);
	json_decref(daemon->cidr_problem);
	if (s->has_endpoints)
		endpoints_close(&daemon->endpoints);
	if (s->has_node)
		node_close(&daemon->node);
	store_clear(&daemon->store);
	closep(&s->signals.fd);
	loop_free(daemon->loop);
	closep(&s->lock_fd);
	free(s);
}
DEFINE_CLEANUP(struct stiled *, stop)

static int plan_print(struct daemon *daemon, struct err *err)
{
	_cleanup_(json_decrefp) json_t *plan =
		reconcile_plan(daemon->reconcile, err);

	if (!plan)
		return -EINVAL;
	if (json_dumpf(plan, stdout, JSON_INDENT(2)) || puts("") == EOF)
		return err_set(err, -EIO, "standard output: %s",
		               strerror(errno));
	return 0;
}

static int run(struct stiled *s, struct err *err)
{
	struct daemon *daemon = &s->daemon;
	int r;

	if (daemon->config.dry_run) {
		r = daemon->kube ? loop_run(daemon->loop) : 0;
		return r ? err_set(err, r, "event loop: %s", strerror(-r))
		         : plan_print(daemon, err);
	}
	host_notify("READY=1");
	log_info("stiled %s serves node %s", STILE_VERSION,
	         daemon->config.node_name);
	r = loop_run(daemon->loop);
	host_notify("STOPPING=1");
	return r ? err_set(err, r, "event loop: %s", strerror(-r)) : 0;
}

int main(int argc, char **argv)
{
	_cleanup_(stopp) struct stiled *s = calloc(1, sizeof(*s));
	struct err err = {};
	int r;

	if (!s)
		return EXIT_FAILURE;
	s->lock_fd = s->signals.fd = -1;
	s->daemon.endpoints.dir_fd = -1;
	r = config_parse(argc, argv, &s->daemon.config, &err);
	if (r == 1)
		return EXIT_SUCCESS;
	if (r) {
		(void)fprintf(stderr, "stiled: %s\n", err.text);
		return EXIT_USAGE;
	}
	log_open(s->daemon.config.log_json, s->daemon.config.log_level);
	attachments_init(&s->daemon);
	r = start(s, &err);
	if (!r)
		r = run(s, &err);
	if (r)
		log_err("%s", err.text);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
