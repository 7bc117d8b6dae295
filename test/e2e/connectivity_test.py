#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""connectivity_test - everybody reaches everybody, and what they should."""
import os
import time

import kube
from scene import (API, DIR, FAMILIES, NODES, PROTOCOLS, SETTINGS, Prober, Scene,
                   ask_all, done, kubectl, namespace_object, namespaces_down,
                   on_node, pod_object, pods_up, test, wait_for)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
scene = Scene()
OUTSIDE = Prober("outside", SETTINGS["outside"])
ON_NODE = {n: Prober(n, SETTINGS["node_ips"][n]) for n in NODES}
NODE_PORT = 30080


def nodes_are_ready():
    def ready():
        return all(kube.condition(n, "Ready") == "True" and
                   kube.condition(n, "NetworkUnavailable") != "True" and not [
                       t for t in n["spec"].get("taints", [])
                       if t["key"].startswith(("stile.dev/", "node.kubernetes"))]
                   for n in API.get("Node")["items"])
    wait_for("nodes are Ready, without taints", ready, 60)
    return f"{time.time() - SETTINGS['deployed']:.1f} s after kubectl apply"


def all_reach_all():
    scene.up()
    start = time.monotonic()
    looks = scene.check(10)
    n = len(list(scene.cells()))
    return f"{n} probes, {(time.monotonic() - start) / looks:.2f} s a table"


def pods_see_true_addresses():
    cells = [(s, t, to, p, port) for s, t, to, p, port, _ in scene.cells()]
    got = ask_all([(scene.probers[repr(s)], p, to, port, 2000)
                   for s, _, to, p, port in cells])
    for (s, t, to, *_), answer in zip(cells, got):
        mine = scene.probers[repr(s)].ip(6 if ":" in to else 4)
        assert answer and answer[1] == mine, f"{s} -> {t}: seen as {answer}"


def service(namespace, name, selector, **more):
    dual = {"ipFamilyPolicy": "RequireDualStack"} if len(FAMILIES) > 1 else {}
    return API.create({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": selector, **dual, **more, "ports": [
            {"name": f"{p.lower()}-{n}", "port": n + 1000, "targetPort": n,
             "protocol": p, **({"nodePort": NODE_PORT} if more and p == "TCP"
                               and n == 80 else {})}
            for p in PROTOCOLS for n in (80, 81)]}})


def answered_by(probes, names, seconds=15):
    """All are answered, by one of @names, within @seconds; who was."""
    end = time.monotonic() + seconds
    while True:
        got = ask_all(probes)
        if all(got) or time.monotonic() > end:
            break
    wrong = [f"{p[0]} -> {p[2]}:{p[3]}/{p[1]}: {a}" for p, a in zip(probes, got)
             if not a or a[0] not in names]
    more = f"\n{len(wrong)} of {len(probes)}"
    assert not wrong, "\n".join(wrong[:12]) + more
    return {a[0] for a in got}


def services_answer():
    one = service("x", "one", {"pod": "a"})
    answered_by([(prober, p, ip, n + 1000, 3000)
                 for prober in scene.probers.values()
                 for ip in one["spec"]["clusterIPs"]
                 for p in PROTOCOLS for n in (80, 81)], {"x/a"})


def services_spread():
    everybody = {f"y/{n}" for n in scene.names}
    many = service("y", "many", {"team": "y"})
    for name in scene.names:
        scene.labels(scene.world.pods[f"y/{name}"], team="y")
    probes = [(prober, p, ip, 1080, 3000) for prober in scene.probers.values()
              for _ in range(5) for ip in many["spec"]["clusterIPs"]
              for p in PROTOCOLS]
    wait_for("all its pods answer", lambda: answered_by(probes, everybody) ==
             everybody)


def node_ports_answer():
    """They are kube-proxy's, which forwards to pods and has their answers."""
    service("z", "door", {"pod": "c"}, type="NodePort")
    answered_by([(OUTSIDE, "TCP", ip, NODE_PORT, 3000)
                 for n in NODES for ip in SETTINGS["node_ips"][n]], {"z/c"})


def names_resolve():
    if SETTINGS["coredns"]:
        kubectl("apply", "-f", SETTINGS["coredns"])
    wait_for("CoreDNS is available", lambda: API.get(
        "Deployment", "kube-system", "coredns")["status"].get(
            "availableReplicas"), 60)
    want = API.get("Service", "x", "one")["spec"]["clusterIPs"]
    for prober in scene.probers.values():
        for ip in want:
            kind = "AAAA" if ":" in ip else "A"
            answer = prober.ask(f"resolve 1 {SETTINGS['dns']} "
                                f"one.x.svc.cluster.local {kind} 5000")
            assert answer.split()[1:] == ["ok", ip], f"{prober}: {answer}"


def api_server_answers():
    for ip in API.get("Service", "default", "kubernetes")["spec"]["clusterIPs"]:
        for prober in scene.probers.values():
            answer = prober.ask(f"connect 1 tcp {ip} 443 3000")
            assert answer.split()[1] == "ok", f"{prober} -> {ip}: {answer}"


def outside_answers():
    """And sees the node, not the pod."""
    node_of = {repr(p): p.node for p in scene.world.pods.values()}
    for name, prober in scene.probers.items():
        for ip in OUTSIDE.ips:
            for protocol in PROTOCOLS:
                got = prober.get(protocol, ip, 80)
                assert got and got[0] == "outside", f"{name} -> {ip}: {got}"
                assert got[1] in SETTINGS["node_ips"][node_of[name]], \
                    f"{name} is seen as {got[1]}"


def nodes_and_pods():
    """Each node to each pod, each pod to each node."""
    pods = list(scene.probers.values())
    down = [(n, p, ip, 80, 3000) for n in ON_NODE.values() for pod in pods
            for ip in pod.ips for p in PROTOCOLS]
    up = [(pod, p, ip, 7080, 3000) for pod in pods for n in NODES
          for ip in SETTINGS["node_ips"][n] for p in PROTOCOLS]
    answered_by(down, set(scene.probers))
    answered_by(up, set(NODES))


def host_network_pods():
    """They look like their node, and reach pods and Services."""
    API.create(namespace_object("host"))
    wait_for("the service account", lambda: API.find("ServiceAccount", "host",
                                                     "default"))
    port = [("door", 7180, "TCP")]
    probers = pods_up([pod_object("host", f"h{i}", n, host=True, ports=port)
                       for i, n in enumerate(NODES)])
    pods = list(scene.probers.values())
    one = API.get("Service", "x", "one")["spec"]["clusterIPs"]
    answered_by([(h, p, ip, 80, 3000) for h in probers for pod in pods
                 for ip in pod.ips for p in PROTOCOLS], set(scene.probers))
    answered_by([(h, p, ip, 1080, 3000) for h in probers for ip in one
                 for p in PROTOCOLS], {"x/a"})
    answered_by([(pod, "TCP", ip, 7180, 3000) for pod in pods for h in probers
                 for ip in h.ips], {h.name for h in probers})



def connectivity_is_checked():
    """deploy/check.yaml, as docs/kubernetes.md says, and its verdict."""
    path = f"{DIR}/check.yaml"
    with open(f"{TOP}/deploy/check.yaml") as f:
        text = f.read()
    outside = "".join(f', --outside, "{ip}:80"' if ":" not in ip else
                      f', --outside, "[{ip}]:80"' for ip in OUTSIDE.ips)
    text = text.replace("kubernetes.default.svc.cluster.local]",
                        f"kubernetes.default.svc.cluster.local{outside}]")
    # A node's address of IPv6 stands in brackets.
    if FAMILIES == [6]:
        text = text.replace("$(NODE_IP):10250", "[$(NODE_IP)]:10250")
    with open(path, "w") as f:
        f.write(text)
    kubectl("apply", "-f", path)
    try:
        wait_for("the job is done", lambda: API.get(
            "Job", "stile-check", "check").get("status", {}).get("succeeded"), 90)
        said = kubectl("-n", "stile-check", "logs", "job/check", "-c", "check")
    except AssertionError as error:
        said = "".join(kubectl("-n", "stile-check", "logs", "--tail=40", "job/check",
                               "-c", c, check=False) for c in ("wait", "check"))
        raise AssertionError(f"{error}\n{said}") from None
    finally:
        kubectl("delete", "-f", path, "--wait=false")
    assert "The network works" in said, said
    return said.strip().splitlines()[-1]


def plugin_leaves_nothing():
    """When pods go, their links and addresses go."""
    namespaces_down(["host"])
    scene.down()
    for node in NODES:
        wait_for(f"{node} has no links of pods", lambda n=node: on_node(
            n, "sh", "-c", "ls /sys/class/net").stdout.count("\n") <= len(
                SETTINGS["links"][n]) + 2 + 2)


test("nodes_are_ready", nodes_are_ready)
if test("every_pod_reaches_every_pod", all_reach_all):
    test("pods_see_each_others_true_addresses", pods_see_true_addresses)
    test("a_service_answers_tcp_and_udp_and_its_own_pod", services_answer)
    test("a_service_spreads_over_its_pods", services_spread)
    test("node_ports_answer_from_outside", node_ports_answer)
    test("names_resolve", names_resolve)
    test("the_api_server_answers_through_its_service", api_server_answers)
    test("the_outside_answers_and_sees_the_node", outside_answers)
    test("nodes_reach_pods_and_pods_reach_nodes", nodes_and_pods)
    test("pods_on_the_host_network_reach_and_are_reached", host_network_pods)
    if SETTINGS["plugin"] == "stile":
        test("stile_check_connectivity_says_that_it_works", connectivity_is_checked)
    test("pods_that_go_leave_no_links", plugin_leaves_nothing)
done()
