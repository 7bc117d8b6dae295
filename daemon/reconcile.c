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
/*
 * A pass reads the whole cluster: 10 ms of CPU with 10 000 pods.  Where pods
 * come and go without end, one is followed by three times its duration without
 * another, so that a quarter of a CPU is the most; the first change after a
 * rest waits for nothing, nor does an ADD.
 */
#define PACE_OF      3
#define PACE_LAST_NS 100000000ull

/* ---- trying again ------------------------------------------------------- */

static void retry_arm(struct reconcile *rec)
{
	loop_timer_arm(rec->in.loop, &rec->retry, rec->retry_ns);
	if (rec->retry_ns < RETRY_LAST_NS)
		rec->retry_ns *= 2;
}

/*
 * After a pass.  What the kernel refused may fit when slots have become fresh
 * or memory free: it is tried again, less and less often while nobody gains.
 */
static void retry_settle(struct reconcile *rec, size_t n_refusals)
{
	if (!n_refusals || n_refusals < rec->n_refusals)
		rec->retry_ns = RETRY_FIRST_NS;
	rec->n_refusals = n_refusals;
	loop_timer_cancel(rec->in.loop, &rec->retry);
	if (!n_refusals)
		return;
	rec->facts = 0;
	retry_arm(rec);
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

/*
 * Whoever switched something that we have not seen done (an earlier daemon, a
 * pass that failed, somebody's hand) may have ended before its epochs rose, or
 * before they rose again: every flow is judged once more, at its next packet.
 * So it is after --policy audit.
 */
static void all_raise(struct reconcile *rec)
{
	dp_epoch_raise(rec->in.dp, 0);
	rec->again[0] = rec->again_any = true;
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
	if (dp_adopted(rec->in.dp) || rec->revision)
		all_raise(rec);
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
		all_raise(rec);
		return r;
	}
	gen->n_refusals = apply.n_refusals;
	if (gen->arena)
		held_note(rec, &gen->compiled, &apply);
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
	rec->store_revision = rec->in.store->revision;
	rec->adopting = false;
	retry_settle(rec, gen->n_refusals);
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
	if (rec->again_any)
		reconcile_tend_later(rec, &gen.plan);
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
	pace_rest(&rec->pace, began);
	if (last_pods_save(&rec->last, &ignored))
		log_err("%s", ignored.text);
	return r;
}

int reconcile_now(struct reconcile *rec, struct err *err)
{
	int r;

	pace_cancel(&rec->pace);
	if (!rec->in.dp)
		return err_set(err, -EROFS, "this is a dry run");
	r = pass(rec, err);
	if (r && r != -EAGAIN) {
		failure_note(rec, err);
		retry_arm(rec);
	}
	if (!r && rec->in.passed)
		rec->in.passed(rec->in.user);
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
		pace_schedule(&rec->pace);
}

void reconcile_settle(struct reconcile *rec)
{
	if (pace_is_scheduled(&rec->pace))
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
	if (r)
		return err_set(err, r, "state directory %s: %s", dir,
		               strerror(-r));
	return last_pods_open(&rec->last, dir, !rec->in.dp, err);
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
	rec->last.dir_fd = -1;
	rec->unread = input->dp;
	rec->task.run = task_run;
	rec->retry.due = retry_due;
	pace_init(&rec->pace, input->loop, &rec->task, PACE_OF, PACE_LAST_NS);
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
		pace_cancel(&rec->pace);
		loop_timer_cancel(rec->in.loop, &rec->reread);
		loop_timer_cancel(rec->in.loop, &rec->trim);
	}
	if (rec->actual)
		actual_free(rec->actual);
	free(rec->actual);
	numbers_close(&rec->numbers);
	last_pods_close(&rec->last);
	arena_free(rec->intent_arena);
	arena_free(rec->arena);
	held_clear(rec);
	json_decref(rec->problems);
	free(rec);
}
