// SPDX-License-Identifier: Apache-2.0
/* del.c - DEL: tell the daemon, free the names, whatever is still there. */
#include <errno.h>
#include <string.h>

#include "cni/command.h"
#include "cni/delegate.h"
#include "cni/link.h"
#include "cni/netns.h"
#include "cni/queue.h"
#include "cni/wire.h"
#include "lib/util.h"

struct del {
	const struct conf *conf;
	char host_ifname[IFNAMSIZ];
	struct nl host;
	bool taken; /* the daemon deletes the link */
};

static int del_ask(const struct del *del, json_t **ret, struct err *err)
{
	const struct conf *conf = del->conf;

	return command_ask(conf,
	                   json_pack("{s:s,s:s,s:s,s:s}", "op", "cni.del",
	                             "container_id", conf->container_id,
	                             "ifname", conf->ifname, "host_ifname",
	                             del->host_ifname),
	                   ret, err);
}

/*
 * Written first, then asked once more: the daemon may have come up between.
 * One that was there and did not answer in time has the request still.
 */
static int del_queue(const struct del *del, int why, json_t **ret,
                     struct err *err)
{
	const struct conf *conf = del->conf;
	struct err unreachable;
	int r;

	r = queue_add(conf->state_dir, conf->container_id, conf->ifname,
	              del->host_ifname, err);
	if (r)
		return r;
	if (why != -ETIMEDOUT && !del_ask(del, ret, &unreachable))
		queue_remove(conf->state_dir, del->host_ifname);
	return 0;
}

static enum cni_code del_tell(struct del *del, struct err *err)
{
	json_t *reply = NULL;
	int r;

	r = del_ask(del, &reply, err);
	if (r > 0)
		return (enum cni_code)r;
	if (!r) /* also what an earlier DEL could not say */
		queue_remove(del->conf->state_dir, del->host_ifname);
	else if (del_queue(del, r, &reply, err))
		return CNI_AGAIN;
	del->taken = json_is_true(json_object_get(reply, "taken"));
	json_decref(reply);
	return CNI_OK;
}

/* The pod's side, if it is still there and still that of our pair. */
static int pod_release(const struct conf *conf, const struct link_info *host,
                       struct err *err)
{
	_cleanup_(closep) int netns_fd = -1;
	struct link_info inside;
	struct nl pod;
	int r;

	if (!conf->netns || netns_open(conf->netns, &netns_fd, NULL))
		return 0;
	r = nl_open_in(netns_fd, &pod, err);
	if (r)
		return r;
	if (!link_get(&pod, host->peer, &inside, NULL) && inside.veth &&
	    inside.peer == host->ifindex)
		r = link_release(&pod, inside.ifindex, err);
	nl_close(&pod);
	return r;
}

static enum cni_code del_link(struct del *del, struct err *err)
{
	const int ifindex = nl_ifindex(&del->host, del->host_ifname);
	struct link_info host;
	int r = 0;

	if (ifindex < 0 || link_get(&del->host, ifindex, &host, NULL))
		return CNI_OK;
	if (!del->taken)
		return link_delete(&del->host, ifindex, err) ? CNI_FAILED
		                                             : CNI_OK;
	r = pod_release(del->conf, &host, err);
	if (!r)
		r = link_release(&del->host, ifindex, err);
	return r ? CNI_FAILED : CNI_OK;
}

/* In a chain the rule bears the name that another plugin gave. */
static enum cni_code del_rules(struct del *del, struct err *err)
{
	const json_t *list = json_object_get(del->conf->prev, "interfaces");
	const json_t *one;
	size_t i;

	if (link_rule_remove(&del->host, del->host_ifname, err))
		return CNI_FAILED;
	json_array_foreach(list, i, one)
	{
		const char *name =
			json_string_value(json_object_get(one, "name"));
		const json_t *sandbox = json_object_get(one, "sandbox");

		if (!name || json_string_length(sandbox) ||
		    !conf_ifname_valid(name) || !strcmp(name, del->host_ifname))
			continue;
		if (link_rule_remove(&del->host, name, err))
			return CNI_FAILED;
	}
	return CNI_OK;
}

static enum cni_code del_run(struct del *del, struct err *err)
{
	enum cni_code code = del_tell(del, err);

	if (!code)
		code = del_link(del, err);
	if (!code)
		code = del_rules(del, err);
	return code;
}

enum cni_code command_del(const struct conf *conf, struct err *err)
{
	struct del del = {.conf = conf};
	enum cni_code code = CNI_FAILED;
	struct err later;

	wire_host_ifname(conf->container_id, conf->ifname, del.host_ifname);
	if (!nl_open(&del.host, err)) {
		code = del_run(&del, err);
		nl_close(&del.host);
	}
	/* The address goes back in any case, after its pod was closed. */
	if (code)
		(void)delegate_run(conf, "DEL", NULL, &later);
	else
		code = delegate_run(conf, "DEL", NULL, err);
	return code;
}
