# SPDX-License-Identifier: Apache-2.0
"""paths.py - ways from one network namespace to another, and what they cost."""
import collections
import json
import os
import shutil
import statistics
import subprocess

from stage import BUILD, Netns, Node, namespace_manifest, netpol, run

TOOLS = f"{BUILD}/test/bench"
PORT = 7100  # of solo.c

# name, namespaces of client and server (names in /run/netns), server's address
Path = collections.namedtuple("Path", "name client server addr")

# Short rounds and many: what disturbs the machine lasts longer than a round.
COUNTS = {"rr": 150, "crr": 25, "udp": 40, "stream": 12, "ufirst": 50}
ROUNDS = 120

CLIENT4, SERVER4, ROUTER4 = "10.10.0.2", "10.10.0.3", "10.10.0.1"
CLIENT6, SERVER6 = "fd00:10::2", "fd00:10::3"


def tune(*spaces):
    """What benchmarks need of the network namespaces of both ends."""
    for ns in spaces:
        ns.sysctl(net__ipv4__tcp_congestion_control="reno",
                  net__ipv4__ip_local_port_range="1100 65000",
                  net__ipv4__tcp_max_tw_buckets="200000",
                  net__ipv4__tcp_tw_reuse="1")


class Place:
    """Namespaces, programs and daemons of one benchmark; gone with it."""

    def __init__(self):
        self.spaces, self.programs, self.nodes = [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.stdin.close()
            program.wait()
        for node in self.nodes:
            self.spaces += [p.ns for p in node.pods.values()]
            self.spaces += [node.ns, node.far]
            if node.daemon:
                node.stop()
            shutil.rmtree(node.bpffs, ignore_errors=True)
            shutil.rmtree(node.dir, ignore_errors=True)
        for ns in self.spaces:
            run("ip", "netns", "del", ns.name, check=False)

    def netns(self, name):
        ns = Netns(name)
        self.spaces.append(ns)
        return ns

    def background(self, ns, *argv):
        """A program that says "ready" and ends with its standard input."""
        program = subprocess.Popen(ns.argv(*argv), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        self.programs.append(program)
        said = program.stdout.readline()
        assert "ready" in said, f"{argv[0]}: {said!r}"

    def node(self, name, *args, objects=()):
        """A node with the real stiled, and pods' manifests to come."""
        node = Node(name, args=args)
        self.nodes.append(node)
        node.put("world.json", namespace_manifest("default"), *objects)
        return node.start()

    # -- the ways

    def bare(self):
        """One veth pair: what there is to lose."""
        a, b = self.netns("bare-a"), self.netns("bare-b")
        run("ip", "link", "add", "eth0", "netns", a.name, "type", "veth",
            "peer", "name", "eth0", "netns", b.name)
        for ns, v4, v6 in ((a, CLIENT4, CLIENT6), (b, SERVER4, SERVER6)):
            ns.run("ip", "addr", "add", f"{v4}/24", "dev", "eth0")
            ns.run("ip", "addr", "add", f"{v6}/64", "dev", "eth0", "nodad")
            ns.run("ip", "link", "set", "eth0", "up")
        tune(a, b)
        return (Path("bare", a.name, b.name, SERVER4),
                Path("bare6", a.name, b.name, SERVER6))

    def _routed(self, name):
        """Two pods, one veth each, on a router."""
        router = self.netns(f"{name}-r")
        pods = self.netns(f"{name}-a"), self.netns(f"{name}-b")
        router.sysctl(net__ipv4__ip_forward="1")
        for ns, addr, veth in zip(pods, (CLIENT4, SERVER4), ("va", "vb")):
            run("ip", "link", "add", veth, "netns", router.name, "type",
                "veth", "peer", "name", "eth0", "netns", ns.name)
            router.run("ip", "addr", "add", f"{ROUTER4}/32", "dev", veth)
            router.run("ip", "link", "set", veth, "up")
            router.run("ip", "route", "add", f"{addr}/32", "dev", veth)
            ns.run("ip", "addr", "add", f"{addr}/32", "dev", "eth0")
            ns.run("ip", "link", "set", "eth0", "up")
            ns.run("ip", "route", "add", ROUTER4, "dev", "eth0")
            ns.run("ip", "route", "add", "default", "via", ROUTER4)
        tune(*pods)
        return router, pods, Path(name, pods[0].name, pods[1].name, SERVER4)

    def routing(self):
        """The kernel routes; no filter."""
        return self._routed("routing")[2]

    def floor(self):
        """floor.bpf.c, which stands for the least that policy can cost."""
        router, (a, b), path = self._routed("floor")
        # The router must know its neighbours: nothing of theirs comes by it.
        self.background(router, f"{TOOLS}/floor", f"{TOOLS}/floor.bpf.o",
                        f"{CLIENT4},va,{a.mac()}", f"{SERVER4},vb,{b.mac()}")
        return path

    def plugin(self, kind, masquerade):
        """Debian's ptp or bridge, by a real ADD."""
        name = kind + ("-masq" if masquerade else "")
        node = self.netns(f"{name}-n")
        pods = self.netns(f"{name}-a"), self.netns(f"{name}-b")
        conf = plugin_conf(kind, name, masquerade)
        for ns in pods:
            env = dict(os.environ, CNI_COMMAND="ADD", CNI_CONTAINERID=ns.name,
                       CNI_NETNS=ns.path, CNI_IFNAME="eth0",
                       CNI_PATH="/usr/lib/cni")
            out = node.run(f"/usr/lib/cni/{kind}", env=env,
                           input=json.dumps(conf))
        tune(*pods)
        addr = json.loads(out.stdout)["ips"][0]["address"].split("/")[0]
        return Path(name, pods[0].name, pods[1].name, addr)

    def pods(self, name, *args, objects=None):
        """Two pods of Stile, isolated both ways: IPv4's path and IPv6's."""
        node = self.node(name, *args, objects=objects or [both_ways()])
        a = node.pod(f"default/{name}-client")
        b = node.pod(f"default/{name}-server")
        tune(a.ns, b.ns)
        return (Path(name, a.ns.name, b.ns.name, b.v4),
                Path(f"{name}6", a.ns.name, b.ns.name, b.v6))


def plugin_conf(kind, name, masquerade=False):
    ipam = {"type": "host-local", "dataDir": f"/run/ipam-{name}",
            "ranges": [[{"subnet": "10.10.0.0/16"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}
    conf = {"cniVersion": "0.4.0", "name": name, "type": kind,
            "ipMasq": masquerade, "ipam": ipam}
    if kind == "bridge":
        conf.update(bridge="cni0", isGateway=True, hairpinMode=True)
    return conf


def ports(*numbers):
    return [{"protocol": protocol, "port": number}
            for number in numbers for protocol in ("TCP", "UDP")]


def both_ways(*more_peers):
    """Every pod of the namespace isolated in both directions, PORT allowed."""
    peers = [{"podSelector": {}}, *more_peers]
    return netpol("default/both-ways",
                  ingress=[{"from": peers, "ports": ports(PORT)}],
                  egress=[{"to": peers, "ports": ports(PORT)}])


# ---- measuring ----------------------------------------------------------------

def solo(mode, paths, rounds=ROUNDS):
    """{name: [median of each round, ns]}, all paths in one process."""
    out = run(f"{TOOLS}/solo", mode, rounds, COUNTS[mode],
              *(",".join(path) for path in paths))
    lines = map(json.loads, out.stdout.splitlines())
    return {line["path"]: line["p50"] for line in lines}


class Ratio:
    """How much of @reference's speed is left: medians of the rounds' ratios."""

    def __init__(self, times, name, reference):
        each = sorted(r / t for r, t in zip(times[reference], times[name]))
        self.value = statistics.median(each)
        self.low, self.high = each[len(each) // 4], each[len(each) * 3 // 4]
        self.ns = statistics.median(times[name])

    def text(self):
        return (f"{duration(self.ns)}  {self.value:.3f} "
                f"[{self.low:.3f}..{self.high:.3f}]")


def duration(ns):
    if ns < 10000:
        return f"{ns:.0f} ns"
    return f"{ns / 1e3:.1f} us" if ns < 1e7 else f"{ns / 1e6:.1f} ms"
