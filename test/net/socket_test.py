# SPDX-License-Identifier: Apache-2.0
"""socket_test - services by sockets: what processes of a cgroup connect to.

    far (192.0.2.2; has ClusterIPs of its own) --- node ---+--- s/c   a client
                                                           +--- s/b0, s/b1   backends

Each question is asked by a process of its own, in a cgroup and a network
namespace.  Who is not in the cgroup gets to far what he sends from the node.
"""
import atexit
import errno
import json
import os
import signal
import traceback

import services
from services import (PROTOCOLS, Echo, alive, balanced, ends_of, exchange, opened,
                      publish, talks, vips)
from stage import (BUILD, NODE4, NODE6, Node, Skip, done, equal,
                   namespace_manifest, run, test, wait_for)

TOP = "/run/cgroup2"
LOOPBACKS = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def mounted():
    """A cgroup for this test alone, with one for hosts' and one for pods'
    processes; it is gone in the end."""
    os.makedirs(TOP, exist_ok=True)
    out = run("mount", "-t", "cgroup2", "none", TOP, check=False)
    if out.returncode:
        return None, out.stderr.strip()
    made = [f"{TOP}/stile-socket-test-{os.urandom(4).hex()}"]
    made += [f"{made[0]}/host", f"{made[0]}/pods"]
    for path in made:
        os.mkdir(path)

    def gone():
        with open(f"{made[0]}/cgroup.kill", "w") as kill:
            kill.write("1")  # those of tests that failed
        wait_for("an empty cgroup", lambda: "populated 0" in run(
            "cat", f"{made[0]}/cgroup.events").stdout)
        for path in reversed(made):
            os.rmdir(path)
    atexit.register(gone)
    return made[0], ""


def skipped():
    raise Skip(f"no cgroup v2 can be mounted: {WHY}")


GROUP, WHY = mounted()
if not GROUP:
    test("services by sockets", skipped)
    done()


# ---- processes in a cgroup -------------------------------------------------------

class Inside:
    """A process in a cgroup that goes through a generator step by step; an
    error there is one here."""

    def __init__(self, steps, *args, group="host"):
        ask, self.ask = os.pipe()
        self.answer, answer = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(ask)
            os.close(answer)
            self.answer = os.fdopen(self.answer)
            return
        os.close(self.ask)
        status = 1
        try:
            if group:
                with open(f"{GROUP}/{group}/cgroup.procs", "w") as procs:
                    procs.write("0")
            self._serve(steps(*args), ask, answer)
            status = 0
        finally:
            os._exit(status)

    def _serve(self, steps, ask, answer):
        while os.read(ask, 1):
            try:
                text = {"answer": next(steps)}
            except BaseException:
                text = {"error": traceback.format_exc()}
            os.write(answer, json.dumps(text).encode() + b"\n")

    def step(self):
        os.write(self.ask, b".")
        said = json.loads(self.answer.readline() or '{"error": "it died"}')
        assert "error" not in said, said["error"]
        return said["answer"]

    def end(self):
        os.close(self.ask)
        self.answer.close()
        os.waitpid(self.pid, 0)


def inside(call, *args, group="host", **kw):
    """What @call returns, in a cgroup."""
    def once():
        yield call(*args, **kw)
    process = Inside(once, group=group)
    try:
        return process.step()
    finally:
        process.end()


def converse(netns, addr, port, proto="tcp", connected=True, bind=None):
    """[who answers, the peer as the socket has it], or [error]."""
    with opened(netns, addr, proto, bind) as sock:
        try:
            if not connected:
                sock.sendto(b"x", (addr, port))
                data, who = sock.recvfrom(100)
                return [data.decode().split()[0], *who[:2]]
            sock.connect((addr, port))
            return [exchange(sock), *sock.getpeername()[:2]]
        except TimeoutError:
            return [""]
        except OSError as error:
            return [errno.errorcode[error.errno]]


WAYS = (("tcp", True), ("udp", True), ("udp", False))


def answered(netns, ways, want, kinds=WAYS, group="host"):
    """Each (address, port) by TCP, UDP connected and not: by @want, and the
    socket's peer is what it asked for."""
    for addr, port in ways:
        for proto, connected in kinds:
            got = inside(converse, netns, addr, port, proto, connected, group=group)
            equal(got, [want, addr, port],
                  f"{addr} port {port} {proto}{'' if connected else ' unconnected'}")
    return len(ways) * len(kinds)


def mapped(addresses):
    return [f"::ffff:{a}" for a in addresses if ":" not in a]


node = Node(args=("--cgroup", GROUP)).settled().start()
node.put("ns.json", namespace_manifest("s"))
far = node.far
c = node.pod("s/c", {"app": "c"})
b0, b1 = (node.pod(f"s/b{i}", {"app": "b"}) for i in range(2))
echoes = [Echo(p.ns, 8080, p.ns.name) for p in (b0, b1)]
Echo(far, 80, "far")
host = node.ns


def new(number, *pods, **spec):
    """A service, whose ClusterIPs the outside has too."""
    for vip in vips(number):
        far.run("ip", "addr", "add", vip, "dev", "lo", *(
            ["nodad"] if ":" in vip else []))
    publish(node, number, ends_of(*pods), node_port=30000 + number,
            ingress=balanced(number), **spec)
    return [(a, 80) for a in vips(number)]


# ---- the node's processes --------------------------------------------------------

def clusterip():
    ways = new(10, b0)
    ways += [(a, 80) for a in mapped(vips(10))]
    return f"{answered(host, ways, 'b0')} answered"


def node_port():
    new(11, b0)
    addrs = [NODE4, NODE6, *LOOPBACKS, f"::ffff:{NODE4}"]
    asked = answered(host, [(a, 30011) for a in addrs], "b0")
    asked += answered(host, [(a, 80) for a in balanced(11)], "b0")
    return f"{asked} answered"


def not_a_service():
    """Everything else of the cgroup is as it was: the node's own sockets, pods by
    their addresses, the outside."""
    new(12, b0)
    with Echo(host, 30912, "host"):
        answered(host, [(a, 30912) for a in (NODE4, NODE6, *LOOPBACKS)], "host")
    answered(host, [(a, 8080) for a in (*b1.ips, *mapped(b1.ips))], "b1")
    answered(host, [(a, 80) for a in ("192.0.2.2", "2001:db8::2")], "far")
    answered(c.ns, [(a, 8080) for a in b1.ips], "b1", group="pods")


def spread():
    """Each connection chooses for itself; a client with affinity does not."""
    ways = new(13, b0, b1)

    def names(way, proto):
        return [converse(host, *way, proto)[0] for _ in range(40)]
    for way in ways:
        for proto in PROTOCOLS:
            equal(set(inside(names, way, proto)), {"b0", "b1"}, f"{way} {proto}")
    ways = new(14, b0, b1, sessionAffinity="ClientIP")
    for way in ways:
        for proto in PROTOCOLS:
            got = set(inside(names, way, proto))
            assert len(got) == 1 and got < {"b0", "b1"}, f"{way} {proto}: {got}"


def several():
    """One unconnected socket, many peers: each answer is from whom it asked."""
    first, second = new(15, b0), new(16, b1)

    def talk(six):
        asked = [(first[six], "b0"), (second[six], "b1"),
                 ((b0.ips[0] if (":" in b0.ips[0]) == six else b0.ips[1], 8080), "b0"),
                 ((NODE6 if six else NODE4, 30016), "b1")]
        with opened(host, asked[0][0][0], "udp") as sock:
            for _ in range(10):
                for to, name in asked:
                    sock.sendto(b"x", to)
                    data, who = sock.recvfrom(100)
                    equal((data.decode(), who[:2]), (f"{name} x", to), "who")
    for six in (False, True):
        inside(talk, six)


def nobody():
    """No backend: the call itself is refused."""
    ways = new(17, b0)
    answered(host, ways, "b0")
    publish(node, 17, [], node_port=30017, ingress=balanced(17))
    ways += [(a, 80) for a in (*mapped(vips(17)), *balanced(17))]
    ways += [(a, 30017) for a in (NODE4, NODE6, *LOOPBACKS)]
    asked = inside(services.refused, host, ways)
    for addr, port in ways:
        equal(inside(converse, host, addr, port, "udp", False)[0], "ECONNREFUSED",
              f"unconnected at {addr}")
        asked += 1
    asked += inside(services.refused, c.ns, [(a, 80) for a in vips(17)], group="pods")
    return f"{asked} refused"


def moves():
    """The backend changes: what is connected by TCP stays, what is sent next by
    an unconnected socket goes to the new one."""
    ways = new(18, b0)

    def talk(six):
        tcp = talks(host, *ways[six])[0]
        with tcp, opened(host, ways[six][0], "udp") as udp:
            yield converse_more(tcp, udp, ways[six])
            yield converse_more(tcp, udp, ways[six])

    for six in (False, True):
        publish(node, 18, ends_of(b0), node_port=30018)
        process = Inside(talk, six)
        want = [True, list(ways[six]), "b0", list(ways[six])]
        equal(process.step(), want, "at first")
        publish(node, 18, ends_of(b1), node_port=30018)
        want[2] = "b1"
        equal(process.step(), want, "with the other")
        process.end()


def converse_more(tcp, udp, way):
    udp.sendto(b"x", way)
    data, who = udp.recvfrom(100)
    return [alive(tcp), list(tcp.getpeername()[:2]), data.decode().split()[0],
            list(who[:2])]


def not_in_the_cgroup():
    """Others' sockets go where they always went."""
    ways = new(19, b0)
    answered(host, ways, "b0")
    answered(host, ways, "far", group=None)
    for addr in LOOPBACKS:
        equal(inside(converse, host, addr, 30019, group=None), ["ECONNREFUSED"], addr)
    # Those of a pod are translated as packets: the peer is the same to them.
    answered(c.ns, ways, "b0", group=None)


# ---- pods' processes -------------------------------------------------------------

def of_pods():
    """The socket's peer is the ClusterIP, the backend's is the pod."""
    ways = new(25, b0) + [(a, 30025) for a in (NODE4, NODE6)]
    ways += [(a, 80) for a in balanced(25)]
    asked = answered(c.ns, ways, "b0", group="pods")
    addresses = {p[0].removeprefix("::ffff:") for p in echoes[0].peers[-asked:]}
    equal(addresses, set(c.ips), "the backend's peers")
    for addr in LOOPBACKS:  # a pod's loopback is its own
        equal(inside(converse, c.ns, addr, 30025, group="pods"), ["ECONNREFUSED"],
              addr)
    return f"{asked} answered"


def same_port():
    """From one port to the ClusterIP and to the backend itself, at once."""
    ways = new(26, b0)

    def talk(six, order, port):
        direct = next(ip for ip in b0.ips if (":" in ip) == bool(six))
        to = [ways[six], (direct, 8080)]
        socks = {}
        for n in order:
            socks[n], name = talks(c.ns, *to[n], bind=port)
            equal(name, "b0", to[n])
        for _ in range(20):
            for n, sock in socks.items():
                assert alive(sock, f"{n}".encode()), to[n]
                equal(sock.getpeername()[:2], to[n], "peer")
        for sock in socks.values():
            sock.close()
    port = 40100
    for six in (0, 1):
        for order in ((0, 1), (1, 0)):
            port += 1
            inside(talk, six, order, port, group="pods")


# ---- the daemon ------------------------------------------------------------------

def restart():
    """kill -9: sockets go on, new ones are given backends, all the time."""
    ways = new(30, b0)

    def talk(six):
        sock = talks(host, *ways[six])[0]
        while True:
            yield [alive(sock), *sock.getpeername()[:2], converse(host, *ways[six])]

    processes = [Inside(talk, six) for six in (0, 1)]

    def all_well(when):
        for process, way in zip(processes, ways):
            equal(process.step(), [True, *way, ["b0", *way]], when)
    all_well("at first")
    for _ in range(3):
        node.stop(signal.SIGKILL)
        all_well("daemon away")
        node.start()
        all_well("daemon back")
    node.remove("svc30.json")
    wait_for("the service's end", lambda: inside(
        converse, host, *ways[0])[0] == "far")
    for process in processes:
        equal(process.step()[0], True, "what was open")
        process.end()


def attached():
    return run("bpftool", "-j", "cgroup", "show", GROUP).stdout.strip()


def uninstalled():
    """No program is left at the cgroup."""
    assert attached() not in ("", "[]"), "nothing was attached"
    node.stop()
    host.run(f"{BUILD}/stile", "--run-dir", f"{node.dir}/run", "uninstall", "--yes",
             "--state-dir", f"{node.dir}/state", "--bpffs", node.bpffs)
    assert attached() in ("", "[]"), attached()
    answered(host, [(a, 80) for a in vips(10)], "far")


test("ClusterIPs: TCP, UDP, both families, mapped", clusterip)
test("node ports of every address, also of loopback", node_port)
test("what is no service is not touched", not_a_service)
test("each connection chooses; affinity chooses once", spread)
test("one unconnected socket, many peers", several)
test("no backend: refused", nobody)
test("backends change", moves)
test("sockets outside the cgroup are not touched", not_in_the_cgroup)
test("pods: the peer is the ClusterIP, the backend sees the pod", of_pods)
test("pods: to a ClusterIP and its backend from the same port", same_port)
test("kill -9 and start", restart)
test("uninstall leaves nothing at the cgroup", uninstalled)
done()
