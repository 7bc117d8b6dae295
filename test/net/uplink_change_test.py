#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Uplinks change under live flows: their address goes, another device is the
default route's, one is an uplink no more."""
from stage import *

MOVED, UP2, FAR2 = "192.0.2.10", "198.18.0.1", "198.18.0.2"


class ByRoute(Node):
    """Its uplinks are those of the default routes: no --device."""

    def start(self, wait=True):
        argv = self.ns.argv(
            f"{BUILD}/stiled", "--source", f"dir:{self.manifests}",
            "--run-dir", f"{self.dir}/run", "--state-dir", f"{self.dir}/state",
            "--bpffs", self.bpffs, "--node-name", self.name, *self.args)
        for cidr in self.cidrs:
            argv += ["--pod-cidr", cidr]
        log = open(f"{self.dir}/log", "a")
        self.daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        self.ready()
        return self


node = ByRoute()
node.ns.run("ip", "link", "add", "up2", "type", "veth", "peer", "name", "up2",
            "netns", node.far.name)
for ns, addr in ((node.ns, UP2), (node.far, FAR2)):
    ns.run("ip", "addr", "add", f"{addr}/24", "dev", "up2")
    ns.run("ip", "link", "set", "up2", "up")
node.start().settled()
node.put("n.json", namespace_manifest("n"))
a = node.pod("n/a", {"app": "a"})
far, far2 = node.far.udp(5353, FAR4), node.far.udp(5353, FAR2)


def source(sock, addr, server, seconds=0.5):
    """Whom does @server see behind the pod's socket?  None: nobody."""
    tag = os.urandom(8)
    server.settimeout(seconds)
    try:
        sock.sendto(tag, (addr, 5353))
        while True:
            data, who = server.recvfrom(2048)
            if data == tag:
                return who[0]
    except (TimeoutError, OSError):
        return None


def fresh(addr, server):
    with a.ns.udp(0, a.v4) as sock:
        return source(sock, addr, server)


def uplinks():
    return len(node.ask("map", "dump", "uplinks"))


def the_address_goes():
    old = a.ns.udp(4000, a.v4)
    equal(source(old, FAR4, far, 5), NODE4)
    for cmd in (("addr", "del", f"{NODE4}/24", "dev", "uplink"),
                ("addr", "add", f"{MOVED}/24", "dev", "uplink"),
                ("route", "replace", "default", "via", FAR4)):
        node.ns.run("ip", *cmd, check=False)
    wait_for("a new socket leaves with the new address",
             lambda: fresh(FAR4, far) == MOVED)
    wait_for("so does one that was there before",
             lambda: source(old, FAR4, far) == MOVED)


def another_default_route():
    old = a.ns.udp(4001, a.v4)
    equal(source(old, FAR4, far, 5), MOVED)
    equal(fresh(FAR2, far2), None, "up2 is no uplink yet")
    node.ns.run("ip", "route", "replace", "default", "via", FAR2)
    node.ns.run("ip", "-6", "route", "del", "default", check=False)
    wait_for("up2 is one", lambda: fresh(FAR2, far2) == UP2)
    wait_for("and uplink is none", lambda: uplinks() == 1)
    equal(fresh(FAR4, far), None, "a new flow by what is no uplink")
    equal(source(old, FAR4, far), None, "a flow by what is no uplink")


def what_nobody_removed_goes_at_the_start():
    node.stop()
    run("bpftool", "map", "update", "pinned", f"{node.bpffs}/v{ABI_VERSION}/uplinks",
        "key", "77", "0", "0", "0", "value", *["0"] * 40)
    node.start().settled()
    wait_for("only up2 is one", lambda: uplinks() == 1)


test("a pod's socket leaves with an address that the node has", the_address_goes)
test("what is no default route's device any more is no exit", another_default_route)
test("a device that went while no daemon ran is no uplink", what_nobody_removed_goes_at_the_start)
done()
