# SPDX-License-Identifier: Apache-2.0
"""services.py - Services and their EndpointSlices, in namespace s; who serves
them, and who asks.
"""
import contextlib
import errno
import select
import socket
import struct
import threading

from stage import equal, netpol, wait_for

VIP4, VIP6 = "10.96.0.{}", "fd00:96::{}"
LB4, LB6 = "198.18.0.{}", "2001:db8:1b::{}"
EXTERNAL4, EXTERNAL6 = "198.51.100.{}", "2001:db8:e::{}"
# What a stiled serves of external addresses.
EXTERNAL_ARGS = ("--services", "full", "--external-ips", "198.51.100.0/24",
                 "--external-ips", "2001:db8:e::/48")
READY = {"ready": True, "serving": True, "terminating": False}
UNREADY = {"ready": False, "serving": False, "terminating": False}
GOING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}
PROTOCOLS = ("tcp", "udp")


# ---- manifests ----------------------------------------------------------------

def service(number, ports, name=None, ingress=(), **spec):
    """@ports: (name, protocol, number) and perhaps a node port.
    @ingress: addresses of its load balancer."""
    ports = [dict(zip(("name", "protocol", "port", "nodePort"), p))
             for p in ports]
    if ingress:
        spec.setdefault("type", "LoadBalancer")
    elif any("nodePort" in p for p in ports):
        spec.setdefault("type", "NodePort")
    made = {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name or f"svc{number}", "namespace": "s"},
            "spec": {"clusterIPs": [VIP4.format(number), VIP6.format(number)],
                     "ports": ports, **spec}}
    if ingress:
        made["status"] = {"loadBalancer": {"ingress": [
            {"ip": ip} for ip in ingress]}}
    return made


def slices(number, ports, ends, name=None):
    """A slice a family; @ends: (address, conditions), perhaps its node."""
    name = name or f"svc{number}"
    return [{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
             "metadata": {"name": f"{name}-{kind.lower()}", "namespace": "s",
                          "labels": {"kubernetes.io/service-name": name}},
             "addressType": kind,
             "ports": [{"name": n, "protocol": p, "port": port}
                       for n, p, port in ports],
             "endpoints": [endpoint(*e) for e in ends
                           if (":" in e[0]) == (kind == "IPv6")]}
            for kind in ("IPv4", "IPv6")]


def endpoint(address, conditions, node=None):
    made = {"addresses": [address], "conditions": conditions}
    return {**made, "nodeName": node} if node else made


def ends_of(*pods, conditions=READY):
    """Pods' addresses, as @ends."""
    return [(ip, conditions, pod.node.name) for pod in pods for ip in pod.ips]


def allows(app, cidrs, port):
    """A policy: to this port of pods of this app, from these."""
    return netpol(f"s/to-{app}", {"app": app}, ingress=[
        {"from": [{"ipBlock": {"cidr": cidr}} for cidr in cidrs],
         "ports": [{"protocol": p, "port": port} for p in ("TCP", "UDP")]}
    ] if cidrs else [])


@contextlib.contextmanager
def policies(where):
    """A function that puts policies in force, for a while."""
    where.put("p.json")
    try:
        yield lambda *made: where.put("p.json", *made)
    finally:
        where.remove("p.json")
        for node in getattr(where, "nodes", [where]):
            wait_for("no policy", lambda: not node.ask("policy", "list"))


def vips(number):
    return VIP4.format(number), VIP6.format(number)


def balanced(number):
    return LB4.format(number), LB6.format(number)


def external(number):
    return EXTERNAL4.format(number), EXTERNAL6.format(number)


def backends(node, number):
    return sorted((b["address"], b["port"], b["protocol"])
                  for b in node.ask("backend", "list")
                  if b["service"]["name"] == f"svc{number}")


def put(where, number, ends, target=8080, port=80, node_port=None, **spec):
    """A service with a TCP and a UDP port to these ends, on a node or on all
    of a cluster."""
    ends = [e if isinstance(e, tuple) else (e, {"ready": True}) for e in ends]
    more = (node_port,) if node_port else ()
    where.put(f"svc{number}.json",
              service(number, [("t", "TCP", port, *more),
                               ("u", "UDP", port, *more)], **spec),
              *slices(number, [("t", "TCP", target), ("u", "UDP", target)],
                      ends))
    return ends


def in_force(where, number, addresses):
    """Until these are what each node has as backends."""
    for node in getattr(where, "nodes", [where]):
        wait_for(f"svc{number} on {node.name}", lambda: {
            b[0] for b in backends(node, number)} == set(addresses))


def publish(where, number, ends, **spec):
    """The same, and until it is in force."""
    ends = put(where, number, ends, **spec)
    in_force(where, number, {e[0] for e in ends if e[1].get("ready", True)})


def of_all_kinds(where, number, node_port, ends, nodes=(), **spec):
    """A service with node ports, a load balancer and external addresses.
    Return: the ways into it; @nodes: addresses of nodes."""
    publish(where, number, ends, node_port=node_port, ingress=balanced(number),
            externalIPs=list(external(number)), **spec)
    return ([(a, node_port) for a in nodes] +
            [(a, 80) for a in balanced(number) + external(number)])


def roads(outside, v4, v6):
    """The outside's routes to what of_all_kinds() makes: by this node."""
    for net4, net6 in ((LB4, LB6), (EXTERNAL4, EXTERNAL6)):
        outside.run("ip", "route", "replace", net4.format(0) + "/24", "via", v4)
        outside.run("ip", "route", "replace", net6.format(0) + "/112", "via", v6)


# ---- who serves ----------------------------------------------------------------

class Echo:
    """A server that says its name, TCP and UDP, both families.

    @tells: and "@ADDRESS", that of the client as it sees it.
    """

    def __init__(self, netns, port, name, tells=False):
        self.name, self.tells, self.peers = name, tells, []
        self.tcp, self.udp = netns.listen(port), netns.udp(port)
        self.tcp.settimeout(0.2)
        self.udp.settimeout(0.2)
        self.udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self.ended = False
        self.threads = [threading.Thread(target=t, daemon=True)
                        for t in (self.accept, self.receive)]
        for thread in self.threads:
            thread.start()

    def says(self, who):
        self.peers.append(who)
        peer = f"@{who[0].removeprefix('::ffff:')}" if self.tells else ""
        return f"{self.name}{peer} ".encode()

    def accept(self):
        while not self.ended:
            try:
                sock, who = self.tcp.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self.talk, args=(sock, self.says(who)),
                             daemon=True).start()

    def talk(self, sock, greeting):
        try:
            with sock:
                sock.sendall(greeting)
                while data := sock.recv(65536):
                    sock.sendall(data)
        except OSError:
            pass

    def receive(self):
        while not self.ended:
            try:
                data, asked, _, who = self.udp.recvmsg(65536, 64)
            except TimeoutError:
                continue
            # From the address that was asked, of the several a host may have.
            asked = [(level, kind, info[:16] + bytes(4))
                     for level, kind, info in asked]
            self.udp.sendmsg([self.says(who) + data], asked, 0, who)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.ended = True
        for thread in self.threads:
            thread.join()
        self.tcp.close()
        self.udp.close()


# ---- who asks ------------------------------------------------------------------

def opened(netns, addr, proto="tcp", bind=None, source="", seconds=10):
    """A socket of the right kind that may be bound."""
    sock = netns.open(socket.AF_INET6 if ":" in addr else socket.AF_INET,
                      socket.SOCK_STREAM if proto == "tcp" else
                      socket.SOCK_DGRAM)
    sock.settimeout(seconds)
    if bind or source:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((source, bind or 0))
    return sock


def outcome(netns, addr, port, proto="tcp", data=b"x", bind=None, source="",
            seconds=10):
    """Who answers; "" when nobody does, or what the socket's error is called.

    The socket is connected: an answer from any address but the one that was
    asked is none.
    """
    with opened(netns, addr, proto, bind, source, seconds) as sock:
        try:
            sock.connect((addr, port))
            return exchange(sock, data)
        except TimeoutError:
            return ""
        except OSError as error:
            return errno.errorcode[error.errno]


def exchange(sock, data=b"x"):
    """Send to an Echo, hear its name; "" when it ends the connection."""
    if sock.type == socket.SOCK_DGRAM:
        sock.send(data)
        got = sock.recv(65536)
    else:
        got = swap(sock, data, lambda got: b" " in got and
                   len(got) > got.index(b" ") + len(data))
        if not got:
            return ""
    name, _, rest = got.partition(b" ")
    assert rest == data, f"the echo: {len(rest)} bytes of {len(data)}"
    return name.decode()


def swap(sock, data, enough):
    """Send and hear at once, as who sends it all first may wait for an echo that
    waits for him; b"" when the other side ends."""
    left, got = memoryview(data), bytearray()
    while left or not enough(got):
        heard, free, _ = select.select([sock], [sock] if left else [], [],
                                       sock.gettimeout())
        if not heard and not free:
            raise TimeoutError
        if free:
            left = left[sock.send(left):]
        if heard:
            more = sock.recv(1 << 20)
            if not more:
                return b""
            got += more
    return bytes(got)


def ask(*args, **kw):
    """Who answers, "" when nobody does."""
    answer = outcome(*args, **kw)
    return "" if answer.startswith("E") else answer


def expect(netns, ways, want, protocols=PROTOCOLS, **kw):
    """Each (address, port) by each protocol: @want, or what it makes of the
    address.  Return: how many."""
    for addr, port in ways:
        for proto in protocols:
            equal(outcome(netns, addr, port, proto, **kw),
                  want(addr) if callable(want) else want,
                  f"{netns.name} at {addr} port {port} {proto}")
    return len(ways) * len(protocols)


def retransmits(sock):
    """How often TCP sent anything again: tcp_info.tcpi_total_retrans."""
    return struct.unpack_from("I", sock.getsockopt(
        socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]


def seen(who, client):
    """What an Echo that tells answers this client, by the family asked."""
    v4, v6 = client
    return lambda addr: f"{who}@{v6 if ':' in addr else v4}"


def refused(netns, ways, protocols=PROTOCOLS, **kw):
    """Each (address, port) is refused; how many.  TCP by an answer to the first
    SYN: what comes after the second (1 s) is not at once."""
    for addr, port in ways:
        for proto in protocols:
            what = f"{netns.name} at {addr} port {port} {proto}"
            with opened(netns, addr, proto, **kw) as sock:
                if proto == "tcp":
                    error = sock.connect_ex((addr, port))
                    equal(errno.errorcode.get(error, error), "ECONNREFUSED", what)
                    equal(retransmits(sock), 0, f"{what}: SYNs sent again")
                else:
                    sock.settimeout(0.5)
                    wait_for(f"{what}: a refusal", lambda: told(sock, addr, port))
    return len(ways) * len(protocols)


def told(sock, addr, port):
    """Is a datagram refused?  Whoever sends ICMP errors may limit their rate."""
    try:
        sock.connect((addr, port))
        sock.send(b"x")
        raise AssertionError(f"an answer: {sock.recv(100)!r}")
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False


def alive(sock, data=b"still"):
    """Does an open connection to an Echo still talk?"""
    try:
        return swap(sock, data, lambda got: len(got) >= len(data)) == data
    except OSError:
        return False


def talks(netns, addr, port, **kw):
    """An open TCP connection, and who is at its other end."""
    sock = opened(netns, addr, **kw)
    sock.connect((addr, port))
    return sock, exchange(sock)
