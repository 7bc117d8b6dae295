# SPDX-License-Identifier: Apache-2.0
"""repair_test - a veth whose programs somebody removed is a dead pod, not an
open one, until the daemon has put them back.

    far --- node ---+--- n/a     n/b
"""
import signal
import time

from stage import (FAR4, FAR6, NODE4, NODE6, Node, connect, connects, done,
                   equal, namespace_manifest, test, wait_for)

node = Node().start()
node.put("n.json", namespace_manifest("n"))
a = node.pod("n/a", {"app": "a"})
b = node.pod("n/b", {"app": "b"})
keep = [a.ns.listen(80), b.ns.listen(80), node.far.listen(80),
        node.ns.listen(8000)]
node.far.run("ip", "route", "add", "10.88.0.0/16", "via", NODE4)
node.far.run("ip", "route", "add", "fd00:88::/112", "via", NODE6)


def ways():
    """Every way that leads through a: from it, to it, both families."""
    return [(a.ns, ip, 80) for ip in (b.v4, b.v6, FAR4, FAR6)] + \
        [(b.ns, ip, 80) for ip in a.ips] + [(node.far, ip, 80) for ip in a.ips]


def removed(kind, *what):
    """Without the daemon nothing passes; with it, everything again."""
    equal(connects(ways()), [True] * len(ways()), "ways open before")
    node.daemon.send_signal(signal.SIGSTOP)
    try:
        node.ns.run("tc", kind, "del", "dev", a.host_ifname, *what)
        equal(connects(ways(), 0.6), [False] * len(ways()),
              "what passes without a program")
        sniffer = node.far.sniffer("uplink")
        connect(a.ns, FAR6, 80, 0.3)
        equal([p for p in sniffer.packets() if p.saddr in a.ips], [],
              "a's packets at the far end")
    finally:
        node.daemon.send_signal(signal.SIGCONT)
    began = time.monotonic()
    wait_for("the repair", lambda: all(connects(ways(), 0.3)))
    return f"0 of {len(ways())} ways open; repaired in " \
           f"{time.monotonic() - began:.2f} s"


def removed_meanwhile():
    """Without a daemon nobody mends it; the next one does as it starts."""
    node.stop()
    node.ns.run("tc", "qdisc", "del", "dev", a.host_ifname, "clsact")
    equal(connects(ways(), 0.6), [False] * len(ways()), "ways open meanwhile")
    node.start()
    wait_for("the repair", lambda: all(connects(ways(), 0.3)))


def link_deleted():
    """Somebody deletes the pod's link: others live on, and DEL succeeds."""
    node.ns.run("ip", "link", "del", b.host_ifname)
    assert connect(a.ns, FAR4, 80), "a still reaches the far end"
    assert not connect(a.ns, b.v4, 80, 0.3), "b is gone"
    node.delete("n/b")
    wait_for("b's end", lambda: [e["pod"] for e in node.ask(
        "endpoint", "list")] == ["a"])


test("from_pod removed: nothing passes, and it is repaired", removed, "filter",
     "ingress")
test("clsact removed: nothing passes, and it is repaired", removed, "qdisc",
     "clsact")
test("programs removed while the daemon was away are put back at its start",
     removed_meanwhile)
test("a deleted link harms nobody else", link_deleted)
done()
