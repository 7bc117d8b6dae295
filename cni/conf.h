/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h - what the runtime asks: CNI_* variables and the network
 * configuration, validated before anything is touched.
 *
 * The specification is CNI 1.1 (containernetworking/cni, SPEC.md); its section
 * "Error" gives the codes.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

enum cni_code {
	CNI_OK = 0,
	CNI_VERSION = 1,   /* incompatible CNI version */
	CNI_FIELD = 2,     /* unsupported field in the configuration */
	CNI_CONTAINER = 3, /* container unknown or does not exist */
	CNI_ENV = 4,       /* a necessary environment variable is invalid */
	CNI_IO = 5,
	CNI_DECODE = 6,
	CNI_CONFIG = 7,       /* invalid network configuration */
	CNI_AGAIN = 11,       /* try again later */
	CNI_UNAVAILABLE = 50, /* STATUS: ADD can not be served */
	CNI_FAILED = 100,     /* ours: the kernel or a file refused */
	CNI_EXISTS = 101,     /* ours: the interface exists already */
	CNI_WRONG = 102, /* ours: CHECK found something missing or changed */
};

enum cni_version { CNI_0_3_1, CNI_0_4_0, CNI_1_0_0, CNI_1_1_0, CNI__COUNT };
extern const char *const cni_version_text[CNI__COUNT];

enum command {
	COMMAND_ADD,
	COMMAND_DEL,
	COMMAND_CHECK,
	COMMAND_GC,
	COMMAND_STATUS,
	COMMAND_VERSION,
	COMMAND__COUNT
};

#define CONF_ID_MAX    128 /* of a container id */
#define CONF_NETNS_MAX 255
#define CONF_STATE_DIR "/var/lib/stile"

/* The variables as the environment has them; NULL: not set. */
struct conf_env {
	const char *command, *container_id, *netns, *ifname, *args, *path;
};

struct conf {
	enum command command;
	enum cni_version version;
	/* of the environment; borrowed, NULL where the command has none */
	const char *container_id, *netns, *ifname, *path;
	char pod_namespace[64], pod_name[254]; /* empty: not told */
	char pod_uid[64];                      /* the same */
	/* of the network configuration; strings live in json */
	json_t *json;     /* owned; NULL with VERSION when there was none */
	const char *name; /* of the network */
	const char *socket, *state_dir;
	int mtu;             /* 0: the daemon's */
	const char *ipam;    /* type of the delegated plugin, or NULL */
	const json_t *prev;  /* prevResult or NULL */
	const json_t *dns;   /* or NULL */
	const json_t *valid; /* cni.dev/valid-attachments or NULL */
	const char *raw;     /* the text, for delegated plugins; borrowed */
	size_t raw_len;
	const char *said; /* cniVersion as it was given, or NULL */
};

/**
 * conf_read_env - judge the variables.
 *
 * All that the command needs and lacks is reported in one sentence.  DEL does
 * not look at CNI_ARGS: what a failed ADD was given must not keep it from
 * being undone.
 *
 * Return: CNI_OK, or CNI_ENV with a sentence.
 */
enum cni_code conf_read_env(const struct conf_env *env, struct conf *ret,
                            struct err *err);

/**
 * conf_read_json - judge the network configuration, for conf->command.
 *
 * @text: borrowed for as long as conf lives.  With VERSION only cniVersion is
 * looked at, and everything is fine.  A key that we do not know is refused
 * (code 2), save by DEL and GC.
 *
 * Return: CNI_OK, or a code with a sentence.
 */
enum cni_code conf_read_json(const char *text, size_t len, struct conf *conf,
                             struct err *err);
void conf_free(struct conf *conf);

/* May @text name a network or a container (a letter or digit, then those and
 * "_.-")? */
bool conf_name_valid(const char *text);
/* May it name a network interface: 1 to 15 bytes, no '/', ':', white space? */
bool conf_ifname_valid(const char *text);
