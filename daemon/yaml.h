/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml.h - manifests as text, documents as JSON.
 *
 * Scalars are read as Kubernetes reads them (sigs.k8s.io/yaml, which stands on
 * goyaml.v2 resolve.go): the core schema of YAML 1.2, and also yes/no/on/off
 * as truth values, 0x/0o/0b and leading-zero octal, underscores in numbers.
 * Quoted text is always a string.  "<<" merges.  Keys of numbers and truth
 * values become strings; other keys, keys given twice, NUL in a string, and
 * tags outside the core schema are refused.
 *
 * An alias shares its anchor's value, so that it costs nothing, but counts as
 * often as it is used against YAML_NODES_MAX.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "lib/err.h"

#define YAML_BYTES_MAX (32u << 20) /* of one file */
#define YAML_DEPTH_MAX 64u
#define YAML_NODES_MAX 4000000u /* of one file, aliases written out */

/**
 * yaml_load - every document of a YAML text.
 *
 * @text: @len bytes, no terminator needed.
 * @ret:  an array of the documents in their order, a new reference; empty
 *        documents (nothing, null) are left out.  Values may be shared between
 *        places: read them, do not change them.
 *
 * Return: 0; -EINVAL with a sentence that begins with the line; -E2BIG;
 * -ENOMEM.  All or nothing.
 */
int yaml_load(const char *text, size_t len, json_t **ret, struct err *err);

/* The same for JSON: one value, or several one after another. */
int yaml_load_json(const char *text, size_t len, json_t **ret, struct err *err);

/* What a plain scalar of @len bytes stands for: a new reference, or NULL when
 * JSON cannot say it (.inf, .nan) or memory is out.  (yaml_scalar.c) */
json_t *yaml_scalar(const char *text, size_t len);
