# SPDX-License-Identifier: Apache-2.0
"""held_test - pods that are not judged by the policies that select them: a
policy that does not fit, labels that are lost.  They are not open, and what
the command line says of them is what the kernel does.

    node ---+--- n/a ==== n/b, n/c
"""
import os
import shutil

from stage import (Node, connect, done, equal, namespace_manifest, netpol, test,
                   wait_for)

node = Node().start()
node.put("n.json", namespace_manifest("n"))
a = node.pod("n/a", {"app": "a"})
b = node.pod("n/b", {"app": "b"})
servers = [a.ns.listen(80), b.ns.listen(80)]
# 500 blocks and 600 ports: more entries than a slot holds.
HUGE = netpol("n/huge", {"app": "b"}, ingress=[{
    "from": [{"ipBlock": {"cidr": f"172.16.{i // 250}.{i % 250}/32"}}
             for i in range(500)],
    "ports": [{"port": 1000 + 2 * i} for i in range(600)]}])


def policies():
    return {p["name"]: p for p in node.ask("policy", "list")}


def problems():
    return {p["object"]: p["error"] for p in node.ask("status")["problems"]}


def why_is_true(src, dst, want):
    """What is said of a connection to port 80, by name and by address, is what
    it meets; the answer's side that is held."""
    equal(connect(src.ns, dst.v4, 80, 5 if want else 0.5), want,
          f"{src} to {dst}")
    for names in ((src.name, dst.name), (src.v4, dst.v4)):
        out = node.stile("policy", "why", *names, "80/tcp", check=False)
        equal(out.returncode, 0 if want else 1, f"why:\n{out.stdout}{out.stderr}")
        assert "BUG" not in out.stdout, out.stdout
    return out.stdout


def too_large():
    """A pod's first policy, refused: closed, and everybody says so."""
    why_is_true(a, b, True)
    node.put("huge.json", HUGE)
    wait_for("the refusal", lambda: "Pod/n/b" in problems())
    text = why_is_true(a, b, False)
    assert "not in force" in text and "262144" in text, text
    row = policies()["huge"]
    equal((row["state"], row["endpoints"]), ("not in force", 1), "list")
    assert "1 of 1 pods here" in row["error"], row
    out = node.stile("policy", "verify", check=False)
    equal(out.returncode, 1, "verify")
    assert "Pod/n/b: not compared" in out.stdout, out.stdout
    assert "0 differences" in out.stdout, out.stdout
    c = node.pod("n/c", {"app": "b"})
    with c.ns.listen(80):
        why_is_true(a, c, False)
        node.remove("huge.json")
        wait_for("its end", lambda: not problems())
        why_is_true(a, c, True)
    node.delete("n/c")
    why_is_true(a, b, True)
    equal(node.stile("policy", "verify").returncode, 0, "verify")


def kept_in_part():
    """One pod has the policy, one a policy too large beside it."""
    node.put("both.json", netpol("n/both", None, ingress=[]))
    node.put("huge.json", HUGE)
    wait_for("the refusal", lambda: "Pod/n/b" in problems())
    rows = policies()
    equal((rows["both"]["state"], rows["huge"]["state"]),
          ("in force in part", "not in force"), "states")
    assert "1 of 2 pods here" in rows["both"]["error"], rows["both"]
    why_is_true(a, b, False)
    why_is_true(b, a, False)
    node.remove("both.json")
    node.remove("huge.json")
    wait_for("its end", lambda: not problems())


def without_a_daemon(change):
    node.stop()
    change()
    node.start()


def manifest_gone():
    """A manifest goes while no daemon runs; policies for its labels apply."""
    without_a_daemon(lambda: os.unlink(f"{node.manifests}/pod-n-b.json"))
    equal(problems(), {}, "problems")
    node.put("late.json", netpol("n/late", {"app": "b"}, ingress=[]))
    wait_for("it", lambda: policies().get("late", {}).get("endpoints") == 1)
    why_is_true(a, b, False)
    node.remove("late.json")
    wait_for("its end", lambda: "late" not in policies())
    why_is_true(a, b, True)


def labels_lost():
    """Our copy is gone too: closed by a policy of all its namespace."""
    without_a_daemon(lambda: shutil.rmtree(f"{node.dir}/state/pods"))
    wait_for("the loss", lambda: "labels are not known" in
             problems().get("Pod/n/b", ""))
    node.put("late.json", netpol("n/late", None, ingress=[]))
    wait_for("it", lambda: policies().get("late", {}).get("endpoints") == 2)
    equal(policies()["late"]["state"], "in force in part", "state")
    equal(connect(a.ns, b.v4, 80, 0.5), False, "a to b")
    out = node.stile("policy", "why", a.v4, b.v4, "80/tcp", check=False)
    equal(out.returncode, 1, out.stdout)
    assert "BUG" not in out.stdout and "labels are not known" in out.stdout, \
        out.stdout
    out = node.stile("policy", "verify", check=False)
    assert out.returncode == 1 and "Pod/n/b: not compared" in out.stdout, \
        out.stdout
    node.stop()
    node.start()
    equal(connect(a.ns, b.v4, 80, 0.5), False, "a to b after a restart")


test("a first policy that does not fit closes its pod, and all say so",
     too_large)
test("a policy that some of its pods have is in force in part", kept_in_part)
test("a pod whose manifest went while no daemon ran gets new policies",
     manifest_gone)
test("a pod whose labels are lost is closed by its namespace", labels_lost)
done()
