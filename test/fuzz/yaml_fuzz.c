/* SPDX-License-Identifier: Apache-2.0 */
/* yaml_fuzz.c - any text is documents or one sentence, never both, and what
 * comes out can be printed and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/yaml.h"
#include "lib/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const char *text, size_t size, int json)
{
	_cleanup_(json_decrefp) json_t *docs = NULL, *again = NULL;
	_cleanup_(free_p) char *printed = NULL;
	struct err err = {};
	const int r = json ? yaml_load_json(text, size, &docs, &err)
	                   : yaml_load(text, size, &docs, &err);

	if (!r != !!docs || !r != !err.text[0])
		abort();
	if (r)
		return;
	printed = json_dumps(docs, JSON_COMPACT);
	if (!printed)
		abort();
	again = json_loads(printed, JSON_REJECT_DUPLICATES, NULL);
	if (!again || !json_equal(docs, again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of its own length: reading past it is seen. */
	_cleanup_(free_p) char *text = malloc(size ? size : 1);

	memcpy(text, data, size);
	load(text, size, 0);
	load(text, size, 1);
	return 0;
}
