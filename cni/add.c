// SPDX-License-Identifier: Apache-2.0
/* add.c - ADD: make the pair, ask for address and policy, bring it to life. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cni/command.h"
#include "cni/delegate.h"
#include "cni/netns.h"
#include "cni/queue.h"
#include "cni/result.h"
#include "cni/setup.h"
#include "cni/wire.h"
#include "lib/util.h"

/* How far it has come, so that a failure can be undone. */
struct add {
	const struct conf *conf;
	struct nl host;
	int netns_fd, home_fd; /* home: set once we live in the pod's */
	struct attachment at;
	struct result_ips ips; /* of prevResult or of IPAM */
	json_t *ipam;          /* IPAM's result; set: it must be released */
	char queued[IFNAMSIZ]; /* an old DEL's place, which must not undo us */
	bool made;             /* the pair is ours to delete */
	bool known;            /* the daemon has an endpoint for it */
};

static const char *const gateway_text[FAMILY__COUNT] = {
	[FAMILY_V4] = GATEWAY_V4,
	[FAMILY_V6] = GATEWAY_V6,
};

/* A locally administered address that a second try gets again. */
static void mac_derive(const char *host_ifname, uint8_t ret[MAC_LEN])
{
	(void)sscanf(host_ifname + strlen(WIRE_LINK_PREFIX),
	             "%2hhx%2hhx%2hhx%2hhx%2hhx%2hhx", &ret[0], &ret[1],
	             &ret[2], &ret[3], &ret[4], &ret[5]);
	ret[0] = (ret[0] & 0xfe) | 0x02;
}

/*
 * One of the names is taken.  A link of ours that never came to life (it bears
 * no network's name) was left by an ADD that was killed: cleared away.
 */
static enum cni_code add_exists(struct add *add, struct err *err)
{
	const int ifindex = nl_ifindex(&add->host, add->at.host_ifname);
	struct link_info link;
	struct nl pod;
	int r;

	if (ifindex >= 0 && !link_get(&add->host, ifindex, &link, NULL)) {
		if (*link.alias || link.up)
			return err_set(err, CNI_EXISTS,
			               "container %.64s has %s already, as %s",
			               add->conf->container_id,
			               add->conf->ifname, link.name);
		if (link_delete(&add->host, ifindex, err))
			return CNI_FAILED;
	}
	if (nl_open_in(add->netns_fd, &pod, err))
		return CNI_FAILED;
	r = nl_ifindex(&pod, add->conf->ifname);
	nl_close(&pod);
	if (r >= 0)
		return err_set(err, CNI_EXISTS,
		               "the pod has a device %s already",
		               add->conf->ifname);
	return CNI_OK;
}

static enum cni_code add_make(struct add *add, struct err *err)
{
	struct link_pair pair = {
		.host_ifname = add->at.host_ifname,
		.pod_ifname = add->conf->ifname,
		.netns_fd = add->netns_fd,
	};
	enum cni_code code;
	int r;

	mac_derive(add->at.host_ifname, add->at.pod_mac);
	memcpy(pair.host_mac, add->at.host_mac, MAC_LEN);
	memcpy(pair.pod_mac, add->at.pod_mac, MAC_LEN);
	r = link_create(&add->host, &pair, &add->at.host_ifindex, err);
	if (r == -EEXIST) {
		code = add_exists(add, err);
		if (code)
			return code;
		r = link_create(&add->host, &pair, &add->at.host_ifindex, err);
	}
	if (r)
		return CNI_FAILED;
	add->made = true;
	return CNI_OK;
}

/* A later plugin of a chain: the pair is there, with its addresses. */
static enum cni_code add_find(struct add *add, struct err *err)
{
	struct link_info host, inside;
	struct nl pod;
	int r;

	r = result_read_ips(add->conf->prev, add->conf->ifname, &add->ips, err);
	if (r) {
		(void)err_wrap(err, r, "prevResult");
		return CNI_CONFIG;
	}
	if (!add->ips.has[FAMILY_V4] && !add->ips.has[FAMILY_V6])
		return err_set(err, CNI_CONFIG, "prevResult: %s has no address",
		               add->conf->ifname);
	r = nl_open_in(add->netns_fd, &pod, err);
	if (r)
		return CNI_FAILED;
	r = link_find_host(&add->host, &pod, add->conf->ifname, &host, &inside,
	                   err);
	nl_close(&pod);
	if (r)
		return CNI_CONFIG;
	if (host.master)
		return err_set(err, CNI_CONFIG,
		               "%s is a port of a bridge, which would forward "
		               "past the policy: use a point-to-point plugin",
		               host.name);
	add->at.chained = true;
	add->at.host_ifindex = host.ifindex;
	add->at.mtu = inside.mtu;
	memcpy(add->at.pod_mac, inside.mac, MAC_LEN);
	memcpy(add->at.host_ifname, host.name, IFNAMSIZ);
	return CNI_OK;
}

static enum cni_code add_delegate(struct add *add, struct err *err)
{
	enum cni_code code = delegate_run(add->conf, "ADD", &add->ipam, err);
	int r;

	if (code || !add->ipam)
		return code;
	r = result_read_ips(add->ipam, NULL, &add->ips, err);
	if (!r && !add->ips.has[FAMILY_V4] && !add->ips.has[FAMILY_V6])
		r = err_set(err, -EINVAL, "no address");
	if (r) {
		(void)err_wrap(err, r, "the result of ipam '%s'",
		               add->conf->ipam);
		return CNI_CONFIG;
	}
	return CNI_OK;
}

static json_t *add_request(const struct add *add)
{
	const struct conf *conf = add->conf;
	/* A link that is there has an MTU that its maker chose. */
	const int mtu = add->at.chained ? (int)add->at.mtu : conf->mtu;
	char mac[MAC_TEXT_MAX];
	json_t *ips = NULL;

	for (int f = 0; f < FAMILY__COUNT; f++) {
		if (!add->ips.has[f])
			continue;
		if (!ips)
			ips = json_array();
		json_array_append_new(ips, json_string(add->ips.text[f]));
	}
	return json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:i,s:s,s:s,s:s*,s:s*,s:s*,s:o*,s:o*}",
		"op", "cni.add", "container_id", conf->container_id, "ifname",
		conf->ifname, "netns", conf->netns, "host_ifname",
		add->at.host_ifname, "ifindex", add->at.host_ifindex, "mac",
		mac_format(add->at.pod_mac, mac), "network", conf->name,
		"pod_namespace",
		*conf->pod_namespace ? conf->pod_namespace : NULL, "pod_name",
		*conf->pod_name ? conf->pod_name : NULL, "pod_uid",
		*conf->pod_uid ? conf->pod_uid : NULL, "ips", ips, "mtu",
		mtu ? json_integer(mtu) : NULL);
}

static int reply_gateways(const json_t *reply, struct attachment *at)
{
	const json_t *gateway = json_object_get(reply, "gateway");
	static const char *const key[FAMILY__COUNT] = {"v4", "v6"};

	for (int f = 0; f < FAMILY__COUNT; f++) {
		const char *text =
			json_string_value(json_object_get(gateway, key[f]));

		if (addr_parse(text ? text : gateway_text[f],
		               &at->gateway[f]) ||
		    addr_family(&at->gateway[f]) != (enum family)f)
			return -EINVAL;
	}
	return 0;
}

static int reply_read(const json_t *reply, struct attachment *at)
{
	const json_t *ips = json_object_get(reply, "ips");
	const char *pins = json_string_value(json_object_get(reply, "pins"));
	const char *mac = json_string_value(json_object_get(reply, "gw_mac"));
	const json_int_t gso =
		json_integer_value(json_object_get(reply, "gso_max"));
	const json_int_t mtu =
		json_integer_value(json_object_get(reply, "mtu"));
	const json_t *one;
	size_t i;

	json_array_foreach(ips, i, one)
	{
		const char *text = json_string_value(one);
		struct addr addr;

		if (!text || addr_parse(text, &addr))
			return -EINVAL;
		at->ip[addr_family(&addr)] = addr;
		at->has[addr_family(&addr)] = true;
	}
	if (!pins || strlen(pins) >= sizeof(at->pins) || !json_array_size(ips))
		return -EINVAL;
	memcpy(at->pins, pins, strlen(pins) + 1);
	if (mac && mac_parse(mac, at->host_mac))
		return -EINVAL;
	if (mtu < 0 || mtu > 65535 || gso < 0 || gso > UINT32_MAX)
		return -EINVAL;
	if (!at->chained && mtu)
		at->mtu = (uint32_t)mtu;
	at->gso_max = (uint32_t)gso;
	return reply_gateways(reply, at);
}

static enum cni_code add_ask(struct add *add, struct err *err)
{
	json_t *reply = NULL;
	int r;

	r = command_ask(add->conf, add_request(add), &reply, err);
	if (r < 0)
		return CNI_AGAIN;
	if (r)
		return (enum cni_code)r;
	add->known = true;
	r = reply_read(reply, &add->at);
	json_decref(reply);
	if (r)
		return err_set(err, CNI_FAILED,
		               "stiled's answer can not be read: is it of "
		               "another version?");
	if (add->conf->mtu && (uint32_t)add->conf->mtu < add->at.mtu)
		add->at.mtu = (uint32_t)add->conf->mtu;
	return CNI_OK;
}

static enum cni_code add_setup(struct add *add, struct err *err)
{
	if (setup_host(&add->host, &add->at, err) ||
	    netns_enter(add->netns_fd, &add->home_fd, err) ||
	    setup_pod(&add->at, err))
		return CNI_FAILED;
	link_settle(&add->host, add->at.host_ifname);
	return CNI_OK;
}

static enum cni_code add_steps(struct add *add, struct err *err)
{
	const struct conf *conf = add->conf;
	const bool there = result_find_interface(conf->prev, conf->ifname);
	enum cni_code code;

	if (there && conf->ipam)
		return err_set(err, CNI_CONFIG,
		               "ipam in a chain: prevResult has the addresses "
		               "of %s already",
		               conf->ifname);
	code = add_delegate(add, err);
	if (!code)
		code = there ? add_find(add, err) : add_make(add, err);
	if (!code)
		code = add_ask(add, err);
	if (!code)
		code = add_setup(add, err);
	return code;
}

/*
 * What fails here, and what a daemon may have done whose answer never came, is
 * left to the DEL that the runtime sends after a failed ADD: the sentence to
 * tell is the first one, and the time is up.
 */
static void add_undo(struct add *add)
{
	const struct conf *conf = add->conf;

	if (add->known)
		(void)command_ask(conf,
		                  json_pack("{s:s,s:s,s:s,s:s}", "op",
		                            "cni.del", "container_id",
		                            conf->container_id, "ifname",
		                            conf->ifname, "host_ifname",
		                            add->at.host_ifname),
		                  NULL, NULL);
	if (add->made)
		(void)link_delete(&add->host, add->at.host_ifindex, NULL);
	if (add->known)
		(void)link_rule_remove(&add->host, add->at.host_ifname, NULL);
	if (add->home_fd >= 0)
		(void)netns_enter(add->home_fd, NULL, NULL);
	if (add->ipam)
		(void)delegate_run(conf, "DEL", NULL, NULL);
}

static enum cni_code add_run(struct add *add, json_t **ret, struct err *err)
{
	const json_t *dns = NULL;
	enum cni_code code = add_steps(add, err);

	if (add->ipam)
		dns = json_object_get(add->ipam, "dns");
	if (!code)
		*ret = result_new(add->conf, &add->at, dns);
	if (!code && !*ret)
		code = err_set(err, CNI_FAILED, "out of memory");
	if (code)
		add_undo(add);
	else
		queue_remove(add->conf->state_dir, add->queued);
	json_decref(add->ipam);
	return code;
}

enum cni_code command_add(const struct conf *conf, json_t **ret,
                          struct err *err)
{
	struct add add = {.conf = conf, .netns_fd = -1, .home_fd = -1};
	enum cni_code code;
	int r;

	r = netns_open(conf->netns, &add.netns_fd, err);
	if (r)
		return r == -EMFILE || r == -ENFILE ? CNI_FAILED : CNI_ENV;
	r = nl_open(&add.host, err);
	if (r) {
		closep(&add.netns_fd);
		return CNI_FAILED;
	}
	add.at.pod_ifname = conf->ifname;
	add.at.network = conf->name;
	(void)mac_parse(GATEWAY_MAC, add.at.host_mac);
	wire_host_ifname(conf->container_id, conf->ifname, add.queued);
	memcpy(add.at.host_ifname, add.queued, IFNAMSIZ);
	code = add_run(&add, ret, err);
	nl_close(&add.host);
	closep(&add.home_fd);
	closep(&add.netns_fd);
	return code;
}
