# SPDX-License-Identifier: Apache-2.0
"""scene.py - what the e2e tests stand on: namespaces, pods that answer and ask,
whole truth tables.  The cluster is whatever $E2E (a JSON file) describes."""
import json
import os
import socket
import subprocess
import sys
import time

import kube
import spec

sys.path.append(f"{os.path.dirname(os.path.abspath(__file__))}/../lib")
from tap import done, test, Skip, wait_for  # noqa: E402,F401

PORTS = [80, 81]
PROTOCOLS = ["TCP", "UDP"]
NAMED = [(f"serve-{n}-{p.lower()}", n, p) for n in PORTS for p in PROTOCOLS]
IMAGE = "localhost/stile-e2e/prober:1"
YES_MS, NO_MS = 2000, 300

with open(os.environ["E2E"]) as settings_file:
    SETTINGS = json.load(settings_file)
DIR, NODES = SETTINGS["dir"], SETTINGS["node_names"]
FAMILIES = {"4": [4], "6": [6], "dual": [4, 6]}[SETTINGS["family"]]
API = kube.Kube.of_kubeconfig(SETTINGS["hk"], SETTINGS["kubeconfig"])


def family_of(address):
    return 6 if ":" in address else 4


def kubectl(*argv, check=True, **kw):
    out = subprocess.run([SETTINGS["hk"], "kubectl", "--kubeconfig",
                          SETTINGS["kubeconfig"], *argv], text=True,
                         capture_output=True, **kw)
    if check and out.returncode:
        raise AssertionError(f"kubectl {' '.join(argv)}: {out.stderr}")
    return out.stdout


def on_node(name, *argv, check=True, **kw):
    """A command as root of a node."""
    prefix = SETTINGS["enter"][name]
    out = subprocess.run(prefix + [str(a) for a in argv], text=True,
                         capture_output=True, **kw)
    if check and out.returncode:
        raise AssertionError(f"{name}: {' '.join(map(str, argv))}: "
                             f"{out.returncode}\n{out.stdout}{out.stderr}")
    return out


# ---- who asks -----------------------------------------------------------------

class Prober:
    """One that runs prober.c: a pod, a node, the host outside."""

    def __init__(self, name, ips=()):
        self.name, self.ips, self.sock, self.buffer = name, list(ips), None, b""
        self.serial = 0

    def connect(self):
        if self.sock:
            return self.sock
        with Place(f"{DIR}/ctl"):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            sock.connect(f"{self.name.replace('/', '-')}.sock")
        sock.settimeout(20)
        self.sock, self.buffer = sock, b""
        return sock

    def reachable(self):
        try:
            return self.connect() is not None
        except OSError:
            return False

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def tell(self, lines):
        self.connect().sendall("".join(f"{line}\n" for line in lines).encode())

    def line(self):
        while b"\n" not in self.buffer:
            data = self.connect().recv(65536)
            if not data:
                raise AssertionError(f"{self.name}: the prober ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def ask(self, line):
        self.tell([line])
        return self.line()

    def ip(self, family):
        return next(ip for ip in self.ips if family_of(ip) == family)

    def get(self, protocol, address, port, ms=YES_MS):
        """(who answered, as whom it saw us), or None."""
        words = self.ask(f"probe 1 {protocol.lower()} {address} {port} {ms}").split()
        return tuple(words[2:4]) if words[1] == "ok" else None

    def __repr__(self):
        return self.name


class Place:
    """Paths of sockets are short: from inside their directory."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.home = os.open(".", os.O_RDONLY)
        os.chdir(self.path)

    def __exit__(self, *_):
        os.fchdir(self.home)
        os.close(self.home)


def ask_all(probes):
    """[(prober, protocol, address, port, ms)] at once: a list of who answered,
    (name, as whom) or None."""
    of = {}
    for i, (who, protocol, address, port, ms) in enumerate(probes):
        of.setdefault(who, []).append(
            f"probe {i} {protocol.lower()} {address} {port} {ms}")
    for who, lines in of.items():
        who.tell(lines)
    answers = [None] * len(probes)
    for who, lines in of.items():
        for _ in lines:
            words = who.line().split()
            if words[1] == "ok":
                answers[int(words[0])] = tuple(words[2:4])
    return answers


# ---- pods -----------------------------------------------------------------------

def namespace_object(name, labels=None):
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels or {}}}


def pod_object(namespace, name, node=None, labels=None, host=False, ports=NAMED):
    listening = sorted({str(n) for _, n, _ in ports})
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name,
                     "labels": {"pod": name} if labels is None else labels},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False, "enableServiceLinks": False,
            "hostNetwork": host,
            "containers": [{
                "name": "prober", "image": IMAGE, "imagePullPolicy": "Never",
                "args": [f"{namespace}/{name}", f"/ctl/{namespace}-{name}.sock",
                         *listening],
                "ports": [{"name": p, "containerPort": n, "protocol": proto}
                          for p, n, proto in ports],
                "readinessProbe": {"tcpSocket": {"port": int(listening[0])},
                                   "periodSeconds": 1},
                "volumeMounts": [{"name": "ctl", "mountPath": "/ctl"}]}],
            "volumes": [{"name": "ctl", "hostPath": {"path": SETTINGS["ctl"]}}]}}


def pods_up(objects, seconds=60):
    """Create pods, wait until all are Ready: their probers, in order."""
    for item in objects:
        API.create(item)
    return pods_ready([(o["metadata"]["namespace"], o["metadata"]["name"])
                       for o in objects], seconds)


def pods_ready(names, seconds=60):
    found = []

    def ready():
        nonlocal found
        found = [API.get("Pod", ns, name) for ns, name in names]
        return all(kube.condition(p, "Ready") == "True" for p in found)
    try:
        wait_for("pods are Ready", ready, seconds)
    except AssertionError as why:
        late = [f"{p['metadata']['namespace']}/{p['metadata']['name']}: "
                f"{p['status'].get('phase')}" for p in found
                if kube.condition(p, "Ready") != "True"]
        raise AssertionError(f"{why}: {late}\n{warnings()}") from None
    return [Prober(f"{ns}/{name}", [ip["ip"] for ip in p["status"]["podIPs"]])
            for (ns, name), p in zip(names, found)]


def warnings():
    """The last events that say why something is not."""
    events = API.get("Event")["items"]
    events = [e for e in events if e.get("type") == "Warning"]
    events.sort(key=lambda e: e.get("lastTimestamp") or "")
    return "\n".join(f"{e['involvedObject'].get('name')}: {e['message'][:300]}"
                     for e in events[-8:])


def namespaces_down(names, seconds=60):
    for name in names:
        API.delete("Namespace", None, name)
    wait_for("namespaces are gone", lambda: not any(
        API.find("Namespace", None, n) for n in names), seconds)


# ---- the truth table ----------------------------------------------------------------

class Scene:
    """Three namespaces of three pods, the world that spec.py judges them in."""

    def __init__(self, prefix=""):
        self.spaces = [prefix + n for n in "xyz"]
        self.names = "abc"
        self.world = spec.World()
        self.probers = {}

    def up(self):
        objects = []
        for i, ns in enumerate(self.spaces):
            API.create(namespace_object(ns, {"ns": ns}))
            self.world.namespaces[ns] = {"ns": ns, "kubernetes.io/metadata.name": ns}
            for k, name in enumerate(self.names):
                objects.append(pod_object(ns, name, NODES[(i + k) % len(NODES)]))
        for ns in self.spaces:
            wait_for("the service account", lambda n=ns: API.find(
                "ServiceAccount", n, "default"))
        for item, prober in zip(objects, pods_up(objects)):
            self.know(item, prober)
        return self

    def know(self, item, prober):
        meta = item["metadata"]
        self.probers[prober.name] = prober
        self.world.pods[prober.name] = spec.Pod(
            meta["namespace"], meta["name"], meta["labels"],
            [(p["name"], p["containerPort"], p["protocol"])
             for p in item["spec"]["containers"][0]["ports"]],
            item["spec"]["nodeName"], prober.ips)

    def down(self):
        for prober in self.probers.values():
            prober.close()
        namespaces_down(self.spaces)

    def cells(self):
        """(source, target, address, protocol, port, is it allowed)"""
        for s in self.world.pods.values():
            for t in self.world.pods.values():
                for family in FAMILIES:
                    mine = self.probers[repr(s)].ip(family)
                    to = self.probers[repr(t)].ip(family)
                    for protocol in PROTOCOLS:
                        for port in PORTS:
                            yield s, t, to, protocol, port, self.world.allows(
                                s, t, mine, to, protocol, port)

    def differences(self):
        """One look at the whole table: what is not as it should be."""
        cells = list(self.cells())
        answers = ask_all([
            (self.probers[repr(s)], protocol, to, port, YES_MS if want else NO_MS)
            for s, t, to, protocol, port, want in cells])
        wrong = []
        for (s, t, to, protocol, port, want), got in zip(cells, answers):
            if bool(got) != want or (got and got[0] != repr(t)):
                wrong.append(f"{s} -> {t} ({to}) {port}/{protocol}: "
                             f"{got[0] if got else 'no'}, want "
                             f"{'yes' if want else 'no'}")
        return wrong

    def check(self, seconds=4.0):
        """The table is right, within @seconds; how many looks that took."""
        end, looks = time.monotonic() + seconds, 0
        while True:
            looks += 1
            wrong = self.differences()
            if not wrong:
                return looks
            if time.monotonic() > end:
                more = f"\n... {len(wrong)} in all" if len(wrong) > 12 else ""
                raise AssertionError("\n".join(wrong[:12]) + more)

    # ---- changes, in the cluster and in the world

    def policy(self, item):
        """Create it, or replace the one of its name."""
        key = (item["metadata"]["namespace"], item["metadata"]["name"])
        if key in self.world.policies:
            API.replace(item)
        else:
            API.create(item)
        self.world.policies[key] = item

    def policy_gone(self, namespace, name):
        API.delete("NetworkPolicy", namespace, name)
        del self.world.policies[namespace, name]

    def policies_gone(self):
        for namespace, name in list(self.world.policies):
            self.policy_gone(namespace, name)

    def labels(self, pod, **labels):
        """None removes one."""
        API.patch("Pod", pod.namespace, pod.name, {"metadata": {"labels": labels}})
        pod.labels = merged(pod.labels, labels)

    def namespace_labels(self, name, **labels):
        API.patch("Namespace", None, name, {"metadata": {"labels": labels}})
        self.world.namespaces[name] = merged(self.world.namespaces[name], labels)

    def pod_new(self, namespace, name, node, labels=None, ports=NAMED):
        item = pod_object(namespace, name, node, labels, ports=ports)
        self.know(item, pods_up([item])[0])

    def pod_gone(self, pod):
        self.probers.pop(repr(pod)).close()
        del self.world.pods[repr(pod)]
        API.delete("Pod", pod.namespace, pod.name)
        wait_for(f"{pod} is gone", lambda: not API.find("Pod", pod.namespace,
                                                        pod.name))


def merged(labels, change):
    return {k: v for k, v in {**labels, **change}.items() if v is not None}
