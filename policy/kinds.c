// SPDX-License-Identifier: Apache-2.0
/* kinds.c - see kinds.h. */
#include "policy/kinds.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "policy/index.h"
#include "policy/text.h"

#define NS_NAME_LABEL "kubernetes.io/metadata.name"

struct build {
	const struct world *world;
	const struct vocab *vocab;
	struct arena *arena;
	struct kinds kinds;
	struct index by_key;
	struct text text;
};

static const struct namespace *namespace_find(const struct world *world,
                                              const char *name)
{
	size_t lo = 0, hi = world->n_ns;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(name, world->ns[mid]->name);

		if (!cmp)
			return world->ns[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* A namespace without a manifest bears the label of its name alone. */
static const struct labels *namespace_labels(struct build *b, const char *name)
{
	const struct namespace *ns = namespace_find(b->world, name);
	struct labels *labels;

	if (ns)
		return &ns->labels;
	labels = arena_alloc(b->arena, sizeof(*labels));
	if (!labels)
		return NULL;
	labels->item = arena_array(b->arena, 1, sizeof(*labels->item));
	if (!labels->item)
		return NULL;
	labels->item[0] = (struct label){NS_NAME_LABEL, name};
	labels->n = 1;
	return labels;
}

/* Those of @labels that are in @key; both sorted. */
static void text_labels(struct text *text, const struct labels *labels,
                        const char *const *key, size_t n_keys, bool of_ns)
{
	size_t k = 0;

	for (size_t i = 0; i < labels->n && k < n_keys;) {
		const struct label *label = &labels->item[i];
		int cmp = strcmp(label->key, key[k]);

		if (cmp > 0) {
			k++;
			continue;
		}
		i++;
		if (cmp < 0)
			continue;
		text_puts(text, of_ns ? " ns[" : " ");
		text_escape(text, label->key, "/");
		text_puts(text, of_ns ? "]=" : "=");
		text_escape(text, label->value, "");
	}
}

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP    ? "udp"
	       : proto == IPPROTO_SCTP ? "sctp"
	                               : "tcp";
}

/* The next higher number than @above that @pod gives to @word; 0: none. */
static unsigned int port_after(const struct pod *pod,
                               const struct port_word *word, unsigned int above)
{
	unsigned int next = 0;

	for (size_t i = 0; i < pod->n_ports; i++) {
		const struct named_port *port = &pod->port[i];

		if (port->port > above && port->proto == word->proto &&
		    !strcmp(port->name, word->name) &&
		    (!next || port->port < next))
			next = port->port;
	}
	return next;
}

static void text_ports(struct text *text, const struct pod *pod,
                       const struct vocab *vocab)
{
	const char *before = " ports=";

	for (size_t i = 0; i < vocab->n_ports && pod->n_ports; i++) {
		const struct port_word *word = &vocab->port[i];
		unsigned int port = 0;

		while ((port = port_after(pod, word, port))) {
			text_puts(text, before);
			text_escape(text, word->name, "");
			text_puts(text, ":");
			text_puts(text, proto_name(word->proto));
			text_puts(text, "/");
			text_number(text, port);
			before = ",";
		}
	}
}

static void kind_text(struct build *b, const struct pod *pod)
{
	const struct vocab *vocab = b->vocab;
	const struct namespace *ns = namespace_find(b->world, pod->ns);

	b->text.n = 0;
	text_puts(&b->text, "ns=");
	text_escape(&b->text, pod->ns, "");
	if (ns)
		text_labels(&b->text, &ns->labels, vocab->ns_key,
		            vocab->n_ns_keys, true);
	text_labels(&b->text, &pod->labels, vocab->pod_key, vocab->n_pod_keys,
	            false);
	text_ports(&b->text, pod, vocab);
}

static int kind_of_pod(struct build *b, const struct pod *pod, uint32_t *ret)
{
	struct kinds *kinds = &b->kinds;
	struct kind *kind;
	char *key;
	uint64_t hash;
	size_t at = 0;

	kind_text(b, pod);
	if (text_failed(&b->text))
		return -ENOMEM;
	hash = hash_bytes(b->text.byte, b->text.n, 0);
	while (index_next(&b->by_key, hash, &at, ret)) {
		kind = &kinds->kind[*ret];
		if (kind->key_bytes == b->text.n &&
		    !memcmp(kind->key, b->text.byte, b->text.n))
			return 0;
	}
	key = arena_alloc(b->arena, b->text.n + 1);
	if (!key)
		return -ENOMEM;
	memcpy(key, b->text.byte, b->text.n);
	kinds->kind[kinds->n] =
		(struct kind){.pod = pod, .key = key, .key_bytes = b->text.n};
	*ret = (uint32_t)kinds->n++;
	return index_put(&b->by_key, b->arena, hash, *ret);
}

static int kind_compare(const void *a, const void *b)
{
	const struct kind *x = *(const struct kind *const *)a;
	const struct kind *y = *(const struct kind *const *)b;
	int cmp = strcmp(x->pod->ns, y->pod->ns);

	return cmp ? cmp : strcmp(x->key, y->key);
}

/* Sort, and let of_pod know the new places. */
static int kinds_sort(struct build *b)
{
	struct kinds *kinds = &b->kinds;
	struct kind **order = arena_array(b->arena, kinds->n, sizeof(*order));
	struct kind *sorted = arena_array(b->arena, kinds->n, sizeof(*sorted));
	uint32_t *place = arena_array(b->arena, kinds->n, sizeof(*place));

	if (!order || !sorted || !place)
		return -ENOMEM;
	for (size_t i = 0; i < kinds->n; i++)
		order[i] = &kinds->kind[i];
	qsort(order, kinds->n, sizeof(*order), kind_compare);
	for (size_t i = 0; i < kinds->n; i++) {
		sorted[i] = *order[i];
		place[order[i] - kinds->kind] = (uint32_t)i;
	}
	for (size_t i = 0; i < b->world->n_pods; i++)
		if (kinds->of_pod[i] != KIND_NONE)
			kinds->of_pod[i] = place[kinds->of_pod[i]];
	kinds->kind = sorted;
	return 0;
}

static int namespaces_build(struct build *b)
{
	struct kinds *kinds = &b->kinds;
	struct kind_ns *ns = NULL;

	kinds->ns = arena_array(b->arena, kinds->n, sizeof(*kinds->ns));
	if (!kinds->ns)
		return -ENOMEM;
	for (uint32_t i = 0; i < kinds->n; i++) {
		const char *name = kinds->kind[i].pod->ns;

		if (!ns || strcmp(ns->name, name) != 0) {
			ns = &kinds->ns[kinds->n_ns++];
			ns->name = name;
			ns->first = i;
			ns->labels = namespace_labels(b, name);
			if (!ns->labels)
				return -ENOMEM;
		}
		ns->end = i + 1;
		kinds->kind[i].ns = (uint32_t)(ns - kinds->ns);
	}
	return 0;
}

static int label_indexes_build(struct build *b)
{
	struct kinds *kinds = &b->kinds;
	const struct vocab *vocab = b->vocab;
	const struct labels **of = arena_array(b->arena, kinds->n, sizeof(*of));
	const struct labels **of_ns =
		arena_array(b->arena, kinds->n_ns, sizeof(*of_ns));

	if (!of || !of_ns)
		return -ENOMEM;
	for (size_t i = 0; i < kinds->n; i++)
		of[i] = &kinds->kind[i].pod->labels;
	for (size_t i = 0; i < kinds->n_ns; i++)
		of_ns[i] = kinds->ns[i].labels;
	if (label_index_build(of, kinds->n, vocab->pod_key, vocab->n_pod_keys,
	                      b->arena, &kinds->by_label))
		return -ENOMEM;
	return label_index_build(of_ns, kinds->n_ns, vocab->ns_key,
	                         vocab->n_ns_keys, b->arena,
	                         &kinds->ns_by_label);
}

static int ported_build(struct build *b)
{
	struct kinds *kinds = &b->kinds;

	kinds->ported = arena_array(b->arena, kinds->n, sizeof(*kinds->ported));
	if (!kinds->ported)
		return -ENOMEM;
	for (uint32_t i = 0; i < kinds->n; i++)
		for (size_t w = 0; w < b->vocab->n_ports; w++)
			if (port_after(kinds->kind[i].pod, &b->vocab->port[w],
			               0)) {
				kinds->ported[kinds->n_ported++] = i;
				break;
			}
	return 0;
}

int kinds_build(const struct world *world, const struct vocab *vocab,
                const uint32_t *owner, size_t n_owners, struct arena *arena,
                struct kinds *ret)
{
	struct build b = {world, vocab, arena, {}, {}, {.arena = arena}};
	struct kinds *kinds = &b.kinds;
	int r;

	kinds->kind = arena_array(arena, world->n_pods, sizeof(*kinds->kind));
	kinds->of_pod =
		arena_array(arena, world->n_pods, sizeof(*kinds->of_pod));
	if (!kinds->kind || !kinds->of_pod)
		return -ENOMEM;
	memset(kinds->of_pod, 0xff, world->n_pods * sizeof(*kinds->of_pod));
	for (size_t i = 0; i < n_owners; i++) {
		const struct pod *pod = world->pod[owner[i]];
		uint32_t *of = &kinds->of_pod[owner[i]];

		if (*of != KIND_NONE || !pod->ns)
			continue;
		r = kind_of_pod(&b, pod, of);
		if (r)
			return r;
	}
	r = kinds_sort(&b);
	if (!r)
		r = namespaces_build(&b);
	if (!r)
		r = label_indexes_build(&b);
	if (!r)
		r = ported_build(&b);
	if (!r)
		*ret = b.kinds;
	return r;
}

const struct kind_ns *kinds_in(const struct kinds *kinds, const char *ns)
{
	size_t lo = 0, hi = kinds->n_ns;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(ns, kinds->ns[mid].name);

		if (!cmp)
			return &kinds->ns[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}
