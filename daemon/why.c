// SPDX-License-Identifier: Apache-2.0
/* why.c - see why.h. */
#include "daemon/why.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/explain.h"
#include "daemon/map_json.h"
#include "daemon/names.h"
#include "daemon/ops_show.h"
#include "daemon/words.h"
#include "lib/addr.h"

/* Rules of one side in an answer; more are only counted. */
#define RULES_SHOWN 256

struct why {
	const struct daemon *daemon;
	const struct world *world;
	const struct compiled *compiled;
	struct who end[2]; /* from, to */
	uint8_t proto;
	uint16_t port;
	struct arena *arena;
	bool allowed, agrees;
};

/* ---- the question -------------------------------------------------------- */

static const char *text_of(const json_t *request, const char *key)
{
	const char *text = json_string_value(json_object_get(request, key));

	return text ? text : "";
}

/* IPv4 when both ends have it, else IPv6; the first error is the one told. */
static int read_ends(struct why *why, const json_t *request, struct err *err)
{
	struct err other = {};
	int r = 0;

	for (int family = 0; family < FAMILY__COUNT; family++) {
		struct err *e = family ? &other : err;

		r = who_parse(why->daemon, text_of(request, "from"), family,
		              &why->end[0], e);
		if (!r)
			r = who_parse(why->daemon, text_of(request, "to"),
			              family, &why->end[1], e);
		if (!r || r != -EADDRNOTAVAIL)
			break;
	}
	return r;
}

static int read_port(struct why *why, const json_t *request, struct err *err)
{
	const json_int_t port =
		json_integer_value(json_object_get(request, "port"));
	const char *proto = text_of(request, "protocol");

	if (proto_parse(proto, addr_family(&why->end[0].addr), &why->proto))
		return err_set(err, -EINVAL,
		               "protocol '%s': want tcp, udp, sctp or icmp",
		               proto);
	if (proto_with_ports(why->proto) && (port < 1 || port > 65535))
		return err_set(err, -EINVAL,
		               "port: want a number from 1 to 65535");
	why->port = proto_with_ports(why->proto) ? (uint16_t)port : 0;
	return 0;
}

/* ---- one side ------------------------------------------------------------ */

static json_t *rule_json(const struct rule_view *view, enum dir dir)
{
	const struct rule *rule = &view->netpol->rule[dir][view->index];
	_cleanup_(free_p) char *words = rule_words(rule, dir, view->netpol->ns);
	char differs[DIFFERS_TEXT_MAX];

	return json_pack("{s:s, s:s, s:i, s:s, s:b, s:b, s:b, s:b, s:s}",
	                 "namespace", view->netpol->ns, "policy",
	                 view->netpol->name, "index", (int)view->index, "words",
	                 words ? words : "", "allows", (int)view->allows,
	                 "peer_fits", (int)view->peer, "protocol_fits",
	                 (int)view->proto, "port_fits", (int)view->port,
	                 "differs", rule_view_differs(view, differs));
}

static const struct rule_view *decided_by(const struct explanation *ex)
{
	for (size_t i = 0; i < ex->n_rules; i++)
		if (ex->rule[i].netpol == ex->verdict.netpol &&
		    ex->rule[i].index == ex->verdict.rule)
			return &ex->rule[i];
	return NULL;
}

static void put_rules(json_t *side, const struct explanation *ex, enum dir dir,
                      bool held)
{
	const struct rule_view *decided = decided_by(ex);
	json_t *rules = json_array(), *policies = json_array();

	for (size_t i = 0; i < ex->n_isolating; i++)
		(void)json_array_append_new(
			policies, json_pack("{s:s, s:s}", "namespace",
		                            ex->isolating[i]->ns, "name",
		                            ex->isolating[i]->name));
	for (size_t i = 0; i < ex->n_rules && i < RULES_SHOWN; i++)
		(void)json_array_append_new(rules,
		                            rule_json(&ex->rule[i], dir));
	(void)json_object_set_new(side, "isolated_by", policies);
	(void)json_object_set_new(
		side, "rules_left_out",
		json_integer((json_int_t)(ex->n_rules + ex->n_left_out -
	                                  json_array_size(rules))));
	(void)json_object_set_new(side, "rules", rules);
	if (decided && !held)
		(void)json_object_set_new(side, "decided_by",
		                          rule_json(decided, dir));
	if (ex->nearest && !held)
		(void)json_object_set_new(side, "nearest",
		                          rule_json(ex->nearest, dir));
}

/* Does "ns/name dir[index]" of a rule's number name what @ex decided? */
static bool same_rule(const struct why *why, uint32_t number,
                      const struct explanation *ex, enum dir dir)
{
	char want[RULE_TEXT_MAX], have[RULE_TEXT_MAX];

	if (!ex->verdict.netpol)
		return true;
	snprintf(want, sizeof(want), "%s/%s %s[%zu]", ex->verdict.netpol->ns,
	         ex->verdict.netpol->name, dir_name(dir), ex->verdict.rule);
	return !strcmp(want, rule_text(why->daemon, number, have));
}

/* What the kernel's table says of one side. */
struct said {
	const struct policy_val *val; /* NULL: no entry */
	uint32_t slot;
	bool isolated, allowed;
};

/*
 * Its own node and itself never get that far (bpf/policy.h, judge_end): false,
 * there is nothing to ask then.
 */
static bool table_ask(const struct why *why, enum dir dir, struct said *ret)
{
	const int self = dir == DIR_EGRESS ? 0 : 1;
	const struct who *peer = &why->end[1 - self];
	const struct table *table;

	if (peer->local || peer->endpoint == why->end[self].endpoint)
		return false;
	table = reconcile_table(why->daemon->reconcile, why->end[self].endpoint,
	                        &ret->slot);
	if (!table)
		return false;
	ret->val = table_lookup(table, peer->identity, dir, why->proto,
	                        htons(why->port));
	ret->isolated = table->header.isolated[dir];
	ret->allowed = !ret->isolated || (ret->val && ret->val->allow);
	return true;
}

static void put_table(json_t *side, const struct why *why,
                      const struct explanation *ex, enum dir dir,
                      const struct said *said)
{
	const struct policy_val *val = said->val;
	char rule[RULE_TEXT_MAX];

	(void)json_object_set_new(
		side, "table",
		json_pack(
			"{s:I, s:b, s:b, s:s, s:b, s:b}", "slot",
			(json_int_t)said->slot, "isolated", (int)said->isolated,
			"allowed", (int)said->allowed, "rule",
			rule_text(why->daemon, val ? val->rule : 0, rule),
			"same_rule",
			(int)(!val || same_rule(why, val->rule, ex, dir)),
			"agrees", (int)(said->allowed == ex->verdict.allowed)));
}

static const char *reason_word(const struct explanation *ex, bool held)
{
	if (ex->always)
		return "always: traffic with its own node or itself";
	if (held)
		return "its policies are not in force: the table that is "
		       "decides";
	if (!ex->n_isolating)
		return "not isolated: no policy selects it in this direction";
	return ex->verdict.allowed ? "a rule allows it"
	                           : "isolated, and no rule allows it";
}

static const struct pod *subject_of(const struct why *why, uint16_t endpoint)
{
	for (size_t i = 0; i < why->world->n_pods; i++)
		if (why->world->pod[i]->endpoint == endpoint)
			return why->world->pod[i];
	return NULL;
}

/*
 * One side, judged by the specification, and by the table in force.  Where that
 * is not the one of its policies (@held says why), it has the last word.
 */
static json_t *side_pack(struct why *why, enum dir dir,
                         const struct explanation *ex, const char *held)
{
	const struct who *self = &why->end[dir == DIR_EGRESS ? 0 : 1];
	bool isolated = ex->n_isolating, allowed = ex->verdict.allowed;
	struct said said = {};
	const bool asked = table_ask(why, dir, &said);
	char name[WHO_TEXT_MAX];
	json_t *side;

	if (asked && held) {
		isolated = said.isolated;
		allowed = said.allowed;
	} else if (asked) {
		why->agrees = why->agrees && said.allowed == allowed;
	}
	why->allowed = why->allowed && allowed;
	side = json_pack("{s:s, s:s, s:b, s:b, s:s}", "direction",
	                 dir_name(dir), "subject", who_text(self, name),
	                 "allowed", (int)allowed, "isolated", (int)isolated,
	                 "reason", reason_word(ex, asked && held));
	if (asked && held)
		(void)json_object_set_new(side, "held", json_string(held));
	put_rules(side, ex, dir, asked && held);
	if (asked)
		put_table(side, why, ex, dir, &said);
	return side;
}

/* The verdict of the end that is a pod here; NULL when it is none. */
static json_t *side_json(struct why *why, enum dir dir, int *ret)
{
	const int self = dir == DIR_EGRESS ? 0 : 1;
	const uint16_t endpoint = why->end[self].endpoint;
	const struct reconcile *rec = why->daemon->reconcile;
	struct question_side q = {
		.world = why->world,
		.subject = endpoint ? subject_of(why, endpoint) : NULL,
		.self = why->end[self].addr,
		.peer = why->end[1 - self].addr,
		.dir = dir,
		.proto = why->proto,
		.port = why->port,
	};
	const char *held = reconcile_held(rec, endpoint);
	struct explanation ex;

	*ret = 0;
	if (!q.subject)
		return NULL;
	*ret = explain(&q, why->arena, &ex);
	if (*ret)
		return NULL;
	return side_pack(why, dir, &ex, held ? held : reconcile_failure(rec));
}

/* ---- the answer ---------------------------------------------------------- */

static json_t *end_json(const struct why *why, int end)
{
	const struct who *who = &why->end[end];
	char addr[ADDR_TEXT_MAX], name[WHO_TEXT_MAX];
	json_t *object = json_pack("{s:s, s:s, s:I, s:s, s:b}", "name",
	                           who_text(who, name), "address",
	                           addr_format(&who->addr, addr), "identity",
	                           (json_int_t)who->identity, "identity_name",
	                           identity_name(why->compiled, who->identity),
	                           "here", who->endpoint != 0);

	if (object && who->name)
		(void)json_object_update_new(
			object,
			json_pack("{s:s, s:s}", "namespace",
		                  who->ns ? who->ns : "", "pod", who->name));
	return object;
}

static json_t *answer(struct why *why)
{
	char proto[PROTO_TEXT_MAX];
	json_t *sides = json_array();

	why->allowed = why->agrees = true;
	for (int dir = DIR__COUNT - 1; dir >= 0; dir--) {
		int r;
		json_t *side = side_json(why, (enum dir)dir, &r);

		if (r) {
			json_decref(sides);
			return show_error(strerror(-r));
		}
		if (side)
			(void)json_array_append_new(sides, side);
	}
	return json_pack("{s:o, s:o, s:s, s:i, s:b, s:b, s:s, s:o}", "from",
	                 end_json(why, 0), "to", end_json(why, 1), "protocol",
	                 proto_name(why->proto, proto), "port", (int)why->port,
	                 "allowed", (int)why->allowed, "agrees",
	                 (int)why->agrees, "policy_mode",
	                 why->daemon->config.audit ? "audit" : "enforce",
	                 "sides", sides);
}

json_t *policy_why(struct daemon *daemon, const json_t *request)
{
	_cleanup_(arena_freep) struct arena *arena = arena_new(16u << 20);
	struct why why = {.daemon = daemon, .arena = arena};
	struct err err = {};

	if (!arena)
		return show_error("out of memory");
	if (!daemon->reconcile || !reconcile_world(daemon->reconcile))
		return show_error("no policy is in force yet; `stile status` "
		                  "says why");
	why.world = reconcile_world(daemon->reconcile);
	why.compiled = reconcile_compiled(daemon->reconcile);
	if (read_ends(&why, request, &err) || read_port(&why, request, &err))
		return show_error(err.text);
	return answer(&why);
}
