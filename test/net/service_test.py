# SPDX-License-Identifier: Apache-2.0
"""service_test - what pods send to ClusterIPs.

    far (192.0.2.2) --- node (192.0.2.1) ---+--- s/c   the client
                                            +--- s/b0, s/b1   backends
"""
import json
import os
import socket
import threading
import time

import services
from services import Echo, alive, exchange, opened, retransmits, service, slices, vips
from stage import (FAR4, FAR6, NODE4, NODE6, Node, done, equal,
                   namespace_manifest, netpol, test, wait_for)


def put(number, ends, **spec):
    services.put(node, number, ends, **spec)


def backends(number):
    return services.backends(node, number)


def ask(*args, seconds=5, **kw):
    return services.ask(*args, seconds=seconds, **kw)


def answered_at_once(vip):
    """By somebody; a second is longer than any answer but to a second SYN."""
    sent = time.monotonic()
    with opened(client.ns, vip, seconds=5) as sock:
        try:
            sock.connect((vip, 80))
            again = retransmits(sock)
            who = exchange(sock)
        except OSError:
            return False
    return bool(who) and (time.monotonic() - sent <= 1 or not again)


node = Node().start()
node.put("ns.json", namespace_manifest("s"))
client = node.pod("s/c", {"app": "c"})
ends = [node.pod(f"s/b{i}", {"app": "b"}) for i in range(2)]
node.settled()

echoes = [Echo(pod.ns, 8080, f"b{i}") for i, pod in enumerate(ends)]
Echo(client.ns, 8080, "c")
Echo(node.ns, 8080, "host")
far_echo = Echo(node.far, 8080, "far")
WHO = {"b0": ends[0].ips, "c": client.ips, "host": [NODE4, NODE6],
       "far": [FAR4, FAR6]}


def kinds():
    """To a pod, to itself, to the node, and away from it."""
    for n, (name, addrs) in enumerate(WHO.items()):
        put(10 + n, addrs)
        wait_for("the service", lambda: len(backends(10 + n)) == 4)
        for vip in vips(10 + n):
            for proto in ("tcp", "udp"):
                equal(ask(client.ns, vip, 80, proto), name, f"{vip} {proto}")
            equal(ask(client.ns, vip, 80, "tcp", os.urandom(200000)), name,
                  "much")
            equal(ask(client.ns, vip, 80, "udp", os.urandom(4000)), name,
                  "fragments")
    equal({p[0].replace("::ffff:", "") for p in far_echo.peers},
          {NODE4, NODE6}, "masqueraded")


def spread():
    put(20, ends[0].ips + ends[1].ips)
    wait_for("the service", lambda: len(backends(20)) == 8)
    for vip in vips(20):
        got = [ask(client.ns, vip, 80) for _ in range(60)]
        equal(set(got), {"b0", "b1"}, "answers")
        assert 10 <= got.count("b0") <= 50, got.count("b0")


def listed():
    row = [s for s in node.ask("service", "list") if s["name"] == "svc20"]
    equal({(s["address"], s["port"], s["protocol"], s["backends"])
           for s in row},
          {(v, 80, p, 2) for v in vips(20) for p in ("tcp", "udp")}, "rows")
    for command in ("service", "backend"):
        out = node.stile(command, "list").stdout
        assert "s/svc20" in out, out
        assert max(map(len, out.splitlines())) <= 100, out
    assert "s/b0" in node.stile("backend", "list").stdout
    equal(node.ask("status")["problems"], [], "problems")


def policy():
    """Judged on the backend and its port, at both ends."""
    put(21, ends[0].ips)
    wait_for("the service", lambda: len(backends(21)) == 4)
    for which, make in (
            ("egress", lambda port: netpol(
                "s/p", {"app": "c"}, egress=[{"ports": [{"port": port}]}])),
            ("ingress", lambda port: netpol(
                "s/p", {"app": "b"}, ingress=[{"ports": [{"port": port}]}]))):
        for port, answer in ((8080, "b0"), (80, "")):
            node.put("p.json", make(port))
            wait_for(f"{which} port {port}", lambda: all(
                ask(client.ns, vip, 80, seconds=1) == answer
                for vip in vips(21)))
        node.remove("p.json")
        wait_for("no policy", lambda: not node.ask("policy", "list"))
    equal(ask(client.ns, vips(21)[0], 80), "b0", "again")


def cut():
    """A live connection through a service is cut, and only by policy."""
    put(22, ends[0].ips)
    wait_for("the service", lambda: len(backends(22)) == 4)
    socks = []
    for vip in vips(22):
        family = socket.AF_INET6 if ":" in vip else socket.AF_INET
        sock = client.ns.open(family, socket.SOCK_STREAM)
        sock.settimeout(5)
        sock.connect((vip, 80))
        equal(sock.recv(100), b"b0 ", "who")
        socks.append(sock)

    equal([alive(s) for s in socks], [True, True], "at first")
    put(22, ends[1].ips)
    wait_for("the other", lambda: ask(client.ns, vips(22)[0], 80) == "b1")
    equal([alive(s) for s in socks], [True, True], "with another backend")
    node.put("p.json", netpol("s/p", {"app": "c"}, egress=[
        {"to": [{"podSelector": {"matchLabels": {"app": "b"}}}]}]))
    wait_for("the policy", lambda: node.ask("policy", "list"))
    equal([alive(s) for s in socks], [True, True], "a policy that allows")
    node.put("p.json", netpol("s/p", {"app": "b"}, ingress=[]))
    for sock in socks:
        sock.settimeout(1)
    wait_for("cut", lambda: not any([alive(s) for s in socks]))
    node.remove("p.json")
    wait_for("no policy", lambda: not node.ask("policy", "list"))
    for sock in socks:
        sock.close()


def endpoints_used():
    """Ready; else serving and terminating; else nobody."""
    b0, b1 = ends[0].ips, ends[1].ips
    going = {"ready": False, "serving": True, "terminating": True}
    gone = {"ready": False, "serving": False, "terminating": True}

    def with_state(s0, s1):
        put(23, [(a, s0) for a in b0] + [(a, s1) for a in b1])
    with_state({}, going)
    wait_for("b0", lambda: {b[0] for b in backends(23)} == set(b0))
    equal({ask(client.ns, vips(23)[0], 80) for _ in range(10)}, {"b0"}, "ready")
    with_state(gone, going)
    wait_for("b1", lambda: {b[0] for b in backends(23)} == set(b1))
    equal({ask(client.ns, vips(23)[0], 80) for _ in range(10)}, {"b1"},
          "terminating")
    with_state(gone, {"ready": False})
    wait_for("none", lambda: not backends(23))
    before = node.drops().get(("FROM_POD", "NO_BACKEND"), 0)
    equal(ask(client.ns, vips(23)[0], 80, seconds=0.3), "", "nobody")
    assert node.drops()["FROM_POD", "NO_BACKEND"] > before


def refused():
    """What a service must not be; each is said, the rest goes on."""
    def problems():
        return {p["object"]: p["error"] for p in node.ask("status")["problems"]}
    own = {"clusterIPs": [NODE4, NODE6]}
    pods = {"clusterIPs": [ends[0].v4, ends[0].v6]}
    put(24, ends[0].ips, **own)
    put(25, ends[0].ips, **pods)
    put(26, ends[0].ips, clusterIPs=["127.0.0.9", "fe80::9"])
    put(27, ["127.0.0.1", "169.254.169.254", "::1", *ends[0].ips])
    put(28, ends[0].ips, clusterIPs=["None"])
    node.put("x.json", service(29, [("t", "TCP", 80)], "elsewhere",
                               clusterIPs=["10.96.0.29"]),
             service(30, [("t", "TCP", 80)], "again",
                     clusterIPs=["10.96.0.29"]),
             service(31, [("s", "SCTP", 80)], "sctp",
                     clusterIPs=["10.96.0.31"]),
             *slices(31, [("s", "SCTP", 81)], [(ends[0].v4, {})], "sctp"),
             {**slices(32, [], [])[0], "addressType": "FQDN"})
    wait_for("problems", lambda: len(problems()) >= 8 and
             "EndpointSlice/s/svc32-ipv4" in problems())
    said = problems()
    assert "address of a node" in said["Service/s/svc24"], said
    assert "inside a pod CIDR" in said["Service/s/svc25"], said
    assert "l" in said["Service/s/svc26"], said
    assert "not translated" in said["Service/s/elsewhere"], said
    assert "SCTP" in said["Service/s/sctp"], said
    assert "FQDN" in said["EndpointSlice/s/svc32-ipv4"], said
    assert any("svc27" in o for o in said), said
    equal({b[0] for b in backends(27)}, set(ends[0].ips), "of the good ones")
    for n in (24, 25, 26, 28):
        equal(backends(n), [], n)
    equal(ask(client.ns, ends[0].v4, 8080), "b0", "a pod by its address")
    for n in (24, 25, 26, 27, 28):
        node.remove(f"svc{n}.json")
    node.remove("x.json")
    wait_for("no problems", lambda: not problems())


def same_port():
    """To a service and to its backend from one port, either first."""
    put(33, ends[0].ips)
    wait_for("the service", lambda: len(backends(33)) == 4)
    port = 40100
    for vip, direct in zip(vips(33), ends[0].ips):
        for order in ((0, 1), (1, 0)):
            port += 1
            family = socket.AF_INET6 if ":" in vip else socket.AF_INET
            to = [(vip, 80), (direct, 8080)]
            socks = [None, None]
            for n in order:
                sock = client.ns.open(family, socket.SOCK_STREAM)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.settimeout(5)
                sock.bind(("", port))
                sock.connect(to[n])
                equal(sock.recv(100), b"b0 ", to[n])
                socks[n] = sock
            for i in range(20):
                for n in range(2):
                    text = f"{n} {i}".encode()
                    socks[n].sendall(text)
                    equal(socks[n].recv(100), text, to[n])
            for sock in socks:
                sock.close()


def update():
    """Backends change 20 times a second under 200 requests a second."""
    put(34, ends[0].ips)
    wait_for("the service", lambda: len(backends(34)) == 4)
    failed, asked, stop = [], [0], threading.Event()

    def changes():
        n = 0
        while not stop.is_set():
            n += 1
            put(34, [e for i, e in enumerate(ends[0].ips + ends[1].ips)
                     if n % 3 == 0 or i // 2 == n % 3 - 1])
            stop.wait(0.05)
    changer = threading.Thread(target=changes)
    changer.start()
    begun = time.monotonic()
    while asked[0] < 1000:
        pause = begun + asked[0] / 200 - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        vip = vips(34)[asked[0] & 1]
        if not answered_at_once(vip):
            failed.append(asked[0])
        asked[0] += 1
    seconds = time.monotonic() - begun
    stop.set()
    changer.join()
    equal(failed, [], "failed")
    return f"0 of {asked[0]} failed, {asked[0] / seconds:.0f} a second"


def restart():
    """The daemon away and back: flows live, services stay, nothing is
    lost or left."""
    put(35, ends[0].ips)
    wait_for("the service", lambda: len(backends(35)) == 4)
    with client.ns.open(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect((vips(35)[0], 80))
        equal(sock.recv(100), b"b0 ", "who")
        count = len(json.loads(node.stile("map", "dump", "services", "-o",
                                          "json").stdout))
        node.stop(9)
        for i in range(20):
            sock.sendall(b"%d" % i)
            equal(sock.recv(100), b"%d" % i, "on the flow")
            equal(ask(client.ns, vips(35)[i & 1], 80), "b0", "anew")
        node.remove("svc35.json")
        node.start()
        wait_for("it is gone", lambda: len(json.loads(node.stile(
            "map", "dump", "services", "-o", "json").stdout)) == count - 4)
        sock.sendall(b"end")
        equal(sock.recv(100), b"end", "after it")
    # Places that nobody uses are given back.
    wait_for("places", lambda: len(json.loads(node.stile(
        "map", "dump", "backends", "-o", "json").stdout)) ==
        len(node.ask("backend", "list")))


def events():
    """A flow's event names the backend, and keeps the service."""
    ask(client.ns, vips(20)[0], 80)
    flow = wait_for("the event", lambda: [
        f for f in node.flows("--from-pod", "s/c")
        if f.get("destination_service", {}).get("name") == "svc20" and
        f["IP"]["ipVersion"] == "IPv4"])[-1]
    assert flow["IP"]["destination"] in (ends[0].v4, ends[1].v4), flow
    equal(flow["l4"]["TCP"]["destination_port"], 8080, "port")
    value = flow["extensions"]["value"]
    equal((value["service_ip"], value["service_port"]), (vips(20)[0], 80),
          "asked for")
    assert "service s/svc20" in node.stile("flows", "--last", "50").stdout


test("every kind of backend answers, TCP and UDP, both families", kinds)
test("every backend is used", spread)
test("services and backends are listed", listed)
test("policy is judged on the backend, at both ends", policy)
test("a live connection is cut by policy alone", cut)
test("ready endpoints are used, else those that terminate", endpoints_used)
test("what no service can be is refused, in words", refused)
test("to a service and to its backend from the same port", same_port)
test("updates under requests", update)
test("a restart loses no flow and no service", restart)
test("flow events name backend and service", events)
done()
