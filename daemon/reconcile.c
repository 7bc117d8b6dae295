// SPDX-License-Identifier: Apache-2.0
/* reconcile.c - a pass; see reconcile.h. */
#include "daemon/reconcile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/reconcile_impl.h"
#include "lib/log.h"

#define RETRY_FIRST_NS 1000000000ull
#define RETRY_LAST_NS  (30 * RETRY_FIRST_NS)

/* ---- problems ----------------------------------------------------------- */

static void problem_add(json_t *problems, const char *object, const char *error)
{
	json_array_append_new(problems, json_pack("{s:s,s:s}", "object", object,
	                                          "error", error));
}

static bool problem_in(const json_t *problems, const json_t *problem)
{
	const json_t *old;
	size_t i;

	json_array_foreach(problems, i,
	                   old) if (json_equal(old, problem)) return true;
	return false;
}

/* Takes @problems; says those that are new. */
static void problems_set(struct reconcile *rec, json_t *problems)
{
	const json_t *problem;
	size_t i;

	json_array_foreach(problems, i,
	                   problem) if (!problem_in(rec->problems, problem))
		log_err("%s: %s",
	                json_string_value(json_object_get(problem, "object")),
	                json_string_value(json_object_get(problem, "error")));
	json_decref(rec->problems);
	rec->problems = problems;
}

static const char *endpoint_object(const struct reconcile *rec,
                                   uint16_t endpoint, char *buf, size_t size)
{
	const struct ep *ep = &rec->in.endpoints->ep[endpoint];

	if (ep->pod_name[0])
		snprintf(buf, size, "Pod/%s/%s", ep->pod_ns, ep->pod_name);
	else
		snprintf(buf, size, "endpoint %u", endpoint);
	return buf;
}

/* Tables that do not fit, by the compiler's or the kernel's word. */
static void refusals_note(struct reconcile *rec,
                          const struct compiled *compiled,
                          const struct apply *apply)
{
	json_t *problems = json_array();
	char object[400], error[600];

	for (size_t i = 0; i < compiled->n_endpoints; i++) {
		const struct endpoint_policy *ep = &compiled->endpoint[i];

		if (!ep->refused)
			continue;
		snprintf(error, sizeof(error),
		         "%s; its last good policy stays in force, a pod "
		         "without one is allowed nothing where it is isolated",
		         ep->refused);
		problem_add(problems,
		            endpoint_object(rec, ep->endpoint, object,
		                            sizeof(object)),
		            error);
	}
	for (size_t i = 0; i < apply->n_refusals; i++) {
		const struct apply_refusal *no = &apply->refusal[i];

		snprintf(error, sizeof(error), "%s; %s", no->why.text,
		         no->closed ? "nothing is allowed where it is isolated"
		                    : "its last good policy stays in force");
		problem_add(problems,
		            endpoint_object(rec, no->endpoint, object,
		                            sizeof(object)),
		            error);
	}
	problems_set(rec, problems);
}

/* The pass as a whole failed: it stands beside what was wrong before. */
static void failure_note(struct reconcile *rec, const struct err *err)
{
	json_t *problems = json_array();

	problem_add(problems, "policies", err->text);
	problems_set(rec, problems);
	if (!rec->in.dp)
		return;
	loop_timer_arm(rec->in.loop, &rec->retry, rec->retry_ns);
	if (rec->retry_ns < RETRY_LAST_NS)
		rec->retry_ns *= 2;
}

/* ---- a pass ------------------------------------------------------------- */

static int numbers_learn(struct reconcile *rec)
{
	const struct actual *actual = rec->actual;
	int r = 0;

	for (size_t i = 0; i < actual->n_addrs && !r; i++)
		r = numbers_seen(&rec->numbers, actual->addr[i].info.identity);
	for (size_t i = 0; i < actual->n_prefixes && !r; i++)
		r = numbers_seen(&rec->numbers,
		                 actual->prefix[i].info.identity);
	for (uint32_t slot = SLOT_FIRST; slot < SLOT_MAX; slot++) {
		const struct held *held = actual->slot[slot];

		for (size_t i = 0; held && i < held->table.n_entries && !r; i++)
			r = numbers_seen(&rec->numbers,
			                 held->table.entry[i].key.peer);
		for (size_t i = 0; held && i < held->table.n_ranges && !r; i++)
			r = numbers_seen(&rec->numbers,
			                 held->table.range[i].key.peer);
	}
	return r;
}

/* What the maps hold, when we do not know it. */
static int actual_learn(struct reconcile *rec, struct err *err)
{
	int r;

	if (!rec->unread || !rec->in.dp)
		return 0;
	r = actual_read(rec->actual, rec->in.dp, err);
	if (r)
		return r;
	r = numbers_learn(rec);
	if (r)
		return err_set(err, r, "out of memory");
	rec->unread = false;
	rec->adopting = true;
	return 0;
}

static int plan_apply(struct reconcile *rec, struct generation *gen,
                      struct err *err)
{
	struct apply apply = {
		.dp = rec->in.dp,
		.actual = rec->actual,
		.plan = &gen->plan,
		.arena = gen->work,
	};
	int r = 0;

	if (gen->plan.n_ops) {
		r = apply_plan(&apply, err);
		reconcile_tend_later(rec, &gen->plan);
	}
	if (!r && actual_take(rec->actual, &gen->want))
		r = err_set(err, -ENOMEM, "out of memory");
	if (r) {
		rec->unread = true;
		return r;
	}
	if (gen->arena)
		refusals_note(rec, &gen->compiled, &apply);
	return 0;
}

/* What was compiled is in force now. */
static int generation_take(struct reconcile *rec, struct generation *gen)
{
	if (numbers_take(&rec->numbers, &gen->compiled))
		return -ENOMEM;
	arena_free(rec->arena);
	rec->arena = TAKE(gen->arena);
	rec->compiled = gen->compiled;
	rec->revision++;
	rec->facts = rec->intent_facts;
	rec->retry_ns = RETRY_FIRST_NS;
	rec->adopting = false;
	loop_timer_cancel(rec->in.loop, &rec->retry);
	return 0;
}

static int pass_close_only(struct reconcile *rec, struct err *err)
{
	struct generation gen = {};
	int r = generation_close_only(rec, &gen, err);

	if (!r)
		r = plan_apply(rec, &gen, err);
	generation_free(&gen);
	return r ? r
	         : err_set(err, -EAGAIN,
	                   "the source has not given its first answer yet");
}

static int pass(struct reconcile *rec, struct err *err)
{
	const uint64_t began = loop_now_ns();
	struct generation gen = {};
	struct err ignored = {};
	uint64_t planned;
	int r = actual_learn(rec, err);

	if (r)
		return r;
	if (!rec->in.store->synced)
		return pass_close_only(rec, err);
	if (rec->facts == reconcile_facts(rec) && !rec->adopting)
		return 0;
	r = generation_make(rec, &gen, err);
	planned = loop_now_ns();
	if (!r && rec->in.peers)
		r = peers_put(rec->in.peers, err);
	if (!r)
		r = plan_apply(rec, &gen, err);
	if (!r && rec->in.peers)
		r = peers_retire(rec->in.peers, err);
	if (!r && generation_take(rec, &gen))
		r = err_set(err, -ENOMEM, "out of memory");
	if (!r)
		log_debug(
			"pass %lu: %zu operations, planned in %lu us, done in "
			"%lu us",
			(unsigned long)rec->revision, gen.plan.n_ops,
			(unsigned long)(planned - began) / 1000,
			(unsigned long)(loop_now_ns() - planned) / 1000);
	generation_free(&gen);
	if (last_pods_save(&rec->last, &ignored))
		log_err("%s", ignored.text);
	return r;
}

int reconcile_now(struct reconcile *rec, struct err *err)
{
	int r;

	loop_task_cancel(rec->in.loop, &rec->task);
	if (!rec->in.dp)
		return err_set(err, -EROFS, "this is a dry run");
	r = pass(rec, err);
	if (r && r != -EAGAIN)
		failure_note(rec, err);
	return r;
}

static void task_run(struct loop_task *task)
{
	struct reconcile *rec = container_of(task, struct reconcile, task);
	struct err err = {};

	(void)reconcile_now(rec, &err); /* its failure is noted and logged */
}

static void retry_due(struct loop_timer *timer)
{
	reconcile_schedule(container_of(timer, struct reconcile, retry));
}

void reconcile_schedule(struct reconcile *rec)
{
	if (rec->in.dp)
		loop_task_schedule(rec->in.loop, &rec->task);
}

void reconcile_settle(struct reconcile *rec)
{
	if (rec->task.scheduled)
		task_run(&rec->task);
}

void reconcile_reread(struct reconcile *rec)
{
	rec->unread = true;
	reconcile_schedule(rec);
}

/* ---- life --------------------------------------------------------------- */

static int state_open(struct reconcile *rec, struct err *err)
{
	const char *dir = rec->in.config->state_dir;
	struct err why = {};
	int r = numbers_open(&rec->numbers, dir, &why);

	if (why.text[0])
		log_warn("%s", why.text);
	why = (struct err){};
	if (!r)
		r = last_pods_open(&rec->last, dir, &why);
	if (why.text[0])
		log_warn("%s", why.text);
	return r ? err_set(err, r, "state directory %s: %s", dir, strerror(-r))
	         : 0;
}

int reconcile_new(const struct reconcile_input *input, struct reconcile **ret,
                  struct err *err)
{
	struct reconcile *rec = calloc(1, sizeof(*rec));
	int r = -ENOMEM;

	if (!rec)
		return err_set(err, -ENOMEM, "out of memory");
	rec->in = *input;
	rec->retry_ns = RETRY_FIRST_NS;
	rec->unread = input->dp;
	rec->task.run = task_run;
	rec->retry.due = retry_due;
	rec->problems = json_array();
	rec->actual = calloc(1, sizeof(*rec->actual));
	if (rec->actual && rec->problems)
		r = state_open(rec, err);
	if (!r && input->dp)
		r = actual_learn(rec, err);
	if (r) {
		rec->in.dp = NULL;
		reconcile_free(rec);
		return r;
	}
	if (input->dp)
		reconcile_tend_init(rec);
	*ret = rec;
	return 0;
}

void reconcile_free(struct reconcile *rec)
{
	if (!rec)
		return;
	if (rec->in.dp) {
		reconcile_tend_last(rec);
		loop_timer_cancel(rec->in.loop, &rec->tend);
		loop_timer_cancel(rec->in.loop, &rec->retry);
		loop_timer_cancel(rec->in.loop, &rec->reread);
		loop_timer_cancel(rec->in.loop, &rec->trim);
		loop_task_cancel(rec->in.loop, &rec->task);
	}
	if (rec->actual)
		actual_free(rec->actual);
	free(rec->actual);
	numbers_close(&rec->numbers);
	last_pods_close(&rec->last);
	arena_free(rec->intent_arena);
	arena_free(rec->arena);
	json_decref(rec->problems);
	free(rec);
}
