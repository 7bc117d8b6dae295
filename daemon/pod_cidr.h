/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pod_cidr.h - the addresses of our pods, as this node's Node gives them.
 *
 * Without --pod-cidr they are taken once, from spec.podCIDRs, and written to
 * <state-dir>/pod-cidrs: another range later is an error, what is used stays,
 * unless no pod has an address of it.
 */
#pragma once

#include "daemon/daemon.h"

/* At start: those given, or those of last time; opens the ranges. */
int pod_cidrs_open(struct daemon *daemon, struct err *err);
/* The source has changed. */
void pod_cidrs_learn(struct daemon *daemon);
/* What is wrong with them: [{object, error}], or NULL; borrowed. */
json_t *pod_cidrs_problem(const struct daemon *daemon);
