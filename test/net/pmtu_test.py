# SPDX-License-Identifier: Apache-2.0
"""pmtu_test - an uplink whose MTU is smaller than the pods'.

    far ===1400=== node ---1500--- n/a
"""
import errno
import socket

from stage import (FAR4, FAR6, Node, done, equal, namespace_manifest, test,
                   wait_for)

SMALL = 1400
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO, IPV6_MTU = 23, 2, 24

node = Node(mtu=1500).start()
node.put("n.json", namespace_manifest("n"))
a = node.pod("n/a", {"app": "a"})
for ns in (node.ns, node.far):
    ns.run("ip", "link", "set", "uplink", "mtu", SMALL)
node.far.run("ip", "route", "add", "10.88.0.0/16", "via", "192.0.2.1")
node.far.run("ip", "route", "add", "fd00:88::/112", "via", "2001:db8::1")


def udp_learns(far):
    """A datagram that is too large fails, and the socket learns the size."""
    six = ":" in far
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    server = node.far.udp(7000)
    server.settimeout(5)
    with a.ns.open(socket.AF_INET6 if six else socket.AF_INET,
                   socket.SOCK_DGRAM) as sock:
        sock.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER,
                        IP_PMTUDISC_DO)
        sock.connect((far, 7000))

        def learnt():
            try:
                sock.send(b"x" * 1440)
            except OSError as error:
                equal(error.errno, errno.EMSGSIZE, "error")
            return sock.getsockopt(level, IPV6_MTU if six else IP_MTU) == SMALL

        wait_for("the path's MTU", learnt)
        fits = b"y" * (SMALL - (48 if six else 28))
        try:
            sock.send(fits)
        except OSError:  # the last refusal, told once more
            sock.send(fits)
        while len(server.recv(2000)) == 1440:
            pass  # none of these may come
        server.close()
    return f"{SMALL} learnt"


def tcp_passes(far, upload):
    """A megabyte through, though the first segments are too large."""
    client = a.ns.open(socket.AF_INET6 if ":" in far else socket.AF_INET,
                       socket.SOCK_STREAM)
    with node.far.listen(7001) as listener:
        client.settimeout(30)
        client.connect((far, 7001))
        server = listener.accept()[0]
    server.settimeout(30)
    sender, receiver = (client, server) if upload else (server, client)
    got = 0
    sender.setblocking(False)
    left = memoryview(bytes(1 << 20))
    while got < 1 << 20:
        if left:
            try:
                left = left[sender.send(left):]
            except BlockingIOError:
                pass
        receiver.settimeout(0.01 if left else 30)
        try:
            got += len(receiver.recv(1 << 20))
        except TimeoutError:
            assert left, "it stands still"
    client.close()
    server.close()
    return "1 MB"


def fragments(far):
    """Without DF, an IPv4 datagram larger than the exit still arrives."""
    server = node.far.udp(7002)
    server.settimeout(5)
    with a.ns.udp(0, "0.0.0.0") as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        sock.sendto(b"z" * 4000, (far, 7002))
        equal(len(server.recv(9000)), 4000, "bytes")


for far in (FAR4, FAR6):
    version = "IPv6" if ":" in far else "IPv4"
    test(f"{version}: a UDP socket learns the smaller MTU", udp_learns, far)
    test(f"{version}: TCP passes from the pod", tcp_passes, far, True)
    test(f"{version}: TCP passes to the pod", tcp_passes, far, False)
test("IPv4: a large datagram passes in fragments", fragments, FAR4)
done()
