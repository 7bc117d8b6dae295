# SPDX-License-Identifier: Apache-2.0
"""cni_test.py - the plugin against the CNI specification, in every version.

    node   IPv4 and IPv6, with its daemon     bare   nobody answers
    node4  IPv4 only                          node6  IPv6 only

usage: cni_test.py [WORDS of a case's name]
"""
import os
import shutil
import sys
import tempfile

import cni
import cni_cases_bare  # noqa: F401  (their cases)
import cni_cases_chain  # noqa: F401
import cni_cases_check  # noqa: F401
import cni_cases_node  # noqa: F401
import stage

CIDR4, CIDR6 = "10.88.0.0/24", "fd88::/64"


def bare_maker():
    netns, work = stage.Netns("bare"), tempfile.mkdtemp()
    stage.run("mount", "-t", "tmpfs", "tmpfs", work)  # thousands of files

    def make(version):
        state = f"{work}/state"
        shutil.rmtree(state, ignore_errors=True)
        if os.path.exists(state):
            os.unlink(state)
        return cni.Call(version, netns, work, state)
    return make


def node_maker(node):
    def make(version):
        if not node.daemon:
            node.start()
        call = cni.Call(version, node.ns, f"{node.dir}/run",
                        f"{node.dir}/state")
        call.node = node
        return call
    return make


def main():
    nodes = {"node": stage.Node("node", (CIDR4, CIDR6)),
             "node4": stage.Node("node4", (CIDR4,)),
             "node6": stage.Node("node6", (CIDR6,))}
    make = {name: node_maker(node) for name, node in nodes.items()}
    cni.run_all({"bare": bare_maker(), **make}, " ".join(sys.argv[1:]))
    for node in nodes.values():
        if node.daemon:
            node.stop()
    stage.done()


if __name__ == "__main__":
    main()
