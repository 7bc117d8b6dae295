// SPDX-License-Identifier: Apache-2.0
/* cni_request.c - see cni_request.h. */
#include "daemon/cni_request.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "daemon/endpoint.h"
#include "lib/addr.h"
#include "lib/util.h"
#include "policy/policy.h"
#include "policy/syntax.h"

#define POD_UID_MAX 63
#define MTU_MIN     576u  /* RFC 791: what every host must take */
#define MTU_MIN_V6  1280u /* RFC 8200, section 5 */

/* The text of a field, "" when it is absent; NULL when it is no text. */
static const char *text_of(const json_t *json, const char *field)
{
	const json_t *value = json_object_get(json, field);

	if (!value || json_is_null(value))
		return "";
	return json_string_value(value);
}

static int key_text(const json_t *json, const char *field,
                    bool (*valid)(const char *), const char **ret,
                    struct err *err)
{
	const char *text = text_of(json, field);

	if (!text || !*text)
		return err_set(err, CNI_BAD_ENV, "%s is missing", field);
	if (!valid(text))
		return err_set(err, CNI_BAD_ENV, "%s '%.64s' is not allowed",
		               field, text);
	*ret = text;
	return 0;
}

int cni_request_key(const json_t *json, struct cni_request *ret,
                    struct err *err)
{
	int r = key_text(json, "container_id", endpoint_id_valid,
	                 &ret->container_id, err);

	return r ? r
	         : key_text(json, "ifname", endpoint_ifname_valid, &ret->ifname,
	                    err);
}

static bool is_printable(const char *text)
{
	for (const char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			return false;
	return true;
}

static bool netns_valid(const char *netns)
{
	return netns[0] == '/' &&
	       strlen(netns) < sizeof(((struct ep *)0)->netns) &&
	       is_printable(netns);
}

static int network_parse(const json_t *json, struct cni_request *ret,
                         struct err *err)
{
	ret->network = text_of(json, "network");
	if (!ret->network || !is_printable(ret->network) ||
	    strlen(ret->network) >= sizeof(((struct ep *)0)->network))
		return err_set(err, CNI_BAD_CONFIG,
		               "network is no name of at most %zu bytes",
		               sizeof(((struct ep *)0)->network) - 1);
	return 0;
}

static int pod_parse(const json_t *json, struct cni_request *ret,
                     struct err *err)
{
	ret->pod_ns = text_of(json, "pod_namespace");
	ret->pod_name = text_of(json, "pod_name");
	ret->pod_uid = text_of(json, "pod_uid");
	if (!ret->pod_ns || !ret->pod_name || !ret->pod_uid)
		return err_set(err, CNI_BAD_CONFIG,
		               "pod_namespace, pod_name or pod_uid is no text");
	if (strlen(ret->pod_uid) > POD_UID_MAX || !is_printable(ret->pod_uid))
		return err_set(err, CNI_BAD_CONFIG,
		               "pod_uid is longer than %d bytes", POD_UID_MAX);
	if (!*ret->pod_ns && !*ret->pod_name)
		return 0;
	if (!*ret->pod_ns || !*ret->pod_name)
		return err_set(err, CNI_BAD_CONFIG,
		               "pod_namespace and pod_name go together");
	if (!syntax_is_dns_label(ret->pod_ns))
		return err_set(err, CNI_BAD_CONFIG,
		               "pod_namespace '%.64s' is no namespace",
		               ret->pod_ns);
	if (!syntax_is_dns_name(ret->pod_name))
		return err_set(err, CNI_BAD_CONFIG,
		               "pod_name '%.64s' is no name of a pod",
		               ret->pod_name);
	return 0;
}

static int mac_parse(const json_t *json, struct cni_request *ret,
                     struct err *err)
{
	static const uint8_t zero[6];
	const char *text = text_of(json, "mac");

	if (!text || endpoint_mac_parse(text, ret->mac))
		return err_set(err, CNI_BAD_CONFIG, "mac '%.64s' is no address",
		               text ? text : "");
	if (ret->mac[0] & 1 || !memcmp(ret->mac, zero, sizeof(zero)))
		return err_set(err, CNI_BAD_CONFIG, "mac %s is no device's own",
		               text);
	return 0;
}

/* Addresses that no pod may have: RFC 6890, and our gateways. */
static bool addr_usable(const struct addr *addr)
{
	static const char *const never[] = {
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
		"::/96",     "fe80::/10",   "ff00::/8",
	};

	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		struct prefix prefix;

		if (!prefix_parse(never[i], &prefix) &&
		    prefix_contains(&prefix, addr))
			return false;
	}
	return true;
}

/* "10.0.0.5" or "10.0.0.5/24": how long the network is is not ours to know. */
static int addr_parse_one(const char *text, struct addr *ret)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	char host[ADDR_TEXT_MAX];
	struct prefix prefix;
	size_t len;

	if (!text || (slash && prefix_parse(text, &prefix)))
		return -EINVAL;
	len = slash ? (size_t)(slash - text) : strlen(text);
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	return addr_parse(host, ret);
}

static int addrs_parse(const json_t *json, struct cni_request *ret,
                       struct err *err)
{
	const json_t *list = json_object_get(json, "ips");
	json_t *item;
	size_t i;

	if (list && !json_is_null(list) && !json_is_array(list))
		return err_set(err, CNI_BAD_CONFIG, "ips is no list");
	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);
		struct addr addr;
		enum family family;

		if (addr_parse_one(text, &addr))
			return err_set(err, CNI_BAD_CONFIG,
			               "ips: '%.64s' is no address",
			               text ? text : "");
		if (!addr_usable(&addr))
			return err_set(err, CNI_BAD_CONFIG,
			               "ips: %.64s can be no pod's", text);
		family = addr_family(&addr);
		if (!addr_is_zero(&ret->addr[family]))
			return err_set(err, CNI_BAD_CONFIG,
			               "ips: %.64s is a second one of its "
			               "family",
			               text);
		ret->addr[family] = addr;
		ret->n_addrs++;
	}
	return 0;
}

static int number_parse(const json_t *json, const char *field, json_int_t min,
                        json_int_t max, struct err *err)
{
	const json_t *value = json_object_get(json, field);
	const json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < min || number > max)
		return -err_set(err, CNI_BAD_CONFIG,
		                "%s is no number from %lld to %lld", field,
		                (long long)min, (long long)max);
	return (int)number;
}

static int device_parse(const json_t *json, struct cni_request *ret,
                        struct err *err)
{
	const json_t *mtu = json_object_get(json, "mtu");
	int n = number_parse(json, "ifindex", 1, INT32_MAX, err);

	if (n < 0)
		return -n;
	ret->ifindex = n;
	if (!mtu || json_is_null(mtu) ||
	    (json_is_integer(mtu) && !json_integer_value(mtu)))
		return 0;
	n = number_parse(json, "mtu", MTU_MIN, UINT16_MAX, err);
	if (n < 0)
		return -n;
	if (n < (int)MTU_MIN_V6 && !addr_is_zero(&ret->addr[FAMILY_V6]))
		return err_set(err, CNI_BAD_CONFIG,
		               "mtu %d is below IPv6's least, %u", n,
		               MTU_MIN_V6);
	ret->mtu = (uint16_t)n;
	return 0;
}

int cni_request_parse(const json_t *json, bool add, struct cni_request *ret,
                      struct err *err)
{
	int r = cni_request_key(json, ret, err);

	if (!r)
		r = key_text(json, "host_ifname", endpoint_ifname_valid,
		             &ret->host_ifname, err);
	if (!r)
		r = mac_parse(json, ret, err);
	if (!r)
		r = addrs_parse(json, ret, err);
	if (r || !add)
		return r;
	r = key_text(json, "netns", netns_valid, &ret->netns, err);
	if (!r)
		r = network_parse(json, ret, err);
	if (!r)
		r = pod_parse(json, ret, err);
	if (!r)
		r = device_parse(json, ret, err);
	return r;
}
