# SPDX-License-Identifier: Apache-2.0
"""yard.py - the inside of the namespaces that test/e2e/run makes: the cluster is
made, Stile deployed, each test program run.  usage: yard.py SETTINGS.json"""
import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback

import snapshot
from cluster import HERE, OUTSIDE, TOP, Cluster
from kind import KindCluster

TEST_SECONDS = 900


def manifest(settings):
    """deploy/stile.yaml with this round's routing and services."""
    with open(f"{TOP}/deploy/stile.yaml") as f:
        text = f.read()
    text, n = re.subn(r"(?m)^(\s+)routing: \S+$", rf"\1routing: {settings['routing']}\n"
                      rf"\1services: {settings['services']}", text)
    assert n == 1, "deploy/stile.yaml: no routing to set"
    path = f"{settings['dir']}/stile.yaml"
    with open(path, "w") as f:
        f.write(text)
    return path


def stile_deploy(cluster):
    if cluster.settings["as"] == "process":
        for node in cluster.nodes:
            process_start(cluster, node)
    else:
        cluster.kubectl("apply", "-f", manifest(cluster.settings))


def process_start(cluster, node):
    """stiled on the node, with the administrator's kubeconfig."""
    build = cluster.settings["build"]
    node.run("cp", f"{build}/stile-cni", "/opt/cni/bin/stile-cni")
    log = open(f"{node.dir}/stiled.log", "a")
    cluster.children[f"stiled-{node.name}"] = node.popen(
        f"{build}/stiled", "--source", "kube", "--kubeconfig", cluster.kubeconfig,
        "--node-name", node.name, "--routing", cluster.settings["routing"],
        stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def links(node):
    return sorted(node.run("ls", "/sys/class/net").split())


def describe(cluster, deployed, before):
    """What scene.py reads."""
    settings, first = cluster.settings, cluster.families[0]
    about = dict(settings)
    about.update(
        hk=cluster.hk, kubeconfig=cluster.kubeconfig, dns=first.dns,
        coredns=cluster.coredns(), ctl=f"{cluster.dir}/ctl",
        node_names=[n.name for n in cluster.nodes], deployed=deployed,
        node_ips={n.name: n.ips for n in cluster.nodes},
        enter={n.name: n.argv() for n in cluster.nodes},
        links={n.name: links(n) for n in cluster.nodes}, before=before,
        manifest=f"{cluster.dir}/stile.yaml",
        outside=[f.host(OUTSIDE) for f in cluster.families],
        apiserver=cluster.apiserver())
    path = f"{cluster.dir}/e2e.json"
    with open(path, "w") as f:
        json.dump(about, f)
    return path


def test_run():
    """scripts/test-run knows how to read TAP."""
    loader = importlib.machinery.SourceFileLoader(
        "test_run", f"{TOP}/scripts/test-run")
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("test_run", loader))
    loader.exec_module(module)
    return module


def program_run(module, name, about, settings):
    """One *_test.py: its lines are shown as they come."""
    result = module.Result(name)
    start = time.monotonic()
    log_name = (f"{settings['build']}/test-logs/e2e-{settings['family']}-"
                f"{settings['routing']}-{name}.log")
    ends_with_us = ["setpriv", "--pdeathsig", "TERM"]
    child = subprocess.Popen(
        ends_with_us + ["timeout", str(TEST_SECONDS)] + ends_with_us +
        [sys.executable, f"{HERE}/{name}_test.py"],
        env=dict(os.environ, E2E=about, O=settings["build"]), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    with open(log_name, "w") as log:
        for line in child.stdout:
            log.write(line)
            print(line, end="", flush=True)
            result.read(line)
    status = child.wait()
    result.end(status, status == 124, TEST_SECONDS)
    for text in result.failed:
        print(f"# FAILED: {text}")
    print(f"# {name}: {time.monotonic() - start:.1f} s", flush=True)
    return {"name": name, "passed": result.passed, "failed": len(result.failed),
            "skipped": len(result.skipped)}


def evidence(cluster):
    """What a failure is explained with."""
    for argv in (["get", "pods", "-A", "-o", "wide"], ["get", "nodes", "-o", "wide"],
                 ["get", "events", "-A", "--sort-by=.lastTimestamp"],
                 ["logs", "-n", "kube-system", "-l", "app.kubernetes.io/name=stile",
                  "--tail=40", "--prefix"],
                 ["logs", "-n", "kube-system", "-l",
                  "app.kubernetes.io/name=stile-uninstall", "-c", "uninstall",
                  "--tail=10"]):
        try:
            text = cluster.kubectl(*argv, timeout=20)
        except (RuntimeError, subprocess.TimeoutExpired) as why:
            text = str(why)
        for line in text.splitlines()[-25:]:
            print(f"# {line}")


def deploy(cluster):
    """Stile, where it is the plugin: (when, how everything was before)."""
    if cluster.settings["plugin"] != "stile":
        return time.time(), {}
    # What the controllers bring to every namespace is no part of what we install.
    cluster.wait("the controllers are at work", lambda: all(
        cluster.kube.find(kind, "kube-system", name) for kind, name in (
            ("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"))))
    before = {n.name: snapshot.take(n.argv()) for n in cluster.nodes}
    before["cluster"] = snapshot.cluster(cluster.kube)
    deployed = time.time()
    stile_deploy(cluster)
    return deployed, before


def tests_run(cluster):
    settings, start = cluster.settings, time.monotonic()
    cluster.up()
    print(f"# kubelets are up after {time.monotonic() - start:.1f} s", flush=True)
    cluster.probers_up()
    deployed, before = deploy(cluster)
    cluster.wait("nodes are Ready", cluster.ready)
    print(f"# nodes are Ready {time.time() - deployed:.1f} s later", flush=True)
    about = describe(cluster, deployed, before)
    module = test_run()
    return [program_run(module, name, about, settings) for name in settings["tests"]]


def kept(cluster):
    enter = "" if cluster.settings["cluster"] == "kind" else \
        f"nsenter -t {outer_pid()} -m -n -p bash; "
    print(f"# KEEP: {enter}export KUBECONFIG={cluster.kubeconfig} "
          f"E2E={cluster.dir}/e2e.json; touch {cluster.dir}/end to end it", flush=True)
    while not os.path.exists(f"{cluster.dir}/end"):
        time.sleep(1)


def told(cluster):
    """The tests' results; whatever comes in between is told as one."""
    try:
        return tests_run(cluster)
    except Exception:
        for line in traceback.format_exc().splitlines():
            print(f"# {line}")
        print("not ok - the cluster")
        return [{"name": "cluster", "passed": 0, "failed": 1, "skipped": 0}]


def main():
    with open(sys.argv[1]) as f:
        settings = json.load(f)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is below is done
    cluster = {"netns": Cluster, "kind": KindCluster}[settings["cluster"]](settings)
    try:
        results = told(cluster)
        if any(r["failed"] for r in results):
            evidence(cluster)
        if settings["keep"]:
            kept(cluster)
        with open(f"{os.path.dirname(cluster.dir)}/results.json", "w") as f:
            json.dump(results, f)
    finally:
        cluster.down()


def outer_pid():
    """This process, as the machine numbers it."""
    with open("/proc/self/status") as f:
        return re.search(r"NSpid:\s+(\d+)", f.read())[1]


if __name__ == "__main__":
    main()
