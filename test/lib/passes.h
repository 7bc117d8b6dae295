/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passes.h - a node without devices: a store, endpoints and real maps, for
 * tests that make passes over them.  @setup brings pods web (1) and db (2) of
 * namespace shop, whose labels are app=web and app=db; no pass is made yet.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/reconcile_impl.h"

struct fixture {
	char dir[32]; /* the state directory */
	struct config config;
	struct loop *loop;
	struct loop_timer enough;
	struct dp *dp;
	struct store store;
	struct endpoints endpoints;
	struct node node;
	struct node_addr node_addr;
	struct reconcile *rec;
};

int passes_setup(void **state);
int passes_teardown(void **state);

/* Takes @doc. */
void put(struct fixture *f, const char *file, json_t *doc);
void put_pod(struct fixture *f, const char *name, const char *app);
/* @spec: what follows podSelector, app=@app, with ' for ". */
void put_policy(struct fixture *f, const char *name, const char *app,
                const char *spec);
/* An attachment, as cni.add makes it: 10.1.0.@number. */
struct ep *add(struct fixture *f, uint16_t number, const char *pod);
/* Start and end a daemon. */
void up(struct fixture *f);
void down(struct fixture *f);
/* One that succeeds. */
void pass(struct fixture *f);
/* Until what waits for a quiet moment has been done. */
void quiet(struct fixture *f);

struct endpoint endpoint_in_kernel(struct fixture *f, uint16_t number);
/* 0: no such whole address. */
uint32_t identity_in_kernel(struct fixture *f, const char *text);
/* May @from open TCP @port to endpoint @number, by the slot in the kernel? */
bool allows(struct fixture *f, uint16_t number, const char *from,
            uint16_t port);
/* Does the slot in the kernel isolate it? */
bool isolates(struct fixture *f, uint16_t number, enum dir dir);
/* What reconcile_verify() finds, and what a pass would do. */
size_t differences(struct fixture *f);
size_t planned(struct fixture *f);

#define FROM_WEB                                                              \
	"'ingress':[{'from':[{'podSelector':{'matchLabels':{'app':'web'}}}]," \
	"'ports':[{'port':5432}]}]"
