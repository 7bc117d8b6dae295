# SPDX-License-Identifier: Apache-2.0
"""nodeport_cases.py - services asked from outside, on two nodes: what must be so
however pods reach those of other nodes.

    s/a, s/l --- node1 --+-- fabric (192.0.2.1) --- client (203.0.113.2)
    s/z, s/r --- node2 --+

s/l and s/r serve; all others only ask.  What leads to load balancers leads to
node1.
"""
import os
import signal

import services
from cluster import FABRIC4, FABRIC6, Cluster, Fabric, Member
from services import (EXTERNAL_ARGS, GOING, PROTOCOLS, READY, Echo, alive, ask, balanced,
                      ends_of, expect, external, outcome, policies, put, refused,
                      seen, talks, vips)
from stage import Netns, equal, namespace_manifest, wait_for

CLIENT4, CLIENT6 = "203.0.113.2", "2001:db8:77::2"
ROUTER4, ROUTER6 = "203.0.113.1", "2001:db8:77::1"
ASKED = 20  # often enough that each of two backends would be seen
NARROW = 1300


def way_out(client, v4=(), v6=()):
    for router, how in ((ROUTER4, v4), (ROUTER6, v6)):
        client.run("ip", "-6" if ":" in router else "-4", "route", "replace",
                   "default", "via", router, *how)


class Scene:
    def __init__(self, *routing):
        self.fabric = Fabric()
        self.outside = self.fabric.ns
        self.client = self._client()
        self.one, self.two = (
            Member(self.fabric, n, args=(*routing, *EXTERNAL_ARGS)) for n in (1, 2))
        self.cluster = Cluster(self.fabric, [self.one, self.two]).start()
        self.cluster.put("s.json", namespace_manifest("s"))
        self.a, self.l = (self.cluster.pod(self.one, f"s/{n}", {"app": n})
                          for n in "al")
        self.z, self.r = (self.cluster.pod(self.two, f"s/{n}", {"app": n})
                          for n in "zr")
        self.cluster.settled()
        services.roads(self.outside, self.one.v4, self.one.v6)
        _, self.server = (Echo(p.ns, 8080, p.ns.name, tells=True)
                          for p in (self.l, self.r))
        self.number = 0

    def _client(self):
        """Somebody whose packets come through a router."""
        client = Netns("client")
        self.outside.run("ip", "link", "add", "out", "type", "veth", "peer",
                         "name", "eth0", "netns", client.name)
        for ns, device, v4, v6 in ((self.outside, "out", ROUTER4, ROUTER6),
                                   (client, "eth0", CLIENT4, CLIENT6)):
            ns.run("ip", "addr", "add", f"{v4}/24", "dev", device)
            ns.run("ip", "addr", "add", f"{v6}/64", "dev", device, "nodad")
            ns.run("ip", "link", "set", device, "up")
        way_out(client)
        self.outside.sysctl(net__ipv4__ip_forward=1,
                            net__ipv6__conf__all__forwarding=1)
        return client

    def new(self, *pods, kinds=True, **spec):
        """A service with these backends: its number and the ways in, by node1."""
        self.number += 1
        n, nodes = self.number, (self.one.v4, self.one.v6)
        if kinds:
            return n, services.of_all_kinds(
                self.cluster, n, 30000 + n, ends_of(*pods), nodes, **spec)
        services.publish(self.cluster, n, ends_of(*pods), node_port=30000 + n, **spec)
        return n, [(a, 30000 + n) for a in nodes]

    def drop(self, number):
        self.cluster.remove(f"svc{number}.json")


def of(member):
    """A node's or a pod's addresses, as seen() takes them."""
    return member.v4, member.v6


CLIENT, FABRIC = (CLIENT4, CLIENT6), (FABRIC4, FABRIC6)


def backend_far_away(scene):
    """Reached with node1's address; who is near the backend keeps his own."""
    n, ways = scene.new(scene.r)
    asked = expect(scene.client, ways, seen("r", of(scene.one)))
    asked += expect(scene.outside, ways, seen("r", of(scene.one)))
    asked += expect(scene.client, [(a, 30000 + n) for a in of(scene.two)],
                    seen("r", CLIENT))
    return f"{asked} answered"


def both(scene):
    """A backend here and one there, by either node, whose pod is whose."""
    n, ways = scene.new(scene.l, scene.r)
    for addr, port in ways + [(a, 30000 + n) for a in of(scene.two)]:
        six = ":" in addr
        near, there = ((scene.r, scene.l) if addr in of(scene.two) else
                       (scene.l, scene.r))
        node = scene.two if addr in of(scene.two) else scene.one
        for proto in PROTOCOLS:
            equal({outcome(scene.client, addr, port, proto) for _ in range(ASKED)},
                  {f"{near.ns.name}@{CLIENT[six]}",
                   f"{there.ns.name}@{of(node)[six]}"}, f"{addr} {proto}")
    return f"{ASKED * 2 * (len(ways) + 2)} answered"


def of_hosts(scene):
    """The backend is a process of the other node, by that node's address."""
    n, _ = scene.new()
    ways = services.of_all_kinds(scene.cluster, n, 30000 + n, [
        (a, READY, scene.two.name) for a in of(scene.two)], of(scene.one))
    with Echo(scene.two.ns, 8080, "host", tells=True):
        asked = expect(scene.client, ways, seen("host", of(scene.one)))
        asked += expect(scene.client, [(a, 30000 + n) for a in of(scene.two)],
                        seen("host", CLIENT))
        for addr, port in ways + [(v, 80) for v in vips(n)]:
            equal(ask(scene.a.ns, addr, port).partition("@")[0], "host", addr)
    return f"{asked} answered"


def of_pods(scene):
    """Pods ask their own node, the other node, and all the rest."""
    asked = 0
    for pod in (scene.l, scene.r):
        n, ways = scene.new(pod)
        asked += expect(scene.a.ns, ways + [(a, 80) for a in vips(n)],
                        seen(pod.ns.name, of(scene.a)))
        for asker, node in ((scene.a, scene.two), (scene.z, scene.one),
                            (pod, scene.one), (pod, scene.two)):
            for addr in of(node):
                for proto in PROTOCOLS:
                    equal(ask(asker.ns, addr, 30000 + n, proto).partition("@")[0],
                          pod.ns.name, f"{asker} at {node.name} {addr} {proto}")
                    asked += 1
    return f"{asked} answered"


def much(scene):
    """Streams, and datagrams in fragments, both ways."""
    for pod in (scene.r, scene.l):
        _, ways = scene.new(pod)
        client = CLIENT if pod is scene.l else of(scene.one)
        for addr, port in ways:
            want = seen(pod.ns.name, client)(addr)
            equal(outcome(scene.client, addr, port, "tcp", os.urandom(1 << 20)), want,
                  f"1 MB to {addr}")
            for size in (1400, 4000):
                # IPv6 learns from the first what fits a tunnel: RFC 8200 5.
                wait_for(f"{size} bytes to {addr}", lambda: outcome(
                    scene.client, addr, port, "udp", os.urandom(size),
                    seconds=2) == want)
    forget(scene.client)
    return "1 MB, and fragments"


def narrow(scene):
    """The way back to the client is narrower than the pods think: a router
    says so to the node, the node to the pod, here or over there."""
    scene.outside.run("ip", "link", "set", "out", "mtu", NARROW)
    # The client knows, for what it sends; nobody else does.
    way_out(scene.client, ("mtu", NARROW, "advmss", 1460),
            ("mtu", NARROW, "advmss", 1440))
    try:
        for pod in (scene.l, scene.r):
            _, ways = scene.new(pod)
            for addr, port in ways:
                before = seen_too_big(pod, ":" in addr)
                sock, _ = talks(scene.client, addr, port)
                equal(alive(sock, bytes(200000)), True, f"200 000 bytes of {addr}")
                sock.close()
                wait_for("the pod is told", lambda: seen_too_big(
                    pod, ":" in addr) > before)
                forget(pod.ns)
    finally:
        scene.outside.run("ip", "link", "set", "out", "mtu", 1500)
        way_out(scene.client)
    return f"{len(ways) * 2} ways"


def seen_too_big(pod, six):
    """How many too-big messages the pod's stack has taken."""
    if six:
        return int(next(line.split()[1] for line in pod.ns.run(
            "cat", "/proc/self/net/snmp6").stdout.splitlines()
            if line.startswith("Icmp6InPktTooBigs")))
    head, values = (line.split() for line in pod.ns.run(
        "cat", "/proc/self/net/snmp").stdout.splitlines()
        if line.startswith("Icmp:"))
    return int(values[head.index("InDestUnreachs")])


def forget(netns):
    """No MTU that a stack has learnt."""
    for family in "-4", "-6":
        netns.run("ip", family, "route", "flush", "cache")


def nobody(scene):
    """No endpoints anywhere: refused at once."""
    n, ways = scene.new(scene.r)
    expect(scene.client, ways, seen("r", of(scene.one)))
    services.of_all_kinds(scene.cluster, n, 30000 + n, [])
    ways += [(a, 30000 + n) for a in of(scene.two)]
    asked = sum(refused(netns, ways) for netns in (scene.client, scene.outside))
    asked += sum(refused(pod.ns, ways + [(a, 80) for a in vips(n)])
                 for pod in (scene.a, scene.z))
    return f"{asked} refused by the first packet"


def silent(netns, ways):
    for way in ways:
        for proto in PROTOCOLS:
            equal(outcome(netns, *way, proto, seconds=1), "", f"{way} {proto}")


def outer_local(scene):
    """externalTrafficPolicy Local: the outside gets pods of the node it asks,
    with its own address, or silence; pods get any."""
    n, ways = scene.new(scene.r, externalTrafficPolicy="Local")
    at_two = [(a, 30000 + n) for a in of(scene.two)]
    silent(scene.client, ways)
    expect(scene.client, at_two, seen("r", CLIENT))
    expect(scene.a.ns, ways + [(a, 80) for a in vips(n)], seen("r", of(scene.a)))
    expect(scene.z.ns, [(a, 80) for a in balanced(n) + external(n) + vips(n)],
           seen("r", of(scene.z)))

    spec = {"node_port": 30000 + n, "ingress": balanced(n),
            "externalIPs": list(external(n)), "externalTrafficPolicy": "Local"}
    services.publish(scene.cluster, n, ends_of(scene.l, scene.r), **spec)
    for _ in range(ASKED):
        expect(scene.client, ways[:2], seen("l", CLIENT))
    expect(scene.client, ways, seen("l", CLIENT))
    expect(scene.client, at_two, seen("r", CLIENT))
    equal({ask(scene.a.ns, vips(n)[0], 80) for _ in range(ASKED)},
          {f"l@{scene.a.v4}", f"r@{scene.a.v4}"}, "a pod")
    services.publish(scene.cluster, n, [], **spec)
    refused(scene.client, ways + at_two)


def outer_local_terminates(scene):
    """The last pod of a node terminates: the outside still gets it there, pods
    get those that are ready."""
    n, ways = scene.new(scene.l, scene.r, kinds=False, externalTrafficPolicy="Local")
    expect(scene.client, ways, seen("l", CLIENT))
    put(scene.cluster, n, ends_of(scene.l, conditions=GOING) + ends_of(scene.r),
        node_port=30000 + n, externalTrafficPolicy="Local")
    wait_for("the other alone", lambda: {
        ask(scene.a.ns, vips(n)[0], 80) for _ in range(ASKED)} ==
        {f"r@{scene.a.v4}"})
    for _ in range(ASKED):
        expect(scene.client, ways, seen("l", CLIENT))


def inner_local(scene):
    """internalTrafficPolicy Local: a pod gets those of its node, or a refusal;
    the outside is not concerned."""
    n, ways = scene.new(scene.l, scene.r, kinds=False)

    def change(*pods):
        put(scene.cluster, n, ends_of(*pods), node_port=30000 + n,
            internalTrafficPolicy="Local")
    change(scene.l, scene.r)
    for asker, server in ((scene.a, scene.l), (scene.z, scene.r)):
        want = {f"{server.ns.name}@{asker.v4}"}
        wait_for("those of its node alone", lambda: {
            ask(asker.ns, vips(n)[0], 80) for _ in range(ASKED)} == want)
        for vip in vips(n):
            for proto in PROTOCOLS:
                equal({ask(asker.ns, vip, 80, proto).partition("@")[0]
                       for _ in range(ASKED)}, {server.ns.name}, vip)
    change(scene.r)
    wait_for("nobody here", lambda: outcome(
        scene.a.ns, vips(n)[0], 80) == "ECONNREFUSED")
    refused(scene.a.ns, [(v, 80) for v in vips(n)])
    expect(scene.z.ns, [(v, 80) for v in vips(n)], seen("r", of(scene.z)))
    expect(scene.client, ways, seen("r", of(scene.one)))


def policy(scene):
    """At a backend here the client is known; one over there sees node1."""
    for pod, client in ((scene.l, CLIENT), (scene.r, of(scene.one))):
        _, ways = scene.new(pod, kinds=False)
        with policies(scene.cluster) as put_policies:
            for allow, answer in ((FABRIC, False), (client, True)):
                cidrs = [f"{a}/{128 if ':' in a else 32}" for a in allow]
                put_policies(services.allows(pod.ns.name, cidrs, 8080))
                wait_for("the policy", lambda: bool(ask(
                    scene.client, *ways[0], seconds=0.5)) == answer)
                for way in ways:
                    for proto in PROTOCOLS:
                        equal(ask(scene.client, *way, proto,
                                  seconds=10 if answer else 0.5),
                              seen(pod.ns.name, client)(way[0]) if answer else "",
                              f"{cidrs} at {way}")


def restart(scene):
    """kill -9 of both: what is open goes on, what is new is answered."""
    held, ways = [], []
    for pod in (scene.l, scene.r):
        n, some = scene.new(pod)
        ways.append((pod, some))
        held += [talks(scene.client, *way)[0] for way in some]
        held.append(talks(scene.a.ns, scene.two.v4, 30000 + n)[0])

    def all_well(when):
        equal([alive(s) for s in held], [True] * len(held), when)
        for pod, some in ways:
            client = CLIENT if pod is scene.l else of(scene.one)
            expect(scene.client, some, seen(pod.ns.name, client))

    all_well("at first")
    for node in (scene.one, scene.two):
        node.stop(signal.SIGKILL)
        all_well(f"{node.name} away")
        node.start()
        all_well(f"{node.name} back")
    for sock in held:
        sock.close()
    return f"{len(held)} of {len(held)} connections alive"


def removed(scene):
    """The Service is gone: new connections are, at both nodes."""
    n, ways = scene.new(scene.r, kinds=False)
    expect(scene.client, ways, seen("r", of(scene.one)))
    scene.drop(n)
    ways += [(a, 30000 + n) for a in of(scene.two)]
    for node in (scene.one, scene.two):
        wait_for("gone", lambda: outcome(
            scene.client, node.v4, 30000 + n) == "ECONNREFUSED")
    refused(scene.client, ways)


def run_all(scene, test):
    for name, case in (
            ("a backend on another node sees this node", backend_far_away),
            ("a backend here sees the client, one over there the node", both),
            ("a backend that is the other node's own", of_hosts),
            ("pods ask every node", of_pods),
            ("streams and fragments", much),
            ("a narrower way back", narrow),
            ("no endpoints: refused at once", nobody),
            ("externalTrafficPolicy Local", outer_local),
            ("externalTrafficPolicy Local: a pod that terminates",
             outer_local_terminates),
            ("internalTrafficPolicy Local", inner_local),
            ("policy where the backend is", policy),
            ("kill -9 and start on both nodes", restart),
            ("a service that is gone", removed)):
        test(name, case, scene)
