/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.h - walking a manifest, remembering where we are.
 *
 * Inside policy/ only.  The functions return 0, -EINVAL with the sentence set
 * (the first one said stays), or -ENOMEM.  Absent and null are the same, as
 * for the API's pointers, lists and maps.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/policy.h"

struct parse {
	struct arena *arena;
	struct err *err;
	const char *kind; /* "Pod" */
	const char *ns;   /* NULL: none, or not known yet */
	const char *name;
	bool concluded; /* the sentence says what was kept */
	size_t depth;   /* bytes of path */
	char path[128]; /* "spec.ingress[0].from[1]" */
};

/* Step into a field, or element @i of it; parse_leave() takes it back. */
size_t parse_enter(struct parse *p, const char *field);
size_t parse_enter_item(struct parse *p, const char *field, size_t i);
void parse_leave(struct parse *p, size_t mark);
/* Each element of @list, the one in hand said as "field[i]".  Return: 0, or of
 * @each the first that is not. */
int parse_each(struct parse *p, const char *field, json_t *list,
               int (*each)(struct parse *p, json_t *item, void *user),
               void *user);
/* An element that must be a string; borrowed. */
int parse_text(struct parse *p, json_t *item, const char **ret);

/* Say "KIND NS/NAME: PATH: …".  Return: -EINVAL. */
__attribute__((format(printf, 2, 3))) int parse_fail(struct parse *p,
                                                     const char *fmt, ...);
int parse_nomem(struct parse *p);
/* End the sentence with what was done about it; the first word stands. */
void parse_conclude(struct parse *p, const char *text);

/* A field, NULL when absent or null. */
json_t *parse_field(json_t *object, const char *field);
/* Is every field of @object in @known (NULL ends it)? */
int parse_known(struct parse *p, json_t *object, const char *const *known);
/* The field when it has the type; NULL in @ret when it is absent. */
int parse_object(struct parse *p, json_t *object, const char *field,
                 json_t **ret);
int parse_list(struct parse *p, json_t *object, const char *field,
               json_t **ret);
int parse_string(struct parse *p, json_t *object, const char *field,
                 const char **ret);
/* @otherwise when absent. */
int parse_bool(struct parse *p, json_t *object, const char *field,
               bool otherwise, bool *ret);
/* Append to @list, where the caller made room, unless it is there already. */
int parse_addr(struct parse *p, const char *text, struct addr *list, size_t *n);
/* A string's copy in the arena. */
int parse_copy(struct parse *p, const char *text, const char **ret);
/* 1 to 65535, host order. */
int parse_port(struct parse *p, json_t *value, uint16_t *ret);
/* TCP when absent. */
int parse_protocol(struct parse *p, json_t *object, uint8_t *ret);
/* A map of labels, sorted by key. */
int parse_labels(struct parse *p, json_t *object, struct labels *ret);

int selector_parse(struct parse *p, json_t *object, struct selector *ret);
int peer_parse(struct parse *p, json_t *object, struct peer *ret);
int port_spec_parse(struct parse *p, json_t *object, struct port_spec *ret);
/* @p: kind, ns and name are set.  Fills all but ns and name. */
int netpol_parse(struct parse *p, json_t *doc, struct netpol *ret);
int pod_parse(struct parse *p, json_t *doc, struct pod *ret);
int node_parse(struct parse *p, json_t *doc, struct node_object *ret);
/* Fill all but ns and name; the labels are the object's. */
int service_parse(struct parse *p, json_t *doc, const struct labels *labels,
                  struct service_object *ret);
int slice_parse(struct parse *p, json_t *doc, const struct labels *labels,
                struct slice_object *ret);
