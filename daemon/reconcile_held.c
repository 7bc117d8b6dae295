// SPDX-License-Identifier: Apache-2.0
/* reconcile_held.c - endpoints that are not judged by the policies that select
 * them, and what else is not in force as it was written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/reconcile_impl.h"
#include "lib/log.h"

#define FAILURE "policies" /* the object of a pass that failed */

/* ---- problems ----------------------------------------------------------- */

static void problem_add(json_t *problems, const char *object, const char *error)
{
	json_array_append_new(problems, json_pack("{s:s,s:s}", "object", object,
	                                          "error", error));
}

static const char *text_of(const json_t *problem, const char *key)
{
	const char *text = json_string_value(json_object_get(problem, key));

	return text ? text : "";
}

static bool problem_in(const json_t *problems, const json_t *problem)
{
	const json_t *old;
	size_t i;

	json_array_foreach(problems, i,
	                   old) if (json_equal(old, problem)) return true;
	return false;
}

/* Takes @problems; says those that are new. */
static void problems_set(struct reconcile *rec, json_t *problems)
{
	const json_t *problem;
	size_t i;

	json_array_foreach(problems, i,
	                   problem) if (!problem_in(rec->problems, problem))
		log_err("%s: %s", text_of(problem, "object"),
	                text_of(problem, "error"));
	json_decref(rec->problems);
	rec->problems = problems;
}

void failure_note(struct reconcile *rec, const struct err *err)
{
	json_t *problems = json_array(), *old;
	size_t i;

	free(rec->failure);
	rec->failure = strdup(err->text);
	problem_add(problems, FAILURE, err->text);
	json_array_foreach(rec->problems, i,
	                   old) if (strcmp(text_of(old, "object"), FAILURE) !=
	                            0) json_array_append(problems, old);
	problems_set(rec, problems);
}

/* ---- endpoints ---------------------------------------------------------- */

const char *endpoint_object(const struct reconcile *rec, uint16_t endpoint,
                            char buf[OBJECT_TEXT_MAX])
{
	const struct ep *ep = &rec->in.endpoints->ep[endpoint];

	if (ep->pod_name[0])
		snprintf(buf, OBJECT_TEXT_MAX, "Pod/%s/%s", ep->pod_ns,
		         ep->pod_name);
	else
		snprintf(buf, OBJECT_TEXT_MAX, "endpoint %u", endpoint);
	return buf;
}

static void held_add(struct reconcile *rec, json_t *problems, uint16_t endpoint,
                     const char *error)
{
	char object[OBJECT_TEXT_MAX];

	problem_add(problems, endpoint_object(rec, endpoint, object), error);
	free(rec->held[endpoint]);
	rec->held[endpoint] = strdup(error);
}

/* Tables that do not fit, by the compiler's word. */
static void refused_note(struct reconcile *rec, const struct compiled *compiled,
                         json_t *problems)
{
	char error[600];

	for (size_t i = 0; i < compiled->n_endpoints; i++) {
		const struct endpoint_policy *ep = &compiled->endpoint[i];

		if (!ep->refused)
			continue;
		snprintf(error, sizeof(error),
		         "%s; its last good policy stays in force; in a "
		         "direction without one it is allowed nothing",
		         ep->refused);
		held_add(rec, problems, ep->endpoint, error);
	}
}

/* And by the kernel's. */
static void refusals_note(struct reconcile *rec, const struct apply *apply,
                          json_t *problems)
{
	char error[600];

	for (size_t i = 0; i < apply->n_refusals; i++) {
		const struct apply_refusal *no = &apply->refusal[i];

		snprintf(error, sizeof(error), "%s; %s; it is tried again",
		         no->why.text,
		         no->closed ? "in a direction in which it has no last "
		                      "good policy it is allowed nothing"
		                    : "its last good policy stays in force");
		held_add(rec, problems, no->endpoint, error);
	}
}

static void unknown_note(struct reconcile *rec, json_t *problems)
{
	for (uint16_t i = 1; i < ENDPOINT_MAX; i++)
		if (rec->intent.unknown[i])
			held_add(
				rec, problems, i,
				"its labels are not known: its manifest is "
				"gone, and our copy of it; it keeps the policy "
				"that it had, and is closed where a policy "
				"selects all of its namespace");
}

void held_note(struct reconcile *rec, const struct compiled *compiled,
               const struct apply *apply)
{
	json_t *problems = json_array();

	held_clear(rec);
	refused_note(rec, compiled, problems);
	refusals_note(rec, apply, problems);
	unknown_note(rec, problems);
	problems_set(rec, problems);
}

void held_clear(struct reconcile *rec)
{
	for (unsigned i = 0; i < ENDPOINT_MAX; i++) {
		free(rec->held[i]);
		rec->held[i] = NULL;
	}
	free(rec->failure);
	rec->failure = NULL;
}

const char *reconcile_held(const struct reconcile *rec, uint16_t endpoint)
{
	return rec->held[endpoint % ENDPOINT_MAX];
}

const char *reconcile_failure(const struct reconcile *rec)
{
	return rec->failure;
}

bool reconcile_has(const struct reconcile *rec, uint64_t store_revision)
{
	return rec->arena && store_revision <= rec->store_revision;
}

json_t *reconcile_problems(const struct reconcile *rec)
{
	return json_incref(rec->problems);
}
