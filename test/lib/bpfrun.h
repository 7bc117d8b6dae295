/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpfrun.h - the real datapath, fed packet by packet (BPF_PROG_TEST_RUN).
 *
 * A node of its own: pods on veths, one uplink, routes, in the network and
 * mount namespaces that the test runner made.  Delivery is not tested here: a
 * redirect is only a return code.
 *
 *	pod N (1 to BPFRUN_PODS): endpoint N, 10.0.0.N, fd00::N, a device
 *	the node: 192.0.2.1, 2001:db8:9::1 on the uplink; default routes there
 *
 * Every function that can fail ends the program with a sentence: a test that
 * has no datapath proves nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "daemon/dp.h"
#include "policy/policy.h"
#include "test/lib/packet.h"

#define BPFRUN_PODS 40u

/* Identities of the rig: pod N has ID(CLASS_POD*, ID_SERIAL_FIRST + N). */
#define BPFRUN_ID4(n) ID(CLASS_POD4, ID_SERIAL_FIRST + (n))
#define BPFRUN_ID6(n) ID(CLASS_POD6, ID_SERIAL_FIRST + (n))

struct bpfrun {
	struct dp *dp;
	int prog[HOOK__COUNT];        /* HOOK_FROM_POD to HOOK_TO_NET */
	int shard[FLOW_SHARDS];       /* of the main table */
	uint32_t pod_if[BPFRUN_PODS]; /* by pod number; [0] is 0 */
	uint32_t uplink_if;
	uint32_t via_if; /* the device that brought what runs next; 0: none */
	int drops_fd, n_cpus;
	void *drops; /* scratch for reading the counters */
};

/* What became of a packet. */
struct outcome {
	int verdict;        /* TC_ACT_* */
	enum drop drop;     /* whose counter rose at the hook; DROP_NONE */
	unsigned int drops; /* how many drop counters rose, and by how much */
	uint32_t mark;      /* of the skb, afterwards */
	struct packet out;  /* its bytes, afterwards */
};

/* What the rig is made with unless a test says otherwise. */
extern const struct dp_config bpfrun_config;

/* Make the devices once, load the datapath, put the pods and the uplink. */
void bpfrun_open(struct bpfrun *run, const struct dp_config *config);
/* The same without pods, addresses and prefixes: for worlds of the caller's. */
void bpfrun_open_bare(struct bpfrun *run, const struct dp_config *config);
/* Unpins everything too. */
void bpfrun_close(struct bpfrun *run);

/* MAC address of pod @n's interface; [0] is somebody else's. */
const uint8_t *pod_mac(unsigned int n);
/* Address of pod @n in a family. */
struct addr pod_addr(unsigned int n, enum family family);
/* Put (back) pod @n as the rig has it, in policy slot @slot. */
void bpfrun_pod(struct bpfrun *run, unsigned int n, uint32_t slot);

/* Run one packet at a hook of a device; counters are read around it. */
struct outcome bpfrun_packet(struct bpfrun *run, enum hook hook,
                             uint32_t ifindex, const struct packet *packet);
/* The same with a GSO size. */
struct outcome bpfrun_gso(struct bpfrun *run, enum hook hook, uint32_t ifindex,
                          const struct packet *packet, uint32_t gso_size);
/* Only the verdict, as fast as can be; @bytes is not written to. */
int bpfrun_verdict(const struct bpfrun *run, enum hook hook, uint32_t ifindex,
                   const void *bytes, size_t len);

/* The same with the bytes that came out; -1 when the kernel refuses to run. */
int bpfrun_bytes(const struct bpfrun *run, enum hook hook, uint32_t ifindex,
                 const struct packet *packet, struct packet *ret);

/* Forget every flow and fragment, and what endpoints are charged with. */
void bpfrun_flush(struct bpfrun *run);
uint64_t bpfrun_counter(struct bpfrun *run, enum counter which);

/* The key of both directions of the packet @spec, as bpf/abi.h says. */
struct flow_key bpfrun_key(const struct spec *spec);
/* The live entry of either table.  False: none. */
bool bpfrun_flow(struct bpfrun *run, const struct spec *spec, struct flow *ret);
/* The entry of that key in either table, dead ones too. */
bool bpfrun_flow_at(struct bpfrun *run, const struct flow_key *key,
                    struct flow *ret);
/* Write an entry over the one that is there, in its table. */
void bpfrun_flow_write(struct bpfrun *run, const struct flow_key *key,
                       const struct flow *flow);

/*
 * A slot with these entries; their shapes are found and isolation is that of
 * @dirs (a bit for each enum dir).
 */
uint32_t bpfrun_slot(struct bpfrun *run, unsigned int dirs,
                     const struct policy_entry *entry, size_t n);

/* Read one event, oldest first.  False: none waits. */
bool bpfrun_event(struct bpfrun *run, struct event *ret);
/* Throw waiting events away. */
void bpfrun_events_skip(struct bpfrun *run);
