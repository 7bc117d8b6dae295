# SPDX-License-Identifier: Apache-2.0
"""kind.py - the cluster as kind makes it: kubeadm, static pods, CoreDNS, kube-proxy,
from deploy/kind.yaml.  Nodes are containers of Docker's, on a network of our own.

Where no registry can be reached the node image is made here (kind/node-image);
KIND_IMAGE=name takes another.
"""
import json
import os
import shutil
import subprocess

import kube
from cluster import FAMILIES, HERE, OUTSIDE, TOP, Cluster, run

NAME = "stile-e2e"  # of the cluster and of its network
CAP_SYS_RESOURCE = 24
IP_FAMILY = {"4": "ipv4", "6": "ipv6", "dual": "dual"}
# The node image made here has no systemd, and no resolver that pods can reach.
OWN_IMAGE = """kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  cgroupDriver: cgroupfs
  failCgroupV1: false
  resolvConf: /etc/resolv-pods.conf
"""


def needs():
    """What is missing to run kind, as a sentence; None."""
    if not shutil.which("docker"):
        return "there is no docker"
    out = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if out.returncode:
        return "docker does not answer"
    if not os.environ.get("KIND_IMAGE") and not shutil.which("debootstrap"):
        return "debootstrap is not installed (scripts/deps --e2e installs it)"
    return None


class KindNode:
    """A container; the same methods as cluster.Node."""

    def __init__(self, cluster, name):
        about = json.loads(run("docker", "inspect", name))[0]
        network = about["NetworkSettings"]["Networks"][NAME]
        both = {4: network["IPAddress"], 6: network["GlobalIPv6Address"]}
        self.name, self.init = name, None
        self.ips = [both[f.number] for f in cluster.families]
        self.pid = str(about["State"]["Pid"])

    def argv(self, *argv):
        return ["nsenter", "-t", self.pid, "-a"] + [str(a) for a in argv]

    def run(self, *argv, **kw):
        return run(*self.argv(*argv), **kw)


class KindCluster(Cluster):
    """Configured as Cluster is; how many nodes there are is deploy/kind.yaml's."""

    def __init__(self, settings):
        self.settings = settings
        self.dir, self.bin = settings["dir"], settings["bin"]
        self.families = FAMILIES[settings["family"]]
        self.nodes, self.children, self.kube = [], {}, None
        self.hk, self.kind = f"{self.bin}/hk", f"{self.bin}/kind"
        self.kubeconfig = f"{self.dir}/kubeconfig"
        self.made = not os.environ.get("KIND_IMAGE")
        self.image = os.environ.get("KIND_IMAGE") or f"{NAME}/node:made"

    # ---- what it is made of

    def environment(self):
        env = dict(os.environ, KIND_EXPERIMENTAL_PROVIDER="docker",
                   KIND_EXPERIMENTAL_DOCKER_NETWORK=NAME)
        with open("/proc/self/status") as f:
            bounding = next(line.split()[1] for line in f if line.startswith("CapBnd"))
        if not int(bounding, 16) >> CAP_SYS_RESOURCE & 1:
            env.update(REAL_DOCKER=shutil.which("docker"),
                       PATH=f"{HERE}/kind:{env['PATH']}")
        return env

    def kind_run(self, *argv):
        return run(self.kind, *argv, env=self.environment())

    def config(self):
        """deploy/kind.yaml with this round's family, and the probers' directory."""
        with open(f"{TOP}/deploy/kind.yaml") as f:
            lines = f.read().splitlines()
        text = ""
        for line in lines:
            if line.strip().startswith("ipFamily:"):
                line = (f"  ipFamily: {IP_FAMILY[self.settings['family']]}\n"
                        f"  podSubnet: {self.joined('all_pods')}\n"
                        f"  serviceSubnet: {self.joined('services')}")
            text += line + "\n"
            if line.startswith("- role:"):
                text += (f"  extraMounts: [{{hostPath: {self.dir}/ctl, "
                         f"containerPath: {self.dir}/ctl}}]\n")
        path = f"{self.dir}/kind.yaml"
        with open(path, "w") as f:
            f.write(text + (OWN_IMAGE if self.made else ""))
        return path

    def image_make(self):
        if not self.made or run("docker", "images", "-q", self.image):
            return
        where = f"{self.settings['build']}/kind"
        os.makedirs(where, exist_ok=True)
        subprocess.run([f"{HERE}/kind/node-image", where, self.image], check=True,
                       env=dict(os.environ, BIN=self.bin,
                                IMAGES=self.settings["images"]))

    def network_up(self):
        v4, v6 = FAMILIES["dual"]
        run("docker", "network", "create", NAME, "--ipv6",
            "--subnet", f"{v4.net}0/{v4.bits}", "--ip-range", f"{v4.net}128/25",
            "--gateway", v4.host(1), "--subnet", f"{v6.net}/{v6.bits}")

    def outside_up(self):
        """A container that answers, beside the nodes."""
        v4, v6 = FAMILIES["dual"]
        run("docker", "load", "-i", f"{self.settings['images']}/prober.tar")
        run("docker", "run", "--detach", "--name", f"{NAME}-outside", "--network", NAME,
            "--ip", v4.host(OUTSIDE), "--ip6", v6.host(OUTSIDE),
            "--volume", f"{self.dir}/ctl:/ctl", "localhost/stile-e2e/prober:1",
            "outside", "/ctl/outside.sock", "80", "81")

    # ---- all

    def up(self):
        self.leftovers_remove()
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(f"{self.dir}/ctl")
        os.symlink(self.hk, f"{self.dir}/kubectl")
        self.image_make()
        self.network_up()
        self.kind_run("create", "cluster", "--name", NAME, "--config", self.config(),
                      "--image", self.image, "--kubeconfig", self.kubeconfig)
        self.nodes = [KindNode(self, name) for name in sorted(
            self.kind_run("get", "nodes", "--name", NAME).split())]
        self.kube = kube.Kube.of_kubeconfig(self.hk, self.kubeconfig)
        for image in ("prober", "stile", "next"):
            path = f"{self.settings['images']}/{image}.tar"
            if os.path.exists(path):
                self.kind_run("load", "image-archive", "--name", NAME, path)

    def probers_up(self):
        self.outside_up()
        for node in self.nodes:
            self.prober_start(node.name, ["setpriv", "--pdeathsig", "KILL", "nsenter",
                                          "-t", node.pid, "-n"], ["7080"])

    def apiserver(self):
        """How it is stopped, and so on: a static pod of the control plane's."""
        node = next(n for n in self.nodes if n.name.endswith("control-plane"))
        pki = "/etc/kubernetes/pki/etcd"
        return {"enter": node.argv(), "signal": "pkill -{} -x kube-apiserver",
                "start": "true", "input": "tcp dport 6443", "output": "tcp sport 6443",
                "etcd": "https://127.0.0.1:2379",
                "curl": ["--cacert", f"{pki}/ca.crt", "--cert", f"{pki}/server.crt",
                         "--key", f"{pki}/server.key"]}

    def coredns(self):
        return None  # kubeadm brought it

    def leftovers_remove(self):
        """Of a run that was killed; those of this one, in the end."""
        self.kind_run("delete", "cluster", "--name", NAME)
        if run("docker", "ps", "-aq", "--filter", f"name=^{NAME}-outside$"):
            run("docker", "rm", "--force", f"{NAME}-outside")
        if run("docker", "network", "ls", "-q", "--filter", f"name=^{NAME}$"):
            run("docker", "network", "rm", NAME)

    def down(self):
        for name in list(self.children):
            self.end(name)
        self.leftovers_remove()
        images = ["localhost/stile-e2e/prober:1"] + ([self.image] if self.made else [])
        run("docker", "rmi", "--force", *images)
