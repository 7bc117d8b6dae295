// SPDX-License-Identifier: Apache-2.0
/* readiness.c - see readiness.h. */
#include "daemon/readiness.h"

#include <string.h>

#include "cni/wire.h"
#include "daemon/cniconf.h"
#include "daemon/source_kube.h"
#include "lib/log.h"
#include "lib/util.h"

#define UNREADY_NS 20000000ull    /* between two looks before */
#define READY_NS   10000000000ull /* and after */

/* What the plugin is answered when it asks for the status. */
static bool can_serve(struct daemon *daemon)
{
	_cleanup_(json_decrefp) json_t *request = json_object();

	for (const struct server_op *op = cni_ops; request && op->name; op++) {
		_cleanup_(json_decrefp) json_t *reply = NULL;
		const char *why;

		if (strcmp(op->name, "cni.status") != 0)
			continue;
		reply = op->reply(daemon, request);
		return reply && !wire_is_error(reply, &why);
	}
	return false;
}

static void file_write(struct readiness *readiness)
{
	const struct config *config = &readiness->daemon->config;
	struct err err = {};
	int r = cniconf_write(config->cni_conf_dir, config->state_dir,
	                      config->run_dir, &err);

	if (r < 0 && !readiness->failing)
		log_err("%s; no pod can start until it is there", err.text);
	if (r > 0)
		log_info("%s/%s is written: the runtime can start pods",
		         config->cni_conf_dir, CNICONF_NAME);
	readiness->failing = r < 0;
}

static void look_due(struct loop_timer *self)
{
	struct readiness *readiness =
		container_of(self, struct readiness, look);
	struct daemon *daemon = readiness->daemon;

	readiness->ready = readiness->ready || can_serve(daemon);
	if (readiness->ready && daemon->config.cni_conf_dir[0])
		file_write(readiness);
	if (readiness->ready && daemon->kube && !readiness->failing)
		source_kube_ready(daemon->kube);
	loop_timer_arm(daemon->loop, self,
	               readiness->ready ? READY_NS : UNREADY_NS);
}

void readiness_open(struct readiness *readiness, struct daemon *daemon)
{
	if (!daemon->kube && !daemon->config.cni_conf_dir[0])
		return;
	readiness->daemon = daemon;
	readiness->look.due = look_due;
	loop_timer_arm(daemon->loop, &readiness->look, 0);
}

void readiness_close(struct readiness *readiness)
{
	if (readiness->daemon)
		loop_timer_cancel(readiness->daemon->loop, &readiness->look);
}
