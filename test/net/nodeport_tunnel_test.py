# SPDX-License-Identifier: Apache-2.0
"""nodeport_tunnel_test - services asked from outside; nodes reach each other's
pods by the overlay, where less fits.  The scene is in nodeport_cases.py.
"""
import socket

import frames
import nodeport_cases
from services import alive, opened, talks
from stage import done, equal, test, wait_for

MTU = 1450

scene = nodeport_cases.Scene("--routing", "tunnel")


def too_large(six):
    """A datagram with DF that the tunnel cannot take: node1 says what fits, and
    that much fits."""
    n, ways = scene.new(scene.r, kinds=False)
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    head, node = (48, scene.one.v6) if six else (28, scene.one.v4)
    kind = frames.ICMP6 if six else frames.ICMP
    sniffer = scene.client.sniffer("eth0")
    with opened(scene.client, node, "udp") as sock:
        sock.setsockopt(level, 23 if six else 10, 2)  # MTU_DISCOVER, DO
        sock.connect(ways[six])
        told = []

        def learnt():
            try:
                sock.send(b"x" * (1500 - head))
            except OSError:
                pass
            told.extend(p for p in sniffer.packets()
                        if p.proto == kind and not p.is_neighbour)
            return sock.getsockopt(level, 24 if six else 14) == MTU

        wait_for("the path's MTU", learnt)
        equal({(p.saddr, p.payload[:2]) for p in told},
              {(node, b"\x02\x00" if six else b"\x03\x04")}, "who said it, and what")
        before, fits = len(scene.server.peers), bytes(MTU - head)
        try:
            sock.send(fits)
        except OSError:  # the last refusal, told once more
            sock.send(fits)
        wait_for("what fits", lambda: len(scene.server.peers) > before)
    sniffer.close()
    nodeport_cases.forget(scene.client)
    return f"{MTU} learnt"


def tcp_learns(six):
    """A stream whose first segments are too large arrives: the pod believes in
    an MTU that the tunnel has not."""
    _, ways = scene.new(scene.r, kinds=False)
    sniffer = scene.client.sniffer("eth0")
    family, gateway = ("-6", "fe80::1") if six else ("-4", "169.254.1.1")
    for advmss in (1500 - (60 if six else 40), 0):
        scene.r.ns.run("ip", family, "route", "replace", "default", "via", gateway,
                       "dev", "eth0", *(["advmss", advmss] if advmss else []))
        if advmss:
            sock, _ = talks(scene.client, *ways[six])
    equal(alive(sock, bytes(range(256)) * 4096), True, "1 MB there and back")
    sock.close()
    kind = frames.ICMP6 if six else frames.ICMP
    told = [p for p in sniffer.packets() if p.proto == kind and not p.is_neighbour]
    sniffer.close()
    nodeport_cases.forget(scene.client)
    assert told, "nothing was too large"
    return f"1 MB, {len(told)} times told what fits"


for version, six in (("IPv4", False), ("IPv6", True)):
    test(f"{version}: what the tunnel cannot take is answered", too_large, six)
    test(f"{version}: TCP finds the tunnel's MTU", tcp_learns, six)
nodeport_cases.run_all(scene, test)
done()
