# SPDX-License-Identifier: Apache-2.0
"""service_kinds_test - what a Service may ask for: affinity, source ranges; whose
a node port is; and what --services pods leaves alone.

    far (192.0.2.2, and .20 to .35) --- node ---+--- s/c, s/d   clients
                                                +--- s/b0, s/b1, s/b2   backends
"""
import signal
import time

import services
from services import (EXTERNAL_ARGS, PROTOCOLS, Echo, ask, balanced, ends_of,
                      expect, outcome, publish, put, refused, service, slices,
                      vips)
from stage import (FAR4, FAR6, NODE4, NODE6, Node, done, equal,
                   namespace_manifest, test, wait_for)

MANY4 = [f"192.0.2.{n}" for n in range(20, 36)]
MANY6 = [f"2001:db8::{n}" for n in range(20, 36)]
NODES, FAR = (NODE4, NODE6), (FAR4, FAR6)
TIMEOUT = 2  # of the affinity whose end is waited for, seconds
ASKED = 30   # connections of one client; three backends would all be seen

node = Node(args=EXTERNAL_ARGS)
far = node.far
for v4, v6 in zip(MANY4, MANY6):
    far.run("ip", "addr", "add", f"{v4}/24", "dev", "uplink")
    far.run("ip", "addr", "add", f"{v6}/64", "dev", "uplink", "nodad",
            "preferred_lft", 0)
services.roads(far, NODE4, NODE6)
node.settled().start()
node.put("ns.json", namespace_manifest("s"))
c, d = (node.pod(f"s/{name}", {"app": "c"}) for name in "cd")
pods = [node.pod(f"s/b{i}", {"app": "b"}) for i in range(3)]
echoes = [Echo(p.ns, 8080, p.ns.name) for p in pods]


def problems():
    return {p["object"]: p["error"] for p in node.ask("status")["problems"]}


# ---- affinity -------------------------------------------------------------------

def sticky(number, node_port, ends, seconds=10800, **spec):
    return services.of_all_kinds(
        node, number, node_port, ends, NODES, sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": seconds}}, **spec)


def one_answer(netns, addr, port, proto, **kw):
    """Who answers all of a client's connections, each of another port."""
    got = {outcome(netns, addr, port, proto, **kw) for _ in range(ASKED)}
    equal(len(got), 1, f"backends at {addr} {proto}: {sorted(got)}")
    name = got.pop()
    assert name.startswith("b"), name
    return name


def affinity():
    """One client, one backend; not all clients the same."""
    ways = sticky(10, 30010, ends_of(*pods))
    for addr, port in ways:
        for proto in PROTOCOLS:
            one_answer(far, addr, port, proto)
    for pod in (c, d):
        for vip in vips(10):
            for proto in PROTOCOLS:
                one_answer(pod.ns, vip, 80, proto)
    for addr, sources in ((NODE4, MANY4), (NODE6, MANY6)):
        for proto in PROTOCOLS:
            first = [outcome(far, addr, 30010, proto, source=s) for s in sources]
            again = [outcome(far, addr, 30010, proto, source=s) for s in sources]
            equal(again, first, f"each client's again, {addr} {proto}")
            assert len(set(first)) > 1, f"all at {set(first)}"


def of_the_service():
    """A client's backend is the same by whichever address it asks."""
    ways = sticky(11, 30011, ends_of(*pods))
    for six in (False, True):
        for proto in PROTOCOLS:
            got = {outcome(far, a, port, proto) for a, port in ways
                   if (":" in a) == six for _ in range(5)}
            equal(len(got), 1, f"backends, {proto}: {sorted(got)}")
        ways_in = [(vips(11)[six], 80), (NODES[six], 30011)]
        equal(len({outcome(c.ns, *w) for w in ways_in for _ in range(5)}), 1,
              "backends of a pod")


def times_out():
    """After the timeout it may be another, and sooner or later is."""
    for n, netns in ((12, far), (13, c.ns)):
        sticky(n, 30000 + n, ends_of(*pods), seconds=TIMEOUT)
        for proto in PROTOCOLS:
            addr = NODES[n & 1]
            first = one_answer(netns, addr, 30000 + n, proto)

            def another():
                time.sleep(TIMEOUT + 0.5)  # each question begins the time anew
                now = outcome(netns, addr, 30000 + n, proto)
                assert now.startswith("b"), now
                return now != first
            wait_for(f"another than {first}", another, seconds=60)


def moves_on():
    """The backend is removed, is not ready, terminates: another, and that one
    is kept, also when the first is back."""
    ways = [(NODES[0], 30014), (NODES[1], 30014)]
    for state in (None, services.UNREADY, services.GOING):
        sticky(14, 30014, ends_of(*pods))
        for way in ways:
            name = one_answer(far, *way, "tcp")
            left = [p for p in pods if p.ns.name != name]
            there = [p for p in pods if p.ns.name == name]
            sticky(14, 30014, ends_of(*left) + (
                ends_of(*there, conditions=state) if state else []))
            after = one_answer(far, *way, "tcp")
            assert after != name, f"still {name}"
            sticky(14, 30014, ends_of(*pods))
            equal(one_answer(far, *way, "tcp"), after, "with the first back")


def without():
    """The same service without affinity: every backend again."""
    sticky(15, 30015, ends_of(*pods))
    one_answer(far, NODE4, 30015, "tcp")
    publish(node, 15, ends_of(*pods), node_port=30015)
    wait_for("others", lambda: len({
        outcome(far, NODE4, 30015) for _ in range(ASKED)}) == len(pods))


def outlives():
    """kill -9 and start: the client's backend stays."""
    sticky(16, 30016, ends_of(*pods))
    before = [one_answer(far, a, 30016, p) for a in NODES for p in PROTOCOLS]
    node.stop(signal.SIGKILL)
    equal([one_answer(far, a, 30016, p) for a in NODES for p in PROTOCOLS],
          before, "daemon away")
    node.start()
    equal([one_answer(far, a, 30016, p) for a in NODES for p in PROTOCOLS],
          before, "daemon back")


# ---- source ranges --------------------------------------------------------------

def ranged():
    """What cannot be told apart is not let in; the rest of the service is served."""
    put(node, 20, ends_of(pods[0]), node_port=30020, ingress=balanced(20),
        loadBalancerSourceRanges=["0.0.0.0/0"])
    wait_for("the node port", lambda: ask(far, NODE4, 30020) == "b0")
    expect(far, [(a, 30020) for a in NODES], "b0")
    assert "loadBalancerSourceRanges" in problems()["Service/s/svc20"], problems()
    equal([ask(far, lb, 80, seconds=0.5) for lb in balanced(20)], ["", ""], "through")
    node.remove("svc20.json")
    wait_for("no problem", lambda: not problems())


# ---- whose a node port is --------------------------------------------------------

def conflict():
    """The first by namespace and name has it, whoever came first; the other
    has the rest of its service, and is named."""
    ports = [("t", "TCP", 80, 30025)]
    targets = [("t", "TCP", 8080)]

    def claim(number, name, pod):
        node.put(f"{name}.json", service(number, ports, name),
                 *slices(number, targets, ends_of(pod), name))
    claim(25, "m", pods[0])
    wait_for("m", lambda: ask(far, NODE4, 30025) == "b0")
    claim(26, "z", pods[1])
    said = wait_for("the problem", problems)
    equal(list(said), ["Service/s/z"], "who is in the wrong")
    assert "30025" in said["Service/s/z"], said
    equal(len(node.ask("status")["problems"]), 1, "of both families, said once")
    rows = [str(b) for b in node.ask("backend", "list")]
    equal(len(rows), len(set(rows)), "backends are listed once, by whatever address")
    expect(far, [(a, 30025) for a in NODES], "b0", ["tcp"])
    expect(c.ns, [(a, 80) for a in vips(26)], "b1", ["tcp"])
    claim(27, "a", pods[2])
    wait_for("a has it", lambda: ask(far, NODE4, 30025) == "b2")
    wait_for("both others are in the wrong", lambda: sorted(problems()) == [
        "Service/s/m", "Service/s/z"])
    expect(far, [(a, 30025) for a in NODES], "b2", ["tcp"])
    expect(c.ns, [(a, 80) for a in vips(25)], "b0", ["tcp"])
    node.remove("a.json")
    wait_for("m has it again", lambda: ask(far, NODE4, 30025) == "b0")
    node.remove("m.json")
    wait_for("z has it", lambda: ask(far, NODE4, 30025) == "b1")
    wait_for("no problem", lambda: not problems())
    node.remove("z.json")


def two_protocols():
    """One number by TCP and by UDP: two services, no conflict."""
    for name, n, proto, pod in (("t", 28, "TCP", pods[0]), ("u", 29, "UDP", pods[1])):
        node.put(f"{name}.json", service(n, [("p", proto, 80, 30028)], name),
                 *slices(n, [("p", proto, 8080)], ends_of(pod), name))
    wait_for("both", lambda: [outcome(far, NODE4, 30028, p, seconds=1)
                              for p in PROTOCOLS] == ["b0", "b1"])
    equal([outcome(far, NODE6, 30028, p) for p in PROTOCOLS], ["b0", "b1"])
    equal(problems(), {}, "problems")


# ---- not asked for ----------------------------------------------------------------

def pods_only():
    """--services pods: ClusterIPs of pods, and nothing else."""
    ways = services.of_all_kinds(node, 30, 30030, ends_of(pods[0]), NODES)
    expect(far, ways, "b0")
    node.stop()
    node.args = ["--services", "pods"]
    node.start()
    services.in_force(node, 30, pods[0].ips)
    expect(c.ns, [(a, 80) for a in vips(30)], "b0")
    for netns in (far, c.ns):
        refused(netns, [(a, 30030) for a in NODES])
        for addr in balanced(30) + services.external(30):
            equal(ask(netns, addr, 80, seconds=1), "", addr)
    publish(node, 31, [])
    publish(node, 31, ends_of(pods[1]))
    expect(c.ns, [(a, 80) for a in vips(31)], "b1")
    with Echo(node.ns, 30030, "host"):
        expect(far, [(a, 30030) for a in NODES], "host")
    node.stop()
    node.args = list(EXTERNAL_ARGS)
    node.start()
    wait_for("all kinds", lambda: ask(far, NODE4, 30030) == "b0")
    expect(far, ways, "b0")


test("affinity: one client, one backend", affinity)
test("affinity: the same by every address of the service", of_the_service)
test("affinity ends after its timeout", times_out)
test("affinity to a backend that goes moves on", moves_on)
test("affinity that is taken back", without)
test("affinity outlives kill -9", outlives)
test("source ranges: its load balancer is not served, and that is said", ranged)
test("one node port, two services: the first by name has it", conflict)
test("one node port by two protocols", two_protocols)
test("--services pods: no node port is served", pods_only)
done()
