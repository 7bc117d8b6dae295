/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syntax.h - which names and labels the Kubernetes API accepts.
 *
 * From k8s.io/apimachinery pkg/util/validation/validation.go.  A manifest from
 * a directory has passed no API server, so we ask ourselves.
 */
#pragma once

#include <stdbool.h>

/* RFC 1123 label: lower-case letters, digits, '-'; 1 to 63.  A namespace. */
bool syntax_is_dns_label(const char *text);
/* Such labels joined by '.', 1 to 253.  The name of a pod or a policy. */
bool syntax_is_dns_name(const char *text);
/* "name" or "prefix/name". */
bool syntax_is_label_key(const char *text);
/* Empty, or 1 to 63 of letters, digits, '-', '_', '.', ends alphanumeric. */
bool syntax_is_label_value(const char *text);
/* IANA service name: 1 to 15, lower case, at least one letter. */
bool syntax_is_port_name(const char *text);
