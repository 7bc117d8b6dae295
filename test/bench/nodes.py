# SPDX-License-Identifier: Apache-2.0
"""nodes.py - figures between two nodes: ratios to the kernel's own routing."""
from paths import PORT, TOOLS, Path, Place, Ratio, both_ways, solo, tune
from stage import Node, namespace_manifest, pod_manifest, run, wait_for

WIRE4 = ("192.0.2.11", "192.0.2.12")
CIDR4, CIDR6 = ("10.81.0.0/16", "10.82.0.0/16"), ("fd00:81::/112", "fd00:82::/112")
MODES = {"rr": "round trip", "crr": "connect, request, close",
         "stream": "stream", "udp": "64-byte UDP"}
GOAL = 1.05
SETS = 3 # of paths: see traffic.PLACES


class Wired(Node):
    """A node whose uplink is a wire to the other one, made later."""

    def _uplink(self, mtu):
        pass


def wire(one, two):
    run("ip", "link", "add", "uplink", "netns", one.name, "type", "veth",
        "peer", "name", "uplink", "netns", two.name)
    for ns, addr in zip((one, two), WIRE4):
        ns.run("ip", "addr", "add", f"{addr}/24", "dev", "uplink")
        ns.run("ip", "link", "set", "uplink", "up")


def plain(place, name, vxlan, hop=False):
    """The kernel routes, over the wire or over a VXLAN device of its own; or,
    with @hop, hop.bpf.c redirects."""
    nodes = [place.netns(f"{name}-{n}") for n in "12"]
    pods = [place.netns(f"{name}-{n}") for n in "ab"]
    wire(*nodes)
    for i, (node, pod) in enumerate(zip(nodes, pods)):
        mine, other = f"10.{81 + i}.0.2", 1 - i
        node.sysctl(net__ipv4__ip_forward="1")
        run("ip", "link", "add", "va", "mtu", 1450 if vxlan else 1500, "netns",
            node.name, "type", "veth", "peer", "name", "eth0", "mtu",
            1450 if vxlan else 1500, "netns", pod.name)
        node.run("ip", "addr", "add", "169.254.1.1/32", "dev", "va")
        node.run("ip", "link", "set", "va", "up")
        node.run("ip", "route", "add", f"{mine}/32", "dev", "va")
        pod.run("ip", "addr", "add", f"{mine}/32", "dev", "eth0")
        pod.run("ip", "link", "set", "eth0", "up")
        pod.run("ip", "route", "add", "169.254.1.1", "dev", "eth0")
        pod.run("ip", "route", "add", "default", "via", "169.254.1.1")
        if hop:
            if vxlan:
                node.run("ip", "link", "add", "vx", "address",
                         "ee:ee:ee:ee:ee:ee", "type", "vxlan", "external",
                         "dstport", 8472)
                node.run("ip", "link", "set", "vx", "up")
            node.run("ip", "route", "add", CIDR4[other], "via", WIRE4[other])
            place.background(node, f"{TOOLS}/hop", f"{TOOLS}/hop.bpf.o", "va",
                             pod.mac(), "vx" if vxlan else "uplink",
                             WIRE4[other] if vxlan else "-")
            # Whom nothing goes by the stack to must be known to it before.
            node.run("ping", "-c1", "-W2", WIRE4[other], check=False)
            continue
        if not vxlan:
            node.run("ip", "route", "add", CIDR4[other], "via", WIRE4[other])
            continue
        node.run("ip", "link", "add", "vx", "address", f"02:00:00:00:01:0{i}",
                 "type", "vxlan", "id", 1, "dstport", 8472, "local", WIRE4[i],
                 "nolearning", "dev", "uplink")
        node.run("ip", "link", "set", "vx", "up")
        far = f"02:00:00:00:01:0{other}"
        node.run("bridge", "fdb", "add", far, "dev", "vx", "dst", WIRE4[other])
        node.run("ip", "neigh", "add", f"10.{81 + other}.0.0", "lladdr", far,
                 "dev", "vx", "nud", "permanent")
        node.run("ip", "route", "add", CIDR4[other], "via",
                 f"10.{81 + other}.0.0", "dev", "vx", "onlink")
    tune(*pods)
    return Path(name, pods[0].name, pods[1].name, "10.82.0.2")


def manifest(node, i):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name},
            "spec": {"podCIDRs": [CIDR4[i], CIDR6[i]]},
            "status": {"addresses": [{"type": "InternalIP",
                                      "address": WIRE4[i]}]}}


def stile(place, name, *args):
    """Two pods of Stile on two nodes, isolated both ways."""
    nodes = [Wired(f"{name}-{n}", cidrs=(), args=args) for n in "12"]
    place.nodes += nodes
    wire(*(n.ns for n in nodes))
    pods = []
    for node in nodes:
        node.put("world.json", namespace_manifest("default"), both_ways(),
                 *(manifest(n, i) for i, n in enumerate(nodes)))
        node.start(wait=False)
    for i, node in enumerate(nodes):
        node.ready()
        pod = node.pod(f"default/{name}-{'ab'[i]}")
        seen = pod_manifest(f"default/{name}-{'ab'[i]}")
        seen["spec"]["nodeName"] = node.name
        seen["status"] = {"podIPs": [{"ip": ip} for ip in pod.ips]}
        nodes[1 - i].put(f"far-{i}.json", seen)
        pods.append(pod)
    with pods[1].ns.listen(PORT) as _:
        def connected():
            out = pods[0].ns.run("bash", "-c",
                                 f"exec 3<>/dev/tcp/{pods[1].v4}/{PORT}",
                                 check=False)
            return out.returncode == 0
        wait_for(f"{name}: the other pod", connected)
    tune(*(p.ns for p in pods))
    return Path(name, pods[0].ns.name, pods[1].ns.name, pods[1].v4)


def nodes(report):
    """Through the tunnel and natively, against what the kernel does alone."""
    report.title("Two pods on two nodes, isolated both ways; speed as a part of "
                 "the kernel's routing, over its VXLAN device or natively")
    times = {}
    for _ in range(SETS):
        with Place() as place:
            paths = [plain(place, "vxlan", True), plain(place, "plain", False),
                     plain(place, "hop-tunnel", True, hop=True),
                     plain(place, "hop-native", False, hop=True),
                     stile(place, "tunnel", "--routing", "tunnel"),
                     stile(place, "native", "--routing", "native")]
            for mode in MODES:
                for name, got in solo(mode, paths, rounds=60).items():
                    times.setdefault(mode, {}).setdefault(name, []).extend(got)
    for mode, what in MODES.items():
        for name, reference in (("tunnel", "vxlan"), ("native", "plain")):
            ratio = Ratio(times[mode], name, reference)
            base = Ratio(times[mode], reference, reference)
            report.add(f"{what}, {reference}", base.text(), mode=mode)
            floor = Ratio(times[mode], f"hop-{name}", reference)
            report.add(f"{what}, bare redirect, {name}", floor.text(), mode=mode)
            wants = round(min(GOAL, floor.value), 3) \
                if mode in ("rr", "stream") else None
            report.add(f"{what}, Stile {name}", ratio.text(),
                       f">= {wants}" if wants else "",
                       ratio.value >= (wants or 0), mode=mode,
                       value=ratio.value)
    large(report)


def large(report):
    """Default settings must not make packets that the tunnel has to cut."""
    report.title("A stream into the tunnel: default settings against 64 kB")
    with Place() as place:
        paths = [stile(place, "t64k", "--routing", "tunnel", "--big-tcp", "off"),
                 stile(place, "tdef", "--routing", "tunnel")]
        times = solo("stream", paths)
        ratio = Ratio(times, "tdef", "t64k")
        report.add("default settings", ratio.text(), ">= 0.97",
                   ratio.value >= 0.97, value=ratio.value)
