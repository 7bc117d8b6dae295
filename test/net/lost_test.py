# SPDX-License-Identifier: Apache-2.0
"""lost_test - what a node does without what it wrote down: pods whose files are
lost, addresses that were freed before a restart.

    node ---+--- n/a ==== n/b, n/c, …
"""
import json
import os
import shutil
import signal

from stage import (Netns, Node, connect, done, equal, namespace_manifest,
                   pod_manifest, test, wait_for)

node = Node(cidrs=("10.88.0.0/24", "fd00:88::/120")).start()
node.put("n.json", namespace_manifest("n"))


def links():
    return {l["ifname"] for l in json.loads(node.ns.run(
        "ip", "-j", "link", "show", "type", "veth").stdout)
        if l["ifname"].startswith("stl")}


def forgotten(names):
    """Until the last file of these pods is gone."""
    wait_for("the files' end", lambda: not any(
        f.startswith(tuple(f"{n.replace('/', '-')}:" for n in names))
        for f in os.listdir(f"{node.dir}/state/endpoints")))


def freed_addresses_rest_over_a_restart():
    """In whichever way the daemon ends, and whichever address is highest."""
    given = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        pods = [node.pod(f"n/q{len(given) + i}") for i in range(3)]
        freed = [ip for pod in pods[1:] for ip in pod.ips]
        given += pods
        for pod in pods[1:]:
            node.delete(pod.name)
        forgotten([pod.name for pod in pods[1:]])
        node.stop(number)
        node.start()
        for i in range(3):
            pod = node.pod(f"n/r{number}{i}")
            assert not set(pod.ips) & set(freed), f"{pod.ips} were just freed"
            given.append(pod)
    for pod in given:
        if pod.name in node.pods:
            node.delete(pod.name)
    forgotten([pod.name for pod in given])


def a_lost_state_directory():
    """Pods that nobody knows any more are dead, and block nobody."""
    a, b = node.pod("n/a"), node.pod("n/b")
    wait_for("closing links", lambda: len(links()) == 2)
    with b.ns.listen(80):
        equal(connect(a.ns, b.v4, 80), True, "before")
    node.stop()
    half = f"stl{'0' * 12}"  # an ADD that is under way
    node.ns.run("ip", "link", "add", half, "type", "veth", "peer", "name",
                "half")
    shutil.rmtree(f"{node.dir}/state")
    node.start()
    wait_for("their links' end", lambda: links() == {half})
    node.ns.run("ip", "link", "delete", half)
    for pod in (a, b):
        assert pod.host_ifname in node.log(), "it was not said"
    made = [node.pod(f"n/new{i}") for i in range(4)]
    with made[0].ns.listen(80):
        equal(connect(made[1].ns, made[0].v4, 80), True, "new pods")
    for pod in (a, b):  # as the runtime does in the end
        node.plugin("DEL", pod.name)
    equal(node.ns.run("ip", "-6", "rule").stdout.count("stl"), len(made),
          "rules of pods")
    equal(node.stile("policy", "verify").returncode, 0, "verify")


test("freed addresses rest over a restart", freed_addresses_rest_over_a_restart)
test("pods of a lost state directory are dead and block nobody",
     a_lost_state_directory)
done()
