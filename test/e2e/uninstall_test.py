#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""uninstall_test - as docs/kubernetes.md says it is done; then each node and the
cluster are as they were before.  Runs last: the cluster has no network after."""
import os

import snapshot
from scene import API, NODES, SETTINGS, Skip, done, kubectl, test, wait_for

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

BEFORE = SETTINGS["before"]
# Directories on hostPaths stay, empty: the kubelet made them, and is using them.
HOST_PATHS = {"+ files: /run/stile", "+ files: /var/lib/stile"}


def ours():
    """Pods of Stile's."""
    return [p for p in API.get("Pod", "kube-system")["items"] if p["metadata"].get(
        "labels", {}).get("app.kubernetes.io/name", "").startswith("stile")]


def uninstall():
    if SETTINGS["plugin"] != "stile" or SETTINGS["as"] != "daemonset":
        raise Skip("Stile was not installed by its manifest here")
    # Pods that need a network go first; the tests' own are gone already.
    what = ["-f", SETTINGS["coredns"]] if SETTINGS["coredns"] else [
        "-n", "kube-system", "deployment", "coredns"]
    kubectl("delete", *what, "--ignore-not-found")
    wait_for("only agents are left", lambda: all(
        p["spec"].get("hostNetwork") for p in API.get("Pod")["items"]), 60)
    kubectl("delete", "-f", SETTINGS["manifest"], "--wait=true", "--timeout=60s")
    wait_for("agents are gone", lambda: not ours(), 60)
    kubectl("apply", "-f", f"{TOP}/deploy/uninstall.yaml")

    def finished():
        status = API.get("DaemonSet", "kube-system", "stile-uninstall")["status"]
        return status.get("numberReady") == len(NODES)
    wait_for("every node is done", finished, 60)
    kubectl("delete", "-f", f"{TOP}/deploy/uninstall.yaml", "--wait=true")
    wait_for("its pods are gone", lambda: not ours(), 60)


def node_is_as_before(node):
    if not BEFORE:
        raise Skip("nothing was installed")
    after = snapshot.take(SETTINGS["enter"][node])
    found = [d for d in snapshot.differences(BEFORE[node], after)
             if d not in HOST_PATHS]
    assert not found, "\n".join(found[:40])


def cluster_is_as_before():
    if not BEFORE:
        raise Skip("nothing was installed")
    found = snapshot.differences(BEFORE["cluster"], snapshot.cluster(API))
    assert not found, "\n".join(found)
    for node in API.get("Node")["items"]:
        taints = [t["key"] for t in node["spec"].get("taints", [])]
        assert "stile.dev/agent-not-ready" not in taints, taints


if test("uninstalling_ends", uninstall):
    for name in NODES:
        test(f"{name}_is_as_before", node_is_as_before, name)
    test("the_cluster_is_as_before", cluster_is_as_before)
done()
