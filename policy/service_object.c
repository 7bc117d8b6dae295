// SPDX-License-Identifier: Apache-2.0
/* service_object.c - Services and EndpointSlices: who asks for whom. */
#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "policy/parse.h"

#define LABEL_PROXY   "service.kubernetes.io/service-proxy-name"
#define LABEL_SERVICE "kubernetes.io/service-name"

/* Seconds, as the API has them (k8s.io/api/core/v1). */
#define AFFINITY_DEFAULT 10800
#define AFFINITY_LONGEST 86400

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

static int ip_parse(struct parse *p, json_t *item, void *user)
{
	const char *text;
	int r = parse_text(p, item, &text);

	return r ? r : ip_add(p, text, user);
}

static int ips_parse(struct parse *p, json_t *spec,
                     struct service_object *service)
{
	const char *first;
	json_t *list;
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
	return parse_each(p, "clusterIPs", list, ip_parse, service);
}

static int service_port_parse(struct parse *p, json_t *item, void *user)
{
	struct service_object *service = user;
	struct service_port *ret = &service->port[service->n_ports];
	int r;

	if (!json_is_object(item))
		return parse_fail(p, "not a mapping");
	r = name_parse(p, item, &ret->name);
	if (!r)
		r = parse_protocol(p, item, &ret->proto);
	if (!r)
		r = parse_port(p, json_object_get(item, "port"), &ret->port);
	/* 0: the API server has not chosen one. */
	if (!r && json_integer_value(json_object_get(item, "nodePort")))
		r = parse_port(p, json_object_get(item, "nodePort"),
		               &ret->node_port);
	service->n_ports += !r;
	return r;
}

static int service_ports_parse(struct parse *p, json_t *spec,
                               struct service_object *service)
{
	json_t *list;
	int r = parse_list(p, spec, "ports", &list);

	if (r)
		return r;
	service->port = arena_array(p->arena, json_array_size(list),
	                            sizeof(*service->port));
	if (!service->port)
		return parse_nomem(p);
	return parse_each(p, "ports", list, service_port_parse, service);
}

/* "Local", or "Cluster", which is what absence means. */
static int local_parse(struct parse *p, json_t *spec, const char *field,
                       bool *ret)
{
	const char *policy;
	int r = parse_string(p, spec, field, &policy);

	if (r)
		return r;
	*ret = policy && !strcmp(policy, "Local");
	if (policy && !*ret && strcmp(policy, "Cluster") != 0)
		return parse_fail(p, "%s '%.31s' is not Cluster or Local",
		                  field, policy);
	return 0;
}

static int affinity_parse(struct parse *p, json_t *spec, uint32_t *ret)
{
	const char *kind;
	json_t *config, *client;
	const json_t *seconds;
	int r = parse_string(p, spec, "sessionAffinity", &kind);

	if (!r)
		r = parse_object(p, spec, "sessionAffinityConfig", &config);
	if (!r)
		r = parse_object(p, config, "clientIP", &client);
	if (r || !kind || !strcmp(kind, "None"))
		return r;
	if (strcmp(kind, "ClientIP") != 0)
		return parse_fail(p,
		                  "sessionAffinity '%.31s' is not None or "
		                  "ClientIP",
		                  kind);
	*ret = AFFINITY_DEFAULT;
	seconds = parse_field(client, "timeoutSeconds");
	if (!seconds)
		return 0;
	if (!json_is_integer(seconds) || json_integer_value(seconds) < 1 ||
	    json_integer_value(seconds) > AFFINITY_LONGEST)
		return parse_fail(p, "timeoutSeconds is not 1 to %d",
		                  AFFINITY_LONGEST);
	*ret = (uint32_t)json_integer_value(seconds);
	return 0;
}

static int external_parse(struct parse *p, json_t *item, void *user)
{
	struct service_object *ret = user;
	const char *text;
	int r = parse_text(p, item, &text);

	return r ? r : parse_addr(p, text, ret->external, &ret->n_externals);
}

static int externals_parse(struct parse *p, json_t *spec,
                           struct service_object *ret)
{
	json_t *list;
	int r = parse_list(p, spec, "externalIPs", &list);

	if (r)
		return r;
	ret->external = arena_array(p->arena, json_array_size(list),
	                            sizeof(*ret->external));
	if (!ret->external)
		return parse_nomem(p);
	return parse_each(p, "externalIPs", list, external_parse, ret);
}

/* What the spec says of who is let in, and to whom he goes. */
static int manner_parse(struct parse *p, json_t *spec,
                        struct service_object *ret)
{
	json_t *ranges;
	int r = local_parse(p, spec, "internalTrafficPolicy",
	                    &ret->inner_local);

	if (!r)
		r = local_parse(p, spec, "externalTrafficPolicy",
		                &ret->outer_local);
	if (!r)
		r = affinity_parse(p, spec, &ret->affinity);
	if (!r)
		r = parse_list(p, spec, "loadBalancerSourceRanges", &ranges);
	if (!r)
		ret->ranged = json_array_size(ranges);
	return r;
}

/* An address that another proxy answers at is none of ours. */
static int balancer_parse(struct parse *p, json_t *item, void *user)
{
	struct service_object *ret = user;
	const char *ip, *mode;
	int r;

	if (!json_is_object(item))
		return parse_fail(p, "not a mapping");
	r = parse_string(p, item, "ip", &ip);
	if (!r)
		r = parse_string(p, item, "ipMode", &mode);
	if (r || !ip || !*ip || (mode && !strcmp(mode, "Proxy")))
		return r;
	return parse_addr(p, ip, ret->balancer, &ret->n_balancers);
}

static int balancers_parse(struct parse *p, json_t *doc,
                           struct service_object *ret)
{
	json_t *status, *balancer, *list;
	int r = parse_object(p, doc, "status", &status);

	if (!r)
		r = parse_object(p, status, "loadBalancer", &balancer);
	if (!r)
		r = parse_list(p, balancer, "ingress", &list);
	if (r)
		return r;
	ret->balancer = arena_array(p->arena, json_array_size(list),
	                            sizeof(*ret->balancer));
	if (!ret->balancer)
		return parse_nomem(p);
	return parse_each(p, "status.loadBalancer.ingress", list,
	                  balancer_parse, ret);
}

/* A service without a type is one of ClusterIP. */
static bool has_node_ports(const char *type)
{
	return type &&
	       (!strcmp(type, "NodePort") || !strcmp(type, "LoadBalancer"));
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
	if (!r)
		r = externals_parse(p, spec, ret);
	if (!r)
		r = manner_parse(p, spec, ret);
	if (r)
		return r;
	parse_leave(p, mark);
	if (type && !strcmp(type, "LoadBalancer"))
		r = balancers_parse(p, doc, ret);
	if (r)
		return r;
	for (size_t i = 0; i < ret->n_ports && !has_node_ports(type); i++)
		ret->port[i].node_port = 0;
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
static int slice_port_parse(struct parse *p, json_t *item, void *user)
{
	struct slice_object *slice = user;
	struct slice_port *port = &slice->port[slice->n_ports];
	int r;

	if (!json_is_object(item))
		return parse_fail(p, "not a mapping");
	r = name_parse(p, item, &port->name);
	if (!r)
		r = parse_protocol(p, item, &port->proto);
	if (r || !parse_field(item, "port"))
		return r;
	r = parse_port(p, parse_field(item, "port"), &port->port);
	slice->n_ports += !r;
	return r;
}

static int slice_ports_parse(struct parse *p, json_t *doc,
                             struct slice_object *slice)
{
	json_t *list;
	int r = parse_list(p, doc, "ports", &list);

	if (r)
		return r;
	slice->port = arena_array(p->arena, json_array_size(list),
	                          sizeof(*slice->port));
	if (!slice->port)
		return parse_nomem(p);
	return parse_each(p, "ports", list, slice_port_parse, slice);
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

struct endpoints {
	struct slice_object *slice;
	enum family family;
};

/* All addresses of an endpoint are one endpoint's: the first is used. */
static int endpoint_parse(struct parse *p, json_t *item, void *user)
{
	struct endpoints *to = user;
	struct slice_endpoint *ret =
		&to->slice->endpoint[to->slice->n_endpoints];
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
	if (addr_parse(text, &ret->addr) ||
	    addr_family(&ret->addr) != to->family)
		return parse_fail(p, "'%.63s' is not an IPv%d address", text,
		                  to->family == FAMILY_V4 ? 4 : 6);
	r = conditions_parse(p, item, ret);
	if (!r)
		r = parse_string(p, item, "nodeName", &node);
	if (!r && node && *node)
		r = parse_copy(p, node, &ret->node);
	to->slice->n_endpoints += !r;
	return r;
}

static int endpoints_parse(struct parse *p, json_t *doc, enum family family,
                           struct slice_object *slice)
{
	struct endpoints to = {slice, family};
	json_t *list;
	int r = parse_list(p, doc, "endpoints", &list);

	if (r)
		return r;
	slice->endpoint = arena_array(p->arena, json_array_size(list),
	                              sizeof(*slice->endpoint));
	if (!slice->endpoint)
		return parse_nomem(p);
	return parse_each(p, "endpoints", list, endpoint_parse, &to);
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
