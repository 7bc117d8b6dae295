// SPDX-License-Identifier: Apache-2.0
/* packet.c - see packet.h. */
#include "test/lib/packet.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addr.h"

#define ETH_IP4   0x0800
#define ETH_ARP   0x0806
#define ETH_IP6   0x86dd
#define ICMP_HEAD 8

struct addr A(const char *text) {
	struct addr addr;

	if (addr_parse(text, &addr)) {
		fprintf(stderr, "packet: no address: %s\n", text);
		exit(99);
	}
	return addr;
}

static bool
is_v4(const struct addr *addr)
{
	return addr_family(addr) == FAMILY_V4;
}

/* ---- bytes --------------------------------------------------------------- */

static void put(struct packet *p, const void *data, size_t n)
{
	if (p->len + n > sizeof(p->byte)) {
		fprintf(stderr, "packet: larger than PACKET_MAX\n");
		exit(99);
	}
	if (data)
		memcpy(p->byte + p->len, data, n);
	p->len += n;
}

static void put8(struct packet *p, uint8_t v)
{
	put(p, &v, 1);
}

static void put16(struct packet *p, uint16_t v)
{
	v = htons(v);
	put(p, &v, 2);
}

static void put32(struct packet *p, uint32_t v)
{
	v = htonl(v);
	put(p, &v, 4);
}

static void set16(struct packet *p, size_t at, uint16_t v)
{
	p->byte[at] = (uint8_t)(v >> 8);
	p->byte[at + 1] = (uint8_t)v;
}

static uint16_t get16(const struct packet *p, size_t at)
{
	return (uint16_t)(p->byte[at] << 8 | p->byte[at + 1]);
}

static uint32_t get32(const struct packet *p, size_t at)
{
	return (uint32_t)get16(p, at) << 16 | get16(p, at + 2);
}

uint32_t checksum_add(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *byte = data;

	for (size_t i = 0; i < len; i++) {
		sum += i & 1 ? byte[i] : (uint32_t)byte[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

uint16_t checksum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* ---- building ------------------------------------------------------------ */

static void put_eth(struct packet *p, const uint8_t *dmac, const uint8_t *smac,
                    uint16_t ethertype)
{
	static const uint8_t zero[6];

	put(p, dmac ? dmac : zero, 6);
	put(p, smac ? smac : zero, 6);
	put16(p, ethertype);
}

static void put_payload(struct packet *p, const struct spec *s)
{
	if (s->payload) {
		put(p, s->payload, s->n_payload);
		return;
	}
	for (size_t i = 0; i < s->n_payload; i++)
		put8(p, (uint8_t)('a' + i % 26));
}

static uint32_t pseudo_sum(const struct spec *s, size_t len)
{
	const size_t n = is_v4(&s->saddr) ? 4 : 16;
	uint32_t sum = checksum_add(0, s->saddr.byte + 16 - n, n);

	sum = checksum_add(sum, s->daddr.byte + 16 - n, n);
	return sum + s->proto + (uint32_t)len;
}

static void put_tcp(struct packet *p, const struct spec *s)
{
	put16(p, s->sport);
	put16(p, s->dport);
	put32(p, 1000); /* sequence */
	put32(p, s->tcp & ACK ? 2000 : 0);
	put8(p, 5 << 4);
	put8(p, s->tcp);
	put16(p, 65535);
	put32(p, 0); /* checksum, urgent */
}

/* Where the transport checksum stands in its header; 0: it has none. */
static size_t check_at(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 2;
	}
	return 0;
}

static void put_transport(struct packet *p, const struct spec *s)
{
	const size_t start = p->len, check = check_at(s->proto);
	uint32_t sum;

	switch (s->proto) {
	case IPPROTO_TCP:
		put_tcp(p, s);
		break;
	case IPPROTO_UDP:
		put16(p, s->sport);
		put16(p, s->dport);
		put16(p, (uint16_t)(8 + s->n_payload));
		put16(p, 0);
		break;
	case IPPROTO_SCTP:
		put16(p, s->sport);
		put16(p, s->dport);
		put32(p, 1); /* verification tag */
		put32(p, 0); /* CRC, which nobody here reads */
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		put8(p, s->type);
		put8(p, s->code);
		put16(p, 0);
		put32(p, s->info);
		break;
	}
	put_payload(p, s);
	if (!check)
		return;
	sum = s->proto == IPPROTO_ICMP ? 0 : pseudo_sum(s, p->len - start);
	sum = checksum_add(sum, p->byte + start, p->len - start);
	set16(p, start + check, checksum_fold(sum));
	if (s->proto == IPPROTO_UDP && !get16(p, start + check))
		set16(p, start + check, 0xffff);
}

static void make_ip4(struct packet *p, const struct spec *s)
{
	const size_t l3 = p->len;
	const size_t head = 20 + s->n_options;
	uint16_t off = (uint16_t)(s->frag_off / 8);

	if (s->more)
		off |= 0x2000;
	put8(p, (uint8_t)(4 << 4 | head / 4));
	put8(p, 0);
	put16(p, 0); /* length */
	put16(p, (uint16_t)s->frag_id);
	put16(p, off);
	put8(p, s->ttl ? s->ttl : 64);
	put8(p, s->proto);
	put16(p, 0);
	put(p, &s->saddr.word[3], 4);
	put(p, &s->daddr.word[3], 4);
	put(p, s->options, s->n_options);
	if (s->frag_off)
		put_payload(p, s);
	else
		put_transport(p, s);
	set16(p, l3 + 2, (uint16_t)(p->len - l3));
	set16(p, l3 + 10, checksum_fold(checksum_add(0, p->byte + l3, head)));
}

/* One extension header in front of @next. */
static void put_ext(struct packet *p, const struct ext_spec *e, uint8_t next)
{
	size_t bytes = (size_t)(e->units + 1) * 8;
	const size_t start = p->len;

	if (e->type == IPPROTO_AH)
		bytes = (size_t)(e->units + 2) * 4;
	if (e->type == IPPROTO_FRAGMENT)
		bytes = 8;
	put8(p, next);
	put8(p, e->type == IPPROTO_FRAGMENT ? 0 : e->units);
	put(p, NULL, bytes - 2);
	memset(p->byte + start + 2, 0, bytes - 2);
	if (e->type == IPPROTO_ROUTING) {
		p->byte[start + 2] = e->routing;
		p->byte[start + 3] = e->left;
	} else if (e->type == IPPROTO_HOPOPTS || e->type == IPPROTO_DSTOPTS) {
		p->byte[start + 2] = 1; /* PadN */
		p->byte[start + 3] = (uint8_t)(bytes - 4);
	}
}

static void put_fragment(struct packet *p, const struct spec *s)
{
	put8(p, s->proto);
	put8(p, 0);
	put16(p, (uint16_t)(s->frag_off | s->more));
	put32(p, s->frag_id);
}

static void make_ip6(struct packet *p, const struct spec *s)
{
	const uint8_t last = s->frag ? IPPROTO_FRAGMENT : s->proto;
	const size_t l3 = p->len;

	put32(p, 6u << 28);
	put16(p, 0); /* length */
	put8(p, s->n_ext ? s->ext[0].type : last);
	put8(p, s->ttl ? s->ttl : 64);
	put(p, s->saddr.byte, 16);
	put(p, s->daddr.byte, 16);
	for (size_t i = 0; i < s->n_ext; i++)
		put_ext(p, &s->ext[i],
		        i + 1 < s->n_ext ? s->ext[i + 1].type : last);
	if (s->frag)
		put_fragment(p, s);
	if (s->frag_off)
		put_payload(p, s);
	else
		put_transport(p, s);
	set16(p, l3 + 4, (uint16_t)(p->len - l3 - 40));
}

struct packet packet_make(const struct spec *s)
{
	const bool v4 = is_v4(&s->saddr);
	struct packet p;

	p.len = 0;
	put_eth(&p, s->dmac, s->smac,
	        s->ethertype ? s->ethertype
	        : v4         ? ETH_IP4
	                     : ETH_IP6);
	if (v4)
		make_ip4(&p, s);
	else
		make_ip6(&p, s);
	return p;
}

struct spec spec_answer(const struct spec *s, uint8_t tcp)
{
	struct spec a = *s;

	a.smac = s->dmac;
	a.dmac = s->smac;
	a.saddr = s->daddr;
	a.daddr = s->saddr;
	a.sport = s->dport;
	a.dport = s->sport;
	a.tcp = tcp;
	if (s->proto == IPPROTO_ICMP)
		a.type = s->type == 8 ? 0 : 8;
	if (s->proto == IPPROTO_ICMPV6)
		a.type = s->type == 128 ? 129 : 128;
	return a;
}

struct spec spec_echo(struct addr from, struct addr to, uint16_t id, bool reply)
{
	const bool v4 = is_v4(&from);

	return (struct spec){
		.saddr = from,
		.daddr = to,
		.proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
		.type = (uint8_t)(v4 ? (reply ? 0 : 8) : (reply ? 129 : 128)),
		.info = (uint32_t)id << 16 | 1,
		.n_payload = 16,
	};
}

struct spec spec_error(struct addr from, const struct packet *quoted,
                       size_t quote_bytes, uint8_t type, uint8_t code,
                       uint32_t info)
{
	const bool v4 = is_v4(&from);
	const size_t have = quoted->len - ETH_BYTES;
	struct spec s = {
		.saddr = from,
		.proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
		.type = type,
		.code = code,
		.info = info,
		.payload = quoted->byte + ETH_BYTES,
		.n_payload = have < quote_bytes ? have : quote_bytes,
	};

	if (v4) {
		s.daddr = from; /* for the mapped form's constant part */
		memcpy(&s.daddr.word[3], quoted->byte + ETH_BYTES + 12, 4);
	} else {
		memcpy(s.daddr.byte, quoted->byte + ETH_BYTES + 8, 16);
	}
	return s;
}

struct packet packet_arp(uint16_t op, const uint8_t *smac, struct addr sender,
                         struct addr target)
{
	static const uint8_t all[6] = {255, 255, 255, 255, 255, 255}, none[6];
	struct packet p;

	p.len = 0;
	put_eth(&p, all, smac, ETH_ARP);
	put16(&p, 1);
	put16(&p, ETH_IP4);
	put8(&p, 6);
	put8(&p, 4);
	put16(&p, op);
	put(&p, smac, 6);
	put(&p, &sender.word[3], 4);
	put(&p, none, 6);
	put(&p, &target.word[3], 4);
	return p;
}

struct packet packet_nd(uint8_t type, const uint8_t *smac, struct addr from,
                        struct addr to, struct addr target)
{
	uint8_t body[24];

	memcpy(body, target.byte, 16);
	body[16] = type == 136 || type == 137 ? 2 : 1; /* link-layer address */
	body[17] = 1;
	memcpy(body + 18, smac, 6);
	return packet_make(&(struct spec){
		.smac = smac,
		.saddr = from,
		.daddr = to,
		.ttl = 255,
		.proto = IPPROTO_ICMPV6,
		.type = type,
		.payload = body,
		.n_payload = sizeof(body),
	});
}

/* ---- reading ------------------------------------------------------------- */

/* Of the bytes at @l3 within [0, @end). */
static bool read_ip4(const struct packet *p, size_t l3, size_t end,
                     struct facts *f)
{
	if (l3 + 20 > end || p->byte[l3] >> 4 != 4)
		return false;
	f->l4 = l3 + (size_t)(p->byte[l3] & 15) * 4;
	f->ip_bytes = get16(p, l3 + 2);
	f->ttl = p->byte[l3 + 8];
	f->proto = p->byte[l3 + 9];
	f->saddr = A("0.0.0.0");
	f->daddr = f->saddr;
	memcpy(&f->saddr.word[3], p->byte + l3 + 12, 4);
	memcpy(&f->daddr.word[3], p->byte + l3 + 16, 4);
	return true;
}

static bool read_ip6(const struct packet *p, size_t l3, size_t end,
                     struct facts *f)
{
	if (l3 + 40 > end || p->byte[l3] >> 4 != 6)
		return false;
	f->ip_bytes = 40u + get16(p, l3 + 4);
	f->proto = p->byte[l3 + 6];
	f->ttl = p->byte[l3 + 7];
	memcpy(f->saddr.byte, p->byte + l3 + 8, 16);
	memcpy(f->daddr.byte, p->byte + l3 + 24, 16);
	f->l4 = l3 + 40;
	while (f->l4 + 8 <= end &&
	       (f->proto == IPPROTO_HOPOPTS || f->proto == IPPROTO_DSTOPTS ||
	        f->proto == IPPROTO_ROUTING || f->proto == IPPROTO_FRAGMENT)) {
		const size_t units =
			f->proto == IPPROTO_FRAGMENT ? 0 : p->byte[f->l4 + 1];

		f->proto = p->byte[f->l4];
		f->l4 += (units + 1) * 8;
	}
	return true;
}

static bool read_transport(const struct packet *p, struct facts *f)
{
	switch (f->proto) {
	case IPPROTO_TCP:
		f->body = f->l4 + 20;
		break;
	case IPPROTO_SCTP:
		f->body = f->l4 + 12;
		break;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		f->body = f->l4 + 8;
		break;
	default:
		f->body = f->l4;
		return true;
	}
	if (f->body > p->len)
		return false;
	f->sport = get16(p, f->l4);
	f->dport = get16(p, f->l4 + 2);
	if (f->proto == IPPROTO_TCP)
		f->tcp = p->byte[f->l4 + 13];
	if (f->proto == IPPROTO_ICMP || f->proto == IPPROTO_ICMPV6) {
		f->type = p->byte[f->l4];
		f->code = p->byte[f->l4 + 1];
		f->info = get32(p, f->l4 + 4);
		f->sport = f->dport = (uint16_t)(f->info >> 16);
	}
	return true;
}

bool packet_read(const struct packet *p, struct facts *ret)
{
	struct facts f = {.l3 = ETH_BYTES};

	if (p->len < ETH_BYTES)
		return false;
	memcpy(f.dmac, p->byte, 6);
	memcpy(f.smac, p->byte + 6, 6);
	f.ethertype = get16(p, 12);
	if (f.ethertype == ETH_IP4
	            ? !read_ip4(p, f.l3, p->len, &f)
	            : f.ethertype != ETH_IP6 || !read_ip6(p, f.l3, p->len, &f))
		return false;
	if (f.l3 + f.ip_bytes > p->len || !read_transport(p, &f))
		return false;
	*ret = f;
	return true;
}

static bool header_right(const struct packet *p, size_t l3)
{
	const size_t head = (size_t)(p->byte[l3] & 15) * 4;

	return l3 + head <= p->len &&
	       !checksum_fold(checksum_add(0, p->byte + l3, head));
}

/* Of the transport that @f found, up to the end of its IP packet. */
static bool transport_right(const struct packet *p, const struct facts *f)
{
	const size_t len = f->l3 + f->ip_bytes - f->l4;
	const struct spec ends = {
		.saddr = f->saddr, .daddr = f->daddr, .proto = f->proto};
	uint32_t sum = 0;

	if (f->proto == IPPROTO_UDP && is_v4(&f->saddr) && !get16(p, f->l4 + 6))
		return true; /* the sender made none */
	if (f->proto != IPPROTO_ICMP)
		sum = pseudo_sum(&ends, len);
	return !checksum_fold(checksum_add(sum, p->byte + f->l4, len));
}

const char *packet_wrong_checksum(const struct packet *p)
{
	struct facts f;

	if (!packet_read(p, &f))
		return "the packet can not be read";
	if (f.ethertype == ETH_IP4 && !header_right(p, f.l3))
		return "the IPv4 header's checksum is wrong";
	if (check_at(f.proto) && !transport_right(p, &f))
		return "the transport's checksum is wrong";
	if (f.proto == IPPROTO_ICMP &&
	    (f.type == 3 || f.type == 11 || f.type == 12) &&
	    !header_right(p, f.body))
		return "the quoted IPv4 header's checksum is wrong";
	return NULL;
}

const char *packet_text(const struct packet *p)
{
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];
	static char text[256];
	struct facts f;

	if (!packet_read(p, &f)) {
		snprintf(text, sizeof(text), "a frame of %zu bytes", p->len);
		return text;
	}
	snprintf(text, sizeof(text),
	         "%s:%u > %s:%u protocol %u flags %02x type %u, %zu bytes",
	         addr_format(&f.saddr, from), f.sport,
	         addr_format(&f.daddr, to), f.dport, f.proto, f.tcp, f.type,
	         p->len);
	return text;
}
