// SPDX-License-Identifier: Apache-2.0
/* endpoint_file.c - see endpoint_file.h. */
#include "daemon/endpoint_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/util.h"

#define FILE_VERSION 1
#define SUM_TEXT_MAX 17

/* FNV-1a, 64 bits, of the object's one form: against accidents, not malice. */
static int sum_of(const json_t *doc, char ret[SUM_TEXT_MAX])
{
	_cleanup_(free_p) char *text =
		json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	uint64_t hash = 0xcbf29ce484222325u;

	if (!text)
		return -ENOMEM;
	for (const char *c = text; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3u;
	snprintf(ret, SUM_TEXT_MAX, "%016" PRIx64, hash);
	return 0;
}

static json_t *addrs_pack(const struct ep *ep)
{
	json_t *list = json_array();
	char text[ADDR_TEXT_MAX];

	for (int f = 0; f < FAMILY__COUNT; f++)
		if (!addr_is_zero(&ep->addr[f]))
			json_array_append_new(
				list, json_pack("{s:s, s:b}", "ip",
			                        addr_format(&ep->addr[f], text),
			                        "own", ep->own_addr[f]));
	return list;
}

int endpoint_format(const struct ep *ep, char ret[ENDPOINT_FILE_BYTES],
                    struct err *err)
{
	char mac[ENDPOINT_MAC_TEXT], sum[SUM_TEXT_MAX];
	_cleanup_(json_decrefp) json_t *doc = json_pack(
		"{s:i, s:i, s:I, s:b, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:i, "
		"s:o, s:s, s:s}",
		"version", FILE_VERSION, "number", ep->number, "serial",
		(json_int_t)ep->serial, "closing",
		ep->state == ENDPOINT_CLOSING, "container_id", ep->container_id,
		"ifname", ep->ifname, "host_ifname", ep->host_ifname, "netns",
		ep->netns, "network", ep->network, "ifindex", ep->ifindex,
		"mac", endpoint_mac_format(ep->mac, mac), "mtu", ep->mtu,
		"addrs", addrs_pack(ep), "pod_namespace", ep->pod_ns,
		"pod_name", ep->pod_name);
	size_t len;

	if (!doc || sum_of(doc, sum) ||
	    json_object_set_new(doc, "sum", json_string(sum)))
		return err_set(err, -EINVAL,
		               "an endpoint with text that is not UTF-8");
	len = json_dumpb(doc, ret, ENDPOINT_FILE_BYTES, JSON_COMPACT);
	if (!len || len >= ENDPOINT_FILE_BYTES)
		return err_set(err, -E2BIG, "the endpoint needs %zu bytes",
		               len);
	memset(ret + len, ' ', ENDPOINT_FILE_BYTES - len);
	ret[ENDPOINT_FILE_BYTES - 1] = '\n';
	return 0;
}

static int addrs_parse(const json_t *list, struct ep *ep)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *ip = NULL;
		struct addr addr;
		enum family family;
		int own = 0;

		if (json_unpack(item, "{s:s, s:b !}", "ip", &ip, "own", &own) ||
		    addr_parse(ip, &addr) || addr_is_zero(&addr))
			return -EINVAL;
		family = addr_family(&addr);
		if (!addr_is_zero(&ep->addr[family]))
			return -EINVAL;
		ep->addr[family] = addr;
		ep->own_addr[family] = own;
	}
	return 0;
}

/* Copy @text if it fits. */
static int text_take(char *ret, size_t size, const char *text)
{
	const size_t len = strlen(text);

	if (len >= size)
		return -EINVAL;
	memcpy(ret, text, len + 1);
	return 0;
}

#define TAKE_TEXT(field, text) text_take((field), sizeof(field), (text))

static int fields_parse(const json_t *doc, struct ep *ep)
{
	const char *container_id, *ifname, *host_ifname, *netns, *network;
	const char *mac, *pod_ns, *pod_name;
	int version, number, closing, ifindex, mtu;
	json_int_t serial;
	json_t *addrs;

	if (json_unpack((json_t *)doc,
	                "{s:i, s:i, s:I, s:b, s:s, s:s, s:s, s:s, s:s, s:i, "
	                "s:s, s:i, s:o, s:s, s:s !}",
	                "version", &version, "number", &number, "serial",
	                &serial, "closing", &closing, "container_id",
	                &container_id, "ifname", &ifname, "host_ifname",
	                &host_ifname, "netns", &netns, "network", &network,
	                "ifindex", &ifindex, "mac", &mac, "mtu", &mtu, "addrs",
	                &addrs, "pod_namespace", &pod_ns, "pod_name",
	                &pod_name) ||
	    version != FILE_VERSION || number < 1 ||
	    number >= (int)ENDPOINT_MAX || serial < 0 || serial > UINT32_MAX ||
	    ifindex < 0 || mtu < 0 || mtu > UINT16_MAX)
		return -EINVAL;
	ep->state = closing ? ENDPOINT_CLOSING : ENDPOINT_READY;
	ep->number = (uint16_t)number;
	ep->serial = (uint32_t)serial;
	ep->ifindex = ifindex;
	ep->mtu = (uint16_t)mtu;
	if (!endpoint_id_valid(container_id) ||
	    !endpoint_ifname_valid(ifname) ||
	    !endpoint_ifname_valid(host_ifname) ||
	    TAKE_TEXT(ep->container_id, container_id) ||
	    TAKE_TEXT(ep->ifname, ifname) ||
	    TAKE_TEXT(ep->host_ifname, host_ifname) ||
	    TAKE_TEXT(ep->netns, netns) || TAKE_TEXT(ep->network, network) ||
	    TAKE_TEXT(ep->pod_ns, pod_ns) ||
	    TAKE_TEXT(ep->pod_name, pod_name) ||
	    endpoint_mac_parse(mac, ep->mac))
		return -EINVAL;
	return addrs_parse(addrs, ep);
}

int endpoint_parse(const char *text, size_t len, struct ep *ret,
                   struct err *err)
{
	_cleanup_(json_decrefp) json_t *doc = NULL, *said = NULL;
	char sum[SUM_TEXT_MAX];
	struct ep ep = {};
	json_error_t why;

	if (len != ENDPOINT_FILE_BYTES)
		return err_set(err, -EINVAL, "%zu bytes long, not %d", len,
		               ENDPOINT_FILE_BYTES);
	doc = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(doc))
		return err_set(err, -EINVAL, "not a JSON object");
	said = json_incref(json_object_get(doc, "sum"));
	json_object_del(doc, "sum");
	if (!json_is_string(said) || sum_of(doc, sum) ||
	    strcmp(json_string_value(said), sum) != 0)
		return err_set(err, -EINVAL, "the checksum is wrong");
	if (fields_parse(doc, &ep))
		return err_set(err, -EINVAL, "a field is missing or wrong");
	*ret = ep;
	return 0;
}
