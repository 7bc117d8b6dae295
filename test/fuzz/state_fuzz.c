/* SPDX-License-Identifier: Apache-2.0 */
/* state_fuzz.c - any state file is an endpoint that prints as itself, or one
 * sentence; any request of the plugin is read or refused with one. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cni_request.h"
#include "daemon/endpoint_file.h"
#include "lib/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file's fields, with the checksum that they ask for. */
static void file(const json_t *json)
{
	char text[ENDPOINT_FILE_BYTES];
	struct err err = {};
	struct ep ep = {}, again = {};
	size_t len;

	memset(text, ' ', sizeof(text));
	len = json_dumpb(json, text, sizeof(text), JSON_COMPACT);
	if (!len || len > sizeof(text))
		return;
	memset(text + len, ' ', sizeof(text) - len);
	if (endpoint_parse(text, sizeof(text), &ep, &err)) {
		if (!err.text[0])
			abort();
		return;
	}
	if (endpoint_format(&ep, text, &err) ||
	    endpoint_parse(text, sizeof(text), &again, &err) ||
	    memcmp(&ep, &again, sizeof(ep)) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(json_decrefp) json_t *json =
		json_loadb((const char *)data, size, 0, NULL);
	struct cni_request request = {};
	struct err err = {};
	int r;

	if (!json)
		return 0;
	file(json);
	r = cni_request_parse(json, size & 1, &request, &err);
	if (r < 0 || !r != !err.text[0])
		abort();
	return 0;
}
