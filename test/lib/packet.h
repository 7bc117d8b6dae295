/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet.h - frames for tests: said in one initializer, built, read, checked.
 *
 *	struct packet p = packet_make(&(struct spec){
 *		.smac = pod_mac, .saddr = A, .daddr = B,
 *		.proto = IPPROTO_TCP, .sport = 40000, .dport = 80, .tcp = SYN});
 *
 * The family is that of the addresses.  Lengths and checksums come out right
 * unless the spec says otherwise; a test that wants them wrong spoils bytes.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

#define PACKET_MAX 3072

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10

#define ETH_BYTES 14
#define EXT_SPECS 8

struct packet {
	size_t len;
	uint8_t byte[PACKET_MAX];
};

/* One IPv6 extension header; its next header is whatever follows. */
struct ext_spec {
	uint8_t type;    /* IPPROTO_HOPOPTS, _ROUTING, … or any number */
	uint8_t units;   /* the length field; 0: the smallest */
	uint8_t routing; /* type of a routing header */
	uint8_t left;    /* its segments left */
};

struct spec {
	const uint8_t *smac, *dmac; /* NULL: zeroes */
	uint16_t ethertype;         /* 0: that of the family */
	struct addr saddr, daddr;
	uint8_t ttl;           /* 0: 64 */
	uint8_t proto;         /* IPPROTO_* of the transport */
	uint16_t sport, dport; /* host order */
	uint8_t tcp;           /* TCP flags */
	uint8_t type, code;    /* of ICMP */
	uint32_t info;         /* behind ICMP's checksum: id << 16 | sequence */
	const void *payload;   /* NULL: filler */
	size_t n_payload;      /* bytes */
	const uint8_t *options; /* of IPv4, padded to four bytes */
	size_t n_options;
	struct ext_spec ext[EXT_SPECS]; /* of IPv6, ended by n_ext */
	size_t n_ext;
	bool frag;         /* a fragment; IPv6: its header comes last */
	bool more;         /* … more follow */
	uint16_t frag_off; /* … bytes, a multiple of 8; not 0: no transport */
	uint32_t frag_id;
};

/* What is on the wire, as read back from the bytes. */
struct facts {
	uint8_t smac[6], dmac[6];
	uint16_t ethertype;
	struct addr saddr, daddr;
	uint8_t ttl, proto;
	uint16_t sport, dport; /* ICMP echo: the id in both */
	uint8_t tcp, type, code;
	uint32_t info;
	size_t l3, l4;   /* offsets */
	size_t body;     /* offset of what follows the transport header */
	size_t ip_bytes; /* of the IP packet, as its header says */
};

/* Exits the program when the spec does not fit PACKET_MAX. */
struct packet packet_make(const struct spec *spec);

/* The packet that answers @spec: ends and MACs swapped, @tcp its flags. */
struct spec spec_answer(const struct spec *spec, uint8_t tcp);

/* Echo request (or its reply) of either family, @id the identifier. */
struct spec spec_echo(struct addr from, struct addr to, uint16_t id,
                      bool reply);

/*
 * An ICMP error from @from about @quoted (its IP packet; @quote_bytes of it at
 * most), sent to the quoted packet's source.  @type, @code, @info of that
 * family.  The payload lies in @quoted: keep it.
 */
struct spec spec_error(struct addr from, const struct packet *quoted,
                       size_t quote_bytes, uint8_t type, uint8_t code,
                       uint32_t info);

/* ARP, @op 1 asks, 2 answers; IPv4 addresses. */
struct packet packet_arp(uint16_t op, const uint8_t *smac, struct addr sender,
                         struct addr target);

/* Neighbour discovery, @type 133 to 137, hop limit 255, with a target. */
struct packet packet_nd(uint8_t type, const uint8_t *smac, struct addr from,
                        struct addr to, struct addr target);

/* Read @packet.  False when it is cut, or of no family of IP. */
bool packet_read(const struct packet *packet, struct facts *ret);

/*
 * Are all checksums right: IPv4 header, TCP, UDP, ICMP, and the IPv4 header
 * inside an ICMP error?  Return: NULL, or which is not.
 */
const char *packet_wrong_checksum(const struct packet *packet);

/* One's complement sum of @len bytes on top of @sum, not folded. */
uint32_t checksum_add(uint32_t sum, const void *data, size_t len);
uint16_t checksum_fold(uint32_t sum);

/* "10.0.0.1:40000 > 10.0.0.2:80 tcp SYN, 54 bytes" in a static buffer. */
const char *packet_text(const struct packet *packet);

/* Test addresses as text; exits the program when it is none. */
struct addr A(const char *text);
