# SPDX-License-Identifier: Apache-2.0
"""masquerade_test - 20 000 connections to one destination at once.

    far:80 --- node (192.0.2.1) ---+--- n/p0 ... n/p3    5 000 connections each
                                   +--- the node's own connections
"""
import os
import socket

from stage import (FAR4, FAR6, NODE4, Node, done, equal, namespace_manifest,
                   test)

EACH = int(os.environ.get("EACH", "5000"))
PODS = 4

node = Node().start()
node.put("n.json", namespace_manifest("n"))
pods = [node.pod(f"n/p{i}", {"app": "p"}) for i in range(PODS)]


def many(far):
    servers = [node.far.tool("conns", "serve", 80) for _ in range(2)]
    holds = [pod.ns.tool("conns", "hold", far, 80, EACH, ready="open")
             for pod in pods]
    opened = sum(int(h.said.split()[1]) for h in holds)
    # The node's own connections to the same destination, meanwhile.
    own = node.ns.tool("conns", "hold", far, 80, 100, ready="open")
    equal(own.said, "open 100\n", "the node's own")
    alive = sum(int(h.ask().split()[1]) for h in holds)
    equal(own.ask(), "alive 100\n", "the node's own")
    equal((opened, alive), (PODS * EACH, PODS * EACH), "opened, alive")
    for proc in holds + [own] + servers:
        proc.stop()
    return f"{alive} of {PODS * EACH} alive, and 100 of 100 of the node's own"


def same_source_port():
    """Four pods, one source port, one destination: told apart."""
    server = node.far.udp(53)
    server.settimeout(5)
    socks = []
    for pod in pods:
        sock = pod.ns.udp(5555, "0.0.0.0")
        sock.settimeout(5)
        sock.connect((FAR4, 53))
        sock.send(pod.name.encode())
        socks.append(sock)
    senders = {}
    for _ in pods:
        data, who = server.recvfrom(100)
        senders[who] = data
        server.sendto(data, who)
    equal(len(senders), PODS, "different sources")
    equal({who[0] for who in senders}, {f"::ffff:{NODE4}"}, "addresses")
    for pod, sock in zip(pods, socks):
        equal(sock.recv(100), pod.name.encode(), "its own answer")


def reserved():
    """The node's stack does not use the masquerade's ports by itself, and
    what it is told to bind is not given to a pod."""
    text = node.ns.run("sysctl", "-n", "net.ipv4.ip_local_reserved_ports").stdout
    first, last = (int(n) for n in text.split(",")[0].split("-"))
    server = node.far.udp(54)
    server.settimeout(5)
    ports = set()
    for i in range(200):
        with pods[i % PODS].ns.udp(0, "0.0.0.0") as sock:
            sock.sendto(b"x", (FAR4, 54))
            ports.add(server.recvfrom(10)[1][1])
    assert all(first <= p <= last for p in ports), (first, last, ports)
    with node.ns.open(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((FAR4, 54))
        own = sock.getsockname()[1]
        assert not first <= own <= last, f"the stack took {own}"
    return f"{first} to {last}"


test("pods that use one source port are told apart", same_source_port)
test("masquerade keeps to its reserved ports", reserved)
test("20 000 IPv4 connections to one destination", many, FAR4)
test("20 000 IPv6 connections to one destination", many, FAR6)
done()
