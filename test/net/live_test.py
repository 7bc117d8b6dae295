# SPDX-License-Identifier: Apache-2.0
"""live_test - the tuple of a live flow is of no use to anybody else.

    far --- node ---+--- n/a ==== n/b       the flow
                    +--- n/c                the thief

Then: echo requests with equal ids both ways, and errors about live flows.
"""
import threading

import frames as f
from stage import (FAR4, FAR6, Node, done, equal, namespace_manifest, ping,
                   test, wait_for)

GW = "ee:ee:ee:ee:ee:ee"
node = Node().start()
node.put("n.json", namespace_manifest("n"))
a, b, c = (node.pod(f"n/{name}", {"app": name}) for name in "abc")
TAG = b"smuggled"


def flow(ip, sport, dport):
    """An answered UDP flow from a to b."""
    own = "::" if ":" in ip else "0.0.0.0"
    here, there = a.ns.udp(sport, own), b.ns.udp(dport, own)
    there.settimeout(5)
    here.settimeout(5)
    here.sendto(b"hello", (ip, dport))
    _, who = there.recvfrom(10)
    there.sendto(b"hello", who)
    equal(here.recv(10), b"hello")
    return here, there


def smuggled(sniffer):
    return [p for p in sniffer.packets() if TAG in p.frame]


def stolen_by_pod():
    """Both directions of the tuple, sent from the third pod."""
    sent = 0
    for src, dst in ((a.v4, b.v4), (a.v6, b.v6)):
        socks = flow(dst, 6000, 6001)
        at_a, at_b = a.ns.sniffer(), b.ns.sniffer()
        before = node.drops().get(("FROM_POD", "SPOOF_ADDRESS"), 0)
        tuples = [(src, dst, 6000, 6001), (dst, src, 6001, 6000)]
        for s, d, sport, dport in tuples:
            for src_mac in (c.mac(), a.mac()):
                for _ in range(50):
                    c.ns.send("eth0", f.eth(src_mac, GW, f.ip(
                        s, d, f.UDP, f.udp(sport, dport, TAG))))
                    sent += 1
        wait_for("the drops", lambda before=before: node.drops().get(
            ("FROM_POD", "SPOOF_ADDRESS"), 0) - before >= 200)
        equal(smuggled(at_a) + smuggled(at_b), [], "smuggled packets")
        for sock in socks:
            sock.close()
    return f"0 of {sent} delivered"


def stolen_by_wire():
    sent = 0
    uplink, far = node.ns.mac("uplink"), node.far.mac("uplink")
    for src, dst in ((a.v4, b.v4), (a.v6, b.v6)):
        socks = flow(dst, 6002, 6003)
        at_a, at_b = a.ns.sniffer(), b.ns.sniffer()
        before = node.drops().get(("FROM_NET", "SPOOF_ADDRESS"), 0)
        for s, d, sport, dport in ((src, dst, 6002, 6003),
                                   (dst, src, 6003, 6002)):
            for _ in range(50):
                node.far.send("uplink", f.eth(far, uplink, f.ip(
                    s, d, f.UDP, f.udp(sport, dport, TAG))))
                sent += 1
        wait_for("the drops", lambda before=before: node.drops().get(
            ("FROM_NET", "SPOOF_ADDRESS"), 0) - before >= 100)
        equal(smuggled(at_a) + smuggled(at_b), [], "smuggled packets")
        for sock in socks:
            sock.close()
    return f"0 of {sent} delivered"


def outside_flow_from_pod():
    """A pod sends what the far end would answer another pod."""
    sent = 0
    for far, third, own in ((FAR4, a.v4, c.v4), (FAR6, a.v6, c.v6)):
        wild = "::" if ":" in far else "0.0.0.0"
        here, there = a.ns.udp(6004, wild), node.far.udp(6005)
        there.settimeout(5)
        here.sendto(b"hello", (far, 6005))
        _, who = there.recvfrom(10)
        there.sendto(b"hello", who)
        here.settimeout(5)
        equal(here.recv(10), b"hello")
        at_a = a.ns.sniffer()
        before = node.drops().get(("FROM_POD", "SPOOF_ADDRESS"), 0)
        for _ in range(50):
            c.ns.send("eth0", f.eth(c.mac(), GW, f.ip(
                far, third, f.UDP, f.udp(6005, 6004, TAG))))
            sent += 1
        wait_for("the drops", lambda before=before: node.drops().get(
            ("FROM_POD", "SPOOF_ADDRESS"), 0) - before >= 50)
        equal(smuggled(at_a), [], "smuggled packets")
        # From its own address, to its victim: an ordinary flow, no answer.
        here.close()
        there.close()
    return f"0 of {sent} delivered"


def equal_ids():
    """Both ping each other with one id; so do all three the far end."""
    for ips in ((a.v4, b.v4, c.v4, FAR4), (a.v6, b.v6, c.v6, FAR6)):
        pairs = [(a, ips[1]), (b, ips[0]), (a, ips[3]), (b, ips[3]),
                 (c, ips[3])]
        answered = []
        # entered() moves the calling thread only: a thread for each.
        threads = [threading.Thread(target=lambda p=p, ip=ip: answered.append(
            sum(ping(p.ns, ip, ident=77) for _ in range(10))))
            for p, ip in pairs]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal(answered, [10] * len(pairs), "answers each, of 10")
    return "100 of 100 answered"


def true_errors():
    """A closed port's error comes back; a forged one about the flow does not."""
    for ip, own in ((b.v4, "0.0.0.0"), (b.v6, "::")):
        with a.ns.udp(6006, own) as sock:
            sock.connect((ip, 6007))
            sock.settimeout(5)
            sock.send(b"anybody?")
            try:
                sock.recv(10)
                raise AssertionError("somebody answered")
            except ConnectionRefusedError:
                pass


def forged_errors():
    sent = 0
    for src, dst in ((a.v4, b.v4), (a.v6, b.v6)):
        six = ":" in src
        socks = flow(dst, 6008, 6009)
        at_a = a.ns.sniffer()
        quote = f.ip(src, dst, f.UDP, f.udp(6008, 6009, TAG))
        quote_back = f.ip(dst, src, f.UDP, f.udp(6009, 6008, TAG))
        kind = (1, 4) if six else (3, 3)
        proto = f.ICMP6 if six else f.ICMP
        own = c.v6 if six else c.v4
        reasons = ("SPOOF_ADDRESS", "ICMP_NO_FLOW")
        before = sum(node.drops().get(("FROM_POD", r), 0) for r in reasons)
        for source in (own, dst):
            for q in (quote, quote_back):
                c.ns.send("eth0", f.eth(c.mac(), GW, f.ip(
                    source, src, proto, f.icmp(*kind, bytes(4), q))))
                sent += 1
        wait_for("the drops", lambda before=before: sum(
            node.drops().get(("FROM_POD", r), 0)
            for r in reasons) - before >= 4)
        equal(smuggled(at_a), [], "forged errors")
        for sock in socks:
            sock.close()
    return f"0 of {sent} delivered"


def sees():
    """What the owner itself sends does arrive."""
    socks = flow(b.v4, 6010, 6011)
    sniffer = b.ns.sniffer()
    a.ns.send("eth0", f.eth(a.mac(), GW, f.ip(
        a.v4, b.v4, f.UDP, f.udp(6010, 6011, TAG))))
    wait_for("the owner's packet", lambda: smuggled(sniffer))
    for sock in socks:
        sock.close()


test("the tuple of a live flow works for its owner", sees)
test("the tuple of a live flow, from a third pod, is dropped", stolen_by_pod)
test("the tuple of a live flow, from the uplink, is dropped", stolen_by_wire)
test("answers of the far end, from a pod, are dropped", outside_flow_from_pod)
test("equal ICMP ids work both ways and through the masquerade", equal_ids)
test("an error about a live flow reaches its sender", true_errors)
test("a forged error about a live flow reaches nobody", forged_errors)
done()
