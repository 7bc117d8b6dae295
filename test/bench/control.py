# SPDX-License-Identifier: Apache-2.0
"""control.py - figures of the daemon and the plugin: time and memory."""
import json
import os
import re
import statistics
import time

from paths import PORT, TOOLS, Place, plugin_conf, ports
from stage import BUILD, TOP, netpol, pod_manifest, run, wait_for
from traffic import elsewhere, entries_of

# ---- the plugin -----------------------------------------------------------------

PODS = 100
ROUNDS = 3


def cni(report):
    """ADD and DEL against Debian's ptp, round about in the same run."""
    report.title(f"{PODS} pods by CNI ADD and DEL, {ROUNDS} rounds; each pod "
                 "with a policy in force")
    with Place() as place:
        names = [f"pod{i}" for i in range(PODS)]
        for name in names:
            place.netns(name)
        node = place.node("stile", objects=[isolated("default/all")])
        node.put("pods.json", *(pod_manifest(f"default/{n}") for n in names))
        plugins = {
            "ptp": (place.netns("ptp"), "/usr/lib/cni/ptp",
                    plugin_conf("ptp", "ptp")),
            "stile": (node.ns, f"{BUILD}/stile-cni",
                      {"cniVersion": "1.1.0", "name": "stile",
                       "type": "stile-cni",
                       "socket": f"{node.dir}/run/stile.sock"})}
        for _, _, conf in plugins.values():
            with open(f"/run/{conf['name']}.conf", "w") as f:
                json.dump(conf, f)
        wait_for("the pods' manifests", lambda: call(
            plugins["stile"], 1, "ADD", names[:1])["failed"] == 0)
        call(plugins["stile"], 1, "DEL", names[:1])
        seen = {}
        for parallel in (1, 10):
            for i in range(ROUNDS):
                for name in sorted(plugins, reverse=bool(i % 2)):
                    for command in ("ADD", "DEL"):
                        out = call(plugins[name], parallel, command, names)
                        assert not out["failed"], (name, out, node.log())
                        seen.setdefault((name, command, parallel),
                                        []).append(out)
        cni_report(report, seen)


def call(plugin, parallel, command, names):
    ns, program, conf = plugin
    return json.loads(ns.run(f"{TOOLS}/plugtime", parallel,
                             f"/run/{conf['name']}.conf", program, command,
                             *names).stdout)


def cni_report(report, seen):
    def median(key, what):
        return statistics.median(out[what] for out in seen[key])

    for name, command, parallel in seen:
        key = name, command, parallel
        report.add(f"{command} by {name}, {parallel} at a time",
                   f"p50 {median(key, 'p50_us') / 1e3:.2f} "
                   f"p99 {median(key, 'p99_us') / 1e3:.2f} ms "
                   f"{median(key, 'per_second'):.0f}/s")
    for command, goal in (("ADD", 4), ("DEL", 5)):
        report.at_least(f"{command}: ptp's p50 over Stile's",
                        median(("ptp", command, 1), "p50_us") /
                        median(("stile", command, 1), "p50_us"), goal,
                        digits=1)
    report.at_least("ADD, ten in parallel: Stile's rate over ptp's",
                    median(("stile", "ADD", 10), "per_second") /
                    median(("ptp", "ADD", 10), "per_second"), 3, digits=1)


def isolated(name, ingress=()):
    """A policy that selects the whole namespace, for ingress."""
    return netpol(name, ingress=list(ingress), types=["Ingress"])


# ---- policy ----------------------------------------------------------------------

def blocks(n, first=0):
    return [{"ipBlock": {"cidr": f"172.{16 + i // 250}.{i % 250}.0/24"}}
            for i in range(first, first + n)]


def rules_of_ten(allow):
    """Ten rules; the last one decides."""
    rules = [{"from": blocks(1, i), "ports": ports(9000 + i)}
             for i in range(9)]
    return isolated("default/judge", [
        *rules, {"from": [{"podSelector": {}}],
                 "ports": ports(PORT if allow else 1)}])


def entries_10k(allow):
    return isolated("default/judge", [
        {"from": blocks(100), "ports": [
            {"protocol": "UDP", "port": 9000 + i} for i in range(100)]},
        {"from": [{"podSelector": {}}], "ports": ports(PORT if allow else 1)}])


class Judge:
    """Two pods, and a manifest that allows or denies what one sends."""

    def __init__(self, place, name):
        self.node = place.node(name, objects=[isolated("default/judge")])
        self.client = self.node.pod(f"default/{name}-client")
        self.server = self.node.pod(f"default/{name}-server")

    def take(self, count, allow, deny):
        """What each of @count changes took, us: to deny and to allow, in
        turns."""
        for name, objects in (("allow", allow), ("deny", deny)):
            with open(f"/run/{name}.json", "w") as f:
                f.writelines(f"---\n{json.dumps(o)}\n" for o in objects)
        self.node.put("world.json", {
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "default"}})
        out = run(f"{TOOLS}/latency", count, self.client.ns.name,
                  self.server.ns.name, self.server.v4, PORT,
                  "/run/allow.json", "/run/deny.json",
                  f"{self.node.manifests}/judge.json", check=False)
        assert not out.returncode, \
            f"{out.stderr}{self.node.log()}{self.node.stile('status').stdout}"
        return json.loads(out.stdout)

    def entries(self):
        return entries_of(self.node, f"default/{self.server.name[8:]}")


def quantile(values, q):
    return sorted(values)[min(int(len(values) * q), len(values) - 1)]


def latency(report):
    report.title("From the rename of a manifest to the first packet judged "
                 "by it")
    for name, make, count, goal in (("ten rules", rules_of_ten, 200, 10),
                                    ("10 000 entries", entries_10k, 40, 50)):
        with Place() as place:
            judge = Judge(place, "judge")
            took = judge.take(count, [make(True)], [make(False)])
            held = judge.entries()
        worst = quantile(took, 0.99) / 1e3
        report.add(f"{name} ({held} in the slot), {count} times",
                   f"p50 {statistics.median(took) / 1e3:.2f} "
                   f"p99 {worst:.2f} ms", f"<= {goal} ms", worst <= goal,
                   took=took)


def cidrs(report):
    """Worlds of many policies: what they cost must grow with their number."""
    report.title("A world of policies with distinct ipBlocks")
    entries, cpu = {}, {}
    sizes = (250, 500, 1000)
    for n in sizes:
        world = [netpol(f"default/block{i}", ingress=[
            {"from": blocks(1, i), "ports": ports(80)}]) for i in range(n)]
        with Place() as place:
            judge = Judge(place, "judge")
            last = netpol("default/last", ingress=[
                {"from": [{"podSelector": {}}], "ports": ports(PORT)}])
            used = cpu_ns(judge.node.daemon.pid)
            took = judge.take(20, [*world, last], [isolated("default/last")])
            cpu[n] = (cpu_ns(judge.node.daemon.pid) - used) / 1e6 / 10
            entries[n], ms = judge.entries(), statistics.median(took[1::2])
        report.add(f"{n} policies: entries, time until in force",
                   f"{entries[n]}, {ms / 1e3:.1f} ms", entries=entries[n],
                   took=took)
        report.add(f"{n} policies: CPU to put in force and drop",
                   f"{cpu[n]:.1f} ms", ms=cpu[n])
    first, last = sizes[0], sizes[-1]
    report.at_most(f"entries of {last} over those of {first}",
                   entries[last] / entries[first], 1.1 * last / first)
    report.at_most(f"CPU time of {last} over that of {first}",
                   cpu[last] / cpu[first], 1.5 * last / first)


# ---- memory and idleness ------------------------------------------------------------

IDLE_SECONDS = 20


def memory(report):
    """100 pods, 1 000 policies, 10 000 known addresses; nothing happens."""
    report.title("stiled with 100 pods, 1 000 policies and 10 000 known "
                 "addresses")
    with Place() as place:
        policies = [netpol(
            f"default/policy{i}", {"app": f"app{i % 100}"},
            ingress=[{"from": [*blocks(1, i),
                               {"podSelector": {"matchLabels":
                                                {"app": f"app{i % 97}"}}}],
                      "ports": ports(8000 + i % 10)}]) for i in range(1000)]
        node = place.node("stile", objects=policies)
        here = PODS * 2  # an address of each family
        for i in range(10_000 - here):
            name = f"default/far{i}"
            node.put(f"far{i}.json", elsewhere(
                name, f"10.99.{i // 250}.{i % 250 + 1}",
                {"app": f"app{i % 100}"}))
        for i in range(PODS):
            node.pod(f"default/pod{i}", {"app": f"app{i}"})
        known = wait_for("10 000 addresses", lambda: many_addresses(node), 60)
        report.add("known addresses", f"{known}", ">= 10000", known >= 10000)
        resident = wait_for("memory at rest", lambda: at_rest(node), 60)
        report.at_most("resident memory", resident / 1024, 15, " MB")
        report.at_most(f"CPU over {IDLE_SECONDS} idle seconds",
                       idle(node.daemon.pid), 0.1, " %", digits=3)


def many_addresses(node):
    known = sum(1 for a in node.ask("ipcache", "list")
                if "/" not in a["address"])
    return known if known >= 10_000 else None


def cpu_ns(pid):
    """What all threads of a process have used."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def idle(pid):
    begin, used = time.monotonic(), cpu_ns(pid)
    time.sleep(IDLE_SECONDS)
    return (cpu_ns(pid) - used) / (time.monotonic() - begin) / 1e9 * 100


def at_rest(node):
    """Resident KiB, once half a second costs next to nothing."""
    pid = node.daemon.pid
    used = cpu_ns(pid)
    time.sleep(0.5)
    assert node.daemon.poll() is None, \
        f"stiled ended with {node.daemon.returncode}:\n{node.log()}"
    if cpu_ns(pid) - used > 5e6:
        return None
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f
                    if line.startswith("VmRSS"))


# ---- what the tests count ---------------------------------------------------------------

DATAPATH_TESTS = ["bpf/lookups_test", "bpf/insns_test"]
VERIFIED = re.compile(r"^    ((?:from|to)_\w+) .*: (\d+) of (\d+) verified")


def datapath(report):
    """Lookups of an established packet, verified instructions: bpf tests."""
    report.title("The datapath, as its tests count it")
    done = run(f"{TOP}/scripts/test-run", "-O", BUILD, *DATAPATH_TESTS,
               check=False)
    for line in done.stdout.splitlines():
        verified, lookups = VERIFIED.search(line), line.rpartition(": ")
        if verified:
            name, walked, budget = verified.groups()
            report.at_most(f"{name}: verified instructions", int(walked),
                           int(budget), digits=0)
        elif "hash lookup" in line:
            report.at_most("hash, LRU and LPM lookups of a known packet",
                           int(lookups[2]), 1, digits=0)
    report.add("these tests", "passed" if not done.returncode else "failed",
               "", done.returncode == 0, output=done.stdout)
