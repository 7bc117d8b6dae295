# SPDX-License-Identifier: Apache-2.0
"""tunnel_test - pods on several nodes, through the overlay.

    node1: n/a, n/a2    node2: n/b, n/b2    node3 comes and goes
"""
import json
import os
import signal
import socket
import struct
import time

import frames as f
from cluster import (FABRIC4, FABRIC6, Cluster, Fabric, Member,
                     hosts_and_outside, pods_reach_pods)
from services import VIP4, VIP6, Echo, outcome, service, slices
from stage import (BUILD, connect, connects, datagram, done, equal, namespace_manifest,
                   netpol, ping, test, wait_for)

TUNNEL = ("--routing", "tunnel")
GW, PORT, VNI, TAG = "ee:ee:ee:ee:ee:ee", 8472, 1, b"smuggled"
RATE, FLOWS, ROUNDS = 20000, 50, int(os.environ.get("ROUNDS", "5"))
MTU = 1450

fabric = Fabric()
one, two = (Member(fabric, n, args=TUNNEL) for n in (1, 2))
cluster = Cluster(fabric, [one, two])
BEFORE = {}


def state(node):
    def show(*argv):
        return node.ns.run(*argv, check=False).stdout

    return {"links": show("ip", "-o", "link"), "tcx": show("bpftool", "net"),
            "routes": show("ip", "route", "show", "table", "all") +
            show("ip", "-6", "route", "show", "table", "all"),
            "files": [p for top in ("run", "state")
                      for p, _, _ in os.walk(f"{node.dir}/{top}")]}


BEFORE[two] = state(two)
cluster.start()
cluster.put("n.json", namespace_manifest("n"))
a = cluster.pod(one, "n/a", {"app": "a"})
a2 = cluster.pod(one, "n/a2", {"app": "a2"})
b = cluster.pod(two, "n/b", {"app": "b"})
b2 = cluster.pod(two, "n/b2", {"app": "b2"})
cluster.settled()


def one_mac():
    return one.ns.mac("stl-vxlan")


# ---- policy -------------------------------------------------------------------

def policy_at_both_ends():
    """Egress where the sender is, ingress where the receiver is."""
    servers = [p.ns.listen(80) for p in (a, b, b2)]
    ways = [(p.ns, ip, 80) for p, q in ((a, b), (a2, b), (a, b2), (a2, b2))
            for ip in q.ips]

    def opened(want):
        have = [connects(ways, 0.4)[i] for i in range(0, len(ways), 2)]
        return have == want

    only_a = {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}
    cluster.put("p.json", netpol("n/in", {"app": "b"}, ingress=[only_a]))
    wait_for("ingress of b", lambda: opened([True, False, True, True]))
    to_b = {"to": [{"podSelector": {"matchLabels": {"app": "b"}}}]}
    cluster.put("p.json", netpol("n/out", {"app": "a"}, egress=[to_b]))
    wait_for("egress of a", lambda: opened([True, True, False, True]))
    node = {"from": [{"ipBlock": {"cidr": f"{one.v4}/32"}},
                     {"ipBlock": {"cidr": f"{one.v6}/128"}}]}
    cluster.put("p.json", netpol("n/host", {"app": "b"}, ingress=[node]))
    wait_for("only node1", lambda: opened([False, False, True, True]))
    equal([connect(one.ns, ip, 80) for ip in b.ips], [True, True], "node1 to b")
    cluster.put("p.json", netpol("n/none", {"app": "b"}, ingress=[]))
    wait_for("nobody", lambda: not connect(one.ns, b.v4, 80, 0.3))
    cluster.remove("p.json")
    wait_for("all open", lambda: opened([True] * 4))
    for server in servers:
        server.close()


def services_far_away():
    """Through a ClusterIP to a backend of another node, judged at both ends."""
    ports = [("t", "TCP"), ("u", "UDP")]
    cluster.put("svc.json",
                service(9, [(*p, 80) for p in ports]),
                *slices(9, [(*p, 8080) for p in ports],
                        [(ip, {"ready": True}) for ip in b.ips]))
    server, udp = b.ns.listen(8080), b.ns.udp(8080)
    vips = VIP4.format(9), VIP6.format(9)

    def answers(pod):
        return [connect(pod.ns, vip, 80, 0.5) for vip in vips] + [
            datagram(pod.ns, vip, 80, udp, 0.5) for vip in vips]

    wait_for("the service", lambda: all(answers(a)))
    wait_for("also from the next pod", lambda: all(answers(a2)))
    wait_for("of the backend to itself", lambda: connect(b.ns, vips[0], 80))
    allow = {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}],
             "ports": [{"protocol": p, "port": 8080} for p in ("TCP", "UDP")]}
    cluster.put("p.json", netpol("n/in", {"app": "b"}, ingress=[allow]))
    wait_for("only a", lambda: not any(answers(a2)))
    wait_for("a, by the backend's port", lambda: all(answers(a)))
    cluster.put("p.json", netpol("n/out", {"app": "a"}, egress=[
        {"ports": [{"protocol": "TCP", "port": 80}]}]))
    wait_for("not a: the service's port is not the backend's",
             lambda: not any(answers(a)))
    cluster.remove("p.json")
    wait_for("all again", lambda: all(answers(a)))
    cluster.remove("svc.json")
    server.close()
    udp.close()


# ---- MTU ----------------------------------------------------------------------

def fits(ip):
    """The largest packet passes whole, a larger one is answered too-big."""
    six = ":" in ip
    head = 48 if six else 28
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    a.ns.run("ip", "link", "set", "eth0", "mtu", 1500)
    server = b.ns.udp(7100)
    server.settimeout(2)
    with a.ns.open(socket.AF_INET6 if six else socket.AF_INET,
                   socket.SOCK_DGRAM) as sock:
        sock.setsockopt(level, 23 if six else 10, 2)  # MTU_DISCOVER, DO
        sock.connect((ip, 7100))
        sock.send(b"y" * (MTU - head))
        equal(len(server.recv(2000)), MTU - head, "bytes arrived")

        def learnt():
            try:
                sock.send(b"x" * (MTU - head + 1))
            except OSError:
                pass
            return sock.getsockopt(level, 24 if six else 14) == MTU

        wait_for("the path's MTU", learnt)
    server.close()
    a.ns.run("ip", "link", "set", "eth0", "mtu", MTU)
    a.ns.run("ip", "route", "flush", "cache")
    a.ns.run("ip", "-6", "route", "flush", "cache")


def streams():
    """Megabytes both ways, by segments cut late."""
    total = 0
    for ip in b.ips:
        with b.ns.listen(7200) as listener:
            mine = a.ns.open(socket.AF_INET6 if ":" in ip else socket.AF_INET,
                             socket.SOCK_STREAM)
            mine.settimeout(10)
            mine.connect((ip, 7200))
            other = listener.accept()[0]
        other.settimeout(10)
        for src, dst in ((mine, other), (other, mine)):
            data, got = os.urandom(1 << 20), b""
            pid = os.fork()
            if not pid:
                src.sendall(data)
                os._exit(0)
            while len(got) < len(data):
                got += dst.recv(1 << 20)
            os.waitpid(pid, 0)
            assert got == data, "what came is not what was sent"
            total += len(got)
        mine.close()
        other.close()
    return f"{total >> 20} MB"


def fragments_to_nodes():
    """What another node's pod answers a node in fragments arrives."""
    with Echo(b.ns, 7300, "b"):
        for ip in b.ips:
            for size in (1000, MTU, 4000):
                equal(outcome(one.ns, ip, 7300, "udp", os.urandom(size)), "b",
                      f"{size} bytes of {ip}")


# ---- forgery ------------------------------------------------------------------

def vxlan(outer_src, inner, vni=VNI, dst=None):
    """What a sender on the link would give to node1."""
    head = struct.pack("!II", 0x08000000, vni << 8)
    return f.eth("02:00:00:00:00:77", one.ns.mac("uplink"), f.ip(
        outer_src, dst or (one.v6 if ":" in outer_src else one.v4), f.UDP,
        f.udp(40000, PORT, head + f.eth("02:00:00:00:00:66", GW, inner))))


def arrived(pods, frame, reason):
    """Was TAG heard by one of @pods?  Waits for the drop, or for it."""
    sniffers = [p.ns.sniffer("eth0") for p in pods]
    before = one.drops().get(("FROM_TUNNEL", reason), 0) if reason else 0
    fabric.ns.send("to-node1", frame)
    heard = []

    def settled():
        for sniffer in sniffers:
            heard.extend(p for p in sniffer.packets() if TAG in p.frame)
        return heard or (reason and one.drops().get(
            ("FROM_TUNNEL", reason), 0) > before)

    wait_for(f"{reason or 'the packet'}", settled)
    for sniffer in sniffers:
        sniffer.close()
    return len(heard)


def forged():
    """Nothing of these is delivered, and each is dropped for its reason."""
    def inner(src, dst, sport=5000):
        return f.ip(src, dst, f.UDP, f.udp(sport, 6000, TAG))

    rows = 0
    for fam, outside, third, world in (
            ("v4", FABRIC4, "10.83.0.9", "198.51.100.7"),
            ("v6", FABRIC6, "fd00:83::9", "2001:db8:5::7")):
        me, node2 = getattr(a, fam), getattr(two, "v4")
        theirs, mine = getattr(b, fam), getattr(a2, fam)
        del outside
        equal(arrived([a], vxlan(node2, inner(theirs, me)), None), 1, "control")
        for src, outer, vni, reason in (
                (theirs, FABRIC4, VNI, "SPOOF_TUNNEL"),
                (theirs, two.v6, VNI, "SPOOF_TUNNEL"),
                (theirs, node2, 7, "SPOOF_TUNNEL"),
                (mine, node2, VNI, "SPOOF_ADDRESS"),
                (me, node2, VNI, "SPOOF_ADDRESS"),
                (getattr(one, fam), node2, VNI, "SPOOF_ADDRESS"),
                (third, node2, VNI, "SPOOF_TUNNEL"),
                (getattr(two, fam), FABRIC4, VNI, "SPOOF_TUNNEL"),
                (world, node2, VNI, "SPOOF_TUNNEL")):
            equal(arrived([a, a2], vxlan(outer, inner(src, me, 5001), vni),
                          reason), 0, f"{src} from {outer}")
            rows += 1
        equal(arrived([a, a2], vxlan(node2, inner(theirs, world)), "NO_POD"),
              0, "to the world")
        rows += 1
    return f"0 of {rows} delivered"


def forged_live():
    """The tuple of a live flow, from another outer source."""
    rows = 0
    for mine, theirs in ((a.v4, b.v4), (a.v6, b.v6)):
        ours, other = a.ns.udp(6100, mine), b.ns.udp(6200, theirs)
        for sock in (ours, other):
            sock.settimeout(2)
        ours.sendto(b"hello", (theirs, 6200))
        who = other.recvfrom(100)[1]
        other.sendto(b"hello", who)
        equal(ours.recv(100), b"hello")
        inner = f.ip(theirs, mine, f.UDP, f.udp(6200, 6100, TAG))
        equal(arrived([a], vxlan(FABRIC4, inner), "SPOOF_TUNNEL"), 0, "live")
        equal(arrived([a], vxlan(two.v4, inner), None), 1, "control")
        fabric.ns.send("to-node1", f.eth(
            "02:00:00:00:00:77", one.ns.mac("uplink"), inner))
        wait_for("the drop", lambda: one.drops().get(
            ("FROM_NET", "SPOOF_ADDRESS"), 0) > rows // 2)
        ours.settimeout(0.2)
        got = []
        try:
            while True:
                got.append(ours.recv(100))
        except TimeoutError:
            pass
        equal(got, [TAG], "what the socket got, the control's alone")
        rows += 2
        ours.close()
        other.close()
    return f"0 of {rows} delivered"


def pod_forges():
    """A pod wraps packets itself, for this node and for the other."""
    sniffers = [p.ns.sniffer("eth0") for p in (a2, b, b2)]
    inner = f.eth("02:00:00:00:00:66", GW, f.ip(
        a2.v4, b.v4, f.UDP, f.udp(5005, 6000, TAG)))
    data = struct.pack("!II", 0x08000000, VNI << 8) + inner
    targets = [one.v4, two.v4, one.v6, two.v6, FABRIC4]
    before = one.drops().get(("FROM_POD", "SPOOF_TUNNEL"), 0)
    for target in targets:
        with a.ns.open(socket.AF_INET6 if ":" in target else socket.AF_INET,
                       socket.SOCK_DGRAM) as sock:
            sock.sendto(data, (target, PORT))
    wait_for("the drops", lambda: one.drops().get(
        ("FROM_POD", "SPOOF_TUNNEL"), 0) >= before + len(targets))
    equal([p for s in sniffers for p in s.packets() if TAG in p.frame], [])
    for sniffer in sniffers:
        sniffer.close()
    return f"0 of {len(targets)} delivered"


# ---- nodes that come, go and move ----------------------------------------------

class Traffic:
    """UDP at a rate and held TCP flows, from a to b."""

    def __init__(self):
        self.receiver = b.ns.tool("blast", "recv", 9000)
        self.server = b.ns.tool("conns", "serve", 7000)
        self.flows = a.ns.tool("conns", "hold", b.v6, 7000, FLOWS, ready="open")
        self.sender = a.ns.tool("blast", "send", b.v4, 9000, RATE)

    def stop(self):
        """(sent, lost, flows alive)"""
        alive = int(self.flows.ask().split()[1])
        sent, got = self.sender.result(), self.receiver.result()
        self.flows.stop()
        self.server.stop()
        return (sent["sent"], sent["sent"] - got["received"] -
                got["socket_drops"], alive)


three = None


def comes_and_goes():
    """A third node joins, is used and leaves: nobody else loses a packet."""
    global three
    traffic = Traffic()
    three = Member(fabric, 3, args=TUNNEL)
    cluster.join(three)
    three.start()
    c = cluster.pod(three, "n/c", {"app": "c"})
    cluster.settled()
    server = c.ns.listen(80)
    wait_for("c is reached", lambda: all(connects(
        [(p.ns, ip, 80) for p in (a, b) for ip in c.ips], 0.5)))
    for _ in range(5):
        cluster.leave(three)
        wait_for("c is gone", lambda: one.number_of(three) == 0)
        assert not connect(a.ns, c.v4, 80, 0.3)
        cluster.join(three)
        wait_for("c is back", lambda: connect(a.ns, c.v4, 80, 0.3))
    sent, lost, alive = traffic.stop()
    server.close()
    equal((lost, alive), (0, FLOWS), "lost, flows alive")
    return f"{lost} of {sent} lost, {alive} of {FLOWS} flows alive"


def readdressed():
    """A node gets other addresses: its flows go on, others lose nothing."""
    c = next(p for p in three.pods.values())
    number = one.number_of(three)
    server = c.ns.tool("conns", "serve", 7001)
    held = a.ns.tool("conns", "hold", c.v4, 7001, 10, ready="open")
    traffic = Traffic()
    for v4 in ("192.0.2.33", "192.0.2.43", "192.0.2.13"):
        three.ns.run("ip", "addr", "flush", "dev", "uplink", "scope", "global")
        three.v4 = v4
        three.address(three.v4, three.v6)
        cluster.put("node-node3.json", three.manifest())
        wait_for("c is reached", lambda: ping(a.ns, c.v4))
    alive_there = int(held.ask().split()[1])
    sent, lost, alive = traffic.stop()
    held.stop()
    server.stop()
    equal(one.number_of(three), number, "its number")
    equal((lost, alive, alive_there), (0, FLOWS, 10), "lost, flows alive")
    return f"{lost} of {sent} lost elsewhere, {alive_there} of 10 flows alive"


# ---- the daemon, the device ------------------------------------------------------

def restarts():
    traffic = Traffic()
    for _ in range(ROUNDS):
        for node in (one, two):
            node.stop(signal.SIGKILL)
            node.start()
    sent, lost, alive = traffic.stop()
    equal((lost, alive), (0, FLOWS), "lost, flows alive")
    return f"{lost} of {sent} lost, {alive} of {FLOWS} alive, {ROUNDS} rounds"


def index_of(device):
    return json.loads(one.ns.run("ip", "-j", "link", "show", device).stdout)[
        0]["ifindex"]


def repaired():
    """Device, routes, programs: what somebody takes comes back."""
    index = index_of("stl-vxlan")
    one.ns.run("ip", "link", "del", "stl-vxlan")
    wait_for("the pods", lambda: ping(a.ns, b.v4) and ping(a.ns, b.v6))
    wait_for("the node", lambda: ping(one.ns, b.v4) and ping(one.ns, b.v6))
    equal(index_of("stl-vxlan"), index, "its number")
    one.ns.run("ip", "route", "del", two.pod_cidrs[0])
    one.ns.run("ip", "-6", "route", "del", two.pod_cidrs[1])
    wait_for("the node", lambda: ping(one.ns, b.v4) and ping(one.ns, b.v6))
    one.ns.run("ip", "link", "set", "stl-vxlan", "down")
    wait_for("the pods", lambda: ping(a.ns, b.v4) and ping(a.ns, b.v6))
    one.ns.run("ip", "link", "set", "stl-vxlan", "mtu", "1300")
    wait_for("the MTU", lambda: "mtu 1450" in one.ns.run(
        "ip", "link", "show", "stl-vxlan").stdout)


def cidr_changes():
    """What is used stays, and status says so."""
    manifest = one.manifest()
    manifest["spec"]["podCIDRs"] = ["10.99.0.0/16"]
    one.put("node-node1.json", manifest)
    wait_for("the error", lambda: any(
        p["object"] == "Node/node1" for p in one.ask("status")["problems"]))
    assert ping(a.ns, b.v4)
    one.put("node-node1.json", one.manifest())
    wait_for("no error", lambda: not one.ask("status")["problems"])


def uninstalled():
    node = two
    node.stop()
    node.ns.run(f"{BUILD}/stile", "--run-dir", f"{node.dir}/run", "uninstall",
                "--yes", "--state-dir", f"{node.dir}/state", "--bpffs",
                node.bpffs)
    after = state(node)
    for key, value in BEFORE[node].items():
        equal(after[key], value, key)


test("every pod reaches every pod", lambda: pods_reach_pods([a, a2, b, b2]))
test("pods and nodes, pods and the outside",
     lambda: hosts_and_outside(a, one, two, b))
test("policy at both ends", policy_at_both_ends)
test("services with backends on another node", services_far_away)
test("IPv4: the MTU is the tunnel's", fits, b.v4)
test("IPv6: the MTU is the tunnel's", fits, b.v6)
test("streams arrive whole", streams)
test("a node's datagrams are answered in fragments", fragments_to_nodes)
test("forged tunnel packets", forged)
test("forged tunnel packets of live flows", forged_live)
test("a pod forges tunnel packets", pod_forges)
test("a node comes and goes", comes_and_goes)
test("a node is readdressed", readdressed)
test("kill -9 and start on both nodes, under traffic", restarts)
test("what somebody takes comes back", repaired)
test("another pod CIDR is an error", cidr_changes)
test("uninstall leaves nothing", uninstalled)
done()
