// SPDX-License-Identifier: Apache-2.0
/*
 * cni_conf_fuzz.c - the runtime's variables and configuration.
 *
 * Input: six lines (CNI_COMMAND, CONTAINERID, NETNS, IFNAME, ARGS, PATH), then
 * the network configuration.  A refusal has a sentence, and is itself an
 * answer that JSON can hold; what is accepted obeys the limits of conf.h.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cni/conf.h"
#include "cni/result.h"
#include "lib/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A line of its own, or NULL when it is empty. */
static char *line_take(const uint8_t **data, size_t *size)
{
	const uint8_t *end = memchr(*data, '\n', *size);
	const size_t len = end ? (size_t)(end - *data) : *size;
	char *line = len ? strndup((const char *)*data, len) : NULL;

	*data += len + (end != NULL);
	*size -= len + (end != NULL);
	return line;
}

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static void accepted(const struct conf *conf)
{
	struct result_ips ips;
	struct err err;

	if (conf->command == COMMAND_VERSION)
		return;
	expect(conf_name_valid(conf->name));
	expect(conf->socket[0] == '/' && conf->state_dir[0] == '/');
	expect(!conf->mtu || (conf->mtu >= 576 && conf->mtu <= 65535));
	expect(!conf->ipam || (!strchr(conf->ipam, '/') && conf->path));
	if (conf->container_id)
		expect(conf_name_valid(conf->container_id) &&
		       strlen(conf->container_id) <= CONF_ID_MAX &&
		       conf_ifname_valid(conf->ifname));
	(void)result_read_ips(conf->prev, conf->ifname, &ips, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(free_p) char *command = line_take(&data, &size);
	_cleanup_(free_p) char *container_id = line_take(&data, &size);
	_cleanup_(free_p) char *netns = line_take(&data, &size);
	_cleanup_(free_p) char *ifname = line_take(&data, &size);
	_cleanup_(free_p) char *args = line_take(&data, &size);
	_cleanup_(free_p) char *path = line_take(&data, &size);
	const struct conf_env env = {command, container_id, netns,
	                             ifname,  args,         path};
	struct conf conf = {};
	struct err err = {};
	enum cni_code code = conf_read_env(&env, &conf, &err);

	if (!code)
		code = conf_read_json((const char *)data, size, &conf, &err);
	if (code) {
		json_t *error = result_error(&conf, code, err.text);

		expect(error && err.text[0]);
		json_decref(error);
	} else {
		accepted(&conf);
	}
	conf_free(&conf);
	return 0;
}
