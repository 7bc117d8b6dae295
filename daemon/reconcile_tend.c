// SPDX-License-Identifier: Apache-2.0
/* reconcile_tend.c - what may wait until a pass is over and things are quiet.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/reconcile_impl.h"
#include "lib/log.h"

#define MS        1000000ull
#define QUIET_NS  (20 * MS)  /* since the last pass */
#define LATEST_NS (250 * MS) /* since the first that waits */
#define FRESH_LOW 8u         /* slots left: no longer */
#define REREAD_NS (60000 * MS)
#define TRIM_NS   (5000 * MS) /* after a pass; it takes a millisecond or two */

/*
 * The kernel waits for RCU here, 8 ms or more, hence so does everybody who asks
 * us something: once for all passes of a quarter of a second.
 */
static void tend_due(struct loop_timer *timer)
{
	struct reconcile *rec = container_of(timer, struct reconcile, tend);
	struct err err = {};

	rec->tend_since_ns = 0;
	if (dp_slots_tend(rec->in.dp, &err) < 0) {
		log_err("%s; it is tried again", err.text);
		loop_timer_arm(rec->in.loop, &rec->tend, LATEST_NS);
		return;
	}
	for (unsigned i = 0; rec->again_any && i < ENDPOINT_MAX; i++)
		if (rec->again[i])
			dp_epoch_raise(rec->in.dp, (uint16_t)i);
	memset(rec->again, 0, sizeof(rec->again));
	rec->again_any = false;
	if (dp_slots_fresh(rec->in.dp) < 2 * FRESH_LOW)
		loop_timer_arm(rec->in.loop, &rec->tend, QUIET_NS);
	reconcile_tend_last(rec);
	if (!rec->trim.armed)
		loop_timer_arm(rec->in.loop, &rec->trim, TRIM_NS);
}

/* What passes have freed goes back to the system. */
static void trim_due(struct loop_timer *timer)
{
	(void)timer;
	(void)malloc_trim(0);
}

static bool is_number_known(uint32_t number, void *user)
{
	return actual_knows(user, number);
}

void reconcile_tend_last(struct reconcile *rec)
{
	struct err err = {};

	if (rec->numbers.dirty &&
	    numbers_save(&rec->numbers, is_number_known, rec->actual, &err))
		log_err("%s; after a restart identities get new numbers",
		        err.text);
}

/* Do the maps still hold what we put there?  Cheaper than a pass. */
static bool is_undamaged(const struct reconcile *rec)
{
	struct actual *now = calloc(1, sizeof(*now));
	struct err ignored = {};
	bool same = false;

	if (now && !actual_read(now, rec->in.dp, &ignored)) {
		actual_strip(now, &rec->compiled);
		same = actual_equal(now, rec->actual);
	}
	if (now)
		actual_free(now);
	free(now);
	return same;
}

static void reread_due(struct loop_timer *timer)
{
	struct reconcile *rec = container_of(timer, struct reconcile, reread);

	if (rec->arena && !rec->unread && !is_undamaged(rec)) {
		log_warn("the maps are not what they were: somebody else "
		         "changed them; they are put right");
		reconcile_reread(rec);
	}
	loop_timer_arm(rec->in.loop, &rec->reread, REREAD_NS);
}

void reconcile_tend_init(struct reconcile *rec)
{
	rec->tend.due = tend_due;
	rec->reread.due = reread_due;
	rec->trim.due = trim_due;
	loop_timer_arm(rec->in.loop, &rec->reread, REREAD_NS);
}

void reconcile_tend_later(struct reconcile *rec, const struct plan *plan)
{
	const uint64_t now = loop_now_ns();
	uint64_t wait = QUIET_NS;

	for (size_t i = 0; i < plan->n_ops; i++)
		if (plan->op[i].kind == OP_RAISE)
			rec->again[plan->op[i].raise] = rec->again_any = true;
	if (!rec->tend_since_ns)
		rec->tend_since_ns = now;
	if (now + wait > rec->tend_since_ns + LATEST_NS)
		wait = now < rec->tend_since_ns + LATEST_NS
		               ? rec->tend_since_ns + LATEST_NS - now
		               : 0;
	if (dp_slots_fresh(rec->in.dp) < FRESH_LOW)
		wait = 0;
	loop_timer_arm(rec->in.loop, &rec->tend, wait);
}
