// SPDX-License-Identifier: Apache-2.0
/* words.c - see words.h. */
#include "daemon/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/names.h"
#include "lib/addr.h"

static void print_values(FILE *f, const struct requirement *req)
{
	fputc('(', f);
	for (size_t i = 0; i < req->n_values; i++)
		fprintf(f, "%s%s", i ? ", " : "", req->values[i]);
	fputc(')', f);
}

static void print_requirement(FILE *f, const struct requirement *req)
{
	switch (req->op) {
	case OP_IN:
		if (req->n_values == 1) {
			fprintf(f, "%s=%s", req->key, req->values[0]);
			return;
		}
		fprintf(f, "%s in ", req->key);
		print_values(f, req);
		return;
	case OP_NOT_IN:
		if (req->n_values == 1) {
			fprintf(f, "%s!=%s", req->key, req->values[0]);
			return;
		}
		fprintf(f, "%s not in ", req->key);
		print_values(f, req);
		return;
	case OP_EXISTS:
		fprintf(f, "a label %s", req->key);
		return;
	case OP_NOT_EXISTS:
		fprintf(f, "no label %s", req->key);
		return;
	}
}

/* "every pod" or "pods with app=web and no label old" */
static void print_selector(FILE *f, const struct selector *sel,
                           const char *noun)
{
	if (!sel->n) {
		fprintf(f, "every %s", noun);
		return;
	}
	fprintf(f, "%ss with ", noun);
	for (size_t i = 0; i < sel->n; i++) {
		if (i)
			fputs(" and ", f);
		print_requirement(f, &sel->req[i]);
	}
}

const char *prefix_words(const struct prefix *prefix, char buf[PREFIX_TEXT_MAX])
{
	const bool v4 =
		addr_family(&prefix->addr) == FAMILY_V4 && prefix->bits >= 96;
	char text[ADDR_TEXT_MAX];

	snprintf(buf, PREFIX_TEXT_MAX, "%s/%u",
	         addr_format(&prefix->addr, text),
	         v4 ? prefix->bits - 96u : prefix->bits);
	return buf;
}

static void print_block(FILE *f, const struct peer *peer)
{
	char text[PREFIX_TEXT_MAX];

	fputs(prefix_words(&peer->block, text), f);
	for (size_t i = 0; i < peer->n_except; i++)
		fprintf(f, "%s%s", i ? ", " : " except ",
		        prefix_words(&peer->except[i], text));
}

/* The name when the selector is just one namespace's, else NULL. */
static const char *one_namespace(const struct selector *sel)
{
	if (sel->n != 1 || sel->req[0].op != OP_IN || sel->req[0].n_values != 1)
		return NULL;
	if (strcmp(sel->req[0].key, "kubernetes.io/metadata.name") != 0)
		return NULL;
	return sel->req[0].values[0];
}

static void print_peer(FILE *f, const struct peer *peer, const char *ns)
{
	static const struct selector every;
	const char *one;

	if (peer->is_block) {
		print_block(f, peer);
		return;
	}
	print_selector(f, peer->has_pod_selector ? &peer->pod_selector : &every,
	               "pod");
	if (!peer->has_ns_selector) {
		fprintf(f, " of namespace %s", ns);
		return;
	}
	one = one_namespace(&peer->ns_selector);
	fputs(" of ", f);
	if (one)
		fprintf(f, "namespace %s", one);
	else
		print_selector(f, &peer->ns_selector, "namespace");
}

static void print_port(FILE *f, const struct port_spec *port)
{
	char proto[PROTO_TEXT_MAX];

	fputs(proto_name(port->proto, proto), f);
	if (port->name)
		fprintf(f, " port \"%s\"", port->name);
	else if (port->has_port && port->end != port->port)
		fprintf(f, " %u-%u", port->port, port->end);
	else if (port->has_port)
		fprintf(f, " %u", port->port);
	else
		fputs(" (every port)", f);
}

static void print_rule(FILE *f, const struct rule *rule, enum dir dir,
                       const char *ns)
{
	fputs(dir == DIR_INGRESS ? "from " : "to ", f);
	if (rule->any_peer)
		fputs("anyone", f);
	for (size_t i = 0; !rule->any_peer && i < rule->n_peers; i++) {
		if (i)
			fputs(" or ", f);
		print_peer(f, &rule->peer[i], ns);
	}
	if (rule->any_port)
		fputs(", every protocol and port", f);
	for (size_t i = 0; !rule->any_port && i < rule->n_ports; i++) {
		fputs(i ? ", " : ", on ", f);
		print_port(f, &rule->port[i]);
	}
	if (rule->unreadable)
		fputs(" (not all of it can be read: it allows nothing)", f);
}

char *rule_words(const struct rule *rule, enum dir dir, const char *ns)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	print_rule(f, rule, dir, ns ? ns : "");
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}

char *subject_words(const struct netpol *netpol)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	print_selector(f, &netpol->pod_selector, "pod");
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}
