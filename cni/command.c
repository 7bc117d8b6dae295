// SPDX-License-Identifier: Apache-2.0
/* command.c - see command.h: what the commands share, and the small ones. */
#include "cni/command.h"

#include <errno.h>

#include "cni/delegate.h"
#include "cni/wire.h"

int command_ask(const struct conf *conf, json_t *request, json_t **ret,
                struct err *err)
{
	json_t *reply = NULL;
	const char *msg;
	int r;

	if (!request)
		return err_set(err, -ENOMEM, "out of memory");
	r = wire_call(conf->socket, request, ASK_TIMEOUT_MS, &reply, err);
	json_decref(request);
	if (r)
		return err_wrap(err, r, "stiled is not reachable");
	r = wire_is_error(reply, &msg);
	if (r)
		(void)err_set(err, r, "%s", msg);
	if (!r && ret)
		*ret = reply;
	else
		json_decref(reply);
	return r;
}

enum cni_code command_status(const struct conf *conf, struct err *err)
{
	int r = command_ask(conf,
	                    json_pack("{s:s,s:b}", "op", "cni.status",
	                              "delegated", conf->ipam != NULL),
	                    NULL, err);

	if (r < 0)
		return CNI_UNAVAILABLE;
	if (r)
		return (enum cni_code)r;
	return delegate_run(conf, "STATUS", NULL, err);
}
