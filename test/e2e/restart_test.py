#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""restart_test - the DaemonSet's pods go and come under traffic between nodes."""
import signal
import subprocess

import kube
import policy_cases as cases
from scene import (API, NODES, SETTINGS, Scene, Skip, done, kubectl, on_node, test,
                   wait_for)
from traffic import undisturbed

scene = Scene("r")
SYSTEM, NAME = "kube-system", "stile"


def agents():
    found = API.get("Pod", SYSTEM, query="?labelSelector=app.kubernetes.io/name=stile")
    return {p["metadata"]["uid"]: p for p in found["items"]}


def agents_ready(but=()):
    now = agents()
    return len(now) == len(NODES) and not set(now) & set(but) and all(
        kube.condition(p, "Ready") == "True" for p in now.values())


def up():
    scene.up()
    scene.policy(cases.policy("p", "rx", pods=cases.A, types=["Ingress"],
                              ingress=[{"from": [cases.spaces(ns="ry")]},
                                       {"from": [cases.pods()]}]))
    scene.policy(cases.policy("q", "ry", pods={"pod": "b"}, types=["Ingress"],
                              ingress=[{"from": [cases.spaces()],
                                        "ports": [cases.port(80),
                                                  cases.port(80, "UDP")]}]))
    scene.check()


def in_daemonset():
    if SETTINGS["as"] != "daemonset" or SETTINGS["plugin"] != "stile":
        raise Skip("stiled does not run as a DaemonSet here")


def pods_are_deleted():
    in_daemonset()
    old = agents()
    with undisturbed(scene) as figure:
        for pod in old.values():
            API.delete("Pod", SYSTEM, pod["metadata"]["name"])
        wait_for("new pods are ready", lambda: agents_ready(old), 60)
    scene.check()
    return figure[0]


def daemons_are_killed():
    """KILL, at no moment of their choosing; the container comes back."""
    in_daemonset()
    with undisturbed(scene) as figure:
        for node in NODES:
            pid = on_node(node, "pidof", "stiled").stdout.split()[0]
            on_node(node, "kill", f"-{int(signal.SIGKILL)}", pid)
        wait_for("they are noticed", lambda: not agents_ready())
        wait_for("they are ready again", agents_ready, 90)
    scene.check()
    return figure[0]


def it_rolls_out():
    """An upgrade by the DaemonSet's own means."""
    in_daemonset()
    old = agents()
    with undisturbed(scene) as figure:
        kubectl("-n", SYSTEM, "rollout", "restart", f"daemonset/{NAME}")
        kubectl("-n", SYSTEM, "rollout", "status", f"daemonset/{NAME}", "--timeout=120s")
    assert agents_ready(old), "not all pods are new"
    scene.check()
    return figure[0]


def image_set(image):
    kubectl("-n", SYSTEM, "set", "image", f"daemonset/{NAME}", f"stiled={image}",
            f"install={image}")
    rollout = subprocess.Popen(
        [SETTINGS["hk"], "kubectl", "--kubeconfig", SETTINGS["kubeconfig"], "-n", SYSTEM,
         "rollout", "status", f"daemonset/{NAME}", "--timeout=120s"],
        stdout=subprocess.DEVNULL)
    looks = 0
    while rollout.poll() is None:
        wrong = scene.differences()
        assert not wrong, wrong[:5]
        looks += 1
    assert not rollout.returncode, "the rollout did not end"
    return looks


def pins():
    """What each node has below its bpffs: one directory, of the build that runs."""
    return {n: on_node(n, "ls", "/sys/fs/bpf/stile").stdout.split() for n in NODES}


def another_build_takes_over():
    """On every node, with maps that the one before cannot use; then the way back."""
    in_daemonset()
    before, image = pins(), "localhost/stile:latest"
    with undisturbed(scene) as figure:
        looks = image_set(image.replace("latest", "next"))
    wait_for("its pins, and no others", lambda: all(
        len(p) == 1 and p != before[n] for n, p in pins().items()))
    scene.check()
    with undisturbed(scene) as back:
        looks += image_set(image)
    wait_for("the pins of before", lambda: pins() == before)
    scene.check()
    return f"{figure[0]}; back: {back[0]}; the whole truth table {looks} times meanwhile"


def policy_changes_while_away():
    """What changed without the daemon is in force when it is back; until then what
    was in force stays."""
    in_daemonset()
    kubectl("-n", SYSTEM, "patch", "daemonset", NAME, "-p",
            '{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":"yes"}}}}}')
    wait_for("no agent runs", lambda: not agents())
    scene.check()
    deny = cases.policy("late", "rz", types=["Ingress"])
    API.create(deny)
    assert not scene.differences(), "without an agent something changed"
    kubectl("-n", SYSTEM, "patch", "daemonset", NAME, "--type=json", "-p",
            '[{"op":"remove","path":"/spec/template/spec/nodeSelector"}]')
    scene.world.policies["rz", "late"] = deny
    wait_for("agents are back", agents_ready, 60)
    scene.check()


if test("pods_answer_under_policy", up):
    test("deleting_its_pods_loses_nothing", pods_are_deleted)
    test("a_rollout_loses_nothing", it_rolls_out)
    test("killing_daemons_loses_nothing", daemons_are_killed)
    test("another_build_takes_over_and_loses_nothing", another_build_takes_over)
    test("policy_that_changed_meanwhile_is_in_force_after", policy_changes_while_away)
test("namespaces_go", scene.down)
done()
