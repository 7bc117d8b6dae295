# SPDX-License-Identifier: Apache-2.0
"""uninstall_test - after `stile uninstall` the node is as it was before."""
import os

from stage import (BUILD, Node, connect, done, equal, namespace_manifest, netpol,
                   test)

node = Node().settled()


def sysctls():
    """Every setting of the network, but for counters and per-device ones of
    devices that come and go."""
    out = node.ns.run("sysctl", "-a", "--pattern", "^net").stdout
    return sorted(line for line in out.splitlines()
                  if not any(word in line for word in (
                      "entropy", "nf_conntrack_count", "tcp_mem", "udp_mem")))


def state():
    """What somebody could notice of us."""
    def show(*argv):
        return node.ns.run(*argv, check=False).stdout

    return {
        "links": show("ip", "-o", "link", "show"),
        "addresses": show("ip", "-o", "address", "show"),
        "rules": show("ip", "rule") + show("ip", "-6", "rule"),
        "routes": show("ip", "route", "show", "table", "all") +
        show("ip", "-6", "route", "show", "table", "all"),
        "neighbours": show("ip", "neigh", "show", "nud", "permanent"),
        "filters": show("tc", "qdisc", "show") + show(
            "tc", "filter", "show", "dev", "uplink", "ingress") + show(
            "tc", "filter", "show", "dev", "uplink", "egress"),
        "tcx": show("bpftool", "net"),
        "firewall": show("nft", "list", "ruleset"),
        "pins": [path for path, _, _ in os.walk(node.bpffs)],
        "files": [path for top in ("run", "state") for path, _, _ in
                  os.walk(f"{node.dir}/{top}")],
        "sysctls": sysctls(),
    }


def differences(before, after):
    for key in before:
        equal(after[key], before[key], key)


def life():
    """A node in use: pods, policy, traffic, a restart."""
    node.start()
    node.put("n.json", namespace_manifest("n"), netpol("n/p", ingress=[{}]))
    a, b = node.pod("n/a"), node.pod("n/b")
    keep = b.ns.listen(80)
    assert connect(a.ns, b.v4, 80) and connect(a.ns, b.v6, 80)
    keep.close()
    node.stop()
    assert state() != BEFORE, "the test sees no trace of a running node"
    assert connect(node.ns, a.v4, 9, 0.5) is False


def uninstall():
    out = node.ns.run(f"{BUILD}/stile", "--run-dir", f"{node.dir}/run",
                      "uninstall", "--yes", "--state-dir", f"{node.dir}/state",
                      "--bpffs", node.bpffs, check=False)
    equal(out.returncode, 0, out.stdout + out.stderr)
    differences(BEFORE, state())
    return f"{len(BEFORE)} kinds of trace compared, 0 differences"


def again():
    """Twice is fine, and so is a node where nothing ever was."""
    out = node.ns.run(f"{BUILD}/stile", "--run-dir", f"{node.dir}/run",
                      "uninstall", "--yes", "--state-dir", f"{node.dir}/state",
                      "--bpffs", node.bpffs, check=False)
    equal(out.returncode, 0, out.stdout + out.stderr)


def comes_back():
    """After it, the node can be made anew."""
    node.start()
    pod = node.pod("n/c")
    keep = pod.ns.listen(80)
    assert connect(node.ns, pod.v4, 80)
    keep.close()
    node.stop()
    uninstall()


BEFORE = state()
test("a node in use leaves traces, and stops without removing them", life)
test("uninstall removes every trace", uninstall)
test("uninstall twice is fine", again)
test("the node can be installed again", comes_back)
done()
