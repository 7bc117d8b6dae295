/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flood.c - SYNs of many tuples, straight onto a device.
 *
 *	flood DEVICE DMAC SADDR DADDR FIRST-PORT PORTS COUNT RATE
 *
 * COUNT different tuples (source ports 1024 to 65023, then the next of PORTS
 * destination ports), RATE a second; prints {"sent"} and how long it took.
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH      64u
#define PORT_LOW   1024u
#define PORT_COUNT 64000u

struct frame {
	size_t len;
	size_t l4;    /* where the TCP header begins */
	uint32_t sum; /* of the pseudo header */
	uint8_t bytes[ETH_HLEN + sizeof(struct ipv6hdr) +
	              sizeof(struct tcphdr)];
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint32_t sum_add(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *byte = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)byte[i] << 8 | byte[i + 1];
	return sum;
}

static uint16_t sum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void frame_v4(struct frame *frame, const char *saddr, const char *daddr)
{
	struct iphdr ip = {
		.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP};

	ip.tot_len = htons(sizeof(ip) + sizeof(struct tcphdr));
	if (inet_pton(AF_INET, saddr, &ip.saddr) != 1 ||
	    inet_pton(AF_INET, daddr, &ip.daddr) != 1)
		die("address");
	ip.check = sum_fold(sum_add(0, &ip, sizeof(ip)));
	memcpy(frame->bytes + ETH_HLEN, &ip, sizeof(ip));
	frame->l4 = ETH_HLEN + sizeof(ip);
	frame->sum = sum_add(0, &ip.saddr, 8);
}

static void frame_v6(struct frame *frame, const char *saddr, const char *daddr)
{
	struct ipv6hdr ip = {
		.version = 6, .hop_limit = 64, .nexthdr = IPPROTO_TCP};

	ip.payload_len = htons(sizeof(struct tcphdr));
	if (inet_pton(AF_INET6, saddr, &ip.saddr) != 1 ||
	    inet_pton(AF_INET6, daddr, &ip.daddr) != 1)
		die("address");
	memcpy(frame->bytes + ETH_HLEN, &ip, sizeof(ip));
	frame->l4 = ETH_HLEN + sizeof(ip);
	frame->sum = sum_add(0, &ip.saddr, 32);
}

static void frame_init(struct frame *frame, int fd, char **argv)
{
	unsigned m[ETH_ALEN];
	struct ifreq ifr = {};
	int v6 = strchr(argv[3], ':') != NULL;

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", argv[1]);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		die(argv[1]);
	if (sscanf(argv[2], "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3],
	           &m[4], &m[5]) != ETH_ALEN)
		die(argv[2]);
	for (int i = 0; i < ETH_ALEN; i++)
		frame->bytes[i] = (uint8_t)m[i];
	memcpy(frame->bytes + ETH_ALEN, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	frame->bytes[12] = v6 ? 0x86 : 0x08;
	frame->bytes[13] = v6 ? 0xdd : 0x00;
	(v6 ? frame_v6 : frame_v4)(frame, argv[3], argv[4]);
	frame->sum += IPPROTO_TCP + sizeof(struct tcphdr);
	frame->len = frame->l4 + sizeof(struct tcphdr);
}

static void frame_syn(struct frame *frame, uint32_t number, uint16_t dport)
{
	struct tcphdr tcp;

	memset(&tcp, 0, sizeof(tcp));
	tcp.doff = 5;
	tcp.syn = 1;

	tcp.source = htons((uint16_t)(PORT_LOW + number % PORT_COUNT));
	tcp.dest = htons(dport);
	tcp.seq = htonl(number * 2654435761u);
	tcp.window = htons(65535);
	tcp.check = sum_fold(sum_add(frame->sum, &tcp, sizeof(tcp)));
	memcpy(frame->bytes + frame->l4, &tcp, sizeof(tcp));
}

static int packet_socket(const char *device)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
	                         .sll_ifindex = (int)if_nametoindex(device)};
	int fd = socket(AF_PACKET, SOCK_RAW, 0); /* receives nothing */

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)))
		die(device);
	return fd;
}

/* Wait until @sent packets are due at @rate a second from @start on. */
static void pace(const struct timespec *start, uint64_t sent, uint64_t rate)
{
	uint64_t ns = (uint64_t)start->tv_nsec + sent * 1000000000ull / rate;
	struct timespec at = {.tv_sec =
	                              start->tv_sec + (time_t)(ns / 1000000000),
	                      .tv_nsec = (long)(ns % 1000000000)};

	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void flood(int fd, struct frame *frame, char **argv)
{
	unsigned first = (unsigned)strtoul(argv[5], NULL, 10);
	unsigned ports = (unsigned)strtoul(argv[6], NULL, 10);
	uint64_t count = strtoull(argv[7], NULL, 10);
	uint64_t rate = strtoull(argv[8], NULL, 10);
	struct mmsghdr msg[BATCH] = {};
	struct frame copy[BATCH];
	struct iovec iov[BATCH];
	struct timespec start, end;
	uint64_t sent = 0;
	unsigned n;
	int done;

	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	while (sent < count) {
		n = count - sent < BATCH ? (unsigned)(count - sent) : BATCH;
		for (unsigned i = 0; i < n; i++) {
			uint32_t number = (uint32_t)(sent + i);

			copy[i] = *frame;
			frame_syn(&copy[i], number,
			          (uint16_t)(first +
			                     number / PORT_COUNT % ports));
			iov[i] = (struct iovec){copy[i].bytes, copy[i].len};
			msg[i].msg_hdr.msg_iov = &iov[i];
			msg[i].msg_hdr.msg_iovlen = 1;
		}
		done = sendmmsg(fd, msg, n, 0);
		if (done > 0)
			sent += (unsigned)done;
		pace(&start, sent, rate);
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	printf("{\"sent\": %llu, \"seconds\": %.1f}\n",
	       (unsigned long long)sent,
	       (double)(end.tv_sec - start.tv_sec) +
	               (double)(end.tv_nsec - start.tv_nsec) / 1e9);
}

int main(int argc, char **argv)
{
	struct frame frame = {};
	int fd;

	if (argc != 9) {
		(void)fputs("usage: flood DEVICE DMAC SADDR DADDR FIRST-PORT "
		            "PORTS COUNT RATE\n",
		            stderr);
		return 2;
	}
	fd = packet_socket(argv[1]);
	frame_init(&frame, fd, argv);
	flood(fd, &frame, argv);
	close(fd);
	return 0;
}
