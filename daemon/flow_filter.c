// SPDX-License-Identifier: Apache-2.0
/* flow_filter.c - see flow_filter.h. */
#include "daemon/flow_filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/names.h"
#include "lib/addr.h"
#include "lib/util.h"

enum filter_key {
	KEY_FROM_POD,
	KEY_TO_POD,
	KEY_POD,
	KEY_NAMESPACE,
	KEY_IP,
	KEY_PORT,
	KEY_PROTOCOL,
	KEY_VERDICT,
	KEY__COUNT
};

static const char *const key_name[KEY__COUNT] = {
	"from_pod", "to_pod", "pod",      "namespace",
	"ip",       "port",   "protocol", "verdict",
};

#define FILTER_VALUES_MAX 64

struct value {
	const char *text; /* borrowed from the document */
	struct prefix prefix;
	uint16_t port;
	uint8_t proto;
};

struct flow_filter {
	json_t *doc; /* owned; holds the texts */
	struct {
		struct value *value;
		size_t n;
	} key[KEY__COUNT];
};

void flow_filter_free(struct flow_filter *filter)
{
	if (!filter)
		return;
	for (int i = 0; i < KEY__COUNT; i++)
		free(filter->key[i].value);
	json_decref(filter->doc);
	free(filter);
}
DEFINE_CLEANUP(struct flow_filter *, flow_filter_free)

static int read_ip(const char *text, struct prefix *ret)
{
	struct addr addr;

	if (strchr(text, '/'))
		return prefix_parse(text, ret);
	if (addr_parse(text, &addr))
		return -EINVAL;
	*ret = (struct prefix){.addr = addr, .bits = 128};
	return 0;
}

static int read_port(const char *text, uint16_t *ret)
{
	char *end;
	const unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text || n > 65535)
		return -EINVAL;
	*ret = (uint16_t)n;
	return 0;
}

static int read_verdict(const char *text)
{
	return !strcasecmp(text, "FORWARDED") || !strcasecmp(text, "DROPPED") ||
	                       !strcasecmp(text, "AUDIT")
	               ? 0
	               : -EINVAL;
}

static int value_read(enum filter_key key, const char *text, struct value *ret)
{
	ret->text = text;
	switch (key) {
	case KEY_IP:
		return read_ip(text, &ret->prefix);
	case KEY_PORT:
		return read_port(text, &ret->port);
	case KEY_PROTOCOL:
		return proto_parse(text, FAMILY_V4, &ret->proto);
	case KEY_VERDICT:
		return read_verdict(text);
	default:
		return text[0] ? 0 : -EINVAL;
	}
}

static const char *const key_hint[KEY__COUNT] = {
	[KEY_FROM_POD] = "NS/POD or a pod's name",
	[KEY_TO_POD] = "NS/POD or a pod's name",
	[KEY_POD] = "NS/POD or a pod's name",
	[KEY_NAMESPACE] = "a namespace",
	[KEY_IP] = "an address or a CIDR",
	[KEY_PORT] = "a number from 0 to 65535",
	[KEY_PROTOCOL] = "tcp, udp, sctp, icmp or icmpv6",
	[KEY_VERDICT] = "FORWARDED, DROPPED or AUDIT",
};

static int key_read(struct flow_filter *filter, enum filter_key key,
                    const json_t *list, struct err *err)
{
	const size_t n = json_array_size(list);

	if (!json_is_array(list) || n > FILTER_VALUES_MAX)
		return err_set(err, -EINVAL,
		               "filter %s: want a list of at most %d values",
		               key_name[key], FILTER_VALUES_MAX);
	filter->key[key].value = calloc(n + 1, sizeof(struct value));
	if (!filter->key[key].value)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text || value_read(key, text, &filter->key[key].value[i]))
			return err_set(err, -EINVAL,
			               "filter %s: '%s' is not %s",
			               key_name[key], text ? text : "?",
			               key_hint[key]);
		filter->key[key].n++;
	}
	return 0;
}

int flow_filter_new(const json_t *doc, struct flow_filter **ret,
                    struct err *err)
{
	_cleanup_(flow_filter_freep) struct flow_filter *filter =
		calloc(1, sizeof(*filter));

	if (!filter)
		return -ENOMEM;
	filter->doc = json_deep_copy(doc);
	for (int key = 0; key < KEY__COUNT; key++) {
		const json_t *list =
			json_object_get(filter->doc, key_name[key]);
		int r = list ? key_read(filter, key, list, err) : 0;

		if (r)
			return r;
	}
	*ret = TAKE(filter);
	return 0;
}

/* ---- matching ------------------------------------------------------------ */

/* [NS/]PREFIX against one end. */
static bool pod_matches(const struct flow_view *view, int end, const char *want)
{
	const char *slash = strchr(want, '/');
	const char *name = slash ? slash + 1 : want;
	char ns[64], pod[256];

	packed_get(view->who[end], WHO_NS, ns, sizeof(ns));
	packed_get(view->who[end], WHO_POD, pod, sizeof(pod));
	if (!pod[0])
		return false;
	if (slash && (strlen(ns) != (size_t)(slash - want) ||
	              strncmp(ns, want, (size_t)(slash - want)) != 0))
		return false;
	return !strncmp(pod, name, strlen(name));
}

static bool namespace_matches(const struct flow_view *view, const char *want)
{
	char ns[64];

	for (int end = 0; end < 2; end++)
		if (!strcmp(packed_get(view->who[end], WHO_NS, ns, sizeof(ns)),
		            want))
			return true;
	return false;
}

/* icmp means both versions, as people do. */
static bool proto_matches(uint8_t proto, uint8_t want)
{
	return proto == want ||
	       (want == IPPROTO_ICMP && proto == IPPROTO_ICMPV6);
}

static bool value_matches(enum filter_key key, const struct value *want,
                          const struct flow_view *view)
{
	const struct flow_tuple *t = &view->event->tuple;

	switch (key) {
	case KEY_FROM_POD:
		return pod_matches(view, 0, want->text);
	case KEY_TO_POD:
		return pod_matches(view, 1, want->text);
	case KEY_POD:
		return pod_matches(view, 0, want->text) ||
		       pod_matches(view, 1, want->text);
	case KEY_NAMESPACE:
		return namespace_matches(view, want->text);
	case KEY_IP:
		return prefix_contains(&want->prefix, &t->saddr) ||
		       prefix_contains(&want->prefix, &t->daddr);
	case KEY_PORT:
		return proto_with_ports(t->proto) &&
		       (ntohs(t->sport) == want->port ||
		        ntohs(t->dport) == want->port);
	case KEY_PROTOCOL:
		return proto_matches(t->proto, want->proto);
	case KEY_VERDICT:
		return !strcasecmp(flow_verdict(view), want->text);
	default:
		return false;
	}
}

bool flow_filter_match(const struct flow_filter *filter,
                       const struct flow_view *view)
{
	for (int key = 0; filter && key < KEY__COUNT; key++) {
		bool any = !filter->key[key].n;

		for (size_t i = 0; !any && i < filter->key[key].n; i++)
			any = value_matches(key, &filter->key[key].value[i],
			                    view);
		if (!any)
			return false;
	}
	return true;
}
