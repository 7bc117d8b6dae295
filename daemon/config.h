/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - what stiled was told: flags, then --config FILE, then defaults. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/log.h"
#include "policy/policy.h"

#define CONFIG_EXTERNAL_MAX 16
#define CONFIG_DEVICES_MAX  16

enum attach_mode { ATTACH_AUTO, ATTACH_TCX, ATTACH_CLSACT };
/* AUTO: by tunnel with other nodes' source, natively without one. */
enum routing { ROUTING_AUTO, ROUTING_TUNNEL, ROUTING_NATIVE };
enum toggle { TOGGLE_AUTO, TOGGLE_ON, TOGGLE_OFF };

struct config {
	char source_dir[256]; /* --source dir:PATH; empty with kube */
	bool source_kube;
	char kubeconfig[256]; /* empty: in the cluster */
	bool cni_conf_given;
	char cni_conf_dir[256]; /* empty: no configuration is written */
	char node_name[254];
	struct prefix pod_cidr[FAMILY__COUNT];
	bool has_pod_cidr[FAMILY__COUNT];
	char device[CONFIG_DEVICES_MAX][16]; /* none: found by default route */
	int n_devices;
	bool masquerade;
	bool audit; /* --policy audit */
	bool services_full;
	struct prefix external[CONFIG_EXTERNAL_MAX]; /* --external-ips */
	int n_externals;
	enum toggle big_tcp;
	enum routing routing; /* not AUTO once it is parsed */
	uint16_t tunnel_port;
	enum attach_mode attach;
	char run_dir[256], state_dir[256], bpffs[256], cgroup[256];
	char metrics[64]; /* ADDR:PORT; empty: off */
	bool log_json;
	enum log_level log_level;
	bool dry_run;
};

/* Does it hold addresses that can not be pods' or nodes' (RFC 6890, and the
 * gateways in abi.h)? */
bool prefix_is_reserved(const struct prefix *prefix);

/**
 * config_parse - read argv, and the YAML file that --config names.
 *
 * Every flag of the design's section 5 is known; those whose feature is not
 * built yet are refused with a sentence unless they hold their default.
 *
 * Return: 0; 1 when --help or --version was printed; -EINVAL with a sentence
 * naming the flag or key.
 */
int config_parse(int argc, char **argv, struct config *ret, struct err *err);
