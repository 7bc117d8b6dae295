#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""policy_test - NetworkPolicy, the whole truth table after each change, against
spec.py.  With a plugin that has no policy each denial must be seen to fail: that
is how the suite shows that it can see."""
import time

import kube
import policy_cases as cases
from scene import API, SETTINGS, NODES, Prober, Scene, done, test, wait_for

scene = Scene()
ENFORCED = SETTINGS["plugin"] != "ptp"
looks = steps = 0


def apply(step):
    if callable(step):
        step(scene)
    else:
        scene.policy(step)


def denies():
    return any(not want for *_, want in scene.cells())


def look():
    """The table is right; without policy: what should be denied is seen open."""
    global looks, steps
    steps += 1
    if ENFORCED:
        looks += scene.check()
    elif denies():
        assert scene.differences(), "nobody enforces, and nothing was seen"
    else:
        scene.check()


def case(changes):
    try:
        for step in changes:
            apply(step)
            look()
    finally:
        scene.policies_gone()


def up():
    scene.up()
    scene.check(10)


def probes_of_the_kubelet_pass():
    """A13: the node reaches its pods whatever policy says."""
    for ns in scene.spaces:
        scene.policy(cases.policy("deny", ns, types=["Ingress", "Egress"]))
    try:
        look()
        mine = [(Prober(n, SETTINGS["node_ips"][n]), p) for n in NODES
                for p in scene.world.pods.values() if p.node == n]
        for node, pod in mine:
            for ip in scene.probers[repr(pod)].ips:
                assert node.get("TCP", ip, 80), f"{node} does not reach {pod} ({ip})"
                own = node.ip(6 if ":" in ip else 4)
                assert scene.probers[repr(pod)].get("TCP", own, 7080), \
                    f"{pod} does not reach its node"
        for pod in scene.world.pods.values():
            item = API.get("Pod", pod.namespace, pod.name)
            assert kube.condition(item, "Ready") == "True", f"{pod} is not Ready"
    finally:
        scene.policies_gone()


def the_world_outside():
    """From the absent is everybody; blocks are for the outside above all (A5)."""
    outside, pod = Prober("outside", SETTINGS["outside"]), scene.probers["x/a"]
    hosts = [cases.block(f"{ip}/{128 if ':' in ip else 32}") for ip in outside.ips]

    def seen(want):
        wait_for(f"the outside is {'reached' if want else 'not reached'}", lambda: all(
            bool(pod.get(p, ip, 80, 2000 if want else 300)) == want
            for ip in outside.ips for p in ("TCP", "UDP")) or None)
    try:
        for want, rule in ((False, [{"to": [cases.spaces()]}]), (True, [{}]),
                           (True, [{"to": hosts}]),
                           (False, [{"to": [cases.block("192.0.2.0/24")]}])):
            scene.policy(cases.policy("p", pods=cases.A, types=["Egress"],
                                      egress=rule))
            if ENFORCED or want:
                seen(want)
    finally:
        scene.policies_gone()


def services_are_judged_behind():
    """A26: the backend's address and port decide, not the Service's."""
    made = API.create({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "y", "name": "s"},
        "spec": {"selector": {"pod": "b"}, "ports": [
            {"name": "t", "port": 8080, "targetPort": 80},
            {"name": "u", "port": 8081, "targetPort": 81}]}})
    ip = made["spec"]["clusterIP"]
    pod = scene.probers["x/a"]
    try:
        wait_for("the Service answers", lambda: pod.get("TCP", ip, 8080))
        scene.policy(cases.policy("p", pods=cases.A, types=["Egress"], egress=[
            {"to": [cases.spaces(ns="y")], "ports": [cases.port(80)]}]))
        wait_for("8081 is closed", lambda: not ENFORCED or
                 not pod.get("TCP", ip, 8081, 300))
        assert pod.get("TCP", ip, 8080), "8080 is closed too"
        scene.policy(cases.policy("q", "y", pods={"pod": "b"}, types=["Ingress"],
                                  ingress=[{"from": [cases.spaces(ns="z")]}]))
        wait_for("the receiver's policy counts", lambda: not ENFORCED or
                 not pod.get("TCP", ip, 8080, 300))
        assert scene.probers["z/a"].get("TCP", ip, 8080), "z is let in"
    finally:
        scene.policies_gone()
        API.delete("Service", "y", "s")


start = time.monotonic()
if test("the_table_is_open_without_policy", up):
    for group in (cases.directions(), cases.peers(), cases.ports(),
                  cases.blocks(scene), cases.stacks(), cases.labels(),
                  cases.lives(scene)):
        for name, changes in group:
            test(name, case, changes)
    test("nodes_reach_their_pods_and_back (A13)", probes_of_the_kubelet_pass)
    test("the_outside_is_a_peer_of_blocks_alone (A5)", the_world_outside)
    test("a_service_is_judged_by_its_backend (A26)", services_are_judged_behind)
    test("tables_looked_at", lambda: f"{steps} states, {looks} looks, "
         f"{time.monotonic() - start:.0f} s")
    test("namespaces_go", scene.down)
done()
