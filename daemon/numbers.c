// SPDX-License-Identifier: Apache-2.0
/* numbers.c - see numbers.h. */
#include "daemon/numbers.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- retired ------------------------------------------------------------ */

/* Where @number stands among the retired, or belongs. */
static size_t retired_at(const struct numbers *numbers, uint32_t number)
{
	size_t lo = 0, hi = numbers->n_retired;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (numbers->retired[mid] < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int retire(struct numbers *numbers, uint32_t number)
{
	const size_t at = retired_at(numbers, number);

	if (at < numbers->n_retired && numbers->retired[at] == number)
		return 0;
	if (numbers->n_retired == numbers->room_retired) {
		const size_t room =
			numbers->room_retired ? numbers->room_retired * 2 : 64;
		uint32_t *more =
			reallocarray(numbers->retired, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		numbers->retired = more;
		numbers->room_retired = room;
	}
	memmove(numbers->retired + at + 1, numbers->retired + at,
	        (numbers->n_retired - at) * sizeof(*numbers->retired));
	numbers->retired[at] = number;
	numbers->n_retired++;
	numbers->dirty = true;
	return 0;
}

static bool is_in_force(const struct numbers *numbers, uint32_t number)
{
	size_t lo = 0, hi = numbers->n_in_force;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (numbers->in_force[mid].number == number)
			return true;
		if (numbers->in_force[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* Reserved numbers and whole classes mean what they mean. */
static bool is_given_out(uint32_t number)
{
	return (number & ~ID_CLASS_MASK) >= ID_SERIAL_FIRST;
}

int numbers_seen(struct numbers *numbers, uint32_t number)
{
	if (!is_given_out(number) || is_in_force(numbers, number))
		return 0;
	return retire(numbers, number);
}

/* ---- the file ----------------------------------------------------------- */

static int number_of(const json_t *value, uint32_t *ret)
{
	const json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number <= 0 || number > UINT32_MAX ||
	    (number >> ID_CLASS_SHIFT) >= CLASS__COUNT)
		return -EINVAL;
	*ret = (uint32_t)number;
	return 0;
}

static int identity_compare(const void *a, const void *b)
{
	const uint32_t x = ((const struct identity *)a)->number;
	const uint32_t y = ((const struct identity *)b)->number;

	return (x > y) - (x < y);
}

static int in_force_read(struct numbers *numbers, const json_t *list)
{
	const size_t n = json_array_size(list);
	struct identity *item = arena_array(numbers->arena, n, sizeof(*item));

	if (!item)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const json_t *pair = json_array_get(list, i);
		const char *key = json_string_value(json_array_get(pair, 1));

		if (!key || number_of(json_array_get(pair, 0), &item[i].number))
			return -EINVAL;
		item[i].key = arena_strdup(numbers->arena, key);
		if (!item[i].key)
			return -ENOMEM;
	}
	if (n)
		qsort(item, n, sizeof(*item), identity_compare);
	for (size_t i = 1; i < n; i++)
		if (item[i].number == item[i - 1].number)
			return -EINVAL;
	numbers->in_force = item;
	numbers->n_in_force = n;
	return 0;
}

static int retired_read(struct numbers *numbers, const json_t *list)
{
	const json_t *value;
	size_t i;

	json_array_foreach(list, i, value)
	{
		uint32_t number;
		int r = number_of(value, &number);

		if (!r)
			r = numbers_seen(numbers, number);
		if (r)
			return r;
	}
	return 0;
}

static void forget(struct numbers *numbers)
{
	numbers->in_force = NULL;
	numbers->n_in_force = 0;
	numbers->n_retired = 0;
}

static int file_read(struct numbers *numbers, struct err *err)
{
	char bad[sizeof(numbers->path) + 4];
	json_error_t why = {};
	json_t *doc;
	int r = -EINVAL;

	if (access(numbers->path, F_OK))
		return 0;
	doc = json_load_file(numbers->path, 0, &why);
	if (json_is_array(json_object_get(doc, "identities")))
		r = in_force_read(numbers, json_object_get(doc, "identities"));
	if (!r)
		r = retired_read(numbers, json_object_get(doc, "retired"));
	json_decref(doc);
	if (r != -EINVAL)
		return r;
	forget(numbers);
	snprintf(bad, sizeof(bad), "%s.bad", numbers->path);
	(void)rename(numbers->path, bad);
	err_set(err, 0,
	        "%s: not what we wrote (%s); moved to %s, identities "
	        "get new numbers",
	        numbers->path, why.text, bad);
	return 0;
}

int numbers_open(struct numbers *numbers, const char *state_dir,
                 struct err *err)
{
	int r;

	*numbers = (struct numbers){};
	snprintf(numbers->path, sizeof(numbers->path), "%s/identities.json",
	         state_dir);
	numbers->arena = arena_new(0);
	r = numbers->arena ? file_read(numbers, err) : -ENOMEM;
	numbers->dirty = false;
	return r ? err_set(err, r, "%s: %s", numbers->path, strerror(-r)) : 0;
}

void numbers_close(struct numbers *numbers)
{
	arena_free(numbers->arena);
	free(numbers->retired);
	*numbers = (struct numbers){};
}

/* A JSON string; keys are labels and CIDRs, but the file is not to break. */
static void write_string(FILE *file, const char *text)
{
	fputc('"', file);
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c < ' ')
			fprintf(file, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			fprintf(file, "\\%c", c);
		else
			fputc(c, file);
	}
	fputc('"', file);
}

static int file_write(const struct numbers *numbers, const char *path,
                      const uint32_t *retired, size_t n_retired)
{
	FILE *file = fopen(path, "we");
	bool failed;

	if (!file)
		return -errno;
	fputs("{\"identities\": [", file);
	for (size_t i = 0; i < numbers->n_in_force; i++) {
		fprintf(file, "%s\n[%u, ", i ? "," : "",
		        numbers->in_force[i].number);
		write_string(file, numbers->in_force[i].key);
		fputc(']', file);
	}
	fputs("],\n\"retired\": [", file);
	for (size_t i = 0; i < n_retired; i++)
		fprintf(file, "%s%u", i ? ", " : "", retired[i]);
	fputs("]}\n", file);
	failed = ferror(file);
	if (fclose(file))
		return -errno;
	return failed ? -EIO : 0;
}

int numbers_save(struct numbers *numbers,
                 bool (*known)(uint32_t number, void *user), void *user,
                 struct err *err)
{
	char fresh[sizeof(numbers->path) + 4];
	uint32_t *left = calloc(numbers->n_retired + 1, sizeof(*left));
	size_t n = 0;
	int r;

	if (!left)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < numbers->n_retired; i++)
		if (known(numbers->retired[i], user))
			left[n++] = numbers->retired[i];
	snprintf(fresh, sizeof(fresh), "%s.new", numbers->path);
	r = file_write(numbers, fresh, left, n);
	if (!r && rename(fresh, numbers->path))
		r = -errno;
	if (r) {
		free(left);
		return err_set(err, r, "write %s: %s", numbers->path,
		               strerror(-r));
	}
	free(numbers->retired);
	numbers->retired = left;
	numbers->room_retired = numbers->n_retired + 1;
	numbers->n_retired = n;
	numbers->dirty = false;
	return 0;
}

/* ---- compiling ---------------------------------------------------------- */

int numbers_prev(const struct numbers *numbers, struct arena *arena,
                 struct identity **ret, size_t *ret_n)
{
	const size_t n = numbers->n_in_force + numbers->n_retired;
	struct identity *prev = arena_array(arena, n, sizeof(*prev));

	if (!prev)
		return -ENOMEM;
	if (numbers->n_in_force)
		memcpy(prev, numbers->in_force,
		       numbers->n_in_force * sizeof(*prev));
	for (size_t i = 0; i < numbers->n_retired; i++) {
		struct identity *gone = &prev[numbers->n_in_force + i];

		/* No identity has such a key. */
		gone->number = numbers->retired[i];
		gone->key = arena_printf(arena, "retired %u", gone->number);
		if (!gone->key)
			return -ENOMEM;
	}
	*ret = prev;
	*ret_n = n;
	return 0;
}

static bool is_same(const struct numbers *numbers,
                    const struct compiled *compiled)
{
	if (numbers->n_in_force != compiled->n_identities)
		return false;
	for (size_t i = 0; i < compiled->n_identities; i++)
		if (numbers->in_force[i].number !=
		            compiled->identity[i].number ||
		    strcmp(numbers->in_force[i].key,
		           compiled->identity[i].key) != 0)
			return false;
	return true;
}

int numbers_take(struct numbers *numbers, const struct compiled *compiled)
{
	const struct identity *old = numbers->in_force;
	const size_t n_old = numbers->n_in_force;

	if (!is_same(numbers, compiled))
		numbers->dirty = true;
	numbers->in_force = compiled->identity;
	numbers->n_in_force = compiled->n_identities;
	for (size_t i = 0; i < n_old; i++)
		if (numbers_seen(numbers, old[i].number)) {
			numbers->in_force = old;
			numbers->n_in_force = n_old;
			return -ENOMEM;
		}
	arena_free(numbers->arena); /* the file's keys are of no use now */
	numbers->arena = NULL;
	return 0;
}
