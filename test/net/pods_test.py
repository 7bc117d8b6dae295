# SPDX-License-Identifier: Apache-2.0
"""pods_test - pods, their node and the world, without policy and with.

    far --- node ---+--- x/xa x/xb x/xc     every pod listens on TCP and UDP
                    +--- y/ya y/yb y/yc     80 and 81, both families
"""

import frames
from stage import (FAR4, FAR6, NODE4, NODE6, Node, connect, connects, datagram,
                   done, equal, namespace_manifest, netpol, ping, test,
                   wait_for)

node = Node()
node.put("namespaces.json", namespace_manifest("x", team="x"),
         namespace_manifest("y", team="y"))
node.start()
NAMES = ["x/xa", "x/xb", "x/xc", "y/ya", "y/yb", "y/yc"]
PORTS = [80, 81]
pods, keep = {}, []


def make_pods():
    """Six pods, labelled by their last letter."""
    for name in NAMES:
        pod = node.pod(name, {"pod": name[-1]},
                       [("web", "TCP", 80), ("admin", "TCP", 81),
                        ("dns", "UDP", 80)])
        pods[name] = pod
        keep.extend(pod.ns.listen(port) for port in PORTS)
    addresses = [ip for pod in pods.values() for ip in pod.ips]
    equal(len(set(addresses)), 12, "different addresses")


def udp_servers():
    return {name: pod.ns.udp(53) for name, pod in pods.items()}


# ---- open by default ----------------------------------------------------------

def every_pair(family):
    pairs = [(pods[a].ns, getattr(pods[b], family), port)
             for a in NAMES for b in NAMES if a != b for port in PORTS]
    result = connects(pairs)
    equal(sum(result), len(pairs), "connections")
    return f"{sum(result)} of {len(pairs)}"


def udp_and_ping():
    servers = udp_servers()
    for a, b in (("x/xa", "y/yb"), ("y/yb", "x/xa"), ("x/xa", "x/xb")):
        for ip in pods[b].ips:
            assert datagram(pods[a].ns, ip, 53, servers[b]), f"udp {a} {ip}"
            assert ping(pods[a].ns, ip), f"ping {a} {ip}"


def large_packets():
    """Fragments in order, both families: an 8 kB datagram passes."""
    server = pods["x/xb"].ns.udp(5353)
    server.settimeout(5)
    for ip in pods["x/xb"].ips:
        client = pods["x/xa"].ns.udp(0, "0.0.0.0" if "." in ip else "::")
        client.sendto(b"x" * 8000, (ip, 5353))
        equal(len(server.recv(9000)), 8000, f"to {ip}")


def pod_and_node():
    server = node.ns.listen(8000)
    udp = node.ns.udp(8000)
    for ip in (NODE4, NODE6):
        assert connect(pods["x/xa"].ns, ip, 8000), f"pod to {ip}"
        assert datagram(pods["x/xa"].ns, ip, 8000, udp), f"udp to {ip}"
        assert ping(pods["x/xa"].ns, ip), f"ping {ip}"
    server.close()
    servers = udp_servers()
    for ip in pods["x/xa"].ips:
        assert connect(node.ns, ip, 80), f"node to {ip}"
        assert datagram(node.ns, ip, 53, servers["x/xa"]), f"udp to {ip}"
        assert ping(node.ns, ip), f"node pings {ip}"


def to_the_world():
    """The far end sees the node's address, whoever of its pods speaks."""
    server = node.far.listen(80)
    udp = node.far.udp(53)
    for far, own in ((FAR4, NODE4), (FAR6, NODE6)):
        for pod in (pods["x/xa"], pods["y/yb"]):
            assert connect(pod.ns, far, 80), f"{pod} to {far}"
            seen = server.accept()[1][0].removeprefix("::ffff:")
            equal(seen, own, "source address at the far end")
            assert datagram(pod.ns, far, 53, udp), f"udp {pod} to {far}"
            assert ping(pod.ns, far), f"ping {pod} to {far}"
    server.close()


def from_the_world():
    """The far end knows a route to the pods: they are open to it."""
    node.far.run("ip", "route", "add", "10.88.0.0/16", "via", NODE4)
    node.far.run("ip", "route", "add", "fd00:88::/112", "via", NODE6)
    for ip in pods["x/xa"].ips:
        assert connect(node.far, ip, 80), ip
        assert ping(node.far, ip), ip


def closed_port_refuses():
    """An answer that says no comes back, at once."""
    for ip in pods["x/xb"].ips + [NODE4, NODE6]:
        with pods["x/xa"].ns.open(*_stream(ip)) as sock:
            sock.settimeout(5)
            try:
                sock.connect((ip, 9))
                raise AssertionError(f"{ip} port 9 answered")
            except ConnectionRefusedError:
                pass


def _stream(ip):
    import socket
    return (socket.AF_INET6 if ":" in ip else socket.AF_INET,
            socket.SOCK_STREAM)


# ---- with policies --------------------------------------------------------------

def table(want, families=("v4", "v6"), ports=PORTS):
    """All pairs of pods against @want(source, destination, port)."""
    pairs = [(a, b, port, family) for a in NAMES for b in NAMES if a != b
             for port in ports for family in families]
    expected = [bool(want(a, b, port)) for a, b, port, _ in pairs]

    def matches():
        have = connects([(pods[a].ns, getattr(pods[b], family), port)
                         for a, b, port, family in pairs], 0.4)
        wrong.clear()
        wrong.extend((pair, got) for pair, got, hope in
                     zip(pairs, have, expected) if got != hope)
        return not wrong

    wrong = []
    try:
        wait_for("the table", matches)
    except AssertionError:
        raise AssertionError(f"{len(wrong)} of {len(pairs)} are not as they "
                             f"should be: {wrong[:8]}") from None
    return f"{len(pairs)} connections as they should be"


def same_ns(a, b):
    return a[0] == b[0]


def with_policy(want, *policies, **kw):
    node.put("policies.json", *policies)
    try:
        return table(want, **kw)
    finally:
        node.remove("policies.json")


def default_deny():
    node.put("policies.json", netpol("x/deny", ingress=[]))
    result = table(lambda a, b, port: b[0] != "x")
    for ip in pods["x/xa"].ips:
        assert connect(node.ns, ip, 80), "the node itself is always allowed"
        assert ping(node.ns, ip), "the node itself is always allowed"
        assert not connect(node.far, ip, 80, 0.4), "the world is denied"
        assert not ping(pods["y/ya"].ns, ip, seconds=0.3), "ping is denied"
        assert not datagram(pods["y/ya"].ns, ip, 53, servers["x/xa"], 0.3)
    node.remove("policies.json")
    return result


def egress_deny():
    server = node.far.listen(80)
    node.put("policies.json", netpol("x/deny", egress=[]))
    result = table(lambda a, b, port: a[0] != "x")
    for far, own in ((FAR4, NODE4), (FAR6, NODE6)):
        assert not connect(pods["x/xa"].ns, far, 80, 0.4), "world"
        assert connect(pods["y/ya"].ns, far, 80), "the other namespace"
        assert ping(pods["x/xa"].ns, own), "its own node"
    node.remove("policies.json")
    server.close()
    return result


def pods_of(**labels):
    return {"podSelector": {"matchLabels": labels}}


def namespaces_of(**labels):
    return {"namespaceSelector": {"matchLabels": labels}}


def block(cidr, *holes):
    return {"ipBlock": {"cidr": cidr, **({"except": holes} if holes else {})}}


def port(number, protocol="TCP", **more):
    return {"port": number, "protocol": protocol, **more}


def by_address():
    """ipBlock means pods too; its except is a hole in that rule alone."""
    xb, ya, yb = (pods[n] for n in ("x/xb", "y/ya", "y/yb"))
    return with_policy(
        lambda a, b, _: b != "x/xa" or a in ("x/xb", "y/yb"),
        netpol("x/p", {"pod": "a"}, ingress=[
            {"from": [block("10.88.0.0/16", *(f"{p.v4}/32" for name, p in
                                               pods.items() if name != "y/yb")),
                      block(f"{xb.v4}/32"), block(f"{xb.v6}/128"),
                      block(f"{yb.v6}/128")]}]))


def drop_is_explained():
    """The event of a drop names both pods, the reason, and the direction."""
    node.put("policies.json", netpol("x/closed", {"pod": "a"}, ingress=[]))
    a, b = pods["y/ya"], pods["x/xa"]

    def dropped():
        connect(a.ns, b.v4, 80, 0.1)
        return [f for f in node.flows("--verdict", "DROPPED", "--pod", "x/xa")
                if f.get("source", {}).get("pod_name") == "ya" and
                f.get("destination", {}).get("pod_name") == "xa"]

    event = wait_for("a drop event", dropped)[-1]
    equal(event["drop_reason_desc"], "POLICY_DENIED", "reason")
    equal(event["traffic_direction"], "INGRESS", "direction")
    why = node.stile("policy", "why", "y/ya", "x/xa", "80/tcp", check=False)
    equal(why.returncode, 1, "exit status of `policy why`")
    assert "x/closed" in why.stdout, why.stdout
    node.remove("policies.json")


def label_change():
    """A pod gets the label that a policy selects, and loses it again."""
    from stage import pod_manifest
    node.put("policies.json", netpol("y/p", {"shut": "yes"}, ingress=[]))
    ports = [("web", "TCP", 80), ("admin", "TCP", 81), ("dns", "UDP", 80)]
    file = "pod-y-yc.json"
    node.put(file, pod_manifest("y/yc", {"pod": "c", "shut": "yes"}, ports))
    table(lambda a, b, _: b != "y/yc")
    node.put(file, pod_manifest("y/yc", {"pod": "c"}, ports))
    result = table(lambda a, b, _: True)
    node.remove("policies.json")
    return result


def sctp_is_judged():
    """SCTP passes where open, and a TCP rule does not open it (A22)."""
    a, b = pods["x/xa"], pods["x/xb"]
    sniffer = b.ns.sniffer("eth0")

    def denied():
        return node.drops().get(("FROM_POD", "POLICY_INGRESS"), 0)

    def arrives():
        """How many of two; the others have been dropped by policy."""
        before, got = denied(), []
        for src, dst in zip(a.ips, b.ips):
            a.ns.send("eth0", frames.eth(a.mac(), "ee:ee:ee:ee:ee:ee", frames.ip(
                src, dst, frames.SCTP, frames.sctp(5000, 80))))
        wait_for("SCTP, or its drop", lambda: got.extend(
            p for p in sniffer.packets() if p.proto == frames.SCTP) or
            len(got) + denied() - before >= 2)
        got.extend(p for p in sniffer.packets() if p.proto == frames.SCTP)
        return len(got)

    equal(arrives(), 2, "SCTP packets where nothing is isolated")
    node.put("policies.json", netpol("x/p", {"pod": "b"}, ingress=[
        {"ports": [port(80, "TCP")]}]))
    table(lambda a, b, port: b != "x/xb" or port == 80)
    equal(arrives(), 0, "SCTP packets under a TCP rule")
    node.put("policies.json", netpol("x/p", {"pod": "b"}, ingress=[
        {"ports": [port(80, "SCTP")]}]))
    table(lambda a, b, port: b != "x/xb")
    equal(arrives(), 2, "SCTP packets under an SCTP rule")
    node.remove("policies.json")


def no_kubernetes_pod():
    """An endpoint of no namespace: policies do not select it, CIDRs do."""
    other = node.pod("none/loner")
    pods["none/loner"] = other
    keep.append(other.ns.listen(80))
    node.put("policies.json", netpol("x/p", {"pod": "a"}, ingress=[
        {"from": [{"namespaceSelector": {}}, block(f"{other.v6}/128")]}]))
    wait_for("the policy", lambda: not connect(
        other.ns, pods["x/xa"].v4, 80, 0.4))
    table(lambda a, b, _: True)
    for ip in other.ips:
        assert connect(pods["x/xa"].ns, ip, 80), ip
    assert connect(other.ns, pods["x/xa"].v6, 80), "by its CIDR"
    assert not connect(other.ns, pods["x/xa"].v4, 80, 0.4), "by no selector"
    node.remove("policies.json")
    table(lambda a, b, _: True)
    node.delete("none/loner")


def deleted_pod():
    """Nobody is behind a freed address, and the flows say so."""
    gone = pods["y/yc"]
    node.delete("y/yc")
    NAMES.remove("y/yc")
    for ip in gone.ips:
        assert not connect(pods["x/xa"].ns, ip, 80, 0.3), ip
    table(lambda a, b, _: True)


test("six pods get an address of each family, all different", make_pods)
servers = udp_servers() if len(pods) == 6 else {}
for s in servers.values():
    s.close()
test("every pod reaches every other over IPv4", every_pair, "v4")
test("every pod reaches every other over IPv6", every_pair, "v6")
test("datagrams and pings are answered", udp_and_ping)
test("datagrams of 8 kB pass in fragments", large_packets)
test("a closed port refuses at once", closed_port_refuses)
test("a pod and its node reach each other", pod_and_node)
test("pods leave with the node's address", to_the_world)
test("the world reaches an open pod", from_the_world)
servers = udp_servers() if len(pods) == 6 else {}
test("default deny closes a namespace to all but the node", default_deny)
test("egress deny keeps a namespace in, but for its node", egress_deny)
test("an empty rule allows everything", with_policy,
     lambda a, b, _: True, netpol("x/p", ingress=[{}]))
test("a podSelector means the policy's own namespace", with_policy,
     lambda a, b, _: b != "x/xa" or a == "x/xb",
     netpol("x/p", {"pod": "a"}, ingress=[{"from": [pods_of(pod="b")]}]))
test("a namespaceSelector means all its pods", with_policy,
     lambda a, b, _: b != "x/xa" or a[0] == "y",
     netpol("x/p", {"pod": "a"}, ingress=[{"from": [namespaces_of(team="y")]}]))
test("both in one peer mean both", with_policy,
     lambda a, b, _: b != "x/xa" or a == "y/yb",
     netpol("x/p", {"pod": "a"}, ingress=[{"from": [
         {**namespaces_of(team="y"), **pods_of(pod="b")}]}]))
test("two peers mean either", with_policy,
     lambda a, b, _: b != "x/xa" or a[0] == "y" or a == "x/xb",
     netpol("x/p", {"pod": "a"}, ingress=[{"from": [
         namespaces_of(team="y"), pods_of(pod="b")]}]))
test("policies add up, whatever their order", with_policy,
     lambda a, b, port: b != "x/xa" or a == "x/xb" or
     (a[0] == "y" and port == 81),
     netpol("x/z", {"pod": "a"}, ingress=[{"from": [pods_of(pod="b")]}]),
     netpol("x/a", {"pod": "a"}, ingress=[
         {"from": [namespaces_of(team="y")], "ports": [port(81)]}]),
     netpol("x/m", ingress=[{"from": [{"namespaceSelector": {}}]}],
            selector={"pod": "none"}))
test("a numbered port opens that port", with_policy,
     lambda a, b, port: b != "x/xa" or port == 81,
     netpol("x/p", {"pod": "a"}, ingress=[{"ports": [port(81)]}]))
test("a named port opens the number it has there", with_policy,
     lambda a, b, port: b != "x/xa" or port == 80,
     netpol("x/p", {"pod": "a"}, ingress=[{"ports": [port("web")]}]))
test("a named port of another protocol opens nothing", with_policy,
     lambda a, b, port: b != "x/xa",
     netpol("x/p", {"pod": "a"}, ingress=[{"ports": [port("dns")]}]))
test("a named port in egress is the receiver's", with_policy,
     lambda a, b, port: a != "x/xa" or (b[0] == "y" and port == 81),
     netpol("x/p", {"pod": "a"}, egress=[
         {"to": [namespaces_of(team="y")], "ports": [port("admin")]}]))
test("a range of ports opens its ends", with_policy,
     lambda a, b, port: b != "x/xa" or port == 81,
     netpol("x/p", {"pod": "a"}, ingress=[{"ports": [port(81, endPort=90)]}]))
test("UDP does not open TCP", with_policy,
     lambda a, b, port: b != "x/xa",
     netpol("x/p", {"pod": "a"}, ingress=[{"ports": [port(80, "UDP")]}]))
test("both ends have their say", with_policy,
     lambda a, b, port: (a != "x/xb" or b == "x/xa") and
     (b != "x/xa" or port == 80),
     netpol("x/in", {"pod": "a"}, ingress=[{"ports": [port(80)]}]),
     netpol("x/out", {"pod": "b"}, egress=[{"to": [pods_of(pod="a")]}]))
test("an address block means pods too, and has holes", by_address)
test("without policies everything is open again", table, lambda a, b, _: True)
test("SCTP is judged by itself", sctp_is_judged)
test("a drop names pods, reason and policy", drop_is_explained)
test("labels count from the moment they change", label_change)
test("an endpoint of no namespace is known by its address alone",
     no_kubernetes_pod)
test("a deleted pod's address is closed", deleted_pod)
test("the daemon stops with status 0",
     lambda: equal(node.stop(), 0, "exit status"))
done()
