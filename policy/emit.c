// SPDX-License-Identifier: Apache-2.0
/* emit.c - see emit.h. */
#include "policy/emit.h"

#include <errno.h>
#include <string.h>

#define SHAPE_NAMED SHAPE__COUNT /* in struct seen only */

/* One rule at work. */
struct job {
	struct emit *emit;
	const struct pod *pod; /* the subject */
	enum dir dir;
	uint32_t rule; /* its number */
	uint32_t set;  /* the peers in hand */
};

/* Return: 1 when it is new, 0 when the table has it, -ENOMEM. */
static int seen_add(struct emit *emit, const struct seen *seen)
{
	uint64_t hash = hash_bytes(seen, sizeof(*seen), 0);
	size_t at = 0;
	uint32_t i;

	while (index_next(&emit->by_seen, hash, &at, &i))
		if (!memcmp(&emit->seen[i], seen, sizeof(*seen)))
			return 0;
	if (emit->n_seen == emit->cap_seen) {
		size_t cap = emit->cap_seen ? emit->cap_seen * 2 : 64;
		struct seen *grown =
			arena_array(emit->arena, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		if (emit->n_seen)
			memcpy(grown, emit->seen,
			       emit->n_seen * sizeof(*grown));
		emit->seen = grown;
		emit->cap_seen = cap;
	}
	emit->seen[emit->n_seen] = *seen;
	if (index_put(&emit->by_seen, emit->arena, hash,
	              (uint32_t)emit->n_seen++))
		return -ENOMEM;
	return 1;
}

static int job_allow(struct job *job, uint32_t peer,
                     const struct port_cover *cover)
{
	return builder_allow(&job->emit->builder, job->dir, peer, cover,
	                     job->rule);
}

static int cover_emit(struct job *job, const struct port_cover *cover)
{
	struct emit *emit = job->emit;
	const struct peer_set *set = &emit->peers->set[job->set];
	const struct seen seen = {
		.set = job->set,
		.dir = (uint8_t)job->dir,
		.proto = cover->proto,
		.shape = (uint16_t)cover->shape,
		.port = cover->port,
		.end = cover->end,
	};
	int r = seen_add(emit, &seen);

	if (r <= 0)
		return r;
	r = 0;
	for (uint32_t c = 0; c < CLASS__COUNT && !r; c++)
		if (set->classes & 1u << c)
			r = job_allow(job, ID(c, 0), cover);
	for (size_t i = 0; i < set->n && !r; i++)
		r = job_allow(job, emit->ids->ident[set->ident[i]].number,
		              cover);
	return r;
}

/* ---- named ports ------------------------------------------------------- */

static bool port_named(const struct named_port *port,
                       const struct port_spec *spec)
{
	return port->proto == spec->proto && !strcmp(port->name, spec->name);
}

/* Into the pod: the name is its own, and becomes numbers for all peers. */
static int own_name_emit(struct job *job, const struct port_spec *spec)
{
	int r = 0;

	for (size_t i = 0; i < job->pod->n_ports && !r; i++) {
		const struct named_port *port = &job->pod->port[i];
		const struct port_cover cover = {
			.shape = SHAPE_PORT,
			.proto = port->proto,
			.port = port->port,
			.end = port->port,
		};

		if (port_named(port, spec))
			r = cover_emit(job, &cover);
	}
	return r;
}

/* Out of the pod: each peer has numbers of its own for the name. */
static int peer_name_emit(struct job *job, const struct ident *id,
                          const struct port_spec *spec)
{
	const struct pod *pod = job->emit->ids->kinds.kind[id->kind].pod;
	int r = 0;

	for (size_t i = 0; i < pod->n_ports && !r; i++) {
		const struct port_cover cover = {
			.shape = SHAPE_PORT,
			.proto = pod->port[i].proto,
			.port = pod->port[i].port,
		};

		if (port_named(&pod->port[i], spec))
			r = job_allow(job, id->number, &cover);
	}
	return r;
}

static uint16_t word_number(const struct vocab *vocab,
                            const struct port_spec *spec)
{
	size_t lo = 0, hi = vocab->n_ports;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(vocab->port[mid].name, spec->name);

		if (!cmp)
			cmp = vocab->port[mid].proto - spec->proto;
		if (cmp <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return (uint16_t)lo;
}

/* The peers of a class that have such a port at all. */
static int class_name_emit(struct job *job, const struct peer_set *set,
                           const struct port_spec *spec)
{
	const struct identities *ids = job->emit->ids;
	int r = 0;

	for (size_t i = 0; i < ids->kinds.n_ported && !r; i++) {
		uint32_t kind = ids->kinds.ported[i];

		for (uint32_t j = ids->by_kind.start[kind];
		     j < ids->by_kind.start[kind + 1] && !r; j++) {
			const struct ident *id =
				&ids->ident[ids->by_kind.item[j]];

			if (set->classes & (1u << CLASS_ANY | 1u << id->class))
				r = peer_name_emit(job, id, spec);
		}
	}
	return r;
}

static int name_emit(struct job *job, const struct port_spec *spec)
{
	struct emit *emit = job->emit;
	const struct peer_set *set = &emit->peers->set[job->set];
	const struct seen seen = {
		.set = job->set,
		.dir = (uint8_t)job->dir,
		.shape = SHAPE_NAMED,
		.port = word_number(emit->vocab, spec),
	};
	int r = seen_add(emit, &seen);

	if (r <= 0)
		return r;
	r = set->classes ? class_name_emit(job, set, spec) : 0;
	for (size_t i = 0; i < set->n && !r; i++) {
		const struct ident *id = &emit->ids->ident[set->ident[i]];

		if (id->kind != KIND_NONE)
			r = peer_name_emit(job, id, spec);
	}
	return r;
}

/* ---- rules ------------------------------------------------------------- */

static int spec_emit(struct job *job, const struct port_spec *spec)
{
	struct port_cover cover = {.shape = SHAPE_PROTO, .proto = spec->proto};

	if (spec->name)
		return job->dir == DIR_INGRESS ? own_name_emit(job, spec)
		                               : name_emit(job, spec);
	if (spec->has_port) {
		cover.shape =
			spec->port == spec->end ? SHAPE_PORT : SHAPE_RANGE;
		cover.port = spec->port;
		cover.end = spec->end;
	}
	return cover_emit(job, &cover);
}

static int set_emit(struct job *job, const struct rule *rule)
{
	static const struct port_cover all = {.shape = SHAPE_ALL};
	int r = 0;

	if (rule->any_port)
		return cover_emit(job, &all);
	for (size_t i = 0; i < rule->n_ports && !r; i++)
		r = spec_emit(job, &rule->port[i]);
	return r;
}

static int rule_emit(struct job *job, const struct netpol *netpol,
                     const struct rule *rule, uint32_t first_peer)
{
	int r = 0;

	if (rule->unreadable)
		return 0;
	if (rule->any_peer) {
		job->set = PEER_SET_ANY;
		return set_emit(job, rule);
	}
	for (size_t i = 0; i < rule->n_peers && !r; i++) {
		r = peers_set(job->emit->peers, &rule->peer[i],
		              first_peer + (uint32_t)i, netpol->ns, &job->set);
		if (!r)
			r = set_emit(job, rule);
	}
	return r;
}

static bool allows_all(const struct rule *rule)
{
	return !rule->unreadable && rule->any_peer && rule->any_port;
}

static int policy_emit(struct job *job, uint32_t policy, bool only_all)
{
	const struct emit *emit = job->emit;
	const struct netpol *netpol = emit->world->netpol[policy];
	uint32_t first = emit->rules->first[policy][job->dir];
	int r = 0;

	for (size_t i = 0; i < netpol->n_rules[job->dir] && !r; i++) {
		const struct rule *rule = &netpol->rule[job->dir][i];
		const struct rule_ref *ref = &emit->rules->ref[first + i];

		if (only_all && !allows_all(rule))
			continue;
		job->rule = ref->number;
		r = rule_emit(job, netpol, rule, ref->first_peer);
	}
	return r;
}

static bool any_allows_all(const struct netpol *netpol, enum dir dir)
{
	for (size_t i = 0; i < netpol->n_rules[dir]; i++)
		if (allows_all(&netpol->rule[dir][i]))
			return true;
	return false;
}

/* Where one rule allows everything, the others need no entries. */
static int dir_emit(struct job *job, const uint32_t *policy, size_t n_policies)
{
	const struct netpol *const *netpol = job->emit->world->netpol;
	bool only_all = false;
	int r = 0;

	for (size_t i = 0; i < n_policies; i++) {
		if (!netpol[policy[i]]->applies[job->dir])
			continue;
		job->emit->builder.header.isolated[job->dir] = 1;
		only_all =
			only_all || any_allows_all(netpol[policy[i]], job->dir);
	}
	for (size_t i = 0; i < n_policies && !r; i++)
		if (netpol[policy[i]]->applies[job->dir])
			r = policy_emit(job, policy[i], only_all);
	return r;
}

int emit_table(struct emit *emit, const struct pod *pod, const uint32_t *policy,
               size_t n_policies, struct arena *arena, struct table *ret)
{
	int r = 0;

	builder_reset(&emit->builder);
	index_clear(&emit->by_seen);
	emit->n_seen = 0;
	for (int dir = 0; dir < DIR__COUNT && !r; dir++) {
		struct job job = {emit, pod, (enum dir)dir, 0, 0};

		r = dir_emit(&job, policy, n_policies);
	}
	return r ? r : builder_finish(&emit->builder, arena, ret);
}
