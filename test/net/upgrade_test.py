# SPDX-License-Identifier: Apache-2.0
"""upgrade_test - another build, with other maps, takes over under traffic.

    far --- node ---+--- n/a ==== n/b    allowed: UDP, 50 000 a second, 100 TCP
                    |                    flows, 100 more to far by masquerade
                    +--- n/c --x- n/b2   denied

See nextbuild.py; then back again.
"""
import os
import signal

from stage import (ABI_VERSION, BUILD, FAR4, FAR6, Node, done, equal,
                   namespace_manifest, netpol, opened, test, wait_for)
import nextbuild

RATE, DENIED_RATE, FLOWS = 50000, 2000, 100
VERSION = int(ABI_VERSION)


class Traffic:
    """All of it at once."""

    def __init__(self):
        self.receiver = b.ns.tool("blast", "recv", 9000)
        self.leaks = b2.ns.tool("blast", "recv", 9000)
        self.servers = [b.ns.tool("conns", "serve", 7000),
                        node.far.tool("conns", "serve", 7000)]
        self.held = [a.ns.tool("conns", "hold", addr, 7000, FLOWS // 2,
                               ready="open")
                     for addr in (b.v4, b.v6, FAR4, FAR6)]
        equal([h.said for h in self.held], [f"open {FLOWS // 2}\n"] * 4)
        self.sender = a.ns.tool("blast", "send", b.v4, 9000, RATE)
        self.denied = c.ns.tool("blast", "send", b2.v4, 9000, DENIED_RATE)

    def alive(self):
        return sum(int(held.ask().split()[1]) for held in self.held)

    def stop(self):
        alive = self.alive()
        sent, denied = self.sender.result(), self.denied.result()
        got, leaked = self.receiver.result(), self.leaks.result()
        for proc in self.held + self.servers:
            proc.stop()
        assert denied["sent"] > 0, "nothing was denied"
        lost = sent["sent"] - got["received"] - got["socket_drops"]
        equal((lost, leaked["received"], alive), (0, 0, 2 * FLOWS),
              "lost, leaked, flows alive")
        return (f"{lost} of {sent['sent']} lost, 0 of {denied['sent']} leaked, "
                f"{alive} of {2 * FLOWS} flows alive")


def versions():
    return sorted(os.listdir(node.bpffs))


def replaced_by(stiled, version):
    traffic = Traffic()
    equal(traffic.alive(), 2 * FLOWS, "flows before")
    equal(node.stop(signal.SIGKILL), -signal.SIGKILL)
    node.stiled = stiled
    node.start()
    wait_for("the other's pins are gone", lambda: versions() == [version])
    figure = traffic.stop()
    equal(node.stile("policy", "verify", check=False).returncode, 0, "verify")
    ways, want = [(a.ns, b.v4, 80), (a.ns, b.v6, 80), (c.ns, b2.v4, 80)], [
        True, True, False]
    equal(opened(ways, want), want, "new connections")
    links = os.listdir(f"{node.bpffs}/{version}")
    equal(sorted(n for n in links if n.startswith("link_")),
          ["link_uplink_in", "link_uplink_out"], "links")
    return figure


def policy_cuts_what_was_carried():
    """A flow that was carried over is a flow like any other."""
    server = b.ns.listen(7001)
    with a.ns.entered():
        import socket
        client = socket.create_connection((b.v4, 7001), 5)
    end, _ = server.accept()
    end.settimeout(5)
    node.stop()
    node.stiled = other
    node.start()
    client.send(b"1")
    equal(end.recv(1), b"1", "before the policy")
    node.put("cut.json", netpol("n/cut", {"app": "b"}, ingress=[]))
    wait_for("the policy", lambda: node.stile(
        "policy", "why", "n/a", "n/b", "7001/tcp", check=False).returncode == 1)
    client.send(b"2")
    end.settimeout(0.5)
    try:
        got = end.recv(1)
    except TimeoutError:
        got = b""
    equal(got, b"", "through a cut flow")
    node.remove("cut.json")
    for sock in (client, end, server):
        sock.close()


other = f"{nextbuild.make(BUILD, 'stiled')}/stiled"
node = Node().settled().start()
node.put("n.json", namespace_manifest("n"),
         netpol("n/deny", {"app": "closed"}, ingress=[]))
a, b = node.pod("n/a", {"app": "a"}), node.pod("n/b", {"app": "b"})
c, b2 = node.pod("n/c", {"app": "c"}), node.pod("n/b2", {"app": "closed"})
keep = [b.ns.listen(80), b2.ns.listen(80)]
own = node.stiled
test("the next build takes over", replaced_by, other, f"v{VERSION + 1}")
test("and this one again", replaced_by, own, f"v{VERSION}")
test("policy cuts a flow that was carried over", policy_cuts_what_was_carried)
node.stop()
nextbuild.remove(BUILD)
done()
