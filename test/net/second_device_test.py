#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A second device of the node, that is no uplink: nobody behind it becomes a
pod or the node; what kube-proxy forwards with the node's address still arrives.

    far --- node --- pods a, b, c      mgmt --- node:mgmt0 (no --device)
"""
import frames as f
from stage import *

MGMT4, MGMT6 = "172.31.0.2", "fd31::2"
PORT = 7777

node = Node().start().settled()
node.put("n.json", namespace_manifest("n"))
a, b, c = (node.pod(f"n/{x}", {"app": x}) for x in "abc")
node.put("p.json", netpol("n/p", {"app": "b"}, ingress=[
    {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]))
mgmt = Netns("mgmt")


def second_device():
    node.ns.run("ip", "link", "add", "mgmt0", "type", "veth", "peer", "name",
                "mgmt0", "netns", mgmt.name)
    for ns, n in ((node.ns, 1), (mgmt, 2)):
        ns.run("ip", "addr", "add", f"172.31.0.{n}/24", "dev", "mgmt0")
        ns.run("ip", "addr", "add", f"fd31::{n}/64", "dev", "mgmt0", "nodad")
        ns.run("ip", "link", "set", "mgmt0", "up")
    # What every node of Kubernetes does on all its devices but pods' veths.
    for device in ("all", "default", "mgmt0", "uplink"):
        for family in (4, 6):
            path = f"/proc/sys/net/ipv{family}/conf/{device}/forwarding"
            node.ns.run("sh", "-c", f"echo 1 >{path}")
    node.ns.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2")


def arrives(server, src, dst):
    """Does a datagram from mgmt, of that source, reach the pod's socket?"""
    tag = os.urandom(8)
    mgmt.send("mgmt0", f.eth(mgmt.mac("mgmt0"), node.ns.mac("mgmt0"), f.ip(
        src, dst, f.UDP, f.udp(1234, PORT, tag))))
    server.settimeout(0.5)
    try:
        while server.recvfrom(2048)[0] != tag:
            pass
        return True
    except TimeoutError:
        return False


def who_arrives(server, pod, sources):
    return [s for s in sources if arrives(server, s, pod.v6 if ":" in s else pod.v4)]


def nobody_becomes_another():
    wait_for("the policy", lambda: node.stile(
        "policy", "why", "n/c", "n/b", f"{PORT}/udp", check=False).returncode == 1)
    equal(datagram(c.ns, b.v4, PORT, server_b, 0.5), False, "from an open pod")
    # The new device may lose what comes while it comes up.
    wait_for("who comes to an open pod", lambda: who_arrives(
        server_c, c, [MGMT4, MGMT6]) == [MGMT4, MGMT6])
    equal(who_arrives(server_b, b, [MGMT4, MGMT6]), [], "as itself")
    before = node.drops().get(("TO_POD", "SPOOF_ADDRESS"), 0)
    for server, pod in ((server_b, b), (server_c, c)):
        equal(who_arrives(server, pod, [a.v4, a.v6]), [], "as pod a")
        equal(who_arrives(server, pod, ["10.88.200.1", "fd00:88::7001"]), [],
              "as nobody of the pool")
    equal(node.drops()["TO_POD", "SPOOF_ADDRESS"], before + 8)
    equal(who_arrives(server_b, b, [NODE4, NODE6]), [], "as the node")


def the_node_itself_goes_on():
    for addr in (b.v4, b.v6):
        equal(datagram(node.ns, addr, PORT, server_b), True, addr)


KUBE = f"""
table inet kube {{
  chain pre {{
    type nat hook prerouting priority -100
    meta nfproto ipv4 udp dport 30001 dnat ip to %(b4)s:{PORT}
    meta nfproto ipv4 udp dport 30002 dnat ip to %(c4)s:{PORT}
    meta nfproto ipv6 udp dport 30002 dnat ip6 to [%(c6)s]:{PORT}
    meta nfproto ipv4 tcp dport 30003 dnat ip to %(c4)s:{PORT}
    meta nfproto ipv6 tcp dport 30003 dnat ip6 to [%(c6)s]:{PORT}
  }}
  chain post {{
    type nat hook postrouting priority 100
    %(masquerade)s
  }}
}}
"""


def node_port(masquerade):
    """As kube-proxy does it: another destination, and the node's source, or
    the client's own (externalTrafficPolicy: Local)."""
    node.ns.run("nft", "-f", "-", input=KUBE % {
        "b4": b.v4, "c4": c.v4, "c6": c.v6, "masquerade":
            "ip daddr 10.88.0.0/16 masquerade\n    ip6 daddr fd00:88::/112 "
            "masquerade" if masquerade else ""})
    for family, addr, own in ((4, NODE4, FAR4), (6, NODE6, FAR6)):
        token = os.urandom(8)
        with node.far.udp(0, own) as client:
            client.settimeout(5)
            client.sendto(token, (addr, 30002))
            server_c.settimeout(5)
            data, who = server_c.recvfrom(2048)
            equal((data, who[0].removeprefix("::ffff:") == own),
                  (token, not masquerade), f"IPv{family}: seen from {who[0]}")
            server_c.sendto(token, who)
            equal(client.recvfrom(2048)[0], token, f"IPv{family}: the answer")
        equal(connects([(node.far, addr, 30003)] * 3), [True] * 3,
              f"IPv{family}: TCP")
    with node.far.udp(0, FAR4) as client:
        client.sendto(b"guarded", (NODE4, 30001))
        server_b.settimeout(0.5)
        try:
            raise AssertionError(f"a guarded pod had {server_b.recvfrom(2048)}")
        except TimeoutError:
            pass
    node.ns.run("nft", "delete", "table", "inet", "kube")


second_device()
server_b, server_c = b.ns.udp(PORT), c.ns.udp(PORT)
tcp_c = c.ns.listen(PORT)
test("nobody behind a second device becomes a pod or the node", nobody_becomes_another)
test("the node itself still reaches a pod that policy closes", the_node_itself_goes_on)
test("a node port's clients are judged as the world, and get their answers",
     node_port, True)
test("the same with the client's own address", node_port, False)
done()
