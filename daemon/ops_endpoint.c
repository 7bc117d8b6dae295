// SPDX-License-Identifier: Apache-2.0
/* ops_endpoint.c - the pods of this node, and the addresses of all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/names.h"
#include "daemon/ops_show.h"
#include "daemon/pieces.h"
#include "daemon/words.h"
#include "lib/addr.h"

static const char *state_word(enum endpoint_state state)
{
	return state == ENDPOINT_READY ? "ready" : "closing";
}

/* Addresses, and the identity of the first; both families' by "identities". */
static void put_addresses(json_t *object, const struct daemon *daemon,
                          const struct ep *ep)
{
	const struct compiled *compiled =
		daemon->reconcile ? reconcile_compiled(daemon->reconcile)
				  : NULL;
	json_t *ips = json_array(), *identities = json_array();
	char text[ADDR_TEXT_MAX];

	for (int f = 0; f < FAMILY__COUNT; f++) {
		if (addr_is_zero(&ep->addr[f]))
			continue;
		(void)json_array_append_new(
			ips, json_string(addr_format(&ep->addr[f], text)));
		if (compiled)
			(void)json_array_append_new(
				identities,
				json_integer((json_int_t)compiled_identity(
					compiled, &ep->addr[f])));
	}
	(void)json_object_set_new(object, "ips", ips);
	(void)json_object_set(object, "identity",
	                      json_array_get(identities, 0));
	(void)json_object_set_new(
		object, "identity_name",
		json_string(identity_name(
			compiled, (uint32_t)json_integer_value(
					  json_array_get(identities, 0)))));
	(void)json_object_set_new(object, "identities", identities);
}

static json_t *endpoint_json(const struct daemon *daemon, const struct ep *ep)
{
	char mac[ENDPOINT_MAC_TEXT];
	json_t *object =
		json_pack("{s:i, s:s, s:s, s:s, s:s, s:i, s:s, s:i, s:s}", "id",
	                  (int)ep->number, "namespace", ep->pod_ns, "pod",
	                  ep->pod_name, "state", state_word(ep->state),
	                  "ifname", ep->host_ifname, "ifindex", ep->ifindex,
	                  "mac", endpoint_mac_format(ep->mac, mac), "mtu",
	                  (int)ep->mtu, "pod_ifname", ep->ifname);
	uint32_t slot = SLOT_CLOSED;
	const struct table *table =
		daemon->reconcile && ep->state == ENDPOINT_READY
			? reconcile_table(daemon->reconcile, ep->number, &slot)
			: NULL;

	if (!object)
		return NULL;
	put_addresses(object, daemon, ep);
	if (table)
		(void)json_object_update_new(
			object,
			json_pack("{s:I, s:b, s:b, s:I}", "slot",
		                  (json_int_t)slot, "isolated_ingress",
		                  (int)table->header.isolated[DIR_INGRESS],
		                  "isolated_egress",
		                  (int)table->header.isolated[DIR_EGRESS],
		                  "policy_entries",
		                  (json_int_t)table->n_entries +
		                          (json_int_t)table->n_ranges));
	return object;
}

json_t *show_endpoints(struct daemon *daemon, const json_t *request)
{
	json_t *list = json_array();

	(void)request;
	for (unsigned i = 1; i < ENDPOINT_MAX; i++)
		if (daemon->endpoints.ep[i].state != ENDPOINT_FREE)
			(void)json_array_append_new(
				list, endpoint_json(daemon,
			                            &daemon->endpoints.ep[i]));
	return show_items(list);
}

/* ---- one of them --------------------------------------------------------- */

/* By number, NS/POD or container id (a prefix of 6 or more will do). */
static const struct ep *endpoint_named(const struct daemon *daemon,
                                       const char *name)
{
	char *end;
	const unsigned long number = strtoul(name, &end, 10);
	const size_t len = strlen(name);

	for (unsigned i = 1; i < ENDPOINT_MAX; i++) {
		const struct ep *ep = &daemon->endpoints.ep[i];
		char pod[WHO_TEXT_MAX];

		if (ep->state == ENDPOINT_FREE)
			continue;
		snprintf(pod, sizeof(pod), "%s/%s", ep->pod_ns, ep->pod_name);
		if ((!*end && number == i) || !strcmp(pod, name) ||
		    (len >= 6 && !strncmp(ep->container_id, name, len)))
			return ep;
	}
	return NULL;
}

static void put_labels(json_t *object, const struct pod *pod)
{
	json_t *labels = json_object();

	for (size_t i = 0; pod && i < pod->labels.n; i++)
		(void)json_object_set_new(
			labels, pod->labels.item[i].key,
			json_string(pod->labels.item[i].value));
	(void)json_object_set_new(object, "labels", labels);
}

/* Names of the policies that select @pod, by direction. */
static void put_policies(json_t *object, const struct daemon *daemon,
                         const struct pod *pod)
{
	static const char *const key[DIR__COUNT] = {"ingress_policies",
	                                            "egress_policies"};
	const struct world *world =
		daemon->reconcile ? reconcile_world(daemon->reconcile) : NULL;

	for (int dir = 0; dir < DIR__COUNT; dir++) {
		json_t *list = json_array();

		for (size_t i = 0; pod && world && i < world->n_netpols; i++) {
			const struct netpol *np = world->netpol[i];

			if (np->applies[dir] && !strcmp(np->ns, pod->ns) &&
			    selector_match(&np->pod_selector, &pod->labels))
				(void)json_array_append_new(
					list, json_string(np->name));
		}
		(void)json_object_set_new(object, key[dir], list);
	}
}

json_t *show_endpoint(struct daemon *daemon, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "id"));
	const struct ep *ep = name ? endpoint_named(daemon, name) : NULL;
	const struct pod *pod;
	json_t *object;

	if (!ep)
		return show_error("no such endpoint; `stile endpoint list` "
		                  "shows them");
	object = endpoint_json(daemon, ep);
	if (!object)
		return show_error("out of memory");
	pod = store_pod(&daemon->store, ep->pod_ns, ep->pod_name);
	put_labels(object, pod);
	put_policies(object, daemon, pod);
	(void)json_object_update_new(
		object, json_pack("{s:s, s:s, s:I}", "container_id",
	                          ep->container_id, "netns", ep->netns,
	                          "serial", (json_int_t)ep->serial));
	return object;
}

/* ---- every address ------------------------------------------------------- */

#define IPCACHE_CHUNK 64u

struct ipcache {
	struct pieces pieces;
	struct daemon *daemon;
	bool begun;
	struct addr last; /* address shown last; tables may change between */
	bool prefixes;    /* addresses are done */
	size_t prefix_at;
	json_t *line[IPCACHE_CHUNK];
	size_t n, at;
};

static void ipcache_free(struct pieces *pieces)
{
	struct ipcache *walk = container_of(pieces, struct ipcache, pieces);

	for (; walk->at < walk->n; walk->at++)
		json_decref(walk->line[walk->at]);
	free(walk);
}

/* First entry above the last one shown. */
static size_t resume_at(const struct ipcache *walk,
                        const struct compiled *compiled)
{
	size_t lo = 0, hi = compiled->n_addrs;

	while (walk->begun && lo < hi) {
		const size_t mid = (lo + hi) / 2;

		if (addr_compare(&compiled->addr[mid].addr, &walk->last) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static json_t *address_line(const struct compiled *compiled,
                            const struct who *who)
{
	char text[ADDR_TEXT_MAX], name[WHO_TEXT_MAX];
	json_t *line =
		json_pack("{s:s, s:I, s:s, s:s, s:b, s:b}", "address",
	                  addr_format(&who->addr, text), "identity",
	                  (json_int_t)who->identity, "identity_name",
	                  identity_name(compiled, who->identity), "name",
	                  who->name || who->local ? who_text(who, name) : "",
	                  "here", who->endpoint != 0, "node", (int)who->local);

	if (line && who->name)
		(void)json_object_update_new(
			line,
			json_pack("{s:s, s:s}", "namespace",
		                  who->ns ? who->ns : "", "pod", who->name));
	return line;
}

static json_t *prefix_line(const struct compiled *compiled,
                           const struct prefix_entry *entry)
{
	char text[PREFIX_TEXT_MAX];

	return json_pack("{s:s, s:I, s:s, s:s, s:b, s:b}", "address",
	                 prefix_words(&entry->prefix, text), "identity",
	                 (json_int_t)entry->identity, "identity_name",
	                 identity_name(compiled, entry->identity), "name", "",
	                 "here", 0, "node", 0);
}

static void addresses_fill(struct ipcache *walk,
                           const struct compiled *compiled)
{
	struct who who[IPCACHE_CHUNK];
	size_t at = resume_at(walk, compiled), n = 0;

	for (; at < compiled->n_addrs && n < IPCACHE_CHUNK; at++)
		who[n++].addr = compiled->addr[at].addr;
	walk->prefixes = !n;
	if (!n)
		return;
	who_find(walk->daemon, who, n);
	for (size_t i = 0; i < n; i++) {
		json_t *line = address_line(compiled, &who[i]);

		if (line)
			walk->line[walk->n++] = line;
	}
	walk->last = who[n - 1].addr;
	walk->begun = true;
}

static bool ipcache_next(struct pieces *pieces, json_t **ret)
{
	struct ipcache *walk = container_of(pieces, struct ipcache, pieces);
	const struct compiled *compiled =
		walk->daemon->reconcile
			? reconcile_compiled(walk->daemon->reconcile)
			: NULL;

	*ret = NULL;
	if (walk->at < walk->n) {
		*ret = walk->line[walk->at++];
		return true;
	}
	walk->n = walk->at = 0;
	if (!compiled)
		return false;
	if (!walk->prefixes) {
		addresses_fill(walk, compiled);
		return true;
	}
	if (walk->prefix_at >= compiled->n_prefixes)
		return false;
	*ret = prefix_line(compiled, &compiled->prefix[walk->prefix_at++]);
	return true;
}

void show_ipcache(struct daemon *daemon, const json_t *request,
                  struct server_stream *stream)
{
	struct ipcache *walk = calloc(1, sizeof(*walk));

	(void)request;
	if (!walk) {
		stream_error(stream, "out of memory");
		return;
	}
	walk->daemon = daemon;
	walk->pieces.next = ipcache_next;
	walk->pieces.free = ipcache_free;
	pieces_start(&walk->pieces, daemon->loop, stream);
}
