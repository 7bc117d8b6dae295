#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""latency_test - from the API server's answer to the policy being in force, on
every node: 200 changes, their distribution.  The API is asked over a connection
that is kept, so that no program's start is in the figure."""
import json
import os
import time

import policy_cases as cases
from scene import API, DIR, NODES, PROTOCOLS, SETTINGS, Scene, done, kubectl, test, wait_for

CHANGES = int(os.environ.get("CHANGES") or 200)
IN_FORCE_S = 1.0
scene = Scene("l")


def in_force(want, answered):
    """Seconds after @answered until pods of other nodes see @want; looks take 10 ms
    when open.  A closed port is one that does not answer for 50 ms."""
    pods = [scene.probers[f"ly/{n}"] for n in scene.names]
    target = scene.probers["lx/a"]
    while True:
        began = time.monotonic()
        got = [p.get(protocol, ip, 80, 50) for p in pods for ip in target.ips[:1]
               for protocol in PROTOCOLS]
        if all(bool(g) == want for g in got):
            return max(0.0, began - answered)
        if began - answered > 5:
            raise AssertionError(f"not {'open' if want else 'closed'} after 5 s")


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


def distribution(values):
    return ", ".join(f"{name} {percentile(values, part) * 1000:.0f} ms" for name, part in
                     (("p50", .5), ("p90", .9), ("p99", .99), ("max", 1)))


def changes_are_in_force():
    deny = cases.policy("deny", "lx", pods=cases.A, types=["Ingress"])
    seconds = []
    for i in range(CHANGES):
        if i % 2:
            API.delete("NetworkPolicy", "lx", "deny")
        else:
            API.create(deny)
        seconds.append(in_force(bool(i % 2), time.monotonic()))
    worst = percentile(seconds, .99)
    assert worst <= IN_FORCE_S, distribution(seconds)
    return f"{CHANGES} changes: {distribution(seconds)}"


def kubectl_is_in_time():
    """The same by kubectl itself, the clock from its return."""
    path = f"{DIR}/deny.yaml"
    with open(path, "w") as f:
        f.write("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
                "metadata: {name: deny, namespace: lx}\n"
                "spec: {podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress]}\n")
    seconds = []
    for verb, want in 5 * [("apply", False), ("delete", True)]:
        kubectl(verb, "-f", path)
        seconds.append(in_force(want, time.monotonic()))
    assert max(seconds) <= IN_FORCE_S, distribution(seconds)
    return distribution(seconds)


def every_node_says_so():
    """As docs/kubernetes.md says: what is in force has reached the policy's version."""
    made = API.create(cases.policy("late", "lx", pods=cases.A, types=["Ingress"]))
    want = int(made["metadata"]["resourceVersion"])

    def versions():
        said = [json.loads(kubectl("-n", "kube-system", "exec", name, "--", "/bin/stile",
                                   "status", "-o", "json"))["policy_version"]
                for name in agents]
        return min(said) >= want and said
    agents = [p["metadata"]["name"] for p in API.get("Pod", "kube-system")["items"]
              if p["metadata"]["name"].startswith("stile-")]
    assert len(agents) == len(NODES), agents
    wait_for("every agent has it", versions)
    API.delete("NetworkPolicy", "lx", "late")


def up():
    scene.up()
    wait_for("it is open", lambda: in_force(True, time.monotonic()) is not None)


if test("pods_answer", up):
    test("a_policy_is_in_force_within_a_second", changes_are_in_force)
    test("kubectl_apply_is_in_force_within_a_second", kubectl_is_in_time)
    if SETTINGS["as"] == "daemonset":
        test("every_node_says_that_it_is_in_force", every_node_says_so)
test("namespaces_go", scene.down)
print(f"# {len(NODES)} nodes")
done()
