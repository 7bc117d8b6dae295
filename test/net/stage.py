# SPDX-License-Identifier: Apache-2.0
"""stage.py - what the net tests stand on: TAP, namespaces, a node and its pods.

    internet --- uplink --- node ---+--- pods, made by the real plugin
    (192.0.2.2, 2001:db8::2)        (192.0.2.1, 2001:db8::1)

scripts/test-run gives each test program namespaces of its own, so nothing here
needs a unique name, and nothing needs to be taken down in the end.
"""
import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import frames

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(f"{TOP}/test/lib")
from tap import Skip, done, test, wait_for  # noqa: E402,F401

BUILD = os.path.abspath(os.environ.get("O") or f"{TOP}/build")
TOOLS = f"{BUILD}/test/net"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def equal(have, want, what=""):
    assert have == want, f"{what or 'value'}: {have!r}, not {want!r}"


# ---- commands ---------------------------------------------------------------

def run(*argv, check=True, **kw):
    argv = [str(a) for a in argv]
    out = subprocess.run(argv, capture_output=True, text=True, **kw)
    if check and out.returncode:
        raise AssertionError(f"{' '.join(argv)}: {out.returncode}\n"
                             f"{out.stdout}{out.stderr}")
    return out


class Proc:
    """A program in the background that says "ready" and later its result."""

    def __init__(self, argv, ready="ready", **kw):
        self.child = subprocess.Popen([str(a) for a in argv], text=True,
                                      stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, **kw)
        if ready:
            line = self.child.stdout.readline()
            assert ready in line, f"{argv}: {line!r}"
            self.said = line

    def ask(self, line=""):
        """Write a line, read the answer."""
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return self.child.stdout.readline()

    def stop(self, number=signal.SIGTERM):
        """End it; what it still said."""
        self.child.send_signal(number)
        return self.child.communicate()[0]

    def result(self):
        return json.loads(self.stop())


# ---- namespaces ---------------------------------------------------------------

class Netns:
    """A named network namespace, its commands and its sockets."""

    def __init__(self, name):
        self.name, self.path = name, f"/run/netns/{name}"
        run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

    def argv(self, *argv):
        return ["nsenter", f"--net={self.path}"] + [str(a) for a in argv]

    def run(self, *argv, **kw):
        return run(*self.argv(*argv), **kw)

    def proc(self, *argv, **kw):
        return Proc(self.argv(*argv), **kw)

    def tool(self, name, *argv, **kw):
        """One of test/net/*.c in the background."""
        return self.proc(f"{TOOLS}/{name}", *argv, **kw)

    def sysctl(self, **values):
        for key, value in values.items():
            self.run("sysctl", "-qw", f"{key.replace('__', '.')}={value}")

    @contextlib.contextmanager
    def entered(self):
        """Sockets made meanwhile belong to this namespace."""
        with open("/proc/thread-self/ns/net") as home, open(self.path) as away:
            _setns(away)
            try:
                yield
            finally:
                _setns(home)

    def open(self, *args):
        with self.entered():
            return socket.socket(*args)

    def listen(self, port, family=socket.AF_INET6):
        """A TCP socket of both families; the kernel shakes hands for it."""
        sock = self.open(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        sock.listen(4096)  # nobody accepts what a test opens just to see
        return sock

    def udp(self, port=0, addr="::"):
        family = socket.AF_INET6 if ":" in addr else socket.AF_INET
        sock = self.open(family, socket.SOCK_DGRAM)
        if addr == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((addr, port))
        return sock

    def sniffer(self, device=None):
        return Sniffer(self, device)

    def send(self, device, *packets):
        """Frames, as they are, out of a device."""
        sock = self.open(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with sock:
            sock.bind((device, 0))
            for packet in packets:
                sock.send(packet)

    def mac(self, device="eth0"):
        return json.loads(self.run("ip", "-j", "link", "show", device).stdout)[
            0]["address"]


def _setns(file):
    if LIBC.setns(file.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Sniffer:
    """Every frame that comes into a namespace, on any device but loopback."""

    def __init__(self, netns, device):
        self.sock = netns.open(socket.AF_PACKET, socket.SOCK_RAW,
                                 socket.htons(3))
        self.sock.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # RCVBUFFORCE
        if device:
            self.sock.bind((device, 3))
        self.sock.setblocking(False)

    def packets(self):
        """What came since the last call, without loopback's."""
        found = []
        while True:
            try:
                frame, (device, *_) = self.sock.recvfrom(65536)
            except BlockingIOError:
                return found
            if device != "lo" and len(frame) >= 14:
                found.append(frames.Packet(frame))

    def dropped(self):
        """Frames there was no room for since the last call."""
        stats = self.sock.getsockopt(263, 6, 8)  # PACKET_STATISTICS
        return struct.unpack("II", stats)[1]

    def close(self):
        self.sock.close()


# ---- asking many at once ------------------------------------------------------
# What should be answered has time for it: the limits are for slow machines.  Who
# asks for what should not be answered says for how long he listens.

def connects(attempts, seconds=5.0):
    """Which of (netns, address, port) get a TCP connection: list of bool.

    All at once; who has had no answer after @seconds gets none.
    """
    poll, waiting, result = select.poll(), {}, [False] * len(attempts)
    for i, (netns, addr, port) in enumerate(attempts):
        family = socket.AF_INET6 if ":" in addr else socket.AF_INET
        sock = netns.open(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((addr, port))
        poll.register(sock, select.POLLOUT)
        waiting[sock.fileno()] = (i, sock)
    end, late = time.monotonic() + seconds, False
    while waiting and not late:
        late = time.monotonic() >= end  # then it looks once more
        for fd, _ in poll.poll(0 if late else 50):
            i, sock = waiting.pop(fd)
            poll.unregister(fd)
            result[i] = not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            sock.close()
    for _, sock in waiting.values():
        sock.close()
    return result


def connect(netns, addr, port, seconds=5.0):
    return connects([(netns, addr, port)], seconds)[0]


def opened(attempts, want, seconds=0.5):
    """connects(), where those that @want says are closed have @seconds."""
    have = [False] * len(attempts)
    for open_, limit in (True, 5.0), (False, seconds):
        which = [i for i, w in enumerate(want) if w is open_]
        for i, got in zip(which, connects([attempts[i] for i in which], limit)):
            have[i] = got
    return have


def datagram(netns, addr, port, server, seconds=5.0):
    """Does a datagram reach @server, and its answer come back?"""
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    token = os.urandom(8)
    with netns.open(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        server.settimeout(seconds)
        try:
            sock.sendto(token, (addr, port))
            while True:
                data, who = server.recvfrom(2048)
                if data == token:
                    break
            server.sendto(token, who)
            return sock.recv(2048) == token
        except (TimeoutError, ConnectionError, PermissionError):
            return False


def ping(netns, addr, ident=None, seconds=5.0):
    """Is an echo request answered?  Not one of before, that was slow."""
    six, data = ":" in addr, os.urandom(8)
    ident = os.getpid() & 0xffff if ident is None else ident
    proto = frames.ICMP6 if six else frames.ICMP
    with netns.open(socket.AF_INET6 if six else socket.AF_INET,
                      socket.SOCK_RAW, proto) as sock:
        sock.settimeout(seconds)
        packet = frames.echo(6 if six else 4, ident, data=data)
        if not six:
            packet = frames.summed("0.0.0.0", addr, proto, packet)
        end = time.monotonic() + seconds
        try:
            sock.sendto(packet, (addr, 0))
            while time.monotonic() < end:
                got, who = sock.recvfrom(65536)
                got = got if six else got[20:]
                if got[0] == (129 if six else 0) and who[0] == addr and \
                        struct.unpack("!H", got[4:6])[0] == ident and \
                        got[8:] == data:
                    return True
        except (TimeoutError, PermissionError):
            pass
    return False


# ---- the contract, read from its header ---------------------------------------

def _abi():
    with open(f"{TOP}/bpf/abi.h") as f:
        text = f.read()
    reasons = text[text.index("#define DROP_REASONS"):]
    reasons = reasons[:reasons.index("#define DROP_ENUM")]
    hooks = text[text.index("enum hook {"):]
    return (["NONE"] + re.findall(r"X\((\w+),", reasons),
            re.findall(r"HOOK_([A-Z]\w+)[ ,=]", hooks[:hooks.index("}")]),
            re.search(r"define ABI_VERSION (\d+)", text)[1])


REASONS, HOOKS, ABI_VERSION = _abi()

# ---- the node -----------------------------------------------------------------

NODE4, NODE6, FAR4, FAR6 = "192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"


class Pod:
    def __init__(self, node, netns, name, result):
        self.node, self.ns, self.name, self.result = node, netns, name, result
        ips = [ip["address"].split("/")[0] for ip in result["ips"]]
        self.v4 = next((ip for ip in ips if ":" not in ip), None)
        self.v6 = next((ip for ip in ips if ":" in ip), None)
        self.ips = ips
        self.host_ifname = next(i["name"] for i in result["interfaces"]
                                if not i.get("sandbox"))

    def mac(self):
        return self.ns.mac("eth0")

    def __repr__(self):
        return self.name


class Node:
    """A node in a namespace of its own, with its daemon."""

    def __init__(self, name="node", cidrs=("10.88.0.0/16", "fd00:88::/112"),
                 mtu=1500, args=()):
        self.name, self.cidrs, self.args = name, cidrs, list(args)
        self.dir = f"/run/stile-{name}"
        self.manifests = f"{self.dir}/manifests"
        self.bpffs = f"/sys/fs/bpf/{name}"
        self.daemon, self.pods, self.again = None, {}, ""
        self.stiled = f"{BUILD}/stiled"  # another build's, where a test says so
        os.makedirs(self.manifests, exist_ok=True)
        self.ns, self.far = Netns(name), Netns(f"{name}-far")
        self._uplink(mtu)

    def _uplink(self, mtu):
        self.ns.run("ip", "link", "add", "uplink", "mtu", mtu, "type", "veth",
                    "peer", "name", "uplink", "mtu", mtu, "netns",
                    self.far.name)
        for ns, v4, v6 in ((self.ns, NODE4, NODE6), (self.far, FAR4, FAR6)):
            ns.run("ip", "addr", "add", f"{v4}/24", "dev", "uplink")
            ns.run("ip", "addr", "add", f"{v6}/64", "dev", "uplink", "nodad")
            ns.run("ip", "link", "set", "uplink", "up")
        self.ns.run("ip", "route", "add", "default", "via", FAR4)
        self.ns.run("ip", "route", "add", "default", "via", FAR6)

    def settled(self):
        """Until the stack has done with its own addresses: the uplink's comes a
        while after the link is up, and is tentative then."""
        def own():
            text = self.ns.run("ip", "-6", "address").stdout
            return "tentative" not in text and " fe80:" in self.ns.run(
                "ip", "-6", "address", "show", "dev", "uplink").stdout
        wait_for("addresses", own)
        return self

    # -- the daemon

    def start(self, wait=True):
        argv = self.ns.argv(
            self.stiled, "--source", f"dir:{self.manifests}",
            "--run-dir", f"{self.dir}/run", "--state-dir", f"{self.dir}/state",
            "--bpffs", self.bpffs, "--device", "uplink",
            "--node-name", self.name, *self.args)
        for cidr in self.cidrs:
            argv += ["--pod-cidr", cidr]
        log = open(f"{self.dir}/log", "a")
        self.daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        if wait:
            self.ready()
        return self

    def ready(self):
        def answer():
            if self.daemon.poll() is not None:
                raise AssertionError("stiled ended:\n" + self.log())
            return self.stile("status", check=False).returncode == 0
        wait_for("stiled is ready", answer)

    def stop(self, number=signal.SIGTERM):
        self.daemon.send_signal(number)
        status = self.daemon.wait(30)
        self.daemon = None
        return status

    def log(self):
        with open(f"{self.dir}/log") as f:
            return "".join(line for line in f if "is not known yet" not in line)[-4000:]

    def stile(self, *argv, check=True):
        return self.ns.run(f"{BUILD}/stile", "--run-dir", f"{self.dir}/run",
                           *argv, check=check)

    def ask(self, *argv):
        """A command's answer as data."""
        return json.loads(self.stile(*argv, "-o", "json").stdout)

    def flows(self, *filters):
        """Flow events as data, oldest first."""
        out = self.stile("flows", *filters, "-o", "json").stdout
        return [line["flow"] for line in map(json.loads, out.splitlines())
                if "flow" in line]

    def drops(self):
        """{(hook, reason): packets}, straight from the map."""
        out = run("bpftool", "-j", "map", "dump", "pinned",
                  f"{self.bpffs}/v{ABI_VERSION}/drops")
        counts = {}
        for row in json.loads(out.stdout):
            total = sum(int.from_bytes(bytes(int(b, 0) for b in cpu["value"]),
                                       sys.byteorder) for cpu in row["values"])
            number = int.from_bytes(bytes(int(b, 0) for b in row["key"]),
                                    sys.byteorder)
            if total:
                hook, reason = divmod(number, len(REASONS))
                counts[HOOKS[hook], REASONS[reason]] = total
        return counts

    # -- manifests

    def put(self, name, *objects):
        """Write a file of manifests as it should be done: then rename it."""
        tmp = f"{self.manifests}/.{name}"
        with open(tmp, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "List",
                       "items": list(objects)}, f)
        os.rename(tmp, f"{self.manifests}/{name}")

    def remove(self, name):
        os.unlink(f"{self.manifests}/{name}")

    # -- pods

    def plugin(self, command, pod, conf=None, netns=None, check=True):
        namespace, name = pod.split("/")
        conf = {"cniVersion": "1.1.0", "name": "stile", "type": "stile-cni",
                "socket": f"{self.dir}/run/stile.sock", **(conf or {})}
        env = dict(os.environ, CNI_COMMAND=command, CNI_IFNAME="eth0",
                   CNI_CONTAINERID=f"{namespace}-{name}", CNI_PATH=BUILD,
                   CNI_NETNS=netns or f"/run/netns/{name}")
        if namespace != "none":
            env["CNI_ARGS"] = (f"K8S_POD_NAMESPACE={namespace};"
                               f"K8S_POD_NAME={name}")
        return self.ns.run(f"{BUILD}/stile-cni", env=env, check=check,
                           input=json.dumps(conf))

    def pod(self, pod, labels=None, ports=(), conf=None, netns=None):
        """Make a pod: its manifest, its namespace, CNI ADD.  "none/x" is of no
        Kubernetes namespace."""
        namespace, name = pod.split("/")
        if namespace != "none":
            self.put(f"pod-{namespace}-{name}.json",
                     pod_manifest(pod, labels, ports))
        netns = netns or Netns(name)
        try:
            conf_out = wait_for(f"ADD of {pod}", lambda: self._add(pod, conf))
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.again}\n{self.log()}") from None
        made = Pod(self, netns, pod, conf_out)
        self.pods[pod] = made
        return made

    def _add(self, pod, conf):
        out = self.plugin("ADD", pod, conf, check=False)
        answer = json.loads(out.stdout or "{}")
        if out.returncode and answer.get("code") == 11:
            self.again = answer["msg"]
            return None  # the manifest has not been seen yet
        assert out.returncode == 0, (f"ADD {pod}: {out.stdout}{out.stderr}\n"
                                     f"{self.log()}")
        return answer

    def delete(self, pod):
        self.plugin("DEL", pod)
        self.pods.pop(pod, None)


def pod_manifest(pod, labels=None, ports=()):
    """@ports: (name, protocol, number)."""
    namespace, name = pod.split("/")
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace,
                         "labels": labels or {}},
            "spec": {"containers": [{"name": "c", "image": "x", "ports": [
                {"name": n, "protocol": p, "containerPort": number}
                for n, p, number in ports]}]}}


def namespace_manifest(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels}}


def netpol(name, selector=None, ingress=None, egress=None, types=None):
    """A NetworkPolicy; @name is NS/NAME, @selector the matchLabels."""
    namespace, name = name.split("/")
    spec = {"podSelector": {"matchLabels": selector} if selector else {}}
    if ingress is not None:
        spec["ingress"] = ingress
    if egress is not None:
        spec["egress"] = egress
    spec["policyTypes"] = types or [
        t for t, rules in (("Ingress", ingress), ("Egress", egress))
        if rules is not None]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}
