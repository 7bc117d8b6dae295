// SPDX-License-Identifier: Apache-2.0
/* ops_flow.c - the operations on flows: their events, and their table. */
#include "daemon/conntrack.h"
#include "daemon/daemon.h"
#include "daemon/pieces.h"

static void flows(struct daemon *daemon, const json_t *request,
                  struct server_stream *stream)
{
	if (daemon->flowlog)
		flowlog_stream(daemon->flowlog, request, stream);
	else
		stream_error(stream, "this daemon keeps no flow log");
}

const struct server_op flow_ops[] = {
	{.name = "flows", .stream = flows},
	{.name = "conntrack.list", .stream = conntrack_list},
	{.name = "conntrack.flush", .stream = conntrack_flush},
	{.name = NULL},
};
