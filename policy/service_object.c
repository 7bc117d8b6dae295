// SPDX-License-Identifier: Apache-2.0
/* service_object.c - Services and EndpointSlices: who asks for whom. */
#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/parse.h"

#define LABEL_PROXY   "service.kubernetes.io/service-proxy-name"
#define LABEL_SERVICE "kubernetes.io/service-name"

static const char *label_of(const struct labels *labels, const char *key)
{
	for (size_t i = 0; i < labels->n; i++)
		if (!strcmp(labels->item[i].key, key))
			return labels->item[i].value;
	return NULL;
}

/* An optional name; "" when absent. */
static int name_parse(struct parse *p, json_t *object, const char **ret)
{
	const char *name;
	int r = parse_string(p, object, "name", &name);

	return r ? r : parse_copy(p, name ? name : "", ret);
}

/* ---- Service ------------------------------------------------------------ */

static int ip_add(struct parse *p, const char *text,
                  struct service_object *service)
{
	if (!text || !*text || !strcmp(text, "None"))
		return 0;
	if (addr_parse(text, &service->ip[service->n_ips]))
		return parse_fail(p, "'%.63s' is not an address", text);
	service->n_ips++;
	return 0;
}

static int ips_parse(struct parse *p, json_t *spec,
                     struct service_object *service)
{
	const char *first;
	json_t *list, *item;
	size_t i;
	int r = parse_list(p, spec, "clusterIPs", &list);

	if (!r)
		r = parse_string(p, spec, "clusterIP", &first);
	if (r)
		return r;
	service->ip = arena_array(p->arena, json_array_size(list) + 1,
	                          sizeof(*service->ip));
	if (!service->ip)
		return parse_nomem(p);
	if (!json_array_size(list)) {
		size_t mark = parse_enter(p, "clusterIP");

		r = ip_add(p, first, service);
		parse_leave(p, mark);
		return r;
	}
	json_array_foreach(list, i, item)
	{
		size_t mark = parse_enter_item(p, "clusterIPs", i);

		if (!json_is_string(item))
			return parse_fail(p, "not a string");
		r = ip_add(p, json_string_value(item), service);
		if (r)
			return r;
		parse_leave(p, mark);
	}
	return 0;
}

static int service_port_parse(struct parse *p, json_t *item,
                              struct service_port *ret)
{
	int r;

	if (!json_is_object(item))
		return parse_fail(p, "not a mapping");
	r = name_parse(p, item, &ret->name);
	if (!r)
		r = parse_protocol(p, item, &ret->proto);
	return r ? r : parse_port(p, json_object_get(item, "port"), &ret->port);
}

static int service_ports_parse(struct parse *p, json_t *spec,
                               struct service_object *service)
{
	json_t *list, *item;
	size_t i;
	int r = parse_list(p, spec, "ports", &list);

	if (r)
		return r;
	service->port = arena_array(p->arena, json_array_size(list),
	                            sizeof(*service->port));
	if (!service->port)
		return parse_nomem(p);
	json_array_foreach(list, i, item)
	{
		size_t mark = parse_enter_item(p, "ports", i);

		r = service_port_parse(p, item,
		                       &service->port[service->n_ports]);
		if (r)
			return r;
		service->n_ports++;
		parse_leave(p, mark);
	}
	return 0;
}

int service_parse(struct parse *p, json_t *doc, const struct labels *labels,
                  struct service_object *ret)
{
	const char *type;
	json_t *spec;
	size_t mark;
	int r = parse_object(p, doc, "spec", &spec);

	if (r)
		return r;
	mark = parse_enter(p, "spec");
	r = parse_string(p, spec, "type", &type);
	if (!r)
		r = ips_parse(p, spec, ret);
	if (!r)
		r = service_ports_parse(p, spec, ret);
	if (r)
		return r;
	parse_leave(p, mark);
	/* It has no addresses of its own, or is some other proxy's. */
	if ((type && !strcmp(type, "ExternalName")) ||
	    label_of(labels, LABEL_PROXY))
		ret->n_ips = 0;
	return 0;
}

/* ---- EndpointSlice ------------------------------------------------------ */

static int family_parse(struct parse *p, json_t *doc, enum family *ret)
{
	const char *type;
	int r = parse_string(p, doc, "addressType", &type);

	if (r)
		return r;
	if (!type)
		return parse_fail(p, "'addressType' is missing");
	if (!strcmp(type, "IPv4"))
		*ret = FAMILY_V4;
	else if (!strcmp(type, "IPv6"))
		*ret = FAMILY_V6;
	else
		return parse_fail(p, "addressType '%.31s' is not IPv4 or IPv6",
		                  type);
	return 0;
}

/* A port without a number is every port: of no use to a service's port. */
static int slice_ports_parse(struct parse *p, json_t *doc,
                             struct slice_object *slice)
{
	json_t *list, *item;
	size_t i;
	int r = parse_list(p, doc, "ports", &list);

	if (r)
		return r;
	slice->port = arena_array(p->arena, json_array_size(list),
	                          sizeof(*slice->port));
	if (!slice->port)
		return parse_nomem(p);
	json_array_foreach(list, i, item)
	{
		size_t mark = parse_enter_item(p, "ports", i);
		struct slice_port *port = &slice->port[slice->n_ports];

		if (!json_is_object(item))
			return parse_fail(p, "not a mapping");
		r = name_parse(p, item, &port->name);
		if (!r)
			r = parse_protocol(p, item, &port->proto);
		if (!r && parse_field(item, "port")) {
			r = parse_port(p, parse_field(item, "port"),
			               &port->port);
			slice->n_ports += !r;
		}
		if (r)
			return r;
		parse_leave(p, mark);
	}
	return 0;
}

static int conditions_parse(struct parse *p, json_t *item,
                            struct slice_endpoint *endpoint)
{
	json_t *conditions;
	int r = parse_object(p, item, "conditions", &conditions);

	if (!r)
		r = parse_bool(p, conditions, "ready", true, &endpoint->ready);
	if (!r)
		r = parse_bool(p, conditions, "serving", endpoint->ready,
		               &endpoint->serving);
	return r ? r
	         : parse_bool(p, conditions, "terminating", false,
	                      &endpoint->terminating);
}

/* All addresses of an endpoint are one endpoint's: the first is used. */
static int endpoint_parse(struct parse *p, json_t *item, enum family family,
                          struct slice_endpoint *ret)
{
	const char *text, *node;
	json_t *addresses;
	int r;

	if (!json_is_object(item))
		return parse_fail(p, "not a mapping");
	r = parse_list(p, item, "addresses", &addresses);
	if (r)
		return r;
	text = json_string_value(json_array_get(addresses, 0));
	if (!text)
		return parse_fail(p, "'addresses' holds no address");
	if (addr_parse(text, &ret->addr) || addr_family(&ret->addr) != family)
		return parse_fail(p, "'%.63s' is not an IPv%d address", text,
		                  family == FAMILY_V4 ? 4 : 6);
	r = conditions_parse(p, item, ret);
	if (!r)
		r = parse_string(p, item, "nodeName", &node);
	if (!r && node && *node)
		r = parse_copy(p, node, &ret->node);
	return r;
}

static int endpoints_parse(struct parse *p, json_t *doc, enum family family,
                           struct slice_object *slice)
{
	json_t *list, *item;
	size_t i;
	int r = parse_list(p, doc, "endpoints", &list);

	if (r)
		return r;
	slice->endpoint = arena_array(p->arena, json_array_size(list),
	                              sizeof(*slice->endpoint));
	if (!slice->endpoint)
		return parse_nomem(p);
	json_array_foreach(list, i, item)
	{
		size_t mark = parse_enter_item(p, "endpoints", i);

		r = endpoint_parse(p, item, family,
		                   &slice->endpoint[slice->n_endpoints]);
		if (r)
			return r;
		slice->n_endpoints++;
		parse_leave(p, mark);
	}
	return 0;
}

int slice_parse(struct parse *p, json_t *doc, const struct labels *labels,
                struct slice_object *ret)
{
	const char *service = label_of(labels, LABEL_SERVICE);
	enum family family = FAMILY_V4;
	int r = family_parse(p, doc, &family);

	if (!r && service)
		r = parse_copy(p, service, &ret->service);
	if (!r)
		r = slice_ports_parse(p, doc, ret);
	return r ? r : endpoints_parse(p, doc, family, ret);
}
