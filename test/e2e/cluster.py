# SPDX-License-Identifier: Apache-2.0
"""cluster.py - a real Kubernetes made of namespaces, without a registry.

    outside (.100) --+
                     br0 (.1: etcd, API server, controllers, scheduler)
    node1 (.11) -----+--- node2 (.12) --- node3 (.13)

All of it lives in the *yard*: the network, mount and process namespaces that
test/e2e/run made; when its first process ends, everything ends.  A node is
another set of namespaces with its own containerd, kubelet and kube-proxy.
"""
import json
import os
import shlex
import shutil
import signal
import subprocess
import time

import kube
import pki

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = f"{TOP}/test/e2e"
CGROUPS = "/sys/fs/cgroup"
PORT = 6443
UNTIL_READY = 60.0


class Family:
    """The addresses of one family."""

    def __init__(self, number, net, bits, pods, pod_bits, all_pods, services, dns):
        self.number, self.net, self.bits = number, net, bits
        self.pods, self.pod_bits, self.all_pods = pods, pod_bits, all_pods
        self.services, self.dns = services, dns

    def host(self, n):
        return f"{self.net}{n}"

    def pod_cidr(self, n):
        return self.pods.format(n)

    def any(self):
        return "0.0.0.0/0" if self.number == 4 else "::/0"


V4 = Family(4, "172.30.0.", 24, "10.244.{}.0/24", 24, "10.244.0.0/16",
            "10.96.0.0/16", "10.96.0.10")
V6 = Family(6, "fd00:30::", 64, "fd00:244:0:{}::/64", 64, "fd00:244::/48",
            "fd00:96::/112", "fd00:96::a")
FAMILIES = {"4": [V4], "6": [V6], "dual": [V4, V6]}
SERVER, OUTSIDE = 1, 100  # hosts on the link; node N is 10 + N


def run(*argv, **kw):
    argv = [str(a) for a in argv]
    out = subprocess.run(argv, capture_output=True, text=True, **kw)
    if out.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {out.returncode}\n"
                           f"{out.stdout}{out.stderr}")
    return out.stdout


def hosted(address):
    return f"[{address}]" if ":" in address else address


def sysctl(netns, **values):
    """In a namespace; what this kernel does not have is left alone."""
    for key, value in values.items():
        path = "/proc/sys/" + key.replace("__", "/")
        run("ip", "netns", "exec", netns, "sh", "-c",
            f"[ ! -e {path} ] || echo {value} > {path}")


class Node:
    """One node: its name, its addresses, its first process."""

    def __init__(self, cluster, number):
        self.cluster, self.number, self.name = cluster, number, f"node{number}"
        self.dir = f"{cluster.dir}/{self.name}"
        self.ips = [f.host(10 + number) for f in cluster.families]
        self.pod_cidrs = [f.pod_cidr(number) for f in cluster.families]
        self.init = None

    def argv(self, *argv):
        """A command inside the node, as its root sees it."""
        with open(f"/proc/{self.init.pid}/task/{self.init.pid}/children") as f:
            pid = f.read().split()[0]
        return ["nsenter", "-t", pid, "-a"] + [str(a) for a in argv]

    def run(self, *argv, **kw):
        return run(*self.argv(*argv), **kw)

    def popen(self, *argv, **kw):
        return subprocess.Popen(self.argv(*argv), **kw)


class Cluster:
    """Configured by a dict: see `settings` in test/e2e/run."""

    def __init__(self, settings):
        self.settings = settings
        self.dir, self.bin = settings["dir"], settings["bin"]
        self.families = FAMILIES[settings["family"]]
        self.nodes = [Node(self, n + 1) for n in range(settings["nodes"])]
        self.hk = f"{self.bin}/hk"
        self.kubeconfig = f"{self.dir}/pki/admin.kubeconfig"
        self.children = {}
        self.kube = None

    # ---- the link

    def link_up(self):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        for key in ("iptables", "ip6tables"):
            path = f"/proc/sys/net/bridge/bridge-nf-call-{key}"
            if os.path.exists(path):
                with open(path, "w") as f:
                    f.write("0")
        for f in self.families:
            run("ip", "addr", "add", f"{f.host(SERVER)}/{f.bits}", "dev", "br0",
                *(["nodad"] if f.number == 6 else []))
        run("ip", "link", "set", "br0", "up")
        for node in self.nodes:
            self.host_up(node.name, 10 + node.number)
        self.host_up("outside", OUTSIDE)

    def host_up(self, name, number):
        """A namespace on the link."""
        run("ip", "netns", "add", name)
        sysctl(name, net__ipv6__conf__all__accept_dad=0,
               net__ipv6__conf__default__accept_dad=0)
        run("ip", "link", "add", "eth0", "netns", name, "type", "veth",
            "peer", "name", f"to-{name}")
        run("ip", "link", "set", f"to-{name}", "master", "br0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        for f in self.families:
            run("ip", "-n", name, "addr", "add", f"{f.host(number)}/{f.bits}",
                "dev", "eth0", *(["nodad"] if f.number == 6 else []))
        run("ip", "-n", name, "link", "set", "eth0", "up")
        for f in self.families:
            run("ip", "-n", name, "route", "add", "default", "via",
                f.host(SERVER))
        sysctl(name, net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
               net__ipv4__conf__all__rp_filter=0)

    # ---- the control plane

    def child(self, name, *argv):
        log = open(f"{self.dir}/{name}.log", "a")
        self.children[name] = subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log)

    def end(self, name):
        """At once: a graceful API server keeps its port for a minute."""
        child = self.children.pop(name)
        child.send_signal(signal.SIGKILL)
        child.wait()

    def etcd_up(self):
        url = "http://127.0.0.1:2379"
        peer = "http://127.0.0.1:2380"
        self.child("etcd", self.hk, "etcd", "--data-dir", f"{self.dir}/etcd",
                   "--listen-client-urls", url, "--advertise-client-urls", url,
                   "--listen-peer-urls", peer, "--initial-advertise-peer-urls",
                   peer, "--initial-cluster", f"default={peer}",
                   "--unsafe-no-fsync", "--log-level", "warn")

    def apiserver_up(self, *more):
        p, first = f"{self.dir}/pki", self.families[0]
        self.child(
            "apiserver", self.hk, "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379", f"--secure-port={PORT}",
            f"--bind-address={'::' if first.number == 6 else '0.0.0.0'}",
            f"--advertise-address={first.host(SERVER)}",
            f"--tls-cert-file={p}/apiserver.crt",
            f"--tls-private-key-file={p}/apiserver.key",
            f"--client-ca-file={p}/ca.crt",
            f"--kubelet-client-certificate={p}/kubelet-client.crt",
            f"--kubelet-client-key={p}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={p}/sa.pub",
            f"--service-account-signing-key-file={p}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={self.joined('services')}",
            f"--token-auth-file={p}/tokens.csv", "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", *more)
        self.wait("the API server answers", self.api_answers)

    def joined(self, field):
        return ",".join(getattr(f, field) for f in self.families)

    def api_answers(self):
        child = self.children["apiserver"]
        if child.poll() is not None:
            raise RuntimeError("the API server ended:\n" + self.tail("apiserver"))
        try:
            return self.kube.request("GET", "/readyz") == "ok"
        except (OSError, kube.Refused):
            return False

    def controllers_up(self):
        p, sizes = f"{self.dir}/pki", []
        for f in self.families:
            suffix = f"-ipv{f.number}" if len(self.families) > 1 else ""
            sizes.append(f"--node-cidr-mask-size{suffix}={f.pod_bits}")
        self.child(
            "controllers", self.hk, "kube-controller-manager",
            f"--kubeconfig={p}/controllers.kubeconfig",
            f"--authentication-kubeconfig={p}/controllers.kubeconfig",
            f"--authorization-kubeconfig={p}/controllers.kubeconfig",
            "--leader-elect=false", "--use-service-account-credentials=true",
            f"--service-account-private-key-file={p}/sa.key",
            f"--root-ca-file={p}/ca.crt", f"--cluster-signing-cert-file={p}/ca.crt",
            f"--cluster-signing-key-file={p}/ca.key",
            "--allocate-node-cidrs=true", f"--cluster-cidr={self.joined('all_pods')}",
            f"--service-cluster-ip-range={self.joined('services')}",
            "--bind-address=127.0.0.1", *sizes)
        self.child(
            "scheduler", self.hk, "kube-scheduler",
            f"--kubeconfig={p}/scheduler.kubeconfig",
            f"--authentication-kubeconfig={p}/scheduler.kubeconfig",
            f"--authorization-kubeconfig={p}/scheduler.kubeconfig",
            "--leader-elect=false", "--bind-address=127.0.0.1")

    def control_up(self, *more):
        addresses = [f.host(SERVER) for f in self.families]
        first_services = [f.services.split("/")[0][:-1] + "1" if f.number == 4
                          else f.services.split("/")[0] + "1"
                          for f in self.families]
        server = f"https://{hosted(addresses[0])}:{PORT}"
        pki.make(f"{self.dir}/pki", server, addresses + first_services
                 + ["127.0.0.1"], [n.name for n in self.nodes])
        self.kube = kube.Kube(server, f"{self.dir}/pki/ca.crt",
                              kube.token_of(self.kubeconfig))
        self.etcd_up()
        self.apiserver_up(*more)

    def apiserver(self):
        """How the tests stop it, start it, cut it off: commands of the shell."""
        child = self.children["apiserver"]
        pid, log = f"{self.dir}/apiserver.pid", f"{self.dir}/apiserver.log"
        with open(pid, "w") as f:
            f.write(str(child.pid))
        start = f"nohup {shlex.join(child.args)} >>{log} 2>&1 & echo $! >{pid}"
        return {"enter": [], "signal": f"kill -{{}} $(cat {pid})", "start": start,
                "input": "iifname br0 tcp dport 6443",
                "output": "oifname br0 tcp sport 6443",
                "etcd": "http://127.0.0.1:2379", "curl": []}

    def coredns(self):
        """A manifest of it."""
        path = f"{self.dir}/coredns.yaml"
        with open(f"{HERE}/coredns.yaml") as f:
            text = f.read().replace("@DNS@", self.families[0].dns)
        with open(path, "w") as f:
            f.write(text)
        return path

    # ---- who answers at the outside and on the nodes

    def prober_start(self, name, enter, ports):
        """A path of a socket is short: its directory is where the prober starts."""
        prober = f"{self.settings['build']}/test/e2e/prober"
        log = open(f"{self.dir}/prober-{name}.log", "w")
        self.children[f"prober-{name}"] = subprocess.Popen(
            enter + [prober, name, f"{name}.sock", *ports], cwd=f"{self.dir}/ctl",
            stdout=log, stderr=log)

    def probers_up(self):
        for name, ports in [("outside", ["80", "81"])] + [
                (n.name, ["7080"]) for n in self.nodes]:
            self.prober_start(name, ["ip", "netns", "exec", name], ports)

    # ---- nodes

    def node_object(self, node):
        taints = []
        if self.settings["plugin"] == "stile":
            taints = [{"key": "stile.dev/agent-not-ready", "effect": "NoSchedule",
                       "value": "true"}]
        self.kube.create({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node.name, "labels": {
                "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"}},
            "spec": {"podCIDR": node.pod_cidrs[0], "podCIDRs": node.pod_cidrs,
                     "taints": taints}})

    def node_files(self, node):
        for d in ("net.d", "var/lib/containerd", "var/lib/kubelet", "var/log/pods"):
            os.makedirs(f"{node.dir}/{d}")
        with open(f"{node.dir}/hosts", "w") as f:
            f.write("127.0.0.1 localhost\n::1 localhost\n")
            f.writelines(f"{ip} {node.name}\n" for ip in node.ips)
        with open(f"{node.dir}/resolv.conf", "w") as f:
            f.write(f"nameserver {self.families[0].host(SERVER)}\n")
        for name in ("containerd.toml", "kubelet.yaml", "kube-proxy.yaml"):
            with open(f"{HERE}/node/{name}") as f:
                text = f.read()
            for key, value in {
                    "PKI": f"{self.dir}/pki", "NODE": node.name,
                    "DNS": self.families[0].dns,
                    "ANY": "::" if self.families[0].number == 6 else "0.0.0.0",
                    "PODS": self.joined("all_pods"),
                    "PROXY": self.settings["proxy"]}.items():
                text = text.replace(f"@{key}@", value)
            with open(f"{node.dir}/{name}", "w") as f:
                f.write(text)

    def node_up(self, node):
        """Its first process, in cgroups and namespaces of its own."""
        self.node_files(node)
        if self.settings["plugin"] == "ptp":
            self.ptp_up(node)
        log = open(f"{node.dir}/init.log", "w")
        env = dict(os.environ, NODE=node.name, DIR=node.dir, HK=self.hk,
                   IMAGES=self.settings["images"], NODE_IPS=",".join(node.ips),
                   PROXY="no" if self.settings["proxy"] == "none" else "yes")
        node.init = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup",
             "--fork", "--kill-child", "nsenter", f"--net=/run/netns/{node.name}",
             f"{HERE}/node-init"], env=env, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, preexec_fn=lambda: self.cgroups_enter(node.name))

    def cgroups_enter(self, name):
        """In every hierarchy; a cgroup namespace made later has its root there."""
        for d in cgroup_roots():
            path = f"{d}/{self.settings['cgroup']}/{name}"
            os.makedirs(path, exist_ok=True)
            if os.path.exists(f"{d}/cpuset.cpus"):
                for p in (os.path.dirname(path), path):
                    for key in ("cpus", "mems"):
                        with open(f"{d}/cpuset.{key}") as f, \
                                open(f"{p}/cpuset.{key}", "w") as to:
                            to.write(f.read())
            with open(f"{path}/cgroup.procs", "w") as f:
                f.write("0")

    def ptp_up(self, node):
        """Debian's plain plugin: routes, masquerade, and no policy at all."""
        ranges = [[{"subnet": cidr}] for cidr in node.pod_cidrs]
        conf = {"cniVersion": "1.0.0", "name": "ptp", "plugins": [
            {"type": "ptp", "ipam": {
                "type": "host-local", "ranges": ranges,
                "routes": [{"dst": f.any()} for f in self.families]}},
            {"type": "portmap", "capabilities": {"portMappings": True}}]}
        with open(f"{node.dir}/net.d/10-ptp.conflist", "w") as f:
            json.dump(conf, f)
        rules = "table inet e2e { chain post { type nat hook postrouting priority 100;"
        for f in self.families:
            ip = "ip" if f.number == 4 else "ip6"
            rules += (f" {ip} saddr {f.pod_cidr(node.number)} {ip} daddr !="
                      f" {f.all_pods} oifname eth0 masquerade;")
        run("ip", "netns", "exec", node.name, "nft", rules + " }; }")
        for peer in self.nodes:
            if peer is node:
                continue
            for cidr, ip in zip(peer.pod_cidrs, peer.ips):
                run("ip", "-n", node.name, "route", "add", cidr, "via", ip)

    # ---- all

    def up(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(f"{self.dir}/ctl")
        os.symlink(self.hk, f"{self.dir}/kubectl")
        self.link_up()
        self.control_up()
        self.kube.create({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding", "metadata": {"name": "e2e-proxy"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
                        "kind": "ClusterRole", "name": "system:node-proxier"},
            "subjects": [{"kind": "User", "name": "system:kube-proxy"}]})
        for node in self.nodes:
            self.node_object(node)
        self.controllers_up()
        for node in self.nodes:
            self.node_up(node)
        self.wait("kubelets", lambda: all(
            n["status"].get("nodeInfo", {}).get("kubeletVersion")
            for n in self.kube.get("Node")["items"]))

    def ready(self):
        return all(kube.condition(n, "Ready") == "True"
                   for n in self.kube.get("Node")["items"])

    def kubectl(self, *argv, **kw):
        return run(self.hk, "kubectl", "--kubeconfig", self.kubeconfig, *argv, **kw)

    def wait(self, what, condition, seconds=UNTIL_READY):
        end = time.monotonic() + seconds
        while not condition():
            for node in self.nodes:
                if node.init and node.init.poll() is not None:
                    raise RuntimeError(f"{node.name} ended:\n" + self.tail(
                        f"{node.name}/init"))
            if time.monotonic() > end:
                raise RuntimeError(f"{what}: not within {seconds:.0f} s")
            time.sleep(0.05)

    def tail(self, name):
        with open(f"{self.dir}/{name}.log", errors="replace") as f:
            return f.read()[-2000:]

    def down(self):
        """Namespaces end with their processes; etcd's data is worth nothing."""
        for node in self.nodes:
            if node.init:
                node.init.kill()
                node.init.wait()
        for name in list(self.children):
            self.end(name)


def cgroup_roots():
    """The hierarchies of this machine: many with version 1, one with 2."""
    if os.path.exists(f"{CGROUPS}/cgroup.controllers"):
        return [CGROUPS]
    return [f"{CGROUPS}/{d}" for d in sorted(os.listdir(CGROUPS))]
