# SPDX-License-Identifier: Apache-2.0
"""nodeport_load_test - many connections through one node port to a pod of another
node, beside the node's own; and all backends replaced, one after the other, under
requests.

    fabric (192.0.2.1) --+-- node1 --- s/a
                         +-- node2 --- s/r
"""
import os
import random
import threading
import time

import services
from cluster import FABRIC4, FABRIC6, Cluster, Fabric, Member
from services import GOING, Echo, ends_of, exchange, opened, publish, put, vips
from stage import connects, done, equal, namespace_manifest, test, wait_for

TUNNEL = ("--routing", "tunnel")
EACH, HOLDS = int(os.environ.get("EACH", "5000")), 4
LISTENING = 300  # sockets of node1, among the ports it may use for clients
ROUNDS, RATE, LEAST = 3, 200, 1000
SEED = int(os.environ.get("SEED", str(random.randrange(1 << 30))))

print(f"# SEED={SEED}")
fabric = Fabric()
outside = fabric.ns
one, two = (Member(fabric, n, args=(*TUNNEL, "--services", "full")) for n in (1, 2))
cluster = Cluster(fabric, [one, two]).start()
cluster.put("s.json", namespace_manifest("s"))
a, r = cluster.pod(one, "s/a", {"app": "a"}), cluster.pod(two, "s/r", {"app": "r"})
cluster.settled()


def peers(pod, port):
    """(address, port) of every established connection to this port of a pod."""
    lines = pod.ns.run("ss", "-Htn", "state", "established",
                       f"( sport = :{port} )").stdout.splitlines()
    found = [line.split()[-1].rpartition(":") for line in lines]
    return [(host.strip("[]").removeprefix("::ffff:"), int(number))
            for host, _, number in found]


def reserved():
    text = one.ns.run("sysctl", "-n", "net.ipv4.ip_local_reserved_ports").stdout
    first, last = text.split(",")[0].split("-")
    return range(int(first), int(last) + 1)


def many(number, family):
    """20 000 at once; what node1 listens on and asks for itself is not disturbed."""
    six = family == "IPv6"
    node, far = (one.v6, FABRIC6) if six else (one.v4, FABRIC4)
    publish(cluster, number, ends_of(r), node_port=30000 + number)
    ports = random.Random(SEED).sample(reserved(), LISTENING)
    listeners = [one.ns.listen(port) for port in ports]
    servers = [r.ns.tool("conns", "serve", 8080) for _ in range(2)]
    own_server = outside.tool("conns", "serve", 81)
    own = one.ns.tool("conns", "hold", far, 81, 100, ready="open")
    holds = [outside.tool("conns", "hold", node, 30000 + number, EACH, ready="open")
             for _ in range(HOLDS)]
    opened_now = sum(int(h.said.split()[1]) for h in holds)
    equal(connects([(outside, node, p) for p in ports], 10), [True] * LISTENING,
          "node1's own sockets")
    alive = sum(int(h.ask().split()[1]) for h in holds)
    seen = peers(r, 8080)
    equal(own.ask(), "alive 100\n", "node1's own connections")
    equal((opened_now, alive), (HOLDS * EACH,) * 2, "opened, alive")
    equal((len(seen), len(set(seen))), (alive, alive), "connections at the pod")
    equal({host for host, _ in seen}, {node}, "whose address the pod sees")
    equal([p for _, p in seen if p in ports], [], "ports that node1 listens on")
    own.stop()
    for proc in holds + servers + [own_server]:
        proc.stop()
    for sock in listeners:
        sock.close()
    return (f"{alive} of {HOLDS * EACH} alive, {LISTENING} of {LISTENING} of the "
            "node's sockets and 100 of 100 of its connections beside them")


# ---- replacement ----------------------------------------------------------------

class Rolling:
    """A service's pods, replaced one by one as a Deployment does it: a new one is
    ready, an old one terminates, then it is gone."""

    def __init__(self, number):
        self.number, self.made, self.asked = number, 0, 0
        self.pods = []
        for _ in range(2):
            self.add()
        self.publish()

    def add(self):
        self.made += 1
        pod = cluster.pod((one, two)[self.made % 2], f"s/p{self.made}", {"app": "p"})
        self.pods.append((pod, Echo(pod.ns, 8080, pod.ns.name)))

    def publish(self, going=()):
        ready = [p for p, _ in self.pods if p not in going]
        put(cluster, self.number, ends_of(*ready) + ends_of(*going, conditions=GOING),
            node_port=30000 + self.number)
        services.in_force(cluster, self.number, {ip for p in ready for ip in p.ips})

    def later(self):
        """Every request that was under way is over."""
        before = self.asked
        wait_for("requests", lambda: self.asked > before + 1)

    def replace(self):
        self.add()
        self.publish()
        pod, echo = self.pods[0]
        self.publish(going=[pod])
        self.later()
        self.pods.pop(0)
        self.publish()
        self.later()
        echo.stop()
        pod.node.delete(pod.name)
        cluster.remove(f"pod-s-{pod.ns.name}.json")


def request(netns, addr, port):
    """Who answered a new connection, if its first SYN was answered."""
    with opened(netns, addr) as sock:
        try:
            sock.connect((addr, port))
            again = services.retransmits(sock)
            return "" if again else exchange(sock)
        except OSError as error:
            return f"E{error}"


def rolling():
    """New connections from outside and from a pod, in turn: each is answered."""
    work = Rolling(20)
    ways = [(outside, one.v4, 30020), (a.ns, vips(20)[0], 80),
            (outside, one.v6, 30020), (a.ns, vips(20)[1], 80)]
    failed, answered, broken = [], set(), []

    def changes():
        try:
            for _ in range(ROUNDS * len(work.pods)):
                work.replace()
        except Exception as error:  # told by the test's own thread
            broken.append(error)
    changer = threading.Thread(target=changes, daemon=True)
    changer.start()
    begun = time.monotonic()
    while changer.is_alive() or work.asked < LEAST:
        pause = begun + work.asked / RATE - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        way = ways[work.asked % len(ways)]
        answer = request(*way)
        answered.add(answer)
        if not answer.startswith("p"):
            failed.append((work.asked, way[1], answer))
        work.asked += 1
    seconds = time.monotonic() - begun
    changer.join()
    if broken:
        raise broken[0]
    equal(failed, [], f"failed of {work.asked}")
    equal(len(answered), work.made, "pods that have answered")
    return (f"0 of {work.asked} failed, {work.asked / seconds:.0f} a second, "
            f"{work.made - len(work.pods)} pods replaced")


test("all backends are replaced under requests", rolling)
test("20 000 IPv4 connections through one node port", many, 10, "IPv4")
test("20 000 IPv6 connections through one node port", many, 11, "IPv6")
done()
