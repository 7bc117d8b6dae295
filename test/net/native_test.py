# SPDX-License-Identifier: Apache-2.0
"""native_test - pods on several nodes, by routes on the link they share."""
import os
import signal

from cluster import Cluster, Fabric, Member, hosts_and_outside, pods_reach_pods
from stage import (BUILD, connect, connects, done, equal, namespace_manifest,
                   netpol, ping, test, wait_for)

NATIVE = ("--routing", "native")
RATE, FLOWS, ROUNDS = 20000, 50, int(os.environ.get("ROUNDS", "3"))
# A node behind a router: its pods are the fabric's to reach.
AWAY = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "away"},
        "spec": {"podCIDRs": ["10.90.0.0/16"]},
        "status": {"addresses": [{"type": "InternalIP",
                                  "address": "198.51.100.9"}]}}

fabric = Fabric()
one, two = (Member(fabric, n, args=NATIVE) for n in (1, 2))
cluster = Cluster(fabric, [one, two])


def routes(node):
    return (node.ns.run("ip", "route").stdout +
            node.ns.run("ip", "-6", "route").stdout)


BEFORE = routes(two)
cluster.start()
cluster.put("n.json", namespace_manifest("n"))
a = cluster.pod(one, "n/a", {"app": "a"})
b = cluster.pod(two, "n/b", {"app": "b"})
b2 = cluster.pod(two, "n/b2", {"app": "b2"})
cluster.settled()


def keeps_its_address():
    """No masquerade between pods, and no device of a tunnel."""
    for mine, theirs in ((a.v4, b.v4), (a.v6, b.v6)):
        sniffer = b.ns.sniffer("eth0")
        assert ping(a.ns, theirs)
        assert any(p.saddr == mine for p in sniffer.packets()), "its source"
        sniffer.close()
    assert "stl-vxlan" not in one.ns.run("ip", "link").stdout
    equal(one.ask("status")["pod_mtu"], 1500, "MTU")


def policy():
    server = b.ns.listen(80)
    only = {"from": [{"podSelector": {"matchLabels": {"app": "b2"}}}]}
    cluster.put("p.json", netpol("n/in", {"app": "b"}, ingress=[only]))
    ways = [(p.ns, ip, 80) for p in (a, b2) for ip in b.ips]
    wait_for("only b2", lambda: connects(ways, 0.5) == [
        False, False, True, True])
    cluster.remove("p.json")
    wait_for("all", lambda: all(connects(ways, 0.5)))
    server.close()


def left_to_the_fabric():
    cluster.put("away.json", AWAY)
    away = wait_for("the node", lambda: next(
        (n for n in one.ask("node", "list") if n["name"] == "away"), None))
    equal(away["via"], "fabric")
    assert "10.90." not in routes(one), routes(one)
    equal([n["via"] for n in one.ask("node", "list") if n["name"] == "node2"],
          ["route"])
    cluster.remove("away.json")


def repaired():
    one.ns.run("ip", "route", "del", two.pod_cidrs[0])
    one.ns.run("ip", "-6", "route", "del", two.pod_cidrs[1])
    wait_for("the routes", lambda: all(c in routes(one)
                                       for c in two.pod_cidrs))
    one.ns.run("ip", "route", "replace", two.pod_cidrs[0], "via", "192.0.2.99",
               "proto", "87")
    wait_for("the gateway", lambda: f"{two.pod_cidrs[0]} via {two.v4}" in
             routes(one))


def restarts():
    receiver = b.ns.tool("blast", "recv", 9000)
    server = b.ns.tool("conns", "serve", 7000)
    flows = a.ns.tool("conns", "hold", b.v6, 7000, FLOWS, ready="open")
    sender = a.ns.tool("blast", "send", b.v4, 9000, RATE)
    for _ in range(ROUNDS):
        for node in (one, two):
            node.stop(signal.SIGKILL)
            node.start()
    alive = int(flows.ask().split()[1])
    sent, got = sender.result(), receiver.result()
    flows.stop()
    server.stop()
    lost = sent["sent"] - got["received"] - got["socket_drops"]
    equal((lost, alive), (0, FLOWS), "lost, alive")
    return f"{lost} of {sent['sent']} lost, {alive} of {FLOWS} flows alive"


def gone():
    cluster.leave(two)
    wait_for("no route", lambda: not any(c in routes(one)
                                         for c in two.pod_cidrs))
    cluster.join(two)
    wait_for("a route", lambda: connect(a.ns, b.v4, 1, 0.2) or all(
        c in routes(one) for c in two.pod_cidrs))


def uninstalled():
    two.stop()
    two.ns.run(f"{BUILD}/stile", "--run-dir", f"{two.dir}/run", "uninstall",
               "--yes", "--state-dir", f"{two.dir}/state", "--bpffs", two.bpffs)
    equal(routes(two), BEFORE, "routes")


test("every pod reaches every pod", lambda: pods_reach_pods([a, b, b2]))
test("pods and nodes, pods and the outside",
     lambda: hosts_and_outside(a, one, two, b))
test("a pod keeps its address", keeps_its_address)
test("policy between nodes", policy)
test("a node that is not on the link is left to the fabric", left_to_the_fabric)
test("routes that somebody takes come back", repaired)
test("kill -9 and start on both nodes, under traffic", restarts)
test("routes of a node that goes", gone)
test("uninstall leaves no route", uninstalled)
done()
