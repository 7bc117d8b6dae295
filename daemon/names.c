// SPDX-License-Identifier: Apache-2.0
/* names.c - see names.h. */
#include "daemon/names.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "lib/addr.h"

#define NAME_ENTRY(name, text) {#name, text},
#define HOOK_NAME_MAX          16

static const struct {
	const char *name, *text;
} drops[DROP__COUNT] =
	{
		{"NONE", "not dropped"},
                DROP_REASONS(NAME_ENTRY)
},
  counts[COUNTER__COUNT] = {COUNTERS(NAME_ENTRY)};

static const char hooks[HOOK__COUNT][HOOK_NAME_MAX] = {
	[HOOK_FROM_POD] = "from_pod",       [HOOK_TO_POD] = "to_pod",
	[HOOK_FROM_NET] = "from_net",       [HOOK_TO_NET] = "to_net",
	[HOOK_FROM_TUNNEL] = "from_tunnel", [HOOK_TO_TUNNEL] = "to_tunnel",
};

const char *drop_name(unsigned reason)
{
	return reason < DROP__COUNT ? drops[reason].name : "UNKNOWN";
}

const char *drop_text(unsigned reason)
{
	return reason < DROP__COUNT ? drops[reason].text
	                            : "a reason this version does not know";
}

const char *counter_name(unsigned counter)
{
	return counter < COUNTER__COUNT ? counts[counter].name : "UNKNOWN";
}

const char *counter_text(unsigned counter)
{
	return counter < COUNTER__COUNT ? counts[counter].text : "";
}

const char *hook_name(unsigned hook)
{
	return hook < HOOK__COUNT ? hooks[hook] : "unknown";
}

const char *dir_name(unsigned dir)
{
	return dir == DIR_EGRESS ? "egress" : "ingress";
}

static const struct {
	const char *name;
	uint8_t proto;
} protos[] = {
	{"tcp",    IPPROTO_TCP   },
        {"udp",    IPPROTO_UDP   },
	{"sctp",   IPPROTO_SCTP  },
        {"icmp",   IPPROTO_ICMP  },
	{"icmpv6", IPPROTO_ICMPV6},
};

const char *proto_name(uint8_t proto, char buf[PROTO_TEXT_MAX])
{
	snprintf(buf, PROTO_TEXT_MAX, "%u", proto);
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++)
		if (protos[i].proto == proto)
			snprintf(buf, PROTO_TEXT_MAX, "%s", protos[i].name);
	return buf;
}

int proto_parse(const char *text, enum family family, uint8_t *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		if (strcasecmp(protos[i].name, text) != 0)
			continue;
		*ret = protos[i].proto;
		if (*ret == IPPROTO_ICMP && family == FAMILY_V6)
			*ret = IPPROTO_ICMPV6;
		return 0;
	}
	return -EINVAL;
}

bool proto_with_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP ||
	       proto == IPPROTO_SCTP;
}

/* ---- identities --------------------------------------------------------- */

const char *identity_reserved(uint32_t number)
{
	const uint32_t serial = number & ~ID_CLASS_MASK;
	const uint32_t class = number >> ID_CLASS_SHIFT;

	if (serial == ID_SERIAL_HOST &&
	    (class == CLASS_NODE4 || class == CLASS_NODE6))
		return "host";
	if (serial == ID_SERIAL_INIT &&
	    (class == CLASS_POD4 || class == CLASS_POD6))
		return "init";
	if (serial != ID_SERIAL_PLAIN && serial)
		return NULL;
	switch (class) {
	case CLASS_ANY:
		return serial ? NULL : "any";
	case CLASS_POD4:
	case CLASS_POD6:
		return "pod";
	case CLASS_NODE4:
	case CLASS_NODE6:
		return "remote-node";
	case CLASS_WORLD4:
	case CLASS_WORLD6:
		return "world";
	default:
		return NULL;
	}
}

static int identity_compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a;
	const uint32_t y = ((const struct identity *)b)->number;

	return (x > y) - (x < y);
}

const char *identity_name(const struct compiled *compiled, uint32_t number)
{
	const char *word = identity_reserved(number);
	const struct identity *found = NULL;

	if (word)
		return word;
	if (compiled && compiled->n_identities)
		found = bsearch(&number, compiled->identity,
		                compiled->n_identities,
		                sizeof(*compiled->identity), identity_compare);
	return found && found->key ? found->key : "no longer in use";
}

/* ---- addresses ---------------------------------------------------------- */

static int entry_compare(const void *a, const void *b)
{
	return addr_compare(a, &((const struct addr_entry *)b)->addr);
}

static bool class_is_pod(uint32_t identity)
{
	const uint32_t class = identity >> ID_CLASS_SHIFT;

	return class == CLASS_POD4 || class == CLASS_POD6;
}

static void who_from_endpoint(const struct daemon *daemon, struct who *who)
{
	const struct ep *ep;

	if (who->endpoint >= ENDPOINT_MAX)
		return;
	ep = &daemon->endpoints.ep[who->endpoint];
	if (ep->state == ENDPOINT_FREE || !ep->pod_name[0])
		return;
	who->ns = ep->pod_ns;
	who->name = ep->pod_name;
	who->pod = store_pod(&daemon->store, ep->pod_ns, ep->pod_name);
}

/* Everything but the pod's name; true when a walk over all pods is needed. */
static bool who_from_tables(const struct daemon *daemon,
                            const struct compiled *compiled, struct who *who)
{
	const struct addr_entry *entry = NULL;
	const struct addr addr = who->addr;

	*who = (struct who){.addr = addr};
	if (compiled && compiled->n_addrs)
		entry = bsearch(&addr, compiled->addr, compiled->n_addrs,
		                sizeof(*compiled->addr), entry_compare);
	if (!entry) {
		if (compiled)
			who->identity = compiled_identity(compiled, &addr);
		return false;
	}
	who->identity = entry->identity;
	who->endpoint = entry->endpoint;
	who->local = entry->local;
	if (who->endpoint)
		who_from_endpoint(daemon, who);
	return !who->endpoint && !who->local && class_is_pod(who->identity);
}

static int who_compare(const void *a, const void *b)
{
	const struct who *x = *(struct who *const *)a;
	const struct who *y = *(struct who *const *)b;

	return addr_compare(&x->addr, &y->addr);
}

/* Name each of the sorted @want that has the address of @pod. */
static void who_give(struct who **want, size_t n, const struct pod *pod,
                     const struct addr *addr)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;

		if (addr_compare(&want[mid]->addr, addr) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < n && !addr_compare(&want[lo]->addr, addr); lo++) {
		want[lo]->ns = pod->ns;
		want[lo]->name = pod->name;
		want[lo]->pod = pod;
	}
}

static void who_from_world(const struct world *world, struct who **want,
                           size_t n)
{
	qsort(want, n, sizeof(*want), who_compare);
	for (size_t i = 0; i < world->n_pods; i++) {
		const struct pod *pod = world->pod[i];

		if (pod->host_network || pod->finished)
			continue;
		for (size_t j = 0; j < pod->n_addrs; j++)
			who_give(want, n, pod, &pod->addr[j]);
	}
}

void who_find(const struct daemon *daemon, struct who *who, size_t n)
{
	const struct compiled *compiled = NULL;
	const struct world *world = NULL;
	_cleanup_(free_p) struct who **want = calloc(n + 1, sizeof(*want));
	size_t wanted = 0;

	if (daemon->reconcile) {
		compiled = reconcile_compiled(daemon->reconcile);
		world = reconcile_world(daemon->reconcile);
	}
	for (size_t i = 0; i < n; i++)
		if (who_from_tables(daemon, compiled, &who[i]) && want)
			want[wanted++] = &who[i];
	if (wanted && world)
		who_from_world(world, want, wanted);
}

const char *who_text(const struct who *who, char buf[WHO_TEXT_MAX])
{
	char text[ADDR_TEXT_MAX];

	if (who->name)
		snprintf(buf, WHO_TEXT_MAX, "%s/%s", who->ns ? who->ns : "",
		         who->name);
	else if (who->local)
		snprintf(buf, WHO_TEXT_MAX, "host (%s)",
		         addr_format(&who->addr, text));
	else
		addr_format(&who->addr, buf);
	return buf;
}

/* ---- ends, as people write them ----------------------------------------- */

static const char *family_name(enum family family)
{
	return family == FAMILY_V4 ? "IPv4" : "IPv6";
}

static const struct pod *pod_find(const struct daemon *daemon, const char *ns,
                                  const char *name)
{
	const struct world *world =
		daemon->reconcile ? reconcile_world(daemon->reconcile) : NULL;

	for (size_t i = 0; world && i < world->n_pods; i++) {
		const struct pod *pod = world->pod[i];

		if (pod->ns && !strcmp(pod->ns, ns) && !strcmp(pod->name, name))
			return pod;
	}
	return NULL;
}

static int parse_pod(const struct daemon *daemon, const char *text,
                     enum family family, struct who *ret, struct err *err)
{
	const char *slash = strchr(text, '/');
	_cleanup_(free_p) char *ns = strndup(text, (size_t)(slash - text));
	const struct pod *pod;

	if (!ns)
		return -ENOMEM;
	pod = pod_find(daemon, ns, slash + 1);
	if (!pod)
		return err_set(err, -ENOENT,
		               "no pod %s is known here; see `stile endpoint "
		               "list` and the manifests",
		               text);
	for (size_t i = 0; i < pod->n_addrs; i++) {
		if (addr_family(&pod->addr[i]) != family)
			continue;
		ret->addr = pod->addr[i];
		who_find(daemon, ret, 1);
		ret->ns = pod->ns;
		ret->name = pod->name;
		ret->pod = pod;
		return 0;
	}
	return err_set(err, -EADDRNOTAVAIL, "pod %s has no %s address", text,
	               family_name(family));
}

static int parse_host(const struct daemon *daemon, enum family family,
                      struct who *ret, struct err *err)
{
	const struct world *world =
		daemon->reconcile ? reconcile_world(daemon->reconcile) : NULL;

	for (size_t i = 0; world && i < world->n_nodes; i++) {
		if (!world->node[i].local ||
		    addr_family(&world->node[i].addr) != family)
			continue;
		ret->addr = world->node[i].addr;
		who_find(daemon, ret, 1);
		return 0;
	}
	return err_set(err, -EADDRNOTAVAIL, "this node has no %s address",
	               family_name(family));
}

/* An address of the world that no policy tells apart, when there is one. */
static int parse_world(const struct daemon *daemon, enum family family,
                       struct who *ret)
{
	static const char *const tries[FAMILY__COUNT][4] = {
		{"192.0.2.1",        "198.51.100.1",     "203.0.113.1",      "8.8.8.8"},
		{"2001:db8:ffff::1", "2001:db8:5716::1", "2001:db8:5717::1",
	         "2001:4860:4860::8888"					       },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tries[0]); i++) {
		(void)addr_parse(tries[family][i], &ret->addr);
		who_find(daemon, ret, 1);
		if ((ret->identity & ~ID_CLASS_MASK) == ID_SERIAL_PLAIN)
			break;
	}
	return 0;
}

int who_parse(const struct daemon *daemon, const char *text, enum family family,
              struct who *ret, struct err *err)
{
	struct who who = {};
	int r;

	if (!strcmp(text, "host"))
		r = parse_host(daemon, family, &who, err);
	else if (!strcmp(text, "world"))
		r = parse_world(daemon, family, &who);
	else if (strchr(text, '/'))
		r = parse_pod(daemon, text, family, &who, err);
	else if (addr_parse(text, &who.addr))
		return err_set(err, -EINVAL,
		               "'%s' is not NS/POD, an address, host or world",
		               text);
	else if (addr_family(&who.addr) != family)
		return err_set(err, -EADDRNOTAVAIL, "%s is not an %s address",
		               text, family_name(family));
	else {
		who_find(daemon, &who, 1);
		r = 0;
	}
	if (!r)
		*ret = who;
	return r;
}
