# SPDX-License-Identifier: Apache-2.0
"""cni.py - call the plugin as a runtime does, and a table of cases for it.

Each case runs once in every version of the specification that we speak:

    @case("DEL of what was never added succeeds")
    def _(t):
        t.ok("DEL")

The specification is CNI 1.1, SPEC.md of containernetworking/cni.
"""
import contextlib
import json
import os
import socket
import subprocess
import tempfile
import threading
import time

import stage
from stage import equal

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
PLUGIN = f"{stage.BUILD}/stile-cni"
DEBIAN = "/usr/lib/cni"  # its package containernetworking-plugins

_cases = []


def case(name, only=None, on="bare"):
    """Add a test to the table; @only: a function of the version; @on: the
    place that it needs."""
    def add(run):
        assert name not in [c[0] for c in _cases], name
        _cases.append((name, run, only, on))
        return run
    return add


def run_all(make, wanted=""):
    """Every case in every version; make[place](version) gives its argument.

    @wanted: only cases whose name holds this.
    """
    for version in VERSIONS:
        for name, run, only, on in _cases:
            if wanted in name and (not only or only(version)):
                stage.test(f"{name} (CNI {version})", _run_one, make[on],
                           version, run)


def _run_one(make, version, run):
    t = make(version)
    try:
        run(t)
    except Exception:
        if t.node:
            for line in t.node.log().splitlines()[-12:]:
                print(f"# {line}")
        raise
    finally:
        t.close()


class Answer:
    """What a call of the plugin said."""

    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds
        self.data = json.loads(out) if out.strip() else None

    @property
    def code(self):
        return self.data["code"] if self.status else 0

    @property
    def msg(self):
        return self.data["msg"]

    def __repr__(self):
        return f"status {self.status} {self.out} {self.err}"


class Call:
    """A runtime's view of one attachment: its variables, its configuration.

    @place: what runs the plugin (a Netns); @run_dir, @state_dir: the daemon's.
    """
    serial = 0

    def __init__(self, version, place, run_dir, state_dir):
        Call.serial += 1
        self.version, self.place = version, place
        self.run_dir, self.state_dir = run_dir, state_dir
        self.node = None  # the daemon's, where there is one
        self.pods, self.others = [], []
        self.env = {"CNI_CONTAINERID": f"c{Call.serial}.{version}",
                    "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/none"}
        self.conf = {"cniVersion": version, "name": "stile",
                     "type": "stile-cni", "stateDir": state_dir,
                     "socket": f"{run_dir}/stile.sock"}
        self.close_calls = []

    def other(self):
        """Another container on the same host."""
        call = Call(self.version, self.place, self.run_dir, self.state_dir)
        call.node = self.node
        self.others.append(call)
        return call

    # -- the call

    def call(self, command, conf=None, stdin=None, env=None, wrap=()):
        """@conf: changes to the configuration (None removes a key); @stdin:
        bytes in its place; @env: changes to the variables."""
        variables = {"PATH": os.environ["PATH"], "CNI_COMMAND": command}
        variables.update(self.env)
        variables.update(env or {})
        variables = {k: v for k, v in variables.items() if v is not None}
        if stdin is None:
            whole = {**self.conf, **(conf or {})}
            whole = {k: v for k, v in whole.items() if v is not None}
            stdin = json.dumps(whole).encode()
        argv = self.place.argv(*wrap, PLUGIN)
        start = time.monotonic()
        done = subprocess.run(argv, env=variables, input=stdin,
                              capture_output=True, timeout=60)
        return Answer(done.returncode, done.stdout.decode(),
                      done.stderr.decode(), time.monotonic() - start)

    def ok(self, command, *args, **kw):
        answer = self.call(command, *args, **kw)
        assert answer.status == 0, f"{command}: {answer}"
        if command != "VERSION":
            equal(answer.data is not None, command == "ADD",
                  f"{command} prints a result")
        return answer.data

    def fails(self, command, code, *words, **kw):
        """It fails with @code, its sentence holds @words; nothing else."""
        answer = self.call(command, **kw)
        assert answer.status, f"{command} succeeded: {answer}"
        equal(answer.code, code, f"code of {command} ({answer.msg})")
        want = self.version if "stdin" not in kw else answer.data["cniVersion"]
        if answer.code != 1 and code != 4:
            equal(answer.data["cniVersion"], want, "the error's cniVersion")
        for word in words:
            assert word in answer.msg, f"{answer.msg!r} does not say {word!r}"
        return answer

    def known(self, command):
        """Does this version have the command?  If not, it must say so."""
        if self.version >= SINCE.get(command, ""):
            return True
        conf = {"cni.dev/valid-attachments": []} if command == "GC" else {}
        self.fails(command, 1, self.version, command, conf=conf,
                   env={"CNI_PATH": DEBIAN, "CNI_NETNS": "/run/netns/none"})
        return False

    # -- pods

    def pod(self):
        """A fresh network namespace for the container."""
        Call.serial += 1
        netns = stage.Netns(f"p{Call.serial}")
        self.pods.append(netns)
        self.env["CNI_NETNS"] = netns.path
        return netns

    def links(self):
        return json.loads(self.place.run("ip", "-j", "-d", "link").stdout)

    def link_names(self):
        return sorted(link["ifname"] for link in self.links())

    def queue(self):
        try:
            return sorted(os.listdir(f"{self.state_dir}/del-queue"))
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def nothing_left(self):
        """The host's devices, rules, routes and the queue are as before."""
        def state():
            return (self.link_names(), self.queue(),
                    self.place.run("ip", "-6", "rule").stdout,
                    self.place.run("ip", "route").stdout,
                    self.place.run("ip", "-6", "route").stdout)
        self.settle()
        before = state()
        yield
        stage.wait_for("the host is as before",
                       lambda: state() == before)

    def settle(self):
        """Until the links of earlier pods are deleted, which DEL leaves to the
        daemon."""
        stage.wait_for("released links are deleted", lambda: not [
            name for name in self.link_names()
            if name.startswith("stld") and len(name) < 15])

    def later(self, function):
        self.close_calls.append(function)

    def close(self):
        for call in self.others:
            call.close()
        for function in reversed(self.close_calls):
            function()
        if self.node:
            self.ok("DEL")
        for netns in self.pods:
            if os.path.exists(netns.path):
                stage.run("ip", "netns", "del", netns.name)


class BadDaemon:
    """A socket that behaves badly: @reply bytes, None never answers."""

    def __init__(self, reply):
        self.dir = tempfile.mkdtemp()
        self.reply, self.kept, self.requests = reply, [], []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(f"{self.dir}/stile.sock")
        self.sock.listen(16)
        self.path = f"{self.dir}/stile.sock"
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.kept.append(conn)
            if self.reply is None:
                continue
            self.requests.append(json.loads(conn.makefile().readline()))
            with contextlib.suppress(OSError):
                conn.sendall(self.reply)
                conn.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.thread.join()
        self.sock.close()
        for conn in self.kept:
            conn.close()
        os.unlink(self.path)
        os.rmdir(self.dir)
