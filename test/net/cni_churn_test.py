# SPDX-License-Identifier: Apache-2.0
"""cni_churn_test.py - a hundred pods at once, made and removed, some plugins
killed on the way: afterwards nothing is left, and no address was given twice.

usage: cni_churn_test.py [SEED]
"""
import heapq
import json
import os
import random
import signal
import subprocess
import sys
import time

import cni
import stage
from stage import equal, wait_for

PODS, ROUNDS, KILLED = 100, 50, 0.1
SEED = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)


class Storm:
    """Calls of the plugin, all at once."""

    def __init__(self, node):
        self.node, self.random = node, random.Random(SEED)
        self.pods = [stage.Netns(f"pod{i}") for i in range(PODS)]
        self.conf = json.dumps({
            "cniVersion": "1.1.0", "name": "stile", "type": "stile-cni",
            "socket": f"{node.dir}/run/stile.sock",
            "stateDir": f"{node.dir}/state"}).encode()
        self.config = f"{node.dir}/conf"
        with open(self.config, "wb") as f:
            f.write(self.conf)
        self.times, self.killed = [], 0

    def start(self, command, round_, i):
        env = {"CNI_COMMAND": command, "CNI_CONTAINERID": f"c{round_}-{i}",
               "CNI_IFNAME": "eth0", "CNI_NETNS": self.pods[i].path}
        with open(self.config, "rb") as conf:
            return subprocess.Popen([cni.PLUGIN], env=env, stdin=conf,
                                    stdout=subprocess.PIPE)

    def many(self, command, round_, which, doomed=()):
        """Run @command for each of @which; {i: answer, or None if killed}."""
        children, due = {}, []

        def kill_due():
            while due and due[0][0] <= time.monotonic():
                child = children[heapq.heappop(due)[1]]
                if child.poll() is None:
                    child.send_signal(signal.SIGKILL)
        with self.node.ns.entered():
            for i in which:
                children[i] = self.start(command, round_, i)
                if i in doomed:
                    heapq.heappush(due, (time.monotonic() +
                                         self.random.uniform(0, 0.02), i))
                kill_due()
        while due:
            time.sleep(max(0, due[0][0] - time.monotonic()))
            kill_due()
        return {i: self._answer(child) for i, child in children.items()}

    def _answer(self, child):
        out = child.communicate(timeout=60)[0]
        if child.returncode == -signal.SIGKILL:
            self.killed += 1
            return None
        return child.returncode, json.loads(out) if out.strip() else None

    def doomed(self):
        return set(self.random.sample(range(PODS), int(PODS * KILLED)))

    def delete(self, round_, doomed=()):
        """DEL, again and again until each was heard: as a runtime does."""
        left = list(range(PODS))
        for _ in range(20):
            answers = self.many("DEL", round_, left, doomed)
            for i, answer in answers.items():
                assert not answer or answer[0] == 0, f"DEL {i}: {answer}"
            left = [i for i, answer in answers.items() if not answer]
            doomed = ()
            if not left:
                return
        raise AssertionError(f"DEL of {left} never succeeded")


def snapshot(node):
    """Everything of a pod that could be left behind."""
    def files(path):
        return sorted(os.path.join(d, f) for d, _, names in os.walk(path)
                      for f in names if not f.endswith(".log"))
    entries = {m["name"]: m["entries"] for m in node.ask("map", "list")
               if m["name"] in ("endpoints", "addrs", "prefixes", "held",
                                "uplinks")}
    return {"links": node.ns.run("ip", "-br", "link").stdout,
            "routes": node.ns.run("ip", "route").stdout,
            "routes6": node.ns.run("ip", "-6", "route").stdout,
            "rules6": node.ns.run("ip", "-6", "rule").stdout,
            "neighbours": [n for n in json.loads(
                node.ns.run("ip", "-j", "neigh").stdout or "[]")
                if n["state"] == ["PERMANENT"]],
            "pins": files(node.bpffs), "state": files(f"{node.dir}/state"),
            "endpoints": node.ask("endpoint", "list"), "maps": entries,
            "descriptors": len(os.listdir(f"/proc/{node.daemon.pid}/fd"))}


def as_before(node, before):
    def differences():
        after = snapshot(node)
        # A question asked just before may have had a descriptor still.
        after["descriptors"] = max(after["descriptors"], before["descriptors"])
        return {k: (before[k], after[k]) for k in before
                if before[k] != after[k]}
    try:
        wait_for("nothing is left", lambda: not differences())
    except AssertionError:
        raise AssertionError(f"left: {differences()}") from None


def addresses(answer):
    return [ip["address"] for ip in answer["ips"]]


def storm(node, calls):
    before = snapshot(node)
    made = asked = 0
    start = time.monotonic()
    for round_ in range(ROUNDS):
        doomed = calls.doomed()
        answers = calls.many("ADD", round_, range(PODS), doomed)
        live = [a for answer in answers.values() if answer
                for a in addresses(answer[1]) if answer[0] == 0]
        bad = {i: a for i, a in answers.items() if a and a[0]}
        equal(bad, {}, f"ADDs that failed in round {round_}")
        equal(len(live), len(set(live)), f"addresses in round {round_}")
        made += sum(1 for a in answers.values() if a)
        asked += PODS - sum(1 for a in answers.values() if not a)
        equal(len(set(live)), 2 * sum(1 for a in answers.values() if a))
        calls.delete(round_, calls.doomed())
    as_before(node, before)
    return (f"{made} of {asked} ADDs, {calls.killed} plugins killed, "
            f"{time.monotonic() - start:.0f} s, seed {SEED}")


def storm_daemon_dies(node, calls):
    """The same while the daemon is killed and started."""
    before = snapshot(node)
    kills = calls.random
    for round_ in range(1000, 1005):
        with node.ns.entered():
            children = [calls.start("ADD", round_, i) for i in range(PODS)]
        time.sleep(kills.uniform(0, 0.1))
        node.stop(signal.SIGKILL)
        live = []
        for child in children:
            status, answer = calls._answer(child)
            assert status == 0 or answer["code"] == 11, answer
            if status == 0:
                live += addresses(answer)
        equal(len(live), len(set(live)), "addresses")
        if round_ % 2:  # half of the times DEL comes while it is down
            calls.delete(round_)
        node.start()
        calls.delete(round_)
        # A closing one lives until its link is deleted, within a second.
        equal([e for e in node.ask("endpoint", "list")
               if e["state"] != "closing"], before["endpoints"])
    before["descriptors"] = len(os.listdir(f"/proc/{node.daemon.pid}/fd"))
    as_before(node, before)


def adds_while_down(node, calls):
    before = node.ns.run("ip", "-br", "link").stdout
    node.stop()
    answers = calls.many("ADD", 2000, range(PODS))
    equal([a[1]["code"] for a in answers.values()], [11] * PODS)
    equal(node.ns.run("ip", "-br", "link").stdout, before)
    node.start()
    return f"{PODS} of {PODS}"


def dels_while_down(node, calls):
    before = snapshot(node)
    answers = calls.many("ADD", 3000, range(PODS))
    equal([a[0] for a in answers.values()], [0] * PODS)
    node.stop()
    calls.delete(3000)
    for i in range(1, 3):  # of which the daemon never heard
        calls.delete(3000 + i)
    queue = f"{node.dir}/state/del-queue"
    equal(len(os.listdir(queue)), 3 * PODS)
    node.start()
    equal(os.listdir(queue), [])
    before["descriptors"] = len(os.listdir(f"/proc/{node.daemon.pid}/fd"))
    as_before(node, before)
    return f"{3 * PODS} of {3 * PODS} replayed"


def main():
    node = stage.Node("node", ("10.88.0.0/16", "fd88::/64")).start()
    calls = Storm(node)
    calls.many("ADD", 9999, range(1))  # what the first pod of a node makes
    calls.delete(9999)
    os.makedirs(f"{node.dir}/state/del-queue", mode=0o700, exist_ok=True)
    wait_for("the first pod is gone",
             lambda: "stl" not in node.ns.run("ip", "-br", "link").stdout)
    stage.test(f"{PODS} ADDs and DELs in parallel, {ROUNDS} rounds, some "
               "killed, leave nothing and share no address", storm, node, calls)
    stage.test("the daemon killed under a hundred ADDs loses and doubles "
               "nothing", storm_daemon_dies, node, calls)
    stage.test("ADDs while the daemon is down are all code 11 and leave "
               "nothing", adds_while_down, node, calls)
    stage.test("DELs while the daemon is down are all replayed at its start",
               dels_while_down, node, calls)
    node.stop()
    stage.done()


if __name__ == "__main__":
    main()
