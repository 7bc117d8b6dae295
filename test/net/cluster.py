# SPDX-License-Identifier: Apache-2.0
"""cluster.py - several nodes on one link, each with its own daemon.

    node1 (192.0.2.11, 2001:db8::11) --+
    node2 (192.0.2.12, 2001:db8::12) --+-- bridge of "fabric" (192.0.2.1,
    node3 (192.0.2.13, 2001:db8::13) --+    2001:db8::1), the outside world

Every manifest stands in each node's directory, as a real source would give it.
"""
import socket

from stage import (Netns, Node, connects, datagram, equal, ping, pod_manifest,
                   run, wait_for)

FABRIC4, FABRIC6 = "192.0.2.1", "2001:db8::1"


class Fabric:
    def __init__(self, name="fabric", mtu=1500):
        self.ns, self.mtu = Netns(name), mtu
        self.ns.run("ip", "link", "add", "br0", "type", "bridge")
        self.ns.run("ip", "link", "set", "br0", "mtu", mtu, "up")
        self.ns.run("ip", "addr", "add", f"{FABRIC4}/24", "dev", "br0")
        self.ns.run("ip", "addr", "add", f"{FABRIC6}/64", "dev", "br0", "nodad")


class Member(Node):
    """A node of a cluster; @number from 1."""

    def __init__(self, fabric, number, name=None, underlay=46, overlay=46,
                 args=()):
        self.fabric, self.number = fabric, number
        self.v4 = f"192.0.2.{10 + number}" if underlay != 6 else None
        self.v6 = f"2001:db8::{10 + number}" if underlay != 4 else None
        name = name or f"node{number}"
        self.pod_cidrs = [c for c in (
            f"10.{80 + number}.0.0/16" if overlay != 6 else None,
            f"fd00:{80 + number}::/112" if overlay != 4 else None) if c]
        super().__init__(name, cidrs=(), args=args)
        self.settled()

    def _uplink(self, mtu):
        mtu = self.fabric.mtu
        self.far = self.fabric.ns
        run("ip", "netns", "del", f"{self.name}-far")
        peer = f"to-{self.name}"
        self.ns.run("ip", "link", "add", "uplink", "mtu", mtu, "type", "veth",
                    "peer", "name", peer, "mtu", mtu, "netns",
                    self.fabric.ns.name)
        self.fabric.ns.run("ip", "link", "set", peer, "master", "br0", "up")
        self.ns.run("ip", "link", "set", "uplink", "up")
        self.address(self.v4, self.v6)

    def address(self, v4, v6):
        if v4:
            self.ns.run("ip", "addr", "add", f"{v4}/24", "dev", "uplink")
            self.ns.run("ip", "route", "replace", "default", "via", FABRIC4)
        if v6:
            self.ns.run("ip", "addr", "add", f"{v6}/64", "dev", "uplink", "nodad")
            self.ns.run("ip", "-6", "route", "replace", "default", "via", FABRIC6)

    def settled(self):
        """Also until the fabric forwards what the node sends."""
        wait_for("the port", lambda: "state forwarding" in self.fabric.ns.run(
            "ip", "-d", "link", "show", f"to-{self.name}").stdout)
        return super().settled()

    def manifest(self):
        return {"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": self.name},
                "spec": {"podCIDRs": self.pod_cidrs},
                "status": {"addresses": [
                    {"type": "InternalIP", "address": a}
                    for a in (self.v4, self.v6) if a] + [
                        {"type": "Hostname", "address": self.name}]}}

    def number_of(self, other):
        """This node's number for another one; 0: none."""
        return next((n.get("number", 0) for n in self.ask("node", "list")
                     if n["name"] == other.name), 0)


class Cluster:
    """Nodes that know of each other.  @first: 4 or 6, of the underlay."""

    def __init__(self, fabric, nodes):
        self.fabric, self.nodes, self.files = fabric, list(nodes), {}
        for node in self.nodes:
            self.put(f"node-{node.name}.json", node.manifest())

    def start(self):
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.ready()
        return self

    def put(self, name, *objects):
        self.files[name] = objects
        for node in self.nodes:
            node.put(name, *objects)

    def remove(self, name):
        del self.files[name]
        for node in self.nodes:
            node.remove(name)

    def join(self, node):
        """A node more: it is told everything, all are told of it."""
        self.nodes.append(node)
        for name, objects in self.files.items():
            node.put(name, *objects)
        self.put(f"node-{node.name}.json", node.manifest())

    def leave(self, node):
        self.nodes.remove(node)
        self.remove(f"node-{node.name}.json")

    def pod(self, node, pod, labels=None, ports=()):
        """A pod of @node, which all get to know."""
        made = node.pod(pod, labels, ports)
        namespace, name = pod.split("/")
        manifest = pod_manifest(pod, labels, ports)
        manifest["spec"]["nodeName"] = node.name
        manifest["status"] = {"podIPs": [{"ip": ip} for ip in made.ips]}
        self.put(f"pod-{namespace}-{name}.json", manifest)
        return made

    def settled(self):
        """Until every node has in force what stands in its directory."""
        for node in self.nodes:
            known = sum(len(objects) for objects in self.files.values())
            wait_for(f"{node.name} has read all", lambda: self._has_all(
                node, known))
        return self

    def _has_all(self, node, known):
        have = node.ask("status")
        want = {"pods": "Pod", "namespaces": "Namespace",
                "policies": "NetworkPolicy"}
        items = [o for objects in self.files.values() for o in objects]
        return all(have[key] == sum(o["kind"] == kind for o in items)
                   for key, kind in want.items()) and known


# ---- what must work between any two nodes -------------------------------------

def ways_pods(pods, port=80):
    """Every pod to every other, by each address both have a family of."""
    return [(p.ns, ip, port) for p in pods for q in pods if p is not q
            for ip in q.ips if (p.v6 if ":" in ip else p.v4)]


def pods_reach_pods(pods):
    servers = [p.ns.listen(80) for p in pods]
    ways = ways_pods(pods)
    equal([w[1:] for w, ok in zip(ways, connects(ways)) if not ok], [],
          "ways that are closed")
    for server in servers:
        server.close()
    udp = {p: p.ns.udp(2000) for p in pods}
    for p in pods:
        for q in pods:
            for ip in q.ips if p is not q else ():
                assert datagram(p.ns, ip, 2000, udp[q]), f"UDP {p} {ip}"
                assert ping(p.ns, ip), f"ping {p} {ip}"
    for sock in udp.values():
        sock.close()
    return f"{len(ways)} ways, TCP, UDP and ICMP"


def accepted_from(server, client, addr, port):
    """The address that a connection of @client is seen to come from."""
    with server.listen(port) as sock, client.open(
            socket.AF_INET6 if ":" in addr else socket.AF_INET,
            socket.SOCK_STREAM) as mine:
        mine.settimeout(5)
        sock.settimeout(5)
        mine.connect((addr, port))
        other, who = sock.accept()
        other.sendall(b"answer")
        equal(mine.recv(6), b"answer")
        other.close()
    return who[0].removeprefix("::ffff:")


def hosts_and_outside(pod, own, other, remote):
    """@pod of @own: the other node and the outside, as its node; @remote, a
    pod there: by this node's own processes."""
    ways = 0
    for family, far in (("v4", FABRIC4), ("v6", FABRIC6)):
        if getattr(own, family) and getattr(pod, family):
            for server, addr in ((other.ns, getattr(other, family)),
                                 (own.fabric.ns, far)):
                equal(accepted_from(server, pod.ns, addr, 4000),
                      getattr(own, family), f"{pod} at {addr}")
                assert ping(pod.ns, addr), f"ping {addr}"
                ways += 1
            equal(accepted_from(remote.ns, own.ns, getattr(remote, family),
                                4001), getattr(own, family), "the node at a pod")
            assert ping(own.ns, getattr(remote, family)), "node pings pod"
            ways += 1
    return f"{ways} ways"
