# SPDX-License-Identifier: Apache-2.0
"""born_closed_test - a pod is never open before its policy.

    node ---+--- open/flooder   sends to every address a coming pod may get
            +--- shut/p0 ...    200 of them, under a default deny

Each pod's namespace has a raw socket before it has an interface; what arrives
there from other pods is counted, ARP and neighbour discovery apart.
"""
import os

import frames
from stage import (Netns, Node, done, equal, namespace_manifest, netpol, test,
                   wait_for)

PODS = int(os.environ.get("PODS", "200"))
RATE = 20000
NODE_OWN = {"192.0.2.1", "2001:db8::1", "169.254.1.1", "fe80::1"}

node = Node(cidrs=("10.88.0.0/24", "fd00:88::/120")).start()
node.put("namespaces.json", namespace_manifest("open"),
         namespace_manifest("shut"), netpol("shut/deny", ingress=[]))
flooder = node.pod("open/flooder", {"app": "flooder"})


def flood():
    return [flooder.ns.tool("blast", "spray", prefix, 9000, RATE)
            for prefix in ("10.88.0.", "fd00:88::")]


def strangers(sniffer):
    """What came that is neither the node's own nor neighbour discovery."""
    packets = sniffer.packets()
    equal(sniffer.dropped(), 0, "frames the raw socket had no room for")
    return [p for p in packets if not p.is_neighbour and
            p.saddr not in NODE_OWN]


def born(name):
    """A pod whose raw socket was there first."""
    netns = Netns(name.split("/")[1])
    sniffer = netns.sniffer()
    return node.pod(name, {"app": "x"}, netns=netns), sniffer


def sees_a_leak():
    """A pod that no policy selects gets the flood, so the count would tell."""
    pod, sniffer = born("open/control")
    for ip in pod.ips:
        wait_for(f"the flood at {ip}", lambda ip=ip: any(
            p.daddr == ip and p.dport == 9000 for p in strangers(sniffer)))
    node.delete("open/control")


def closed(sniffed):
    """Nothing came; the flood has gone by each address meanwhile."""
    leaked = [p for _, sniffer in sniffed for p in strangers(sniffer)]
    equal(leaked, [], "packets of other pods")


def two_hundred():
    sniffed = []
    for i in range(PODS):
        sniffed.append(born(f"shut/p{i}"))
        strangers_now = strangers(sniffed[-1][1])
        equal(strangers_now, [], f"packets at pod {i} on its birth")
    # The flood comes by every address 78 times a second.
    before = drops()
    wait_for("the flood to go by every pod",
             lambda: drops() > before + 512)
    closed(sniffed)
    return f"0 packets at {PODS} pods, {drops()} dropped by policy"


def drops():
    """Packets that ingress policy has dropped on this node."""
    return sum(n for (_, why), n in node.drops().items()
               if why == "POLICY_INGRESS")


floods = flood()
test("the count sees the flood at an open pod", sees_a_leak)
test("pods under a default deny receive nothing from birth", two_hundred)
equal(len([p.result() for p in floods]), 2)
done()
