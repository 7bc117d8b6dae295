# SPDX-License-Identifier: Apache-2.0
"""traffic.py - figures of packets: ratios to a bare veth pair in the same run."""
import socket
import statistics
import threading
import time

from paths import PORT, Path, Place, Ratio, both_ways, ports, solo, tune
from stage import FAR4, namespace_manifest, netpol, pod_manifest, wait_for

# mode: what it is, the part of a bare pair's speed it must keep, and the part
# of the floor's that serves where that is less (the floor has no BIG TCP)
GOALS = {
    "rr": ("round trip", 0.88, 0.95),
    "crr": ("connect, request, close", 0.85, 0.95),
    "udp": ("64-byte UDP", 0.84, 0.95),
    "ufirst": ("first packet of a flow", 0.62, 0.92),
    "stream": ("stream, BIG TCP", 1.10, None),
}


# A path keeps the memory that it once got, good or bad for the caches: a run
# on one set of paths repeats itself, and is no better than three others.
PLACES = 3


def base(report, modes):
    """Two policed pods against a bare pair and against the floor."""
    report.title("Two pods, isolated both ways, counters and events on; "
                 "speed as a part of a bare veth pair's")
    all_times = {}
    for _ in range(PLACES):
        with Place() as place:
            paths = [*place.bare(), place.floor(), *place.pods("stile")]
            for mode in modes:
                for name, times in solo(mode, paths).items():
                    all_times.setdefault((mode, name), []).extend(times)
    for mode in modes:
        what, goal, of_floor = GOALS[mode]
        times = {p.name: all_times[mode, p.name] for p in paths}
        ratio = {p.name: Ratio(times, p.name, "bare6" if p.name[-1] == "6"
                               else "bare") for p in paths}
        for name in ("bare", "floor"):
            report.add(f"{what}, {name}", ratio[name].text(), mode=mode)
        serves = min(goal, of_floor * ratio["floor"].value) \
            if of_floor else goal
        stile, six = ratio["stile"], ratio["stile6"]
        report.add(f"{what}, Stile", stile.text(), f">= {serves:.3f}",
                   stile.value >= serves, mode=mode, value=stile.value)
        report.add(f"{what}, Stile IPv6", six.text(),
                   f">= {stile.value - 0.03:.3f}",
                   six.value >= stile.value - 0.03, mode=mode,
                   value=six.value)


def peers(report):
    """What others leave of a bare pair, in a run of their own."""
    report.title("Peers: routing, and Debian's plugins as every cluster runs "
                 "them, with masquerade")
    with Place() as place:
        paths = [place.bare()[0], place.routing(),
                 place.plugin("ptp", True), place.plugin("bridge", True),
                 place.pods("stile")[0]]
        for mode, (what, *_) in GOALS.items():
            times = solo(mode, paths, rounds=100)
            for path in paths:
                report.add(f"{what}, {path.name}",
                           Ratio(times, path.name, "bare").text(), mode=mode)


def uplink(report):
    """A stream that leaves the node: large packets must not cost it."""
    report.title("A stream from a pod through the uplink, masqueraded")
    outside = netpol("default/out", egress=[{
        "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": ports(PORT)}])
    with Place() as place:
        paths = []
        for name, args in (("64k", ["--big-tcp", "off"]), ("default", [])):
            node = place.node(name, *args, objects=[outside])
            pod = node.pod(f"default/{name}-client")
            tune(pod.ns, node.far)
            paths.append(Path(name, pod.ns.name, node.far.name, FAR4))
        times = solo("stream", paths)
        report.add("64 kB", Ratio(times, "64k", "64k").text())
        ratio = Ratio(times, "default", "64k")
        report.add("default settings", ratio.text(), ">= 0.97",
                   ratio.value >= 0.97, value=ratio.value)


def entries_of(node, pod):
    return node.ask("endpoint", "get", pod)["policy_entries"]


def scale(report, blocks=500, numbers=100):
    """100 000 entries in the very slot that decides, against none more."""
    report.title("A policy of 100 000 entries at both ends")
    many = netpol("default/many", ingress=[wide(blocks, numbers, "from")],
                  egress=[wide(blocks, numbers, "to")])
    with Place() as place:
        few = place.pods("few")[0]
        lot = place.pods("many", objects=[both_ways(), many])[0]
        node = place.nodes[-1]
        assert entries_of(place.nodes[0], "default/few-server") == 8
        held = wait_for("100 000 entries", lambda: enough(
            entries_of(node, "default/many-server"), 2 * blocks * numbers), 60)
        report.add("entries of the slot", f"{held}")
        for mode in ("crr", "ufirst"):
            ratio = Ratio(solo(mode, [few, lot]), "many", "few")
            report.add(f"{GOALS[mode][0]}, of that with 8 entries",
                       ratio.text(), ">= 0.97", ratio.value >= 0.97,
                       value=ratio.value, entries=held)


def enough(have, want):
    return have if have >= want else None


def wide(blocks, numbers, side):
    """A rule of @blocks * @numbers entries that nobody meets."""
    return {side: [{"ipBlock": {"cidr": f"172.{16 + i // 250}.{i % 250}.0/24"}}
                   for i in range(blocks)],
            "ports": [{"protocol": "TCP", "port": 20000 + 7 * i}
                      for i in range(numbers)]}


# ---- while things change --------------------------------------------------------

FLOWS = 100_000
CHANGES = 50  # a second
PAIRS = 30    # quiet and busy spells, in turns


def churn(report):
    report.title(f"While {CHANGES} unrelated pods or policies change a second, "
                 f"with {FLOWS} live flows")
    with Place() as place:
        bare, stile = place.bare()[0], place.pods("stile")[0]
        node = place.nodes[0]
        node.put("other.json", namespace_manifest("other"))
        crowd = [node.pod(f"other/crowd{i}") for i in range(5)]
        flows = open_flows(crowd)
        quiet, busy, made = [], [], 0
        for _ in range(PAIRS):
            quiet.append(spell(bare, stile))
            with Changes(node) as changes:
                busy.append(spell(bare, stile))
            made += changes.made / changes.seconds
        live = next(m["entries"] for m in node.ask("map", "list")
                    if m["name"] == "flows")
        for sock in flows:
            sock.close()
        report.add("changes a second, as made", f"{made / PAIRS:.1f}",
                   f">= {CHANGES}", made / PAIRS >= CHANGES * 0.98)
        report.add("entries of the flow table", f"{live}", f">= {FLOWS}",
                   live >= FLOWS)
        each = [b / q for b, q in zip(busy, quiet)]
        report.at_least("round trip, of its quiet speed",
                        statistics.median(each), 0.98, each=each)


def spell(bare, stile):
    """What is left of a bare pair's round trips, over about a second."""
    return Ratio(solo("rr", [bare, stile], rounds=100), "stile", "bare").value


def open_flows(crowd):
    """FLOWS answered UDP flows among the pods of the crowd."""
    servers = []
    for pod in crowd:
        server = pod.ns.udp(9000)
        server.settimeout(5)
        servers.append(server)
    per = FLOWS // len(crowd)
    for i, pod in enumerate(crowd):
        server, to = servers[i - 1], crowd[i - 1]
        with pod.ns.entered():
            for port in range(10000, 10000 + per):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind(("", port))
                    sock.sendto(b"?", (to.v4, 9000))
                    _, who = server.recvfrom(16)
                    server.sendto(b"!", who)
    return servers


class Changes:
    """CHANGES a second to pods elsewhere and to policies of another namespace."""

    def __init__(self, node):
        self.node, self.made = node, 0
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.begin = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()
        self.seconds = time.monotonic() - self.begin

    def _run(self):
        while not self.end.is_set():
            n = self.made
            if n % 2:
                self.node.put("changing-pod.json", elsewhere(
                    f"other/far{n % 20}", f"10.99.{n % 250}.{n % 200 + 1}",
                    {"turn": f"v{n % 5}"}))
            else:
                self.node.put("changing-policy.json", netpol(
                    "other/changing", {"turn": f"v{n % 3}"}, ingress=[{
                        "from": [{"podSelector": {"matchLabels":
                                                  {"turn": f"v{n % 7}"}}}],
                        "ports": ports(8000 + n % 9)}]))
            self.made += 1
            late = self.begin + self.made / CHANGES - time.monotonic()
            self.end.wait(max(late, 0))


def elsewhere(name, ip, labels=None):
    """A pod of another node."""
    pod = pod_manifest(name, labels)
    pod["spec"]["nodeName"] = "elsewhere"
    pod["status"] = {"podIP": ip, "podIPs": [{"ip": ip}], "phase": "Running"}
    return pod


