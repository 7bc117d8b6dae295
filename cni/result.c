// SPDX-License-Identifier: Apache-2.0
/* result.c - see result.h. */
#include "cni/result.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

const json_t *result_find_interface(const json_t *result, const char *ifname)
{
	const json_t *list = json_object_get(result, "interfaces");
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *name =
			json_string_value(json_object_get(one, "name"));
		const json_t *sandbox = json_object_get(one, "sandbox");

		if (name && !strcmp(name, ifname) &&
		    json_string_length(sandbox))
			return one;
	}
	return NULL;
}

/* "10.0.0.5/24": the length must be there, and within its family's. */
static int cidr_parse(const char *text, struct addr *ret)
{
	const char *slash = strchr(text, '/');
	const size_t digits = slash ? strspn(slash + 1, "0123456789") : 0;
	char addr[ADDR_TEXT_MAX];
	unsigned long bits;
	int r;

	if (!slash || slash - text >= ADDR_TEXT_MAX || !digits || digits > 3 ||
	    slash[1 + digits])
		return -EINVAL;
	bits = strtoul(slash + 1, NULL, 10);
	snprintf(addr, sizeof(addr), "%.*s", (int)(slash - text), text);
	r = addr_parse(addr, ret);
	if (!r && bits > (addr_family(ret) == FAMILY_V4 ? 32 : 128))
		r = -EINVAL;
	return r;
}

static bool is_of_interface(const json_t *result, const json_t *ip,
                            const char *ifname)
{
	const json_t *index = json_object_get(ip, "interface");
	const json_t *list = json_object_get(result, "interfaces");

	if (!ifname || !json_is_integer(index))
		return true;
	if (json_integer_value(index) < 0)
		return true; /* some plugins say -1 for none */
	return json_array_get(list, (size_t)json_integer_value(index)) ==
	       result_find_interface(result, ifname);
}

int result_read_ips(const json_t *result, const char *ifname,
                    struct result_ips *ret, struct err *err)
{
	const json_t *list = json_object_get(result, "ips");
	const json_t *one;
	size_t i;

	*ret = (struct result_ips){};
	if (list && !json_is_array(list) && !json_is_null(list))
		return err_set(err, -EINVAL, "ips is no list");
	json_array_foreach(list, i, one)
	{
		const char *text =
			json_string_value(json_object_get(one, "address"));
		struct addr addr;
		enum family f;

		if (!text || cidr_parse(text, &addr))
			return err_set(err, -EINVAL,
			               "ips[%zu]: '%.64s' is no address with "
			               "a prefix length",
			               i, text ? text : "");
		if (!is_of_interface(result, one, ifname))
			continue;
		f = addr_family(&addr);
		if (ret->has[f])
			return err_set(err, -E2BIG,
			               "ips[%zu]: a second address of one "
			               "family is not supported",
			               i);
		ret->has[f] = true;
		ret->ip[f] = addr;
		snprintf(ret->text[f], sizeof(ret->text[f]), "%s", text);
	}
	return 0;
}

/* The list @key of @result, made when it is not there; borrowed. */
static json_t *list_of(json_t *result, const char *key)
{
	json_t *list = json_object_get(result, key);

	if (json_is_array(list))
		return list;
	if (json_object_set_new(result, key, json_array()))
		return NULL;
	return json_object_get(result, key);
}

static int add_interfaces(json_t *result, const struct conf *conf,
                          const struct attachment *at, size_t *ret_index)
{
	json_t *list = list_of(result, "interfaces");
	char host_mac[MAC_TEXT_MAX], pod_mac[MAC_TEXT_MAX];
	json_t *host, *pod;
	int r;

	mac_format(at->host_mac, host_mac);
	mac_format(at->pod_mac, pod_mac);
	host = json_pack("{s:s,s:s}", "name", at->host_ifname, "mac", host_mac);
	pod = json_pack("{s:s,s:s,s:s}", "name", conf->ifname, "mac", pod_mac,
	                "sandbox", conf->netns);
	r = json_array_append_new(list, host) |
	    json_array_append_new(list, pod);
	if (!r && conf->version >= CNI_1_1_0) {
		r |= json_object_set_new(host, "mtu", json_integer(at->mtu));
		r |= json_object_set_new(pod, "mtu", json_integer(at->mtu));
	}
	*ret_index = json_array_size(list) - 1;
	return r;
}

static int add_family(json_t *result, const struct conf *conf,
                      const struct attachment *at, enum family f, size_t index)
{
	const bool v4 = f == FAMILY_V4;
	char ip_text[ADDR_TEXT_MAX], gateway[ADDR_TEXT_MAX];
	char cidr[ADDR_TEXT_MAX + 4];
	json_t *ip;
	int r;

	addr_format(&at->ip[f], ip_text);
	snprintf(cidr, sizeof(cidr), "%s/%d", ip_text, v4 ? 32 : 128);
	addr_format(&at->gateway[f], gateway);
	ip = json_pack("{s:s,s:s,s:I}", "address", cidr, "gateway", gateway,
	               "interface", (json_int_t)index);
	if (conf->version < CNI_1_0_0)
		json_object_set_new(ip, "version", json_string(v4 ? "4" : "6"));
	r = json_array_append_new(list_of(result, "ips"), ip);
	r |= json_array_append_new(list_of(result, "routes"),
	                           json_pack("{s:s,s:s}", "dst",
	                                     v4 ? "0.0.0.0/0" : "::/0", "gw",
	                                     gateway));
	return r;
}

static int add_dns(json_t *result, const struct conf *conf, const json_t *dns)
{
	if (json_object_size(conf->dns))
		dns = conf->dns;
	if (!json_object_size(dns)) {
		if (json_object_get(result, "dns"))
			return 0;
		return json_object_set_new(result, "dns", json_object());
	}
	return json_object_set_new(result, "dns", json_deep_copy(dns));
}

json_t *result_new(const struct conf *conf, const struct attachment *at,
                   const json_t *dns)
{
	json_t *result =
		conf->prev ? json_deep_copy(conf->prev) : json_object();
	size_t index = 0;
	int r;

	if (!result)
		return NULL;
	r = json_object_set_new(result, "cniVersion",
	                        json_string(cni_version_text[conf->version]));
	if (!at->chained)
		r |= add_interfaces(result, conf, at, &index);
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (at->has[f] && !at->chained)
			r |= add_family(result, conf, at, (enum family)f,
			                index);
	r |= add_dns(result, conf, dns);
	if (!r)
		return result;
	json_decref(result);
	return NULL;
}

/* A sentence may quote bytes that are no UTF-8, which JSON can not hold. */
static void text_clean(const char *text, char *buf, size_t size)
{
	size_t i;

	for (i = 0; text[i] && i + 1 < size; i++)
		buf[i] = isprint((unsigned char)text[i]) ? text[i] : '?';
	buf[i] = '\0';
}

json_t *result_error(const struct conf *conf, enum cni_code code,
                     const char *msg)
{
	char clean[sizeof(((struct err *)0)->text)];
	/* The version of the request, where that was one of ours. */
	const char *version = cni_version_text[CNI_1_1_0];

	for (int i = 0; conf->said && i < CNI__COUNT; i++)
		if (!strcmp(conf->said, cni_version_text[i]))
			version = cni_version_text[i];
	text_clean(msg, clean, sizeof(clean));
	return json_pack("{s:s,s:i,s:s}", "cniVersion", version, "code",
	                 (int)code, "msg", clean);
}

json_t *result_version(const struct conf *conf)
{
	json_t *list = json_array();

	for (int i = 0; i < CNI__COUNT; i++)
		json_array_append_new(list, json_string(cni_version_text[i]));
	return json_pack("{s:s,s:o}", "cniVersion",
	                 conf->said ? conf->said : cni_version_text[CNI_1_1_0],
	                 "supportedVersions", list);
}
