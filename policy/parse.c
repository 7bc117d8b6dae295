// SPDX-License-Identifier: Apache-2.0
/* parse.c - manifests of pods and namespaces; which kind a manifest is. */
#include "policy/parse.h"

#include <errno.h>
#include <string.h>

#include "lib/addr.h"
#include "lib/util.h"
#include "policy/syntax.h"

#define NS_NAME_LABEL "kubernetes.io/metadata.name"

static const struct kind {
	const char *kind, *group, *version; /* group "": the core */
	enum object_kind is;
} kinds[] = {
	{"Pod",           "",                  "v1", OBJECT_POD      },
	{"Namespace",     "",                  "v1", OBJECT_NAMESPACE},
	{"Node",          "",                  "v1", OBJECT_NODE     },
	{"NetworkPolicy", "networking.k8s.io", "v1", OBJECT_NETPOL   },
	/* Long gone from the API; passing it over would leave pods open. */
	{"NetworkPolicy", "extensions",        "",   OBJECT_NETPOL   },
	{"Service",       "",                  "v1", OBJECT_SERVICE  },
	{"EndpointSlice", "discovery.k8s.io",  "v1", OBJECT_SLICE    },
};

static bool kind_is(const struct kind *k, const char *kind, size_t n,
                    const char *group, size_t group_n)
{
	return strlen(k->kind) == n && !strncmp(k->kind, kind, n) &&
	       strlen(k->group) == group_n &&
	       !strncmp(k->group, group, group_n);
}

/*
 * A list of our kinds, or one of our kinds in a version that we do not know,
 * must not be passed over in silence: someone believes that it protects him.
 */
static int find_kind(struct parse *p, const char *kind, const char *api,
                     enum object_kind *ret)
{
	const char *slash = strchr(api, '/');
	const char *version = slash ? slash + 1 : api;
	size_t group_n = slash ? (size_t)(slash - api) : 0;
	size_t n = strlen(kind);
	bool list = n >= 4 && !strcmp(kind + n - 4, "List");
	bool ours = list && n == 4 && !group_n;

	*ret = OBJECT_NONE;
	if (list)
		n -= 4;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *k = &kinds[i];

		if (!kind_is(k, kind, n, api, group_n))
			continue;
		ours = true;
		if (!strcmp(version, k->version))
			*ret = k->is;
	}
	if (ours && list)
		return parse_fail(p, "a list; give its items one by one");
	if (ours && *ret == OBJECT_NONE)
		return parse_fail(p, "apiVersion '%.63s' is not known", api);
	return 0;
}

static int type_parse(struct parse *p, json_t *doc, enum object_kind *ret)
{
	const char *kind, *api;
	int r = parse_string(p, doc, "kind", &kind);

	if (!r)
		r = parse_string(p, doc, "apiVersion", &api);
	if (r)
		return r;
	if (!kind || !*kind)
		return parse_fail(p, "'kind' is missing");
	p->kind = kind;
	if (!api || !*api)
		return parse_fail(p, "'apiVersion' is missing");
	return find_kind(p, kind, api, ret);
}

/* Names of namespaces are labels; all others may hold dots. */
static int name_parse(struct parse *p, json_t *meta, enum object_kind kind)
{
	const bool namespaced = kind != OBJECT_NAMESPACE && kind != OBJECT_NODE;
	const char *name, *ns = NULL;
	int r = parse_string(p, meta, "name", &name);

	if (!r && namespaced)
		r = parse_string(p, meta, "namespace", &ns);
	if (r)
		return r;
	if (!name || !*name)
		return parse_fail(p, "'name' is missing");
	/* Only then into sentences: what is no name may hold anything. */
	if (kind == OBJECT_NAMESPACE ? !syntax_is_dns_label(name)
	                             : !syntax_is_dns_name(name))
		return parse_fail(p, "'%.63s' is not a name", name);
	r = parse_copy(p, name, &p->name);
	if (r || !namespaced)
		return r;
	if (!ns || !*ns)
		ns = "default";
	if (!syntax_is_dns_label(ns))
		return parse_fail(p, "'%.63s' is not a namespace", ns);
	return parse_copy(p, ns, &p->ns);
}

static int meta_parse(struct parse *p, json_t *doc, enum object_kind kind,
                      struct labels *ret)
{
	json_t *meta, *labels;
	size_t mark, inner;
	int r = parse_object(p, doc, "metadata", &meta);

	if (r)
		return r;
	mark = parse_enter(p, "metadata");
	r = name_parse(p, meta, kind);
	if (!r)
		r = parse_object(p, meta, "labels", &labels);
	if (r)
		return r;
	inner = parse_enter(p, "labels");
	r = parse_labels(p, labels, ret);
	parse_leave(p, inner);
	parse_leave(p, mark);
	return r;
}

/* The API server sets the name label itself, whatever the manifest says. */
static int ns_parse(struct parse *p, struct namespace *ret)
{
	struct labels *labels = &ret->labels;
	size_t at = 0;

	while (at < labels->n &&
	       strcmp(labels->item[at].key, NS_NAME_LABEL) < 0)
		at++;
	if (at == labels->n ||
	    strcmp(labels->item[at].key, NS_NAME_LABEL) != 0) {
		struct label *item =
			arena_array(p->arena, labels->n + 1, sizeof(*item));

		if (!item)
			return parse_nomem(p);
		memcpy(item, labels->item, at * sizeof(*item));
		memcpy(item + at + 1, labels->item + at,
		       (labels->n - at) * sizeof(*item));
		labels->item = item;
		labels->n++;
	}
	labels->item[at] = (struct label){NS_NAME_LABEL, p->name};
	ret->name = p->name;
	return 0;
}

static int body_parse(struct parse *p, json_t *doc, struct object *object)
{
	struct labels labels = {};
	int r = meta_parse(p, doc, object->kind, &labels);

	if (r)
		return r;
	switch (object->kind) {
	case OBJECT_POD:
		object->pod.ns = p->ns;
		object->pod.name = p->name;
		object->pod.labels = labels;
		return pod_parse(p, doc, &object->pod);
	case OBJECT_NAMESPACE:
		object->ns.labels = labels;
		return ns_parse(p, &object->ns);
	case OBJECT_NODE:
		object->node.name = p->name;
		return node_parse(p, doc, &object->node);
	case OBJECT_SERVICE:
		object->service.ns = p->ns;
		object->service.name = p->name;
		return service_parse(p, doc, &labels, &object->service);
	case OBJECT_SLICE:
		object->slice.ns = p->ns;
		object->slice.name = p->name;
		return slice_parse(p, doc, &labels, &object->slice);
	default:
		object->netpol.ns = p->ns;
		object->netpol.name = p->name;
		return netpol_parse(p, doc, &object->netpol);
	}
}

int object_parse(json_t *doc, struct arena *arena, struct object *ret,
                 struct err *err)
{
	struct parse p = {.arena = arena, .err = err, .kind = "manifest"};
	struct object object = {};
	int r;

	err->text[0] = 0;
	if (!json_is_object(doc))
		return err_set(err, -EINVAL,
		               "the manifest is not a mapping; "
		               "it is refused");
	r = type_parse(&p, doc, &object.kind);
	if (!r && object.kind != OBJECT_NONE)
		r = body_parse(&p, doc, &object);
	if (r == -EINVAL)
		parse_conclude(&p, "it is refused");
	if (r)
		return r;
	*ret = object;
	return 0;
}
