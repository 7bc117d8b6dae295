# SPDX-License-Identifier: Apache-2.0
"""frames.py - packets made by hand, right or wrong in the way a test wants.

Every function returns bytes; a layer takes what it carries as its last
argument.  Addresses are strings; both families look alike:

    eth(src, dst, ip("10.0.0.1", "10.0.0.2", UDP, udp(1, 2, b"hello")))

Transport checksums need the addresses, so ip() fills them in where the
payload's are zero; anything may be broken by keyword.
"""
import ipaddress
import struct

ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132
HOPOPTS, ROUTING, FRAGMENT, ESP, AH, DSTOPTS, NONE = 0, 43, 44, 50, 51, 60, 59
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

# Where the checksum of a transport stands.
SUM_AT = {ICMP: 2, TCP: 16, UDP: 6, ICMP6: 2}


def packed(addr):
    return ipaddress.ip_address(addr).packed


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def eth(src, dst, payload, ethertype=None, tags=()):
    """@tags: (TPID, TCI) pairs before the ethertype."""
    if ethertype is None:
        ethertype = 0x86dd if payload[0] >> 4 == 6 else 0x0800
    head = mac(dst) + mac(src)
    for tpid, tci in tags:
        head += struct.pack("!HH", tpid, tci)
    return head + struct.pack("!H", ethertype) + payload


def pseudo(src, dst, proto, length):
    if ":" in src:
        return packed(src) + packed(dst) + struct.pack("!II", length, proto)
    return packed(src) + packed(dst) + struct.pack("!HH", proto, length)


def summed(src, dst, proto, payload):
    """The transport with its checksum, if it has one and it is zero."""
    at = SUM_AT.get(proto)
    if at is None or len(payload) < at + 2 or payload[at:at + 2] != b"\0\0":
        return payload
    head = b"" if proto == ICMP else pseudo(src, dst, proto, len(payload))
    total = checksum(head + payload) or 0xffff
    return payload[:at] + struct.pack("!H", total) + payload[at + 2:]


def ipv4(src, dst, proto, payload, *, ttl=64, ident=0, frag=0, more=False,
         options=b"", length=None, ihl=None, version=4):
    """@frag: offset in units of 8 bytes."""
    options += b"\0" * (-len(options) % 4)
    head_len = 20 + len(options)
    first = version << 4 | (head_len // 4 if ihl is None else ihl)
    total = head_len + len(payload) if length is None else length
    head = struct.pack("!BBHHHBBH4s4s", first, 0, total, ident,
                       frag | (0x2000 if more else 0), ttl, proto, 0,
                       packed(src), packed(dst)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(src, dst, proto, payload, *, hops=64, exts=(), length=None,
         version=6):
    """@exts: (number, bytes) of extension headers, without their next-header
    byte, which is filled in."""
    chain, following = b"", proto
    for number, body in reversed(exts):
        chain = bytes([following]) + body + chain
        following = number
    size = len(chain) + len(payload) if length is None else length
    return struct.pack("!IHBB", version << 28, size, following, hops) + \
        packed(src) + packed(dst) + chain + payload


def ip(src, dst, proto, payload, **kw):
    payload = summed(src, dst, proto, payload)
    return (ipv6 if ":" in src else ipv4)(src, dst, proto, payload, **kw)


def udp(sport, dport, data=b"", *, length=None):
    size = 8 + len(data) if length is None else length
    return struct.pack("!HHHH", sport, dport, size, 0) + data


def tcp(sport, dport, flags=SYN, data=b"", *, seq=1, ack=0, offset=5):
    return struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset << 4,
                       flags, 65535, 0, 0) + data


def sctp(sport, dport, data=b"\1\0\0\4"):
    return struct.pack("!HHII", sport, dport, 0, 0) + data


def icmp(kind, code=0, rest=b"\0\0\0\0", data=b""):
    """ICMP or ICMPv6: what follows the checksum is @rest and @data."""
    return struct.pack("!BBH", kind, code, 0) + rest + data


def echo(family, ident, seq=1, data=b"", reply=False):
    kind = {4: 0 if reply else 8, 6: 129 if reply else 128}[family]
    return icmp(kind, 0, struct.pack("!HH", ident, seq), data)


def arp(op, sha, spa, tha, tpa):
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, op) + mac(sha) + \
        packed(spa) + mac(tha) + packed(tpa)


# ---- reading ----------------------------------------------------------------

class Packet:
    """What a frame says, as far as the tests ask."""

    def __init__(self, frame):
        self.frame = frame
        self.dst, self.src = frame[:6].hex(":"), frame[6:12].hex(":")
        self.ethertype = struct.unpack("!H", frame[12:14])[0]
        self.saddr = self.daddr = self.proto = None
        self.sport = self.dport = None
        self.payload = frame[14:]
        if self.ethertype == 0x0800 and len(frame) >= 34:
            self._ip(frame[14:], 4)
        elif self.ethertype == 0x86dd and len(frame) >= 54:
            self._ip(frame[14:], 6)

    def _ip(self, data, family):
        if family == 4:
            at, self.proto = (data[0] & 15) * 4, data[9]
            src, dst = data[12:16], data[16:20]
        else:
            at, self.proto = 40, data[6]
            src, dst = data[8:24], data[24:40]
        self.saddr = str(ipaddress.ip_address(src))
        self.daddr = str(ipaddress.ip_address(dst))
        self.payload = data[at:]
        if self.proto in (TCP, UDP, SCTP) and len(self.payload) >= 4:
            self.sport, self.dport = struct.unpack("!HH", self.payload[:4])

    @property
    def is_neighbour(self):
        """ARP, neighbour discovery, or a stack's report of its groups."""
        if self.proto == ICMP6 and self.payload[:1]:
            return 133 <= self.payload[0] <= 137
        return self.ethertype == 0x0806 or (
            self.proto == HOPOPTS and self.payload[0] == ICMP6 and
            self.payload[8] in (130, 131, 132, 143))

    def __repr__(self):
        return (f"{self.src}>{self.dst} {self.ethertype:04x} "
                f"{self.saddr}:{self.sport}>{self.daddr}:{self.dport} "
                f"proto {self.proto}")
