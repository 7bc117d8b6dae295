# SPDX-License-Identifier: Apache-2.0
"""cut_test - a policy that tightens cuts live flows at their next packet, both
ways, whichever end speaks; one that does not touch a flow costs it nothing.

    node ---+--- n/client     n/server
            +--- n/busy1 ==== n/busy2      50 000 packets a second, untouched
"""
import os
import socket

import frames
from stage import (Node, connect, done, equal, namespace_manifest, netpol, test,
                   wait_for)

RATE = 50000
node = Node().start()
node.put("namespace.json", namespace_manifest("n"))
client = node.pod("n/client", {"app": "client"})
server = node.pod("n/server", {"app": "server"})
busy1 = node.pod("n/busy1", {"app": "busy"})
busy2 = node.pod("n/busy2", {"app": "busy"})

INGRESS = netpol("n/cut", {"app": "server"}, ingress=[])
# Datagrams have no opener but who speaks first: after the cut, the server's own
# would open a flow that an ingress policy has nothing against.  So both then.
BOTH = {"ingress": netpol("n/cut", {"app": "server"}, ingress=[], egress=[]),
        "egress": netpol("n/cut", {"app": "client"}, ingress=[], egress=[])}
EGRESS = netpol("n/cut", {"app": "client"}, egress=[])


def in_force(want):
    """Until the daemon says that the flow may, or may not, be opened."""
    def answer():
        out = node.stile("policy", "why", "n/client", "n/server", "7000/tcp",
                         check=False)
        return out.returncode == (0 if want else 1)
    wait_for("the policy in force", answer)


def tighten(policy):
    node.put("cut.json", policy)
    in_force(False)


def relax():
    if os.path.exists(f"{node.manifests}/cut.json"):
        node.remove("cut.json")
    in_force(True)


def tcp_pair(ip):
    """An established connection that has carried data both ways."""
    with server.ns.listen(7000) as listener:
        a = client.ns.open(socket.AF_INET6 if ":" in ip else socket.AF_INET,
                           socket.SOCK_STREAM)
        a.settimeout(5)
        a.connect((ip, 7000))
        b = listener.accept()[0]
    b.settimeout(5)
    a.sendall(b"hello")
    equal(b.recv(10), b"hello")
    b.sendall(b"hello")
    equal(a.recv(10), b"hello")
    return a, b


def udp_pair(ip):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    a = client.ns.udp(0, "::" if ":" in ip else "0.0.0.0")
    b = server.ns.open(family, socket.SOCK_DGRAM)
    b.bind(("::" if ":" in ip else "0.0.0.0", 7000))
    a.settimeout(5)
    b.settimeout(5)
    a.connect((ip, 7000))
    a.send(b"hello")
    data, who = b.recvfrom(10)
    b.connect(who)
    b.send(b"hello")
    equal(a.recv(10), b"hello")
    return a, b


def cut(make, policy, opener_speaks):
    """Nothing of the flow arrives at the other end any more."""
    total = 0
    for ip in server.ips:
        relax()
        a, b = make(ip)
        speaker, hearer = (a, server) if opener_speaks else (b, client)
        tighten(policy)
        sniffer = hearer.ns.sniffer("eth0")
        for _ in range(20):
            speaker.send(b"are you there?")
            total += 1
        # An open flow through the same veth, to see that the sniffer sees.
        assert connect(node.ns, hearer.v4, 9, 0.2) is False
        wait_for("the node's SYN", lambda: seen(sniffer, 9))
        leaked = [p for p in sniffer.leaked if p.dport in
                  (7000, a.getsockname()[1])]
        equal(leaked, [], "packets through a cut flow")
        a.close()
        b.close()
        sniffer.close()
    return f"0 of {total} sends through"


def seen(sniffer, port):
    """Has a packet to @port come?  Keep all others."""
    packets = sniffer.packets()
    sniffer.leaked = getattr(sniffer, "leaked", []) + [
        p for p in packets if p.proto in (frames.TCP, frames.UDP) and
        p.dport != port]
    return any(p.dport == port for p in packets)


def untouched():
    """A hundred changes of policy around a busy flow lose it nothing."""
    relax()
    receiver = busy2.ns.tool("blast", "recv", 9000)
    sender = busy1.ns.tool("blast", "send", busy2.v4, 9000, RATE)
    for i in range(50):
        tighten(INGRESS if i % 2 else EGRESS)
        relax()
    sent, got = sender.result(), receiver.result()
    lost = sent["sent"] - got["received"] - got["socket_drops"]
    equal((lost, sent["refused"]), (0, 0), "lost, refused")
    assert sent["sent"] > 100 * 50, sent  # 1 ms of packets for each change
    return f"{lost} of {sent['sent']} lost over 100 changes"


def touched_is_kept():
    """A policy that selects the busy pods and allows them: judged anew, kept."""
    receiver = busy2.ns.tool("blast", "recv", 9000)
    sender = busy1.ns.tool("blast", "send", busy2.v4, 9000, RATE)
    allow = [{"podSelector": {"matchLabels": {"app": "busy"}}}]
    for i in range(20):
        node.put("busy.json", netpol(
            "n/busy", {"app": "busy"}, ingress=[{"from": allow}],
            egress=[{"to": allow, "ports": [{"protocol": "UDP", "port": p}
                                            for p in (9000, 9001 + i)]}]))
        wait_for("the new rules", lambda i=i: node.stile(
            "policy", "why", "n/busy1", "n/busy2", f"{9001 + i}/udp",
            check=False).returncode == 0)
    sent, got = sender.result(), receiver.result()
    node.remove("busy.json")
    lost = sent["sent"] - got["received"] - got["socket_drops"]
    equal((lost, sent["refused"]), (0, 0), "lost, refused")
    return f"{lost} of {sent['sent']} lost over 20 changes"


def planted():
    """The test sees a flow that is not cut: without a policy all sends pass."""
    a, b = tcp_pair(server.v4)
    sniffer = server.ns.sniffer("eth0")
    a.send(b"are you there?")
    connect(node.ns, server.v4, 9, 0.2)
    wait_for("the node's SYN", lambda: seen(sniffer, 9))
    assert [p for p in sniffer.leaked if p.dport == 7000], "it saw nothing"
    a.close()
    b.close()


def after_audit():
    """What audit let pass ends when a daemon that enforces has started."""
    relax()
    node.stop()
    node.args = ["--policy", "audit"]
    node.start()
    node.put("cut.json", INGRESS)
    in_force(False)
    pairs = [tcp_pair(ip) for ip in server.ips]
    node.stop()
    node.args = []
    node.start()
    for a, b in pairs:
        a.sendall(b"are you there?")
        b.settimeout(0.5)
        try:
            assert not b.recv(20), "data through a flow that nothing allows"
        except TimeoutError:
            pass
        a.close()
        b.close()
    relax()


test("the test would see a packet of a flow that is not cut", planted)
for name, make in (("TCP", tcp_pair), ("UDP", udp_pair)):
    for side, policy in (("ingress", INGRESS), ("egress", EGRESS)):
        for who, opener in (("the opener", True), ("the other end", False)):
            if make is udp_pair and not opener:
                policy = BOTH[side]
            test(f"{side} policy cuts {name} when {who} speaks next", cut, make,
                 policy, opener)
test("a flow of --policy audit is cut by a daemon that enforces", after_audit)
test("policies that do not touch a flow lose it no packet", untouched)
test("a flow that a new policy still allows loses no packet", touched_is_kept)
done()
