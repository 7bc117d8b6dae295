# SPDX-License-Identifier: Apache-2.0
"""lost_test - what a node does without what it wrote down: pods whose files are
lost.

    node ---+--- n/a ==== n/b, n/c, …
"""
import json
import shutil

from stage import (Netns, Node, connect, done, equal, namespace_manifest,
                   pod_manifest, test, wait_for)

node = Node(cidrs=("10.88.0.0/24", "fd00:88::/120")).start()
node.put("n.json", namespace_manifest("n"))


def links():
    return {l["ifname"] for l in json.loads(node.ns.run(
        "ip", "-j", "link", "show", "type", "veth").stdout)
        if l["ifname"].startswith("stl")}


def a_lost_state_directory():
    """Pods that nobody knows any more are dead, and block nobody."""
    a, b = node.pod("n/a"), node.pod("n/b")
    wait_for("closing links", lambda: len(links()) == 2, 5)
    with b.ns.listen(80):
        equal(connect(a.ns, b.v4, 80, 0.5), True, "before")
    node.stop()
    half = f"stl{'0' * 12}"  # an ADD that is under way
    node.ns.run("ip", "link", "add", half, "type", "veth", "peer", "name",
                "half")
    shutil.rmtree(f"{node.dir}/state")
    node.start()
    equal(links(), {half}, "links")
    node.ns.run("ip", "link", "delete", half)
    for pod in (a, b):
        assert pod.host_ifname in node.log(), "it was not said"
    made = [node.pod(f"n/new{i}") for i in range(4)]
    with made[0].ns.listen(80):
        equal(connect(made[1].ns, made[0].v4, 80, 1), True, "new pods")
    for pod in (a, b):  # as the runtime does in the end
        node.plugin("DEL", pod.name)
    equal(node.ns.run("ip", "-6", "rule").stdout.count("stl"), len(made),
          "rules of pods")
    equal(node.stile("policy", "verify").returncode, 0, "verify")


test("pods of a lost state directory are dead and block nobody",
     a_lost_state_directory)
done()
