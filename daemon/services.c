// SPDX-License-Identifier: Apache-2.0
/* services.c - see services.h. */
#include "daemon/services.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/pace.h"
#include "daemon/services_apply.h"
#include "lib/addr.h"
#include "lib/log.h"
#include "policy/index.h"

#define MS       1000000ull
#define REST_NS  (1000 * MS)  /* places that retired wait for each other */
#define LOOK_NS  (60000 * MS) /* the maps are read again */
#define RETRY_NS (1000 * MS)
/* A pass costs what all services do: under a churn it is not made for each. */
#define PACE_OF 10
#define PACE_NS (1000 * MS)
/* Half, so that all of it can be replaced at once. */
#define BACKENDS_MOST (BACKEND_MAX / 2)

/* Whose a key is, for names; strings live in the owner's arena. */
struct named {
	struct service_key key;
	const char *ns, *name;
};

struct services {
	struct services_deps in;
	struct services_have have; /* item: malloc()ed */
	struct services_resting resting;
	struct arena *arena; /* of named */
	struct named *named; /* sorted by key */
	size_t n_named;
	uint64_t facts; /* that are in force; 0: none */
	bool unread;    /* have is not what the maps hold */
	json_t *problems;
	struct loop_task task;
	struct loop_timer rest, look, retry;
	struct pace pace;
};

/* ---- facts -------------------------------------------------------------- */

/* All that a pass depends on; never 0. */
static uint64_t facts_now(const struct services *s)
{
	const struct store *store = s->in.store;
	const struct node *node = s->in.node;
	const uint64_t changed[] = {store->changed[OBJECT_SERVICE],
	                            store->changed[OBJECT_SLICE],
	                            store->changed[OBJECT_NODE]};
	uint64_t hash = hash_bytes(changed, sizeof(changed), 0);

	for (size_t i = 0; i < node->n_addrs; i++)
		hash = hash_bytes(&node->addr[i].addr,
		                  sizeof(node->addr[i].addr), hash);
	return hash ? hash : 1;
}

/* ---- what should be ----------------------------------------------------- */

struct counts {
	size_t services, slices, nodes, cidrs;
};

static struct counts store_count(const struct services *s)
{
	const struct store_object *object = s->in.store->objects;
	struct counts n = {.nodes = s->in.node->n_addrs,
	                   .cidrs = FAMILY__COUNT};

	for (; object; object = object->hh.next) {
		n.services += object->object.kind == OBJECT_SERVICE;
		n.slices += object->object.kind == OBJECT_SLICE;
		if (object->object.kind != OBJECT_NODE)
			continue;
		n.nodes += object->object.node.n_internal +
		           object->object.node.n_external;
		n.cidrs += object->object.node.n_cidrs;
	}
	return n;
}

/* Of the nodes: their addresses and what their pods have. */
struct places {
	struct addr *addr;
	size_t n_addrs;
	struct prefix *cidr;
	size_t n_cidrs;
};

static void node_add(struct places *p, const struct node_object *node)
{
	for (size_t i = 0; i < node->n_internal; i++)
		p->addr[p->n_addrs++] = node->internal[i];
	for (size_t i = 0; i < node->n_external; i++)
		p->addr[p->n_addrs++] = node->external[i];
	for (size_t i = 0; i < node->n_cidrs; i++)
		p->cidr[p->n_cidrs++] = node->cidr[i];
}

static void own_add(const struct services *s, struct places *p)
{
	for (size_t i = 0; i < s->in.node->n_addrs; i++)
		p->addr[p->n_addrs++] = s->in.node->addr[i].addr;
	for (int f = 0; f < FAMILY__COUNT; f++)
		if (s->in.config->has_pod_cidr[f])
			p->cidr[p->n_cidrs++] = s->in.config->pod_cidr[f];
}

static void objects_add(const struct services *s, struct services_input *input,
                        struct places *p)
{
	const struct store_object *object = s->in.store->objects;

	for (; object; object = object->hh.next) {
		const struct object *o = &object->object;

		if (o->kind == OBJECT_SERVICE)
			input->service[input->n_services++] = &o->service;
		else if (o->kind == OBJECT_SLICE)
			input->slice[input->n_slices++] = &o->slice;
		else if (o->kind == OBJECT_NODE)
			node_add(p, &o->node);
	}
}

int services_desired(const struct services *s, struct arena *arena,
                     struct services_want *ret)
{
	const struct counts n = store_count(s);
	struct places p = {
		.addr = arena_array(arena, n.nodes, sizeof(*p.addr)),
		.cidr = arena_array(arena, n.cidrs, sizeof(*p.cidr)),
	};
	struct services_input input = {
		.service =
			arena_array(arena, n.services, sizeof(*input.service)),
		.slice = arena_array(arena, n.slices, sizeof(*input.slice)),
		.most_services = SERVICE_MAX,
		.most_backends = BACKENDS_MOST,
		.node_name = s->in.config->node_name,
		.full = s->in.config->services_full,
		.external = s->in.config->external,
		.n_externals = (size_t)s->in.config->n_externals,
	};

	if (!p.addr || !p.cidr || !input.service || !input.slice)
		return -ENOMEM;
	own_add(s, &p);
	objects_add(s, &input, &p);
	input.node = p.addr;
	input.n_nodes = p.n_addrs;
	input.pods = p.cidr;
	input.n_pods = p.n_cidrs;
	return services_want(&input, arena, ret);
}

/* ---- problems ----------------------------------------------------------- */

static bool problem_in(const json_t *problems, const json_t *problem)
{
	const json_t *old;
	size_t i;

	json_array_foreach(problems, i, old)
	{
		if (json_equal(old, problem))
			return true;
	}
	return false;
}

/* Takes @problems; says those that are new. */
static void problems_set(struct services *s, json_t *problems)
{
	const json_t *problem;
	size_t i;

	json_array_foreach(problems, i, problem)
	{
		if (!problem_in(s->problems, problem))
			log_warn("%s: %s",
			         json_string_value(
					 json_object_get(problem, "object")),
			         json_string_value(
					 json_object_get(problem, "error")));
	}
	json_decref(s->problems);
	s->problems = problems;
}

static json_t *problem_json(const char *object, const char *error)
{
	return json_pack("{s:s, s:s}", "object", object, "error", error);
}

/* Each once: a node port that is another's is so in each family. */
static json_t *problems_of(const struct services_want *want)
{
	json_t *list = json_array();

	for (size_t i = 0; i < want->n_problems; i++) {
		json_t *problem = problem_json(want->problem[i].object,
		                               want->problem[i].error);

		if (!problem_in(list, problem))
			(void)json_array_append(list, problem);
		json_decref(problem);
	}
	return list;
}

/* ---- a pass ------------------------------------------------------------- */

static int have_learn(struct services *s, struct err *err)
{
	struct services_have have;
	int r;

	if (!s->unread)
		return 0;
	/* What rests is found again: no service uses it. */
	s->resting.n = 0;
	r = services_read(s->in.dp, &have, &s->resting);
	if (r)
		return err_set(err, r, "read the maps of services: %s",
		               strerror(-r));
	/* Places that were freed may still be in some program's hand. */
	if (have.next < s->have.next)
		have.next = s->have.next;
	have.wrapped |= s->have.wrapped;
	free(s->have.item);
	s->have = have;
	s->unread = false;
	s->facts = 0;
	return 0;
}

/* What the plan made of the maps is what we have now. */
static int have_take(struct services *s, const struct services_plan *plan)
{
	struct service_have *item = calloc(plan->then.n + 1, sizeof(*item));

	if (!item ||
	    services_rest(&s->resting, plan->retired, plan->n_retired)) {
		free(item);
		return -ENOMEM;
	}
	if (plan->then.n)
		memcpy(item, plan->then.item, plan->then.n * sizeof(*item));
	free(s->have.item);
	s->have = plan->then;
	s->have.item = item;
	return 0;
}

static int named_take(struct services *s, const struct services_want *want)
{
	struct arena *arena = arena_new(0);
	struct named *named =
		arena ? arena_array(arena, want->n, sizeof(*named)) : NULL;

	if (!named) {
		arena_free(arena);
		return -ENOMEM;
	}
	for (size_t i = 0; i < want->n; i++) {
		const struct service_object *of = want->item[i].service;
		const struct named *last = i ? &named[i - 1] : NULL;
		/* Ports of one service stand together. */
		const bool same = last && !strcmp(last->ns, of->ns) &&
		                  !strcmp(last->name, of->name);

		named[i] = (struct named){
			.key = want->item[i].key,
			.ns = same ? last->ns : arena_strdup(arena, of->ns),
			.name = same ? last->name
		                     : arena_strdup(arena, of->name),
		};
		if (!named[i].ns || !named[i].name) {
			arena_free(arena);
			return -ENOMEM;
		}
	}
	arena_free(s->arena);
	s->arena = arena;
	s->named = named;
	s->n_named = want->n;
	return 0;
}

static int plan_apply(struct services *s, const struct services_plan *plan,
                      struct err *err)
{
	int r = services_apply(s->in.dp, plan, err);

	/* Room that rests is needed now. */
	if (r == -E2BIG && s->resting.n) {
		r = services_free_rested(s->in.dp, &s->resting);
		if (!r)
			r = services_apply(s->in.dp, plan, err);
	}
	if (!r && have_take(s, plan))
		r = err_set(err, -ENOMEM, "out of memory");
	s->unread = r;
	if (s->resting.n && !s->rest.armed)
		loop_timer_arm(s->in.loop, &s->rest, REST_NS);
	return r;
}

static int pass(struct services *s, struct arena *arena, struct err *err)
{
	const uint64_t facts = facts_now(s);
	const uint64_t began = loop_now_ns();
	struct services_want want;
	struct services_plan plan;
	int r = have_learn(s, err);

	if (r || s->facts == facts)
		return r;
	r = services_desired(s, arena, &want);
	if (!r)
		r = services_plan(&s->have, &want, s->resting.item,
		                  s->resting.n, arena, &plan);
	if (r)
		return err_set(err, r, "out of memory");
	r = plan_apply(s, &plan, err);
	if (!r && named_take(s, &want))
		r = err_set(err, -ENOMEM, "out of memory");
	if (r)
		return r;
	s->facts = facts;
	problems_set(s, problems_of(&want));
	log_debug("services: %zu put, %zu removed, %zu in force, in %lu us",
	          plan.n_services, plan.n_gone, want.n,
	          (unsigned long)(loop_now_ns() - began) / 1000);
	return 0;
}

static void task_run(struct loop_task *task)
{
	struct services *s = container_of(task, struct services, task);
	const uint64_t began = loop_now_ns();
	struct arena *arena;
	struct err err = {};
	json_t *problems;
	int r;

	pace_cancel(&s->pace);
	if (!s->in.store->synced)
		return;
	arena = arena_new(0);
	r = arena ? pass(s, arena, &err)
	          : err_set(&err, -ENOMEM, "out of memory");
	arena_free(arena);
	pace_rest(&s->pace, began);
	if (!r)
		return;
	s->unread = true;
	problems = json_array();
	(void)json_array_append_new(problems,
	                            problem_json("services", err.text));
	problems_set(s, problems);
	loop_timer_arm(s->in.loop, &s->retry, RETRY_NS);
}

/* ---- what may wait ------------------------------------------------------ */

static void rest_due(struct loop_timer *timer)
{
	struct services *s = container_of(timer, struct services, rest);

	if (services_free_rested(s->in.dp, &s->resting))
		loop_timer_arm(s->in.loop, &s->rest, REST_NS);
	(void)malloc_trim(0); /* what passes have freed */
}

static void look_due(struct loop_timer *timer)
{
	struct services *s = container_of(timer, struct services, look);

	services_reread(s);
	loop_timer_arm(s->in.loop, &s->look, LOOK_NS);
}

static void retry_due(struct loop_timer *timer)
{
	services_schedule(container_of(timer, struct services, retry));
}

/* ---- for others --------------------------------------------------------- */

void services_schedule(struct services *s)
{
	if (s->unread || s->facts != facts_now(s))
		pace_schedule(&s->pace);
}

void services_settle(struct services *s)
{
	if (pace_is_scheduled(&s->pace))
		task_run(&s->task);
}

void services_reread(struct services *s)
{
	s->unread = true;
	services_schedule(s);
}

json_t *services_problems(const struct services *s)
{
	return json_incref(s->problems);
}

void services_count(const struct services *s, size_t *ret_services,
                    size_t *ret_backends)
{
	*ret_services = s->have.n;
	*ret_backends = 0;
	for (size_t i = 0; i < s->have.n; i++)
		*ret_backends += s->have.item[i].value.count;
}

static int named_order(const void *a, const void *b)
{
	const struct named *y = b;

	return service_key_compare(a, &y->key);
}

static const struct named *named_find(const struct services *s,
                                      const struct service_key *key)
{
	return s->n_named ? bsearch(key, s->named, s->n_named,
	                            sizeof(*s->named), named_order)
	                  : NULL;
}

const char *services_name(const struct services *s, const struct addr *vip,
                          __be16 port, uint8_t proto, char *buf, size_t size)
{
	struct service_key key = {.vip = *vip, .port = port, .proto = proto};
	const struct named *named = named_find(s, &key);

	if (!named) { /* a node port, at an address of the node */
		key.vip = addr_any(addr_family(vip));
		named = named_find(s, &key);
	}
	if (!named)
		return NULL;
	snprintf(buf, size, "%s/%s", named->ns, named->name);
	return buf;
}

int services_new(const struct services_deps *deps, struct services **ret,
                 struct err *err)
{
	struct services *s = calloc(1, sizeof(*s));

	if (s)
		s->problems = json_array();
	if (!s || !s->problems) {
		free(s);
		return err_set(err, -ENOMEM, "out of memory");
	}
	s->in = *deps;
	s->unread = true;
	s->task.run = task_run;
	s->rest.due = rest_due;
	s->look.due = look_due;
	s->retry.due = retry_due;
	pace_init(&s->pace, s->in.loop, &s->task, PACE_OF, PACE_NS);
	loop_timer_arm(s->in.loop, &s->look, LOOK_NS);
	*ret = s;
	return 0;
}

void services_free(struct services *s)
{
	if (!s)
		return;
	pace_cancel(&s->pace);
	loop_timer_cancel(s->in.loop, &s->rest);
	loop_timer_cancel(s->in.loop, &s->look);
	loop_timer_cancel(s->in.loop, &s->retry);
	free(s->have.item);
	free(s->resting.item);
	arena_free(s->arena);
	json_decref(s->problems);
	free(s);
}
