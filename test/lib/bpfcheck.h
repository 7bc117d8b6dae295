/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpfcheck.h - "this packet, there: that verdict", for tests of the datapath.
 *
 *	spec_want(run, "to a pod", FROM_POD(1), &spec, SENT);
 */
#pragma once

#include <linux/pkt_cls.h>

#include "test/lib/bpfrun.h"
#include "test/lib/rig.h"
#include "test/test.h"

struct place {
	enum hook hook;
	unsigned int pod; /* whose device; at the net's hooks: the uplink */
	uint32_t via; /* device that brought what the stack sends; 0: none */
};

#define FROM_POD(n) ((struct place){HOOK_FROM_POD, (n), 0})
#define TO_POD(n)   ((struct place){HOOK_TO_POD, (n), 0})
#define FROM_NETW   ((struct place){HOOK_FROM_NET, 0, 0})
#define TO_NETW     ((struct place){HOOK_TO_NET, 0, 0})
/* The stack forwards to a pod what the device @via brought. */
#define FORWARDED(n, via) ((struct place){HOOK_TO_POD, (n), (via)})

/* A verdict, and the counter that must have risen by one, alone. */
struct want {
	int verdict;
	enum drop drop;
};

#define SENT         ((struct want){TC_ACT_REDIRECT, DROP_NONE})
#define STACK        ((struct want){TC_ACT_OK, DROP_NONE})
#define UNTOUCHED    ((struct want){TC_ACT_UNSPEC, DROP_NONE})
#define SILENT       ((struct want){TC_ACT_SHOT, DROP_NONE})
#define DROPPED(why) ((struct want){TC_ACT_SHOT, DROP_##why})
/* Dropped and counted, and an error goes back to the sender. */
#define ANSWERED(why) ((struct want){TC_ACT_REDIRECT, DROP_##why})

/*
 * cmocka's: *state becomes a struct bpfrun *.  The group opens the datapath
 * (with bpfrun_config, or the config that *state points to); before each test
 * flows are forgotten and every pod is open again.
 */
int bpfcheck_group_setup(void **state);
int bpfcheck_group_teardown(void **state);
int bpfcheck_setup(void **state);

/* Run the packet; another outcome than @want fails the test, naming @name. */
struct outcome packet_want(struct bpfrun *run, const char *name,
                           struct place at, const struct packet *packet,
                           struct want want);
/* The same for a packet that is said; a pod's MAC address is put if none is. */
struct outcome spec_want(struct bpfrun *run, const char *name, struct place at,
                         const struct spec *spec, struct want want);

/* The bytes of a packet that left: readable, every checksum right. */
struct facts facts_of(const char *name, const struct packet *packet);

void addr_want(const char *name, struct addr got, struct addr want);

/* From pod to pod, port 40000 to 80, ten bytes of payload. */
struct spec pod_spec(unsigned int from, unsigned int to, enum family family,
                     uint8_t proto, uint8_t tcp);
/* From now on the pod may open no flow; no epoch is raised. */
void pod_mute(struct bpfrun *run, unsigned int pod);

/* Open a TCP flow from pod @a to pod @b, to the point where it is live. */
void tcp_establish(struct bpfrun *run, const struct spec *syn, struct place a,
                   struct place b);
