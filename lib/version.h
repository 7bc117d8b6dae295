/* SPDX-License-Identifier: Apache-2.0 */
/* version.h - what `--version` says; the datapath's is ABI_VERSION. */
#pragma once

#define STILE_VERSION "0.1.0"
