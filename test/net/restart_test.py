# SPDX-License-Identifier: Apache-2.0
"""restart_test - twenty rounds of kill -9 and start, under traffic.

    node ---+--- n/a ==== n/b    allowed: UDP, 50 000 a second or more, 100 TCP flows
            +--- n/c --x- n/b2   denied: UDP at 2 000 a second

Lost is what was sent and neither arrived nor was dropped by the receiver's own
full socket.
"""
import os
import signal
import time

from stage import (Node, done, equal, namespace_manifest, netpol, opened, test,
                   wait_for)

ROUNDS = int(os.environ.get("ROUNDS", "20"))
RATE, DENIED_RATE, FLOWS = 60000, 2000, 100
ALLOW = netpol("n/open", {"app": "closed"}, ingress=[{}])

node = Node().start()
node.put("n.json", namespace_manifest("n"),
         netpol("n/deny", {"app": "closed"}, ingress=[]),
         netpol("n/only-a", {"app": "b"}, ingress=[
             {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]))
a = node.pod("n/a", {"app": "a"})
b = node.pod("n/b", {"app": "b"})
c = node.pod("n/c", {"app": "c"})
b2 = node.pod("n/b2", {"app": "closed"})


class Traffic:
    """All of it at once; stop() tells (sent, lost, leaked, alive)."""

    def __init__(self):
        self.receiver = b.ns.tool("blast", "recv", 9000)
        self.leaks = b2.ns.tool("blast", "recv", 9000)
        self.server = b.ns.tool("conns", "serve", 7000)
        self.flows = a.ns.tool("conns", "hold", b.v6, 7000, FLOWS, ready="open")
        equal(self.flows.said, f"open {FLOWS}\n")
        self.sender = a.ns.tool("blast", "send", b.v4, 9000, RATE)
        self.denied = c.ns.tool("blast", "send", b2.v4, 9000, DENIED_RATE)

    def stop(self):
        alive = int(self.flows.ask().split()[1])
        sent, denied = self.sender.result(), self.denied.result()
        got, leaked = self.receiver.result(), self.leaks.result()
        self.flows.stop()
        self.server.stop()
        equal(sent["refused"], 0, "sends that the stack refused")
        assert denied["sent"] > 0, "nothing was denied"
        lost = sent["sent"] - got["received"] - got["socket_drops"]
        return sent["sent"], lost, leaked["received"], denied["sent"], alive


def sees_a_leak():
    traffic = Traffic()
    node.put("planted.json", ALLOW)
    wait_for("the planted policy", lambda: node.stile(
        "policy", "why", "n/c", "n/b2", "9000/udp", check=False
    ).returncode == 0)
    wait_for("the leak", lambda: node.flows("--pod", "n/b2", "--verdict",
                                            "FORWARDED"))
    node.remove("planted.json")
    wait_for("the policy's end", lambda: node.stile(
        "policy", "why", "n/c", "n/b2", "9000/udp", check=False
    ).returncode == 1)
    _, lost, leaked, _, _ = traffic.stop()
    assert leaked > 0, "the planted leak was not seen"
    equal(lost, 0, "lost meanwhile")
    return f"{leaked} leaked"


def sees_a_loss():
    """A receiver whose device is down for a moment."""
    d = node.pod("n/d", {"app": "d"})
    receiver = d.ns.tool("blast", "recv", 9000)
    sender = a.ns.tool("blast", "send", d.v4, 9000, RATE)
    d.ns.run("ip", "link", "set", "eth0", "down")
    d.ns.run("ip", "link", "set", "eth0", "up")
    sent, got = sender.result(), receiver.result()
    lost = sent["sent"] - got["received"] - got["socket_drops"]
    assert lost > 0, "the planted loss was not seen"
    return f"{lost} of {sent['sent']} lost"


def rounds():
    traffic = Traffic()
    began = time.monotonic()
    for _ in range(ROUNDS):
        equal(node.stop(signal.SIGKILL), -signal.SIGKILL, "its end")
        node.start()
    seconds = time.monotonic() - began
    sent, lost, leaked, denied, alive = traffic.stop()
    equal((lost, leaked, alive), (0, 0, FLOWS), "lost, leaked, flows alive")
    return (f"{lost} of {sent} lost at {sent / seconds:.0f} a second, "
            f"{leaked} of {denied} leaked, {alive} of {FLOWS} flows alive, "
            f"over {ROUNDS} rounds")


def policy_after():
    """The last daemon still does its work: policies, pods, verification."""
    node.put("planted.json", ALLOW)
    wait_for("the policy", lambda: node.stile(
        "policy", "why", "n/c", "n/b2", "9000/udp", check=False
    ).returncode == 0)
    pod = node.pod("n/late", {"app": "late"})
    assert pod.v4 not in (a.v4, b.v4, c.v4, b2.v4), "an address twice"
    equal(node.stile("policy", "verify", check=False).returncode, 0, "verify")


def torn_manifest():
    """A file that is broken when the daemon starts: what it said stays."""
    whole = f"{node.manifests}/n.json"
    with open(whole) as f:
        text = f.read()
    with open(whole, "w") as f:
        f.write(text[:len(text) // 2])
    wait_for("the refusal", lambda: any(
        "n.json" in p["object"] for p in node.ask("status")["problems"]))
    answers = [a.ns.listen(80), b.ns.listen(80), b2.ns.listen(80)]
    ways = [(a.ns, b.v4, 80), (a.ns, b.v6, 80), (c.ns, a.v4, 80),
            (c.ns, b.v4, 80), (c.ns, b2.v4, 80), (c.ns, b2.v6, 80)]
    want = [True, True, True, False, False, False]
    for number in (signal.SIGTERM, signal.SIGKILL):
        node.stop(number)
        node.start()
        equal(opened(ways, want), want, "ways open with a torn manifest")
    with open(whole, "w") as f:
        f.write(text)
    wait_for("no problem", lambda: not node.ask("status")["problems"])
    for sock in answers:
        sock.close()


test("the harness sees a planted leak", sees_a_leak)
test("the harness sees a planted loss", sees_a_loss)
test("kill -9 and start: nothing lost, nothing leaked, no flow broken", rounds)
test("a manifest that is torn when the daemon starts opens nothing",
     torn_manifest)
test("the daemon that was started last works", policy_after)
done()
