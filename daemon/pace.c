// SPDX-License-Identifier: Apache-2.0
/* pace.c - see pace.h. */
#include "daemon/pace.h"

#include "lib/util.h"

static void rest_over(struct loop_timer *timer)
{
	struct pace *pace = container_of(timer, struct pace, timer);

	loop_task_schedule(pace->loop, pace->task);
}

void pace_init(struct pace *pace, struct loop *loop, struct loop_task *task,
               unsigned of, uint64_t most_ns)
{
	*pace = (struct pace){
		.loop = loop,
		.task = task,
		.timer.due = rest_over,
		.most_ns = most_ns,
		.of = of,
	};
}

void pace_schedule(struct pace *pace)
{
	const uint64_t now = loop_now_ns();

	if (pace->timer.armed)
		return;
	if (now < pace->next_ns)
		loop_timer_arm(pace->loop, &pace->timer, pace->next_ns - now);
	else
		loop_task_schedule(pace->loop, pace->task);
}

bool pace_is_scheduled(const struct pace *pace)
{
	return pace->task->scheduled || pace->timer.armed;
}

void pace_cancel(struct pace *pace)
{
	loop_task_cancel(pace->loop, pace->task);
	loop_timer_cancel(pace->loop, &pace->timer);
}

void pace_rest(struct pace *pace, uint64_t began_ns)
{
	const uint64_t now = loop_now_ns();
	const uint64_t rest = (now - began_ns) * pace->of;

	pace->next_ns = now + (rest < pace->most_ns ? rest : pace->most_ns);
}
