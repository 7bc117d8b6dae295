# SPDX-License-Identifier: Apache-2.0
"""nodeport_test - services asked from outside, on a node that is alone.

    far (192.0.2.2, .7) --- node (192.0.2.1, .101,  ---+--- s/c   a client
                            203.0.113.1 elsewhere)     +--- s/b0, s/b1   backends
"""
import os
import signal

import frames
import services
from services import (EXTERNAL_ARGS, GOING, GONE, READY, Echo, alive, ask, balanced,
                      ends_of, expect, external, opened, outcome, policies, publish,
                      put, refused, seen, talks, vips)
from stage import (FAR4, FAR6, NODE4, NODE6, Node, done, equal,
                   namespace_manifest, test, wait_for)

OTHER4, OTHER6 = "192.0.2.7", "2001:db8::7"  # a second client outside
# Every address of the node: two of the uplink, one of a device that leads nowhere.
NODES = (NODE4, NODE6, "192.0.2.101", "2001:db8::101",
         "203.0.113.1", "2001:db8:77::1")


def addressed(node):
    ns, far = node.ns, node.far
    ns.run("ip", "link", "add", "extra", "type", "bridge")
    ns.run("ip", "link", "set", "extra", "up")
    for addr, size, device in ((NODES[2], 24, "uplink"), (NODES[3], 64, "uplink"),
                               (NODES[4], 32, "extra"), (NODES[5], 128, "extra")):
        ns.run("ip", "addr", "add", f"{addr}/{size}", "dev", device,
               *(["nodad", "preferred_lft", 0] if ":" in addr else []))
        if device == "extra":
            far.run("ip", "route", "add", addr, "via",
                    NODE6 if ":" in addr else NODE4)
    far.run("ip", "addr", "add", f"{OTHER4}/24", "dev", "uplink")
    far.run("ip", "addr", "add", f"{OTHER6}/64", "dev", "uplink", "nodad",
            "preferred_lft", 0)  # asks only where a test says so
    services.roads(far, NODE4, NODE6)


node = Node(args=EXTERNAL_ARGS)
addressed(node)
node.settled().start()
node.put("ns.json", namespace_manifest("s"))
far = node.far
c = node.pod("s/c", {"app": "c"})
b0, b1 = (node.pod(f"s/b{i}", {"app": "b"}) for i in range(2))
echoes = [Echo(p.ns, 8080, p.ns.name, tells=True) for p in (b0, b1, c)]


def of_all_kinds(*args, **spec):
    return services.of_all_kinds(node, *args, nodes=NODES, **spec)


FAR, OTHER, C = (FAR4, FAR6), (OTHER4, OTHER6), (c.v4, c.v6)


# ---- who is reached, and from where ---------------------------------------------

def from_outside():
    ways = of_all_kinds(10, 30010, ends_of(b0))
    asked = expect(far, ways, seen("b0", FAR))
    for i, client in enumerate(OTHER):
        asked += expect(far, [w for w in ways if (":" in w[0]) == i],
                        f"b0@{client}", source=client)
    return f"{asked} answered by the pod, who saw the client's address"


def from_pods():
    ways = of_all_kinds(11, 30011, ends_of(b0)) + [(v, 80) for v in vips(11)]
    asked = expect(c.ns, ways, seen("b0", C))
    for addr, port in ways:  # the backend asks for itself
        for proto in services.PROTOCOLS:
            equal(ask(b0.ns, addr, port, proto).partition("@")[0], "b0", addr)
            asked += 1
    return f"{asked} answered"


def much():
    """Streams, and datagrams in fragments, both ways."""
    ways = of_all_kinds(12, 30012, ends_of(b0))
    for addr, port in ways:
        for proto, size in (("tcp", 200000), ("udp", 4000), ("udp", 1473)):
            equal(outcome(far, addr, port, proto, os.urandom(size)),
                  seen("b0", FAR)(addr), f"{size} bytes to {addr} {proto}")
    return f"{len(ways)} ways, 200 000 bytes and fragments"


def every_backend():
    publish(node, 13, ends_of(b0, b1), node_port=30013)
    for addr in (NODE4, NODE6):
        for proto in services.PROTOCOLS:
            got = [outcome(far, addr, 30013, proto) for _ in range(60)]
            names = [g.partition("@")[0] for g in got]
            equal(set(names), {"b0", "b1"}, f"answers at {addr}")
            assert 10 <= names.count("b0") <= 50, names.count("b0")


def same_port():
    """From one port by every way at once, to one backend: told apart."""
    ways = of_all_kinds(17, 30017, ends_of(b0))
    for six, port in ((False, 40200), (True, 40201)):
        some = [w for w in ways if (":" in w[0]) == six]
        socks = [talks(far, *way, bind=port) for way in some]
        equal([who.partition("@")[0] for _, who in socks], ["b0"] * len(some), "who")
        for i in range(20):
            for way, (sock, _) in zip(some, socks):
                assert alive(sock, f"{way} {i}".encode()), way
        for sock, _ in socks:
            sock.close()
        datagrams = [opened(far, way[0], "udp", bind=port) for way in some]
        for way, sock in zip(some, datagrams):
            sock.connect(way)
        for i in range(3):
            for way, sock in zip(some, datagrams):
                text = f"{way} {i}".encode()
                equal(services.exchange(sock, text).partition("@")[0], "b0", way)
        for sock in datagrams:
            sock.close()
    return f"{len(ways)} ways"


def of_hosts():
    """The backend is a process of the node: by its own address."""
    ways = of_all_kinds(18, 30018, [(a, READY, node.name) for a in (NODE4, NODE6)])
    with Echo(node.ns, 8080, "host", tells=True):
        asked = expect(far, ways, seen("host", FAR))
        asked += expect(c.ns, ways + [(v, 80) for v in vips(18)], seen("host", C))
    return f"{asked} answered"


def foreign():
    """An external address outside --external-ips is not served; the rest of
    its service is."""
    publish(node, 14, ends_of(b0), node_port=30014,
            externalIPs=["203.0.113.200", "2001:db8:77::200", *external(14)])
    far.run("ip", "route", "add", "203.0.113.200", "via", NODE4)
    far.run("ip", "route", "add", "2001:db8:77::200", "via", NODE6)
    expect(far, [(a, 80) for a in external(14)], seen("b0", FAR))
    for netns in (far, c.ns):
        for addr in ("203.0.113.200", "2001:db8:77::200"):
            for proto in services.PROTOCOLS:
                equal(ask(netns, addr, 80, proto, seconds=1), "", addr)
    expect(far, [(a, 30014) for a in NODES], seen("b0", FAR))
    node.remove("svc14.json")


def only_its_ports():
    """What is no service's is the node's own: its sockets, or a refusal."""
    ways = of_all_kinds(15, 30015, ends_of(b0))
    for port in (80, 8080, 20000):
        with Echo(node.ns, port, "host", tells=True):
            expect(far, [(a, port) for a in NODES], seen("host", FAR))
            expect(c.ns, [(a, port) for a in NODES], seen("host", C))
            expect(far, ways, seen("b0", FAR))
    with Echo(far, 80, "far", tells=True):
        expect(node.ns, [(FAR4, 80), (FAR6, 80)], seen("far", (NODE4, NODE6)))
    refused(far, [(a, 30999) for a in NODES])


def taken():
    """The node listens on the very number: the service has it; the socket has
    it again when the service is gone."""
    with Echo(node.ns, 30016, "host", tells=True):
        expect(far, [(a, 30016) for a in NODES], seen("host", FAR))
        held = [talks(far, a, 30016)[0] for a in NODES]
        publish(node, 16, ends_of(b0), node_port=30016)
        expect(far, [(a, 30016) for a in NODES], seen("b0", FAR))
        equal([alive(s) for s in held], [True] * len(held), "what was open before")
        node.remove("svc16.json")
        wait_for("the socket", lambda: ask(far, NODE4, 30016) == f"host@{FAR4}")
        expect(far, [(a, 30016) for a in NODES], seen("host", FAR))
        equal([alive(s) for s in held], [True] * len(held), "what was open before")
        for sock in held:
            sock.close()


# ---- nobody there ---------------------------------------------------------------

def nobody():
    """No endpoints: refused at once, of every kind, from everywhere."""
    ways = of_all_kinds(20, 30020, ends_of(b0))
    expect(far, ways, seen("b0", FAR))
    of_all_kinds(20, 30020, [])
    asked = refused(far, ways)
    asked += refused(c.ns, ways + [(v, 80) for v in vips(20)])
    of_all_kinds(20, 30020, ends_of(b0, conditions=services.UNREADY))
    asked += refused(far, ways)
    of_all_kinds(20, 30020, ends_of(b1))
    expect(far, ways, seen("b1", FAR))
    return f"{asked} refused by the first packet"


def terminating():
    """Endpoints that terminate: when there is no other; what is open stays."""
    ways = [(a, 30021) for a in (NODE4, NODE6)]
    publish(node, 21, ends_of(b0), node_port=30021)
    held = [talks(far, *way) for way in ways]
    equal([who for _, who in held], [f"b0@{FAR4}", f"b0@{FAR6}"], "who")

    def states(first, second, want):
        put(node, 21, ends_of(b0, conditions=first) +
            ends_of(b1, conditions=second), node_port=30021)
        services.in_force(node, 21, {ip for p in want for ip in p.ips})
        for _ in range(5):
            for netns, client in ((far, FAR), (c.ns, C)):
                if want:
                    expect(netns, ways, seen(want[0].ns.name, client))
                else:
                    refused(netns, ways)
        equal([alive(s) for s, _ in held], [True, True], "what was open")

    states(GOING, READY, [b1])
    states(GOING, GONE, [b0])
    states(GONE, GOING, [b1])
    states(GONE, services.UNREADY, [])
    states(READY, GOING, [b0])
    for sock, _ in held:
        sock.close()


# ---- policy ---------------------------------------------------------------------

def policy():
    """Judged on the pod and its port, with the address of the client."""
    ways = of_all_kinds(25, 30025, ends_of(b0))
    four = [w for w in ways if ":" not in w[0]]
    six = [w for w in ways if ":" in w[0]]

    def closed(source, some):
        equal([ask(far, *w, proto, source=source, seconds=0.3) for w in some
               for proto in services.PROTOCOLS], [""] * 2 * len(some), source)

    with policies(node) as put_policies:
        def only(port, *cidrs):
            put_policies(services.allows("b", cidrs, port))

        only(8080, f"{OTHER4}/32", f"{FAR6}/128")
        wait_for("the policy", lambda: not ask(far, NODE4, 30025, seconds=0.3))
        expect(far, four, f"b0@{OTHER4}", source=OTHER4)
        expect(far, six, f"b0@{FAR6}", source=FAR6)
        closed(FAR4, four)
        closed(OTHER6, six)
        for port in (30025, 80):
            only(port, "0.0.0.0/0", "::/0")
            wait_for("the policy", lambda: not ask(
                far, NODE4, 30025, source=OTHER4, seconds=0.3))
            closed(FAR6, six)
            closed(OTHER4, four)
            only(8080, "0.0.0.0/0", "::/0")
            wait_for("the policy", lambda: ask(far, NODE4, 30025, source=OTHER4))
            expect(far, ways, seen("b0", FAR))
    expect(far, ways, seen("b0", FAR))


def cut():
    """A live connection through a node port is cut by policy, by no update."""
    publish(node, 26, ends_of(b0), node_port=30026)
    held = [talks(far, a, 30026)[0] for a in (NODE4, NODE6)]
    for sock in held:
        sock.settimeout(1)
    publish(node, 26, ends_of(b1), node_port=30026)
    wait_for("the other", lambda: ask(far, NODE4, 30026) == f"b1@{FAR4}")
    equal([alive(s) for s in held], [True, True], "with another backend")
    with policies(node) as put_policies:
        put_policies(services.allows("b", [f"{FAR4}/32"], 8080))
        wait_for("cut", lambda: not alive(held[1]))
        equal(alive(held[0]), True, "the one that is allowed")
        put_policies(services.allows("b", [], 8080))
        wait_for("cut", lambda: not alive(held[0]))
    for sock in held:
        sock.close()


# ---- the daemon -----------------------------------------------------------------

def restart():
    """kill -9: what is open goes on, what is new is answered, all the time."""
    ways = of_all_kinds(30, 30030, ends_of(b0))
    held = [talks(far, *way)[0] for way in ways]
    rounds = 3
    for _ in range(rounds):
        node.stop(signal.SIGKILL)
        equal([alive(s) for s in held], [True] * len(held), "daemon away")
        expect(far, ways, seen("b0", FAR))
        node.start()
        equal([alive(s) for s in held], [True] * len(held), "daemon back")
        expect(far, ways, seen("b0", FAR))
    for sock in held:
        sock.close()
    return f"{len(held)} of {len(held)} connections alive, {rounds} rounds"


def removed():
    """A Service that is gone, also while the daemon is away, is asked in vain."""
    for number, away in ((31, False), (32, True)):
        ways = of_all_kinds(number, 30000 + number, ends_of(b0))
        expect(far, ways, seen("b0", FAR))
        if away:
            node.stop(signal.SIGKILL)
        node.remove(f"svc{number}.json")
        if away:
            node.start()
        wait_for("the end", lambda: not ask(far, NODE4, 30000 + number, seconds=1))
        for netns in (far, c.ns):
            refused(netns, [(a, 30000 + number) for a in NODES])
        for addr in balanced(number) + external(number):
            equal(ask(far, addr, 80, seconds=1), "", addr)
    equal(node.ask("status")["problems"], [], "problems")


def errors():
    """An ICMP error about a backend's answer is given to the backend."""
    publish(node, 33, ends_of(b0), node_port=30033)
    for addr, there, me in ((NODE4, FAR4, b0.v4), (NODE6, FAR6, b0.v6)):
        six = ":" in addr
        sniffer = b0.ns.sniffer("eth0")
        with opened(far, addr, "udp") as sock:
            sock.connect((addr, 30033))
            equal(services.exchange(sock), f"b0@{there}", "who")
            port = sock.getsockname()[1]
        # Its socket is gone: the next answer is told so.
        far.send("uplink", frames.eth(
            far.mac("uplink"), node.ns.mac("uplink"),
            frames.ip(there, addr, frames.UDP, frames.udp(port, 30033, b"late"))))
        kind = frames.ICMP6 if six else frames.ICMP
        got = wait_for("the error", lambda: [
            p for p in sniffer.packets() if p.proto == kind and not p.is_neighbour])
        quoted = got[0].payload[8:]
        have = frames.Packet(b"\0" * 12 + (b"\x86\xdd" if six else b"\x08\x00") + quoted)
        equal((got[0].payload[:2], got[0].saddr, got[0].daddr),
              (b"\x01\x04" if six else b"\x03\x03", there, me), "the error")
        equal((have.saddr, have.daddr, have.sport, have.dport),
              (me, there, 8080, port), "what it quotes")
        sniffer.close()


test("outside: every kind of address, and the backend sees the client", from_outside)
test("pods: every kind of address, and the backend sees the pod", from_pods)
test("streams and fragments", much)
test("every backend is used", every_backend)
test("one client's port, every way at once", same_port)
test("a backend that is the node's own", of_hosts)
test("external addresses outside --external-ips are not served", foreign)
test("what is no service's port is the node's own", only_its_ports)
test("a service has a node port that a socket listens on too", taken)
test("no endpoints: refused at once", nobody)
test("endpoints that terminate are the last resort; what is open stays", terminating)
test("policy is judged on the backend, with the client's address", policy)
test("a live connection is cut by policy alone", cut)
test("kill -9 and start: connections go on, new ones are answered", restart)
test("a service that is gone", removed)
test("an ICMP error reaches the backend, in its own words", errors)
done()
