// SPDX-License-Identifier: Apache-2.0
/* Random histories of an API server, told late, twice and out of step, must
 * leave the store as the server is. */
#include "daemon/kube_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "test/lib/rng.h"
#include "test/test.h"

#define NAMES   6
#define HISTORY 400

struct fixture {
	struct store store;
	struct kube_cache cache;
};

/* One change in the server's life; its index + 1 is the version. */
struct change {
	int name;
	unsigned uid;
	bool deleted;
};

struct server {
	struct change change[HISTORY];
	unsigned n, uids;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct kube_kind *kind = kube_kinds;

	while (strcmp(kind->kind, "Pod") != 0)
		kind++;
	f->cache.kind = kind;
	f->cache.store = &f->store;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kube_cache_free(&f->cache);
	store_clear(&f->store);
	free(f);
	return 0;
}

/* A pod as it was at @version: its label says which version it is. */
static json_t *pod_json(const struct server *s, unsigned version)
{
	const struct change *c = &s->change[version - 1];
	char name[16], uid[16], text[16];

	snprintf(name, sizeof(name), "p%d", c->name);
	snprintf(uid, sizeof(uid), "u%u", c->uid);
	snprintf(text, sizeof(text), "%u", version);
	return json_pack("{s:{s:s, s:s, s:s, s:s, s:{s:s}}}", "metadata",
	                 "namespace", "shop", "name", name, "uid", uid,
	                 "resourceVersion", text, "labels", "v", text);
}

/* The newest version of a name at @at; 0: it is not there. */
static unsigned version_at(const struct server *s, int name, unsigned at)
{
	for (unsigned v = at; v; v--)
		if (s->change[v - 1].name == name)
			return s->change[v - 1].deleted ? 0 : v;
	return 0;
}

static void change_make(struct server *s, struct rng *rng)
{
	const int name = (int)rng_below(rng, NAMES);
	const unsigned old = version_at(s, name, s->n);
	struct change *c = &s->change[s->n];

	c->name = name;
	c->deleted = old && !rng_below(rng, 3);
	c->uid = old ? s->change[old - 1].uid : ++s->uids;
	s->n++;
}

static void event_tell(struct fixture *f, const struct server *s, unsigned v)
{
	char version[KUBE_VERSION_MAX] = "";
	const struct change *c = &s->change[v - 1];
	const char *type = c->deleted                      ? "DELETED"
	                   : version_at(s, c->name, v - 1) ? "MODIFIED"
	                                                   : "ADDED";
	_cleanup_(json_decrefp) json_t *event =
		json_pack("{s:s, s:o}", "type", type, "object", pod_json(s, v));
	struct err err = {};

	assert_int_equal(kube_cache_event(&f->cache, event, version, &err),
	                 KUBE_EVENT_OBJECT);
	assert_int_equal(atoi(version), v);
}

/* Nobody goes back behind what a get has brought. */
static void fetched_stay(const struct fixture *f, const unsigned fetched[NAMES])
{
	for (int name = 0; name < NAMES; name++) {
		const struct pod *pod;
		char text[16];

		snprintf(text, sizeof(text), "p%d", name);
		pod = store_pod(&f->store, "shop", text);
		if (fetched[name] && !pod)
			fail_msg("%s went, but was there at %u", text,
			         fetched[name]);
		if (fetched[name])
			assert_true((unsigned)atoi(pod->labels.item[0].value) >=
			            fetched[name]);
	}
}

static void fetch_tell(struct fixture *f, const struct server *s, int name,
                       unsigned at)
{
	const unsigned v = version_at(s, name, at);
	_cleanup_(json_decrefp) json_t *doc = v ? pod_json(s, v) : NULL;
	struct err err = {};

	if (doc)
		(void)kube_cache_fetched(&f->cache, doc, &err);
}

/* The list as of @at, half of it only when @cut; gets and changes between. */
static void list_tell(struct fixture *f, struct server *s, struct rng *rng,
                      bool cut)
{
	const unsigned at = s->n;
	unsigned fetched[NAMES] = {};
	struct err err = {};
	char version[16];

	kube_cache_list_begin(&f->cache);
	for (int name = 0; name < (cut ? NAMES / 2 : NAMES); name++) {
		const unsigned v = version_at(s, name, at);
		_cleanup_(json_decrefp) json_t *doc = v ? pod_json(s, v) : NULL;

		if (doc)
			assert_int_equal(
				kube_cache_list_item(&f->cache, doc, &err), 0);
		if (!rng_below(rng, 4) && s->n < HISTORY) {
			change_make(s, rng);
			fetch_tell(f, s, s->change[s->n - 1].name, s->n);
			if (!s->change[s->n - 1].deleted)
				fetched[s->change[s->n - 1].name] = s->n;
		}
		fetched_stay(f, fetched);
	}
	if (cut)
		return;
	snprintf(version, sizeof(version), "%u", at);
	kube_cache_list_end(&f->cache, version);
	fetched_stay(f, fetched);
	for (unsigned v = at + 1; v <= s->n; v++)
		event_tell(f, s, v);
}

static void compare(struct fixture *f, const struct server *s)
{
	for (int name = 0; name < NAMES; name++) {
		const unsigned v = version_at(s, name, s->n);
		const struct pod *pod;
		char text[16];

		snprintf(text, sizeof(text), "p%d", name);
		pod = store_pod(&f->store, "shop", text);
		assert_int_equal(!!pod, !!v);
		if (pod)
			assert_int_equal(atoi(pod->labels.item[0].value), v);
	}
}

static void late_tell(struct fixture *f, struct server *s, struct rng *rng)
{
	unsigned fetched[NAMES] = {}, told = s->n;
	int name;

	for (int i = 0; i < 6; i++)
		change_make(s, rng);
	name = s->change[s->n - 1].name;
	fetch_tell(f, s, name, s->n);
	if (!s->change[s->n - 1].deleted)
		fetched[name] = s->n;
	while (told < s->n) {
		event_tell(f, s, ++told);
		fetched_stay(f, fetched);
	}
}

static void step(struct fixture *f, struct server *s, struct rng *rng)
{
	const unsigned told = s->n;

	switch (rng_below(rng, 8)) {
	case 0: /* the watch broke, and its version is forgotten */
		change_make(s, rng);
		list_tell(f, s, rng, true);
		list_tell(f, s, rng, false);
		break;
	case 1: /* a get that saw an older state, or the newest */
		if (told)
			fetch_tell(f, s, (int)rng_below(rng, NAMES),
			           told - rng_below(rng, told < 5 ? 1 : 5));
		break;
	case 2: /* the watch goes on from an older version: told twice */
		for (unsigned v = told > 3 ? told - 3 : 1; v <= told; v++)
			if (told) {
				event_tell(f, s, v);
				compare(f, s);
			}
		break;
	case 3: /* ADD was faster than several events */
		late_tell(f, s, rng);
		break;
	default:
		change_make(s, rng);
		if (rng_below(rng, 2)) /* ADD was faster than the watch */
			fetch_tell(f, s, s->change[s->n - 1].name, s->n);
		event_tell(f, s, s->n);
	}
	compare(f, s);
}

static void any_history_ends_as_the_server_is(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct server s = {};
		struct rng rng = {.state = seed};
		void *fresh;

		setup(&fresh);
		change_make(&s, &rng); /* no version is 0 */
		list_tell(fresh, &s, &rng, false);
		while (s.n < HISTORY - NAMES * 2)
			step(fresh, &s, &rng);
		teardown(&fresh);
	}
}

static void a_watch_that_is_too_old_is_told_from_an_error(void **state)
{
	static const struct {
		const char *event;
		int want;
	} rows[] = {
		{"{\"type\":\"ERROR\",\"object\":{\"code\":410}}",
	         KUBE_EVENT_GONE								       },
		{"{\"type\":\"ERROR\",\"object\":{\"reason\":\"Expired\"}}",
	         KUBE_EVENT_GONE								       },
		{"{\"type\":\"ERROR\",\"object\":{\"code\":500}}",
	         KUBE_EVENT_ERROR								      },
		{"{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\","
	         "\"metadata\":{\"resourceVersion\":\"9\"}}}",     KUBE_EVENT_BOOKMARK},
		{"{\"type\":\"ADDED\"}",					    -EINVAL            },
		{"{\"type\":\"OTHER\",\"object\":{}}",                              -EINVAL            },
		{"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}",
	         -EINVAL									       },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(json_decrefp) json_t *event =
			json_loads(rows[i].event, 0, NULL);
		char version[KUBE_VERSION_MAX];
		struct err err = {};

		assert_int_equal(
			kube_cache_event(&f->cache, event, version, &err),
			rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_history_ends_as_the_server_is),
		cmocka_unit_test_setup_teardown(
			a_watch_that_is_too_old_is_told_from_an_error, setup,
			teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
