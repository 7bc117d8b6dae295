// SPDX-License-Identifier: Apache-2.0
/* pod_cidr.c - see pod_cidr.h. */
#include "daemon/pod_cidr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/words.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/util.h"

struct cidrs {
	struct prefix cidr[FAMILY__COUNT];
	bool has[FAMILY__COUNT];
};

static bool cidrs_any(const struct cidrs *cidrs)
{
	return cidrs->has[FAMILY_V4] || cidrs->has[FAMILY_V6];
}

/* The first of each family; NULL, or why not. */
static const char *cidrs_take(struct cidrs *cidrs, const struct prefix *prefix)
{
	const enum family f = addr_family(&prefix->addr);

	if (prefix_is_reserved(prefix))
		return "holds addresses that are reserved";
	if (cidrs->has[f])
		return "is a second one of its family";
	cidrs->cidr[f] = *prefix;
	cidrs->has[f] = true;
	return NULL;
}

/* ---- the file ----------------------------------------------------------- */

static void file_path(const struct daemon *daemon, char *buf, size_t size)
{
	snprintf(buf, size, "%s/pod-cidrs", daemon->config.state_dir);
}

/* One a line; what cannot be read is as if it were not there. */
static void file_read(const struct daemon *daemon, struct cidrs *ret)
{
	char path[300], line[PREFIX_TEXT_MAX + 2];
	FILE *file;

	file_path(daemon, path, sizeof(path));
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		struct prefix prefix;

		line[strcspn(line, "\n")] = 0;
		if (!prefix_parse(line, &prefix))
			(void)cidrs_take(ret, &prefix);
	}
	if (file)
		(void)fclose(file);
}

static int file_write(const struct daemon *daemon, const struct cidrs *cidrs,
                      struct err *err)
{
	char path[300], fresh[304], text[PREFIX_TEXT_MAX];
	FILE *file;
	int r = 0;

	file_path(daemon, path, sizeof(path));
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	file = fopen(fresh, "we");
	for (int f = 0; file && f < FAMILY__COUNT && !r; f++)
		if (cidrs->has[f] &&
		    fprintf(file, "%s\n", prefix_words(&cidrs->cidr[f], text)) <
		            0)
			r = -EIO;
	if (!file || (fflush(file) || fsync(fileno(file))))
		r = errno ? -errno : -EIO;
	if (file && fclose(file) && !r)
		r = -errno;
	if (!r && rename(fresh, path))
		r = -errno;
	return r ? err_set(err, r, "write %s: %s", path, strerror(-r)) : 0;
}

/* ---- the ranges --------------------------------------------------------- */

static int range_open(struct daemon *daemon, int family, struct err *err)
{
	static const char *const name[FAMILY__COUNT] = {"ipam.v4", "ipam.v6"};
	struct ipam *ipam = &daemon->ipam[family];
	struct err why = {};
	int r = ipam_open(ipam, &daemon->config.pod_cidr[family], err);

	if (!r && !daemon->config.dry_run &&
	    ipam_keep(ipam, daemon->config.state_dir, name[family],
	              loop_now_ns(), &why))
		log_warn("%s; freed addresses do not rest over a restart",
		         why.text);
	return r;
}

static int ranges_open(struct daemon *daemon, struct err *err)
{
	int r = 0;

	for (int f = 0; !r && f < FAMILY__COUNT; f++)
		if (daemon->config.has_pod_cidr[f])
			r = range_open(daemon, f, err);
	return r;
}

static void ranges_close(struct daemon *daemon)
{
	for (int f = 0; f < FAMILY__COUNT; f++)
		ipam_close(&daemon->ipam[f]);
}

static void config_set(struct config *config, const struct cidrs *cidrs)
{
	memcpy(config->pod_cidr, cidrs->cidr, sizeof(config->pod_cidr));
	memcpy(config->has_pod_cidr, cidrs->has, sizeof(config->has_pod_cidr));
}

int pod_cidrs_open(struct daemon *daemon, struct err *err)
{
	struct config *config = &daemon->config;
	struct cidrs old = {};

	daemon->cidr_from_node = !config->has_pod_cidr[FAMILY_V4] &&
	                         !config->has_pod_cidr[FAMILY_V6];
	if (daemon->cidr_from_node) {
		file_read(daemon, &old);
		config_set(config, &old);
	}
	return ranges_open(daemon, err);
}

/* ---- what the Node says ------------------------------------------------- */

static const struct node_object *own_node(const struct daemon *daemon)
{
	const struct store_object *object;
	char id[300];

	snprintf(id, sizeof(id), "Node/%s", daemon->config.node_name);
	object = store_find(&daemon->store, id);
	return object && object->object.kind == OBJECT_NODE
	               ? &object->object.node
	               : NULL;
}

static void problem_set(struct daemon *daemon, const char *text)
{
	char object[300];
	const json_t *old = json_array_get(daemon->cidr_problem, 0);

	if (!text) {
		json_decref(daemon->cidr_problem);
		daemon->cidr_problem = NULL;
		return;
	}
	if (old &&
	    !strcmp(text, json_string_value(json_object_get(old, "error"))))
		return;
	snprintf(object, sizeof(object), "Node/%s", daemon->config.node_name);
	log_err("%s: %s", object, text);
	json_decref(daemon->cidr_problem);
	daemon->cidr_problem =
		json_pack("[{s:s, s:s}]", "object", object, "error", text);
}

json_t *pod_cidrs_problem(const struct daemon *daemon)
{
	return daemon->cidr_problem;
}

/* Has a pod an address of the ranges that are in use? */
static bool is_in_use(const struct daemon *daemon)
{
	return daemon->ipam[FAMILY_V4].used || daemon->ipam[FAMILY_V6].used;
}

/* Pods that were here before we knew the range have addresses of it. */
static void addresses_take(struct daemon *daemon)
{
	for (unsigned i = 1; i < ENDPOINT_MAX; i++) {
		struct ep *ep = &daemon->endpoints.ep[i];

		for (int f = 0; ep->state != ENDPOINT_FREE && f < FAMILY__COUNT;
		     f++)
			if (daemon->ipam[f].enabled &&
			    !addr_is_zero(&ep->addr[f]) && !ep->own_addr[f])
				ep->own_addr[f] = !ipam_take(&daemon->ipam[f],
				                             &ep->addr[f]);
	}
}

static void cidrs_use(struct daemon *daemon, const struct cidrs *cidrs)
{
	char text[PREFIX_TEXT_MAX];
	struct err err = {};
	int r = daemon->config.dry_run ? 0 : file_write(daemon, cidrs, &err);

	if (!r) {
		ranges_close(daemon);
		config_set(&daemon->config, cidrs);
		r = ranges_open(daemon, &err);
	}
	problem_set(daemon, r ? err.text : NULL);
	if (r)
		return;
	addresses_take(daemon);
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (cidrs->has[f])
			log_info("pods get addresses of %s, by this node's "
			         "Node",
			         prefix_words(&cidrs->cidr[f], text));
}

static bool cidrs_equal(const struct config *config, const struct cidrs *cidrs)
{
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (config->has_pod_cidr[f] != cidrs->has[f] ||
		    (cidrs->has[f] &&
		     (config->pod_cidr[f].bits != cidrs->cidr[f].bits ||
		      addr_compare(&config->pod_cidr[f].addr,
		                   &cidrs->cidr[f].addr) != 0)))
			return false;
	return true;
}

void pod_cidrs_learn(struct daemon *daemon)
{
	const struct node_object *own =
		daemon->cidr_from_node ? own_node(daemon) : NULL;
	char text[PREFIX_TEXT_MAX], why[160] = "";
	struct cidrs cidrs = {};

	for (size_t i = 0; own && i < own->n_cidrs; i++) {
		const char *no = cidrs_take(&cidrs, &own->cidr[i]);

		if (no)
			snprintf(why, sizeof(why),
			         "pod CIDR %s %s; it is passed over",
			         prefix_words(&own->cidr[i], text), no);
	}
	if (!cidrs_any(&cidrs) || cidrs_equal(&daemon->config, &cidrs)) {
		if (own)
			problem_set(daemon, why[0] ? why : NULL);
		return;
	}
	if (!is_in_use(daemon)) {
		cidrs_use(daemon, &cidrs);
		return;
	}
	problem_set(daemon,
	            "its pod CIDRs are others than those that pods here have "
	            "addresses of; those are used until no pod is left");
}
