/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - what is served by HTTP: metrics for Prometheus, probes. */
#pragma once

#include "daemon/http.h"

/* /metrics, /healthz (the loop turns), /readyz (ADD can be served). */
extern const struct http_route metrics_routes[];
