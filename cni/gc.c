// SPDX-License-Identifier: Apache-2.0
/* gc.c - GC: remove every attachment but those that the runtime names. */
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cni/command.h"
#include "cni/delegate.h"
#include "cni/link.h"
#include "cni/wire.h"
#include "lib/util.h"

#define ORPHANS_MAX 256 /* a dump; there are as many dumps as it takes */

struct gc {
	const struct conf *conf;
	struct nl host;
	struct {
		int ifindex;
		char name[IFNAMSIZ];
	} orphan[ORPHANS_MAX];
	int n;
};

static const char *text_of(const json_t *one, const char *key)
{
	return json_string_value(json_object_get(one, key));
}

static bool is_valid(const struct gc *gc, const char *host_ifname)
{
	const json_t *one;
	size_t i;

	json_array_foreach(gc->conf->valid, i, one)
	{
		char name[IFNAMSIZ];

		wire_host_ifname(text_of(one, "containerID"),
		                 text_of(one, "ifname"), name);
		if (!strcmp(name, host_ifname))
			return true;
	}
	return false;
}

static void orphan_note(struct gc *gc, int ifindex, const char name[IFNAMSIZ])
{
	if (gc->n == ORPHANS_MAX)
		return;
	gc->orphan[gc->n].ifindex = ifindex;
	memcpy(gc->orphan[gc->n].name, name, IFNAMSIZ);
	gc->n++;
}

/* Ours by its name; of this network by its alias, which an ADD that was killed
 * has not set. */
static int see_link(const struct nlmsghdr *msg, void *user)
{
	const struct ifinfomsg *body = NLMSG_DATA(msg);
	char name[IFNAMSIZ] = "", alias[IFALIASZ] = "";
	struct gc *gc = user;

	if (msg->nlmsg_type != RTM_NEWLINK ||
	    !nl_text(nl_find(msg, sizeof(*body), IFLA_IFNAME), name,
	             sizeof(name)) ||
	    strncmp(name, WIRE_LINK_PREFIX, strlen(WIRE_LINK_PREFIX)) != 0)
		return 0;
	(void)nl_text(nl_find(msg, sizeof(*body), IFLA_IFALIAS), alias,
	              sizeof(alias));
	if (*alias && strcmp(alias, gc->conf->name) != 0)
		return 0;
	if (!is_valid(gc, name))
		orphan_note(gc, body->ifi_index, name);
	return 0;
}

/* A rule whose device is gone. */
static int see_rule(const struct nlmsghdr *msg, void *user)
{
	const struct fib_rule_hdr *body = NLMSG_DATA(msg);
	const struct rtattr *protocol =
		nl_find(msg, sizeof(*body), FRA_PROTOCOL);
	char name[IFNAMSIZ] = "";

	if (msg->nlmsg_type == RTM_NEWRULE &&
	    (body->flags & FIB_RULE_IIF_DETACHED) && protocol &&
	    *(const uint8_t *)RTA_DATA(protocol) == WIRE_RULE_PROTOCOL &&
	    nl_text(nl_find(msg, sizeof(*body), FRA_IIFNAME), name,
	            sizeof(name)))
		orphan_note(user, 0, name);
	return 0;
}

static void gc_restart(void *user)
{
	((struct gc *)user)->n = 0;
}

static int orphans_remove(struct gc *gc, struct err *err)
{
	for (int i = 0; i < gc->n; i++) {
		int r = 0;

		if (gc->orphan[i].ifindex)
			r = link_delete(&gc->host, gc->orphan[i].ifindex, err);
		if (!r)
			r = link_rule_remove(&gc->host, gc->orphan[i].name,
			                     err);
		if (r)
			return err_wrap(err, r, "%s", gc->orphan[i].name);
	}
	return 0;
}

/* Dump and remove until a dump was not full. */
static enum cni_code gc_sweep(struct gc *gc, uint16_t type,
                              int (*see)(const struct nlmsghdr *, void *),
                              struct err *err)
{
	const struct ifinfomsg links = {};
	const struct fib_rule_hdr rules = {.family = AF_INET6};
	const bool of_links = type == RTM_GETLINK;
	int r;

	do {
		gc->n = 0;
		r = nl_dump(&gc->host, type,
		            of_links ? (const void *)&links : &rules,
		            of_links ? sizeof(links) : sizeof(rules), see,
		            gc_restart, gc, err);
		if (r == -EAFNOSUPPORT || r == -EOPNOTSUPP)
			return CNI_OK; /* no IPv6, no rules */
		if (!r)
			r = orphans_remove(gc, err);
	} while (!r && gc->n == ORPHANS_MAX);
	return r ? CNI_FAILED : CNI_OK;
}

static enum cni_code gc_links(const struct conf *conf, struct err *err)
{
	struct gc gc = {.conf = conf};
	enum cni_code code;

	if (nl_open(&gc.host, err))
		return CNI_FAILED;
	code = gc_sweep(&gc, RTM_GETLINK, see_link, err);
	if (!code)
		code = gc_sweep(&gc, RTM_GETRULE, see_rule, err);
	nl_close(&gc.host);
	return code;
}

static enum cni_code gc_daemon(const struct conf *conf, struct err *err)
{
	json_t *valid = json_array();
	const json_t *one;
	size_t i;
	int r;

	json_array_foreach(conf->valid, i, one) json_array_append_new(
		valid, json_pack("{s:s,s:s}", "container_id",
	                         text_of(one, "containerID"), "ifname",
	                         text_of(one, "ifname")));
	r = command_ask(conf,
	                json_pack("{s:s,s:s,s:o}", "op", "cni.gc", "network",
	                          conf->name, "valid", valid),
	                NULL, err);
	return r < 0 ? CNI_AGAIN : (enum cni_code)r;
}

/* The specification: go on after an error, and report them all. */
enum cni_code command_gc(const struct conf *conf, struct err *err)
{
	struct err text[3] = {};
	const enum cni_code code[3] = {
		gc_daemon(conf, &text[0]),
		gc_links(conf, &text[1]),
		delegate_run(conf, "GC", NULL, &text[2]),
	};
	enum cni_code first = CNI_OK;
	size_t used = 0;

	err->text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(code); i++) {
		int n;

		if (!code[i] || used >= sizeof(err->text))
			continue;
		n = snprintf(err->text + used, sizeof(err->text) - used, "%s%s",
		             used ? "; " : "", text[i].text);
		used += (size_t)n;
		if (!first)
			first = code[i];
	}
	return first;
}
