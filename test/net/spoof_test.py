# SPDX-License-Identifier: Apache-2.0
"""spoof_test - what a pod may not send: each packet with its drop reason.

    far --- node ---+--- n/a (the attacker, raw sockets)
                    +--- n/b (the victim)   n/c (whose name is taken)

A packet of the tables below leaves a's device as it is.  It must be dropped for
the reason named, and nothing of it may arrive at b, at the far end, or at c.
"""
import struct

import frames as f
from stage import (FAR4, FAR6, NODE4, NODE6, Node, done, equal,
                   namespace_manifest, test, wait_for)

GW = "ee:ee:ee:ee:ee:ee"
OTHER_MAC = "02:00:00:00:00:99"
TAG = b"smuggled"

node = Node().start()
node.put("n.json", namespace_manifest("n"))
a, b, c = (node.pod(f"n/{name}", {"app": name}) for name in "abc")
A_MAC = a.mac()
V4, V6 = (a.v4, b.v4, c.v4), (a.v6, b.v6, c.v6)
sniffers = [b.ns.sniffer(), c.ns.sniffer(), node.far.sniffer("uplink")]


def ports():
    """Ports that no flow has yet."""
    ports.last += 1
    return ports.last, 2000


ports.last = 10000


def frame(payload, **kw):
    return f.eth(kw.pop("src", A_MAC), kw.pop("dst", GW), payload, **kw)


def data():
    return f.udp(*ports(), TAG)


def plain(src, dst, **kw):
    return f.ip(src, dst, f.UDP, data(), **kw)


def ext(kind, *more):
    """An extension header of 8 bytes, after its next-header byte."""
    return (kind, bytes(more) + bytes(7 - len(more)))


def fragment(offset, more, ident=None):
    """@ident None: one that no other packet has."""
    if ident is None:
        ident = ports()[0]
    return (f.FRAGMENT, struct.pack("!BHI", 0, offset << 3 | more, ident))


# ---- the tables: name, reason, frames -----------------------------------------

def addresses(own, other, third):
    six = ":" in own
    rows = [(f"the address of {who}", "SPOOF_ADDRESS", [plain(addr, other)])
            for who, addr in (
                ("another pod", third), ("the receiver", other),
                ("the node", NODE6 if six else NODE4),
                ("the far end", FAR6 if six else FAR4),
                ("nobody", "2001:db8:9::9" if six else "198.51.100.9"),
                ("loopback", "::1" if six else "127.0.0.1"),
                ("the gateway", "fe80::1" if six else "169.254.1.1"),
                ("a group", "ff02::5" if six else "224.0.0.5"))]
    rows += [(f"another pod's address, by {name}", "SPOOF_ADDRESS",
              [f.ip(third, other, proto, payload)])
             for name, proto, payload in (
                 ("TCP SYN", f.TCP, f.tcp(1000, 2000)),
                 ("TCP ACK", f.TCP, f.tcp(1000, 2000, f.ACK)),
                 ("SCTP", f.SCTP, f.sctp(1000, 2000)),
                 ("ping", f.ICMP6 if six else f.ICMP, f.echo(6 if six else 4, 1)),
                 ("an unknown protocol", 253, TAG))]
    return [(name, why, [frame(p) for p in packets])
            for name, why, packets in rows]


def layer2():
    rows = [("another pod's MAC", "SPOOF_MAC", {"src": c.mac()}),
            ("a MAC of nobody's", "SPOOF_MAC", {"src": OTHER_MAC}),
            ("a VLAN tag", "ETHERTYPE", {"tags": [(0x8100, 5)]}),
            ("VLAN 0", "ETHERTYPE", {"tags": [(0x8100, 0)]}),
            ("a service tag", "ETHERTYPE", {"tags": [(0x88a8, 5)]}),
            ("two tags", "ETHERTYPE", {"tags": [(0x88a8, 5), (0x8100, 0)]}),
            ("two of the same tag", "ETHERTYPE",
             {"tags": [(0x8100, 0), (0x8100, 0)]}),
            ("an old tag", "ETHERTYPE", {"tags": [(0x9100, 5)]}),
            ("the wrong version's ethertype", "MALFORMED", {"swap": True}),
            ("MPLS", "ETHERTYPE", {"ethertype": 0x8847}),
            ("PPPoE", "ETHERTYPE", {"ethertype": 0x8864}),
            ("LLDP", "ETHERTYPE", {"ethertype": 0x88cc}),
            ("an ethertype of nobody's", "ETHERTYPE", {"ethertype": 0x9999})]
    for name, why, how in rows:
        packets = []
        for own, other in ((a.v4, b.v4), (a.v6, b.v6)):
            kw = dict(how)
            if kw.pop("swap", False):
                kw["ethertype"] = 0x0800 if ":" in own else 0x86dd
            packets.append(frame(plain(own, other), **kw))
        yield name, why, packets
    # 802.3: a length, LLC and SNAP where the ethertype would be.
    inner = plain(a.v4, b.v4)
    snap = b"\xaa\xaa\x03\0\0\0\x08\x00" + inner
    yield "an LLC and SNAP header", "ETHERTYPE", [
        frame(snap, ethertype=len(snap)),
        frame(snap, ethertype=len(snap), tags=[(0x8100, 0)])]


def malformed4():
    own, other = a.v4, b.v4
    whole = plain(own, other)

    def tcp(payload):
        return f.ip(own, other, f.TCP, payload)

    rows = [("an IPv4 header cut short", [whole[:n] for n in (1, 10, 19)]),
            ("an IPv4 header of another version",
             [plain(own, other, version=v) for v in (0, 5, 6, 15)]),
            ("an IPv4 header too short for itself",
             [plain(own, other, ihl=n) for n in (0, 1, 4)]),
            ("an IPv4 header longer than the packet",
             [plain(own, other, ihl=15)]),
            ("an IPv4 length beyond the frame",
             [plain(own, other, length=n) for n in (len(whole) + 1, 65535)]),
            ("an IPv4 length below its header",
             [plain(own, other, length=n) for n in (0, 19)]),
            ("an option that overruns", [plain(own, other, options=o) for o in
                                         (b"\x44\x28\x05\0", b"\x44\0\0\0",
                                          b"\x44\x01\0\0", b"\1\1\1\x07")]),
            ("a TCP header cut short", [tcp(f.tcp(1, 2)[:n])
                                        for n in (0, 4, 13)]),
            ("a TCP header too short for itself", [tcp(f.tcp(1, 2, offset=4))]),
            ("a UDP header cut short", [f.ip(own, other, f.UDP, data()[:n])
                                        for n in (0, 4, 7)]),
            ("an ICMP header cut short", [f.ip(own, other, f.ICMP, b"\x08\0")]),
            ("ICMPv6 over IPv4", [f.ipv4(own, other, f.ICMP6, bytes(40))])]
    return [(name, "MALFORMED", [frame(p, ethertype=0x0800) for p in packets])
            for name, packets in rows]


def malformed6():
    own, other = a.v6, b.v6
    whole = plain(own, other)
    rows = [("an IPv6 header cut short", [whole[:n] for n in (1, 20, 39)]),
            ("an IPv6 header of another version",
             [plain(own, other, version=v) for v in (0, 4, 5, 15)]),
            ("an IPv6 length beyond the frame",
             [plain(own, other, length=n) for n in (len(whole), 65535)]),
            ("an IPv6 length of nothing", [plain(own, other, length=0)]),
            ("TCP over IPv6 cut short",
             [f.ipv6(own, other, f.TCP, f.tcp(1, 2)[:n]) for n in (0, 4, 13)]),
            ("UDP over IPv6 cut short",
             [f.ipv6(own, other, f.UDP, data()[:n]) for n in (0, 4, 7)]),
            ("an extension header cut short",
             [f.ipv6(own, other, f.HOPOPTS, b"\x11\0")]),
            ("an extension header longer than the packet",
             [f.ip(own, other, f.UDP, data(), exts=[ext(f.DSTOPTS, 200)])]),
            ("ICMP over IPv6", [f.ipv6(own, other, f.ICMP, bytes(40))])]
    return [(name, "MALFORMED", [frame(p, ethertype=0x86dd) for p in packets])
            for name, packets in rows]


def chains():
    own, other = a.v6, b.v6

    def six(*exts, payload=None):
        return frame(f.ip(own, other, f.UDP, payload or data(),
                          exts=list(exts)))

    hop, dst = ext(f.HOPOPTS), ext(f.DSTOPTS)
    return [
        ("hop-by-hop options that are not first", "EXT_HEADERS",
         [six(dst, hop), six(hop, hop)]),
        ("seven extension headers", "EXT_HEADERS", [six(*[dst] * 7)]),
        ("two fragment headers", "EXT_HEADERS",
         [six(fragment(0, 1), fragment(0, 1)),
          six(fragment(0, 0), fragment(0, 1)) ]),
        ("an IPv6 source route", "SOURCE_ROUTE",
         [six((f.ROUTING, bytes([2, 0, 1, 0, 0, 0, 0]) + f.packed(c.v6))),
          six((f.ROUTING, bytes([2, 4, 1, 0, 0, 0, 0]) + f.packed(c.v6)))]),
        ("an IPv4 source route", "SOURCE_ROUTE",
         [frame(plain(a.v4, b.v4, options=bytes([kind, 7, 4]) + f.packed(c.v4)))
          for kind in (131, 137)] +
         [frame(plain(a.v4, b.v4, options=b"\1\1" + bytes([131, 7, 4]) +
                      f.packed(c.v4)))]),
    ]


def fragments():
    for own, other in ((a.v4, b.v4), (a.v6, b.v6)):
        six = ":" in own

        def piece(offset, more, payload, proto=f.UDP, own=own, other=other,
                  six=six, ident=7):
            if six:
                return frame(f.ipv6(own, other, proto, payload, exts=[
                    fragment(offset, more, ident)]))
            return frame(f.ipv4(own, other, proto, payload, frag=offset,
                                more=more, ident=ident))

        yield ("a fragment ahead of its first", "FRAGMENT",
               [piece(100, True, TAG), piece(200, False, TAG),
                piece(1, False, TAG)])
        yield ("a first fragment too short for its ports", "FRAGMENT",
               [piece(0, True, b"\0\1"), piece(0, True, f.tcp(1, 2)[:8], f.TCP)])
        yield ("the fragment of another protocol", "FRAGMENT",
               [piece(64, False, TAG, f.TCP, ident=9)])
    yield ("TCP flags in a second fragment", "FRAGMENT",
           [frame(f.ipv4(a.v4, b.v4, f.TCP, f.tcp(1, 2)[8:], frag=1,
                         ident=8))])


def neighbours():
    def nd(kind, src, dst, target, mac, dst_mac=GW, hops=255):
        option = 1 if kind == 135 else 2
        body = f.packed(target) + bytes([option, 1]) + f.mac(mac)
        return f.eth(A_MAC, dst_mac, f.ip(src, dst, f.ICMP6, f.icmp(
            kind, 0, b"\x60\0\0\0" if kind == 136 else bytes(4), body),
            hops=hops))

    def arp(op, sha, spa, tpa, src=A_MAC):
        return f.eth(src, "ff:ff:ff:ff:ff:ff",
                     f.arp(op, sha, spa, "00:00:00:00:00:00", tpa), 0x0806)

    local = "fe80::aa"
    return [
        ("ARP that speaks for another", "SPOOF_NEIGHBOUR",
         [arp(1, A_MAC, c.v4, b.v4), arp(2, A_MAC, c.v4, b.v4),
          arp(2, A_MAC, "169.254.1.1", b.v4), arp(1, A_MAC, c.v4, c.v4),
          arp(2, A_MAC, NODE4, b.v4)]),
        ("ARP with another's MAC", "SPOOF_NEIGHBOUR",
         [arp(2, OTHER_MAC, a.v4, b.v4), arp(1, c.mac(), a.v4, b.v4),
          arp(1, OTHER_MAC, a.v4, b.v4, OTHER_MAC)]),
        ("ARP cut short", "MALFORMED",
         [arp(1, A_MAC, a.v4, b.v4)[:n] for n in (20, 30, 41)]),
        ("an advertisement for another", "SPOOF_NEIGHBOUR",
         [nd(136, a.v6, b.v6, c.v6, A_MAC), nd(136, a.v6, NODE6, b.v6, A_MAC),
          nd(136, a.v6, "ff02::1", NODE6, A_MAC, "33:33:00:00:00:01"),
          nd(136, local, "ff02::1", c.v6, A_MAC, "33:33:00:00:00:01")]),
        ("a solicitation from another", "SPOOF_NEIGHBOUR",
         [nd(135, c.v6, b.v6, b.v6, A_MAC), nd(135, NODE6, c.v6, c.v6, A_MAC)]),
        ("discovery from afar", "MALFORMED",
         [nd(135, a.v6, b.v6, b.v6, A_MAC, hops=64)]),
        ("a router advertisement", "ROUTER_ADVERT",
         [f.eth(A_MAC, mac, f.ip(src, dst, f.ICMP6, f.icmp(
             134, 0, b"\x40\0\x07\x08", bytes(8)), hops=255))
          for mac, src, dst in (("33:33:00:00:00:01", local, "ff02::1"),
                                (GW, a.v6, b.v6), (GW, "fe80::1", NODE6))]),
        ("a redirect", "ROUTER_ADVERT",
         [f.eth(A_MAC, GW, f.ip("fe80::1", b.v6, f.ICMP6, f.icmp(
             137, 0, bytes(4), f.packed(NODE6) + f.packed(FAR6)), hops=255)),
          frame(f.ip(a.v4, b.v4, f.ICMP, f.icmp(
              5, 1, f.packed(a.v4), plain(b.v4, FAR4)[:28])))]),
    ]


def destinations():
    return [
        ("a destination that nobody routes", "MARTIAN",
         [frame(plain(a.v4, dst)) for dst in
          ("127.0.0.1", "0.0.0.0", "224.0.0.1", "239.1.2.3", "255.255.255.255",
           "240.0.0.1")] +
         [frame(plain(a.v6, dst)) for dst in
          ("::1", "::", "ff02::1", "ff05::2", "fe80::1", "::127.0.0.1")]),
        ("a mapped address on the wire", "MARTIAN",
         [frame(plain(a.v6, f"::ffff:{b.v4}")),
          frame(plain(f"::ffff:{a.v4}", b.v6))]),
        ("an address of the pods that nobody has", "NO_POD",
         [frame(plain(a.v4, "10.88.200.200")),
          frame(plain(a.v6, "fd00:88::7777"))]),
        ("an error about nothing", "ICMP_NO_FLOW",
         [frame(f.ip(a.v4, b.v4, f.ICMP, f.icmp(
             kind, code, bytes(4), plain(b.v4, a.v4)[:28])))
          for kind, code in ((3, 4), (3, 3), (11, 0), (12, 0))] +
         [frame(f.ip(a.v6, b.v6, f.ICMP6, f.icmp(
             kind, 0, bytes(4), plain(b.v6, a.v6))))
          for kind in (1, 2, 3, 4)]),
        ("an error that quotes half a header", "MALFORMED",
         [frame(f.ip(a.v4, b.v4, f.ICMP, f.icmp(
             3, 4, bytes(4), plain(b.v4, a.v4)[:n]))) for n in (0, 10, 22)]),
    ]


# ---- the judge ------------------------------------------------------------------

def delivered():
    """What arrived somewhere, but for the stacks' own."""
    return [p for s in sniffers for p in s.packets()
            if not p.is_neighbour and p.dport != 9]


def is_dropped(why, packets):
    delivered()
    before = node.drops().get(("FROM_POD", why), 0)
    a.ns.send("eth0", *packets)
    # A packet that passes, as the last: then all before it have been judged.
    a.ns.send("eth0", frame(f.ip(a.v4, b.v4, f.UDP, f.udp(1, 9))))
    wait_for("the drops", lambda: node.drops().get(("FROM_POD", why), 0) -
             before >= len(packets))
    equal(node.drops()[("FROM_POD", why)] - before, len(packets), why)
    equal(delivered(), [], "packets that arrived")
    return f"{len(packets)} dropped, 0 arrived"


def checked(why, packets):
    try:
        return is_dropped(why, packets)
    except AssertionError as error:
        raise AssertionError(f"{error}; drops: {node.drops()}") from None


def passes():
    """The same ways of making packets, where they are right: they arrive."""
    six = [f.ip(a.v6, b.v6, f.UDP, f.udp(1000 + i, 2000, TAG), exts=exts)
           for i, exts in enumerate((
               [ext(f.HOPOPTS, 0, 1, 4)], [ext(f.DSTOPTS, 0, 1, 4)] * 2,
               [ext(f.HOPOPTS, 0, 1, 4), ext(f.DSTOPTS, 0, 1, 4)],
               [fragment(0, 0)]))]
    four = [f.ip(a.v4, b.v4, f.UDP, f.udp(1100 + i, 2000, TAG), options=o)
            for i, o in enumerate((b"", b"\1\1\1\1", b"\x44\x0c\x05\0" +
                                   bytes(8), b"\x94\x04\0\0"))]
    pieces = [f.ipv4(a.v4, b.v4, f.UDP, f.summed(a.v4, b.v4, f.UDP, data()) +
                     bytes(8), ident=99, more=True),
              f.ipv4(a.v4, b.v4, f.UDP, TAG, ident=99, frag=3),
              f.ipv6(a.v6, b.v6, f.UDP, f.summed(a.v6, b.v6, f.UDP, data()) +
                     bytes(8), exts=[fragment(0, 1, 99)]),
              f.ipv6(a.v6, b.v6, f.UDP, TAG, exts=[fragment(3, 0, 99)])]
    packets = four + six + pieces
    before = node.drops()
    delivered()
    a.ns.send("eth0", *[frame(p) for p in packets])
    got = []
    try:
        wait_for("all of them", lambda: got.extend(delivered()) or
                 len(got) >= len(packets))
    except AssertionError:
        pass
    equal(len(got), len(packets),
          f"arrived ({got}; drops {before} then {node.drops()})")
    return f"{len(got)} of {len(packets)} arrived"


def live_mac():
    """In a live flow the veth tells who sends: another's MAC goes nowhere."""
    live = f.udp(*ports(), TAG)
    for own, other in ((a.v4, b.v4), (a.v6, b.v6)):
        delivered()
        a.ns.send("eth0", frame(f.ip(own, other, f.UDP, live)),
                  frame(f.ip(own, other, f.UDP, live), src=c.mac()),
                  frame(f.ip(own, other, f.UDP, f.udp(1, 9))))
        wait_for("the last", lambda: seen.extend(
            p for s in sniffers for p in s.packets()) or
            any(p.dport == 9 for p in seen))
        equal({p.src for p in seen if p.dport in (9, 2000)}, {GW}, "MACs seen")
        seen.clear()


seen = []


def cut_anywhere():
    """A packet that is denied stays denied wherever its frame ends."""
    from stage import netpol
    node.put("deny.json", netpol("n/deny", {"app": "b"}, ingress=[
        {"ports": [{"protocol": "TCP", "port": 80}]}]))
    wait_for("the policy", lambda: node.stile(
        "policy", "why", "n/a", "n/b", "2000/udp", check=False
    ).returncode == 1)
    whole = [frame(plain(a.v4, b.v4)), frame(plain(a.v6, b.v6)),
             frame(f.ip(a.v4, b.v4, f.TCP, f.tcp(1000, 2000))),
             frame(f.ip(a.v6, b.v6, f.TCP, f.tcp(1000, 2000))),
             frame(f.ip(a.v6, b.v6, f.UDP, data(), exts=[
                 ext(f.HOPOPTS), ext(f.DSTOPTS), fragment(0, 1)]))]
    packets = [p[:n] for p in whole for n in range(15, len(p) + 1)]
    delivered()
    a.ns.send("eth0", *packets)
    a.ns.send("eth0", frame(f.ip(a.v4, c.v4, f.UDP, f.udp(1, 9))))
    wait_for("the last", lambda: node.drops() and any(
        p.dport == 9 for p in sniffers[1].packets()))
    equal(delivered(), [], "packets that arrived")
    node.remove("deny.json")
    wait_for("the policy's end", lambda: node.stile(
        "policy", "why", "n/a", "n/b", "2000/udp", check=False
    ).returncode == 0)
    return f"0 of {len(packets)} arrived"


def host_unmoved():
    """Neighbours and routes of the node are as before all of this."""
    for now, before in zip(host_state(), STATE_BEFORE):
        equal([line for line in now if line not in before], [], "new lines")
        equal([line for line in before if line not in now], [], "lost lines")


def host_state():
    neigh = node.ns.run("ip", "neigh", "show", "nud", "permanent").stdout
    routes = "".join(node.ns.run("ip", family, "route", "show", "table", "all")
                     .stdout for family in ("-4", "-6"))
    return sorted(neigh.splitlines()), sorted(routes.splitlines())


node.settled()
STATE_BEFORE = host_state()
test("well-made packets of every shape arrive", passes)
for own in (V4, V6):
    for name, why, packets in addresses(*own):
        version = "IPv6" if ":" in own[0] else "IPv4"
        test(f"{version} from {name} is {why}", checked, why, packets)
for table in (layer2, malformed4, malformed6, chains, fragments, neighbours,
              destinations):
    for name, why, packets in table():
        test(f"{name} is {why}", checked, why, packets)
test("another's MAC in a live flow is seen by nobody", live_mac)
test("a denied packet stays denied wherever it is cut", cut_anywhere)
test("the node's neighbours and routes have not moved", host_unmoved)
done()
