// SPDX-License-Identifier: Apache-2.0
/* peer_numbers.c - see peer_numbers.h. */
#include "daemon/peer_numbers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_number(json_int_t n)
{
	return n >= 1 && n < (json_int_t)NODE_MAX;
}

/* 0, or -EINVAL when it is not what we wrote. */
static int doc_read(struct peer_numbers *numbers, json_t *doc)
{
	json_t *map = json_object_get(doc, "numbers"), *item;
	const json_int_t next =
		json_integer_value(json_object_get(doc, "next"));
	const char *name;

	if (!json_is_object(map) || !is_number(next))
		return -EINVAL;
	json_object_foreach(map, name, item)
	{
		const json_int_t n = json_integer_value(item);

		if (!is_number(n) || numbers->used[n])
			return -EINVAL;
		numbers->used[n] = true;
	}
	numbers->next = (uint16_t)next;
	numbers->number = json_incref(map);
	return 0;
}

int peer_numbers_open(struct peer_numbers *numbers, const char *state_dir,
                      struct err *err)
{
	char bad[sizeof(numbers->path) + 4];
	json_error_t why = {};
	json_t *doc;

	*numbers = (struct peer_numbers){.next = 1};
	if (snprintf(numbers->path, sizeof(numbers->path), "%s/nodes.json",
	             state_dir) >= (int)sizeof(numbers->path))
		return err_set(err, -ENAMETOOLONG, "state directory %s",
		               state_dir);
	doc = access(numbers->path, F_OK)
	              ? NULL
	              : json_load_file(numbers->path, 0, &why);
	if (!access(numbers->path, F_OK) && doc_read(numbers, doc)) {
		memset(numbers->used, 0, sizeof(numbers->used));
		snprintf(bad, sizeof(bad), "%s.bad", numbers->path);
		(void)rename(numbers->path, bad);
		err_set(err, 0, "%s: not what we wrote (%s); moved to %s",
		        numbers->path, why.text, bad);
	}
	json_decref(doc);
	if (!numbers->number)
		numbers->number = json_object();
	return numbers->number ? 0 : err_set(err, -ENOMEM, "out of memory");
}

void peer_numbers_close(struct peer_numbers *numbers)
{
	json_decref(numbers->number);
	numbers->number = NULL;
}

static uint16_t number_give(struct peer_numbers *numbers, const char *name,
                            uint16_t n)
{
	if (json_object_set_new(numbers->number, name, json_integer(n)))
		return 0;
	numbers->used[n] = true;
	numbers->dirty = true;
	return n;
}

/* The number that has been nobody's for longest. */
static uint16_t oldest_take(struct peer_numbers *numbers,
                            bool (*is_here)(const char *name, void *user),
                            void *user)
{
	json_t *item;
	const char *name;

	json_object_foreach(numbers->number, name, item)
	{
		const uint16_t n = (uint16_t)json_integer_value(item);

		if (is_here(name, user))
			continue;
		(void)json_object_del(numbers->number, name);
		return n;
	}
	return 0;
}

uint16_t peer_number(struct peer_numbers *numbers, const char *name,
                     uint16_t wanted,
                     bool (*is_here)(const char *name, void *user), void *user)
{
	const json_t *have = json_object_get(numbers->number, name);
	uint16_t n;

	if (have)
		return (uint16_t)json_integer_value(have);
	if (wanted && wanted < NODE_MAX && !numbers->used[wanted])
		return number_give(numbers, name, wanted);
	for (unsigned i = 0; i < NODE_MAX; i++) {
		n = numbers->next;
		numbers->next = (uint16_t)(n + 1 < (int)NODE_MAX ? n + 1 : 1);
		if (!numbers->used[n])
			return number_give(numbers, name, n);
	}
	n = oldest_take(numbers, is_here, user);
	return n ? number_give(numbers, name, n) : 0;
}

int peer_numbers_save(struct peer_numbers *numbers, struct err *err)
{
	char fresh[sizeof(numbers->path) + 4];
	json_t *doc;
	int r = 0;

	if (!numbers->dirty)
		return 0;
	snprintf(fresh, sizeof(fresh), "%s.new", numbers->path);
	doc = json_pack("{s:i,s:O}", "next", (int)numbers->next, "numbers",
	                numbers->number);
	errno = 0;
	if (!doc || json_dump_file(doc, fresh, JSON_COMPACT) ||
	    rename(fresh, numbers->path))
		r = err_set(err, errno ? -errno : -EIO, "write %s: %s",
		            numbers->path, strerror(errno));
	json_decref(doc);
	numbers->dirty = r != 0;
	return r;
}
