# SPDX-License-Identifier: Apache-2.0
"""kube_test - stiled on the real API server and etcd.

    API server, etcd (node-far, 192.0.2.2) --- uplink --- node: stiled
"""
import json
import os
import statistics
import time

from kube import Api, KubeNode, kubeconfig
from stage import (Skip, done, equal, namespace_manifest, netpol, pod_manifest,
                   run, test, wait_for)

NODE = KubeNode()
API = None
MANY = int(os.environ.get("KUBE_PODS", "10000"))


def need():
    if not API:
        raise Skip("no Kubernetes binary: set HK, or build build/k8s/hk")


def a_cluster_is_up():
    global API
    API = Api(NODE.far, f"{NODE.dir}/api").start()
    NODE.kubeconfig = API.kubeconfig
    API.create("namespaces", namespace_manifest("shop"))
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"},
            "spec": {"taints": [
                {"key": "other", "value": "x", "effect": "NoSchedule"},
                {"key": "stile.dev/agent-not-ready", "effect": "NoExecute"},
                {"key": "stile.dev/agent-not-ready", "effect": "NoSchedule"}]}}
    API.create("nodes", node)


def new_pod(name, **labels):
    made = pod_manifest(f"shop/{name}", labels)
    made["spec"]["nodeName"] = "node"
    return API.create("pods", made)


def pods_known():
    return NODE.status()["pods"]


def the_daemon_reads_the_cluster_and_says_it_is_ready():
    need()
    new_pod("web", app="web")
    API.create("networkpolicies", netpol("shop/p", ingress=[]))
    began = time.monotonic()
    NODE.start()
    status = NODE.status()
    equal((status["pods"], status["policies"]), (1, 1))
    assert status["namespaces"] >= 5, status["namespaces"]
    return f"{(time.monotonic() - began) * 1000:.0f} ms from start to ready"


def the_node_is_told_and_keeps_other_taints():
    need()

    def told():
        node = API.call("GET", "/api/v1/nodes/node")
        keys = [t["key"] for t in node["spec"].get("taints", ())]
        return "stile.dev/agent-not-ready" not in keys and node
    node = wait_for("the taints go", told)
    assert "other" in [t["key"] for t in node["spec"]["taints"]]
    ours = [c for c in node["status"]["conditions"]
            if c["type"] == "NetworkUnavailable"]
    equal([(c["status"], c["reason"]) for c in ours], [("False", "StileIsUp")])
    # Should it come back, it goes again.
    API.call("PATCH", "/api/v1/nodes/node", {"spec": {"taints": [
        {"key": "stile.dev/agent-not-ready", "effect": "NoSchedule"}]}},
        "application/merge-patch+json")
    wait_for("the taint goes again", lambda: "taints" not in API.call(
        "GET", "/api/v1/nodes/node")["spec"])


def the_runtime_is_told_by_a_whole_file():
    need()
    with open(f"{NODE.dir}/net.d/05-stile.conflist") as f:
        conf = json.load(f)
    equal(conf["plugins"][0]["socket"], f"{NODE.dir}/run/stile.sock")
    equal(os.listdir(f"{NODE.dir}/net.d"), ["05-stile.conflist"])
    equal(os.stat(f"{NODE.dir}/net.d/05-stile.conflist").st_mode & 0o777, 0o644)


def add_of_a_pod_just_made_succeeds_at_once():
    need()
    times = []
    for i in range(10):
        made = new_pod(f"new{i}")
        began = time.monotonic()
        code, answer = NODE.attach(f"shop/new{i}", made["metadata"]["uid"])
        times.append((time.monotonic() - began) * 1000)
        equal(code, 0, answer)
    return f"median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms"


def add_of_no_pod_and_of_another_uid_is_tried_again():
    need()
    code, answer = NODE.attach("shop/nobody")
    equal((code != 0, answer["code"]), (True, 11), answer)
    assert "not found" in answer["msg"], answer
    code, answer = NODE.attach("shop/web", "0-0-0")
    equal((code != 0, answer["code"]), (True, 11), answer)
    assert "another pod of that name" in answer["msg"], answer


def labels_of(name):
    return NODE.request("endpoint.get", id=f"shop/{name}")["labels"]


def a_label_change_reaches_the_store():
    need()
    times = []
    for i in range(50):
        API.label("pods", "shop", "new0", turn=str(i))
        sent = time.monotonic()
        wait_for("the label", lambda: labels_of("new0").get("turn") == str(i))
        times.append((time.monotonic() - sent) * 1000)
    times.sort()
    return (f"after the answer: median {statistics.median(times):.1f} ms, "
            f"worst of 50 {times[-1]:.1f} ms")


def an_outage_changes_nothing_and_is_said():
    need()
    before = NODE.status()
    API.kill("kube-apiserver")
    wait_for("it is said", lambda: "Failed to connect" in (
        NODE.source_error() or ""))
    after = NODE.status()
    equal((after["pods"], after["policies"], after["ready"]),
          (before["pods"], before["policies"], True))
    code, answer = NODE.attach("shop/web")
    equal(code, 0, answer)


def what_went_while_it_was_away_goes_by_a_new_list():
    """etcd was compacted, the version that we watched from is forgotten."""
    need()
    before = pods_known()
    API.etcd_delete("/registry/pods/shop/new9")
    API.etcd_compact()
    API.start_server()
    began = time.monotonic()
    wait_for("the pod goes", lambda: pods_known() == before - 1, 90)
    gone = time.monotonic() - began
    wait_for("all is well", lambda: not NODE.source_error(), 90)
    return f"{gone:.1f} s after the API server was ready"


def a_watch_goes_on_over_a_restart():
    need()
    API.kill("kube-apiserver")
    API.start_server()
    began = time.monotonic()
    new_pod("late")
    wait_for("the pod", lambda: source_has("shop/late"), 90)
    return f"{time.monotonic() - began:.1f} s after it was ready"


def source_has(pod):
    return NODE.attach(pod)[0] == 0


def an_unreadable_policy_gets_an_event():
    """Straight into etcd: the API server would not take it."""
    need()
    bad = netpol("shop/bad", ingress=[{"from": [{"ipBlock": {
        "cidr": "10.0.0.0/99"}}]}])
    bad["metadata"].update(uid="11111111-2222-3333-4444-555555555555",
                           creationTimestamp="2026-01-01T00:00:00Z")
    API.etcd_put([("/registry/networkpolicies/shop/bad", bad)])

    def events():
        return [e for e in API.call("GET", "/api/v1/namespaces/shop/events")[
            "items"] if e["involvedObject"]["name"] == "bad"]
    found = wait_for("the event", events)
    equal([(e["type"], e["reason"]) for e in found],
          [("Warning", "PolicyInvalid")])
    assert "99" in found[0]["message"], found[0]["message"]
    API.etcd_delete("/registry/networkpolicies/shop/bad")
    wait_for("the policy goes", lambda: NODE.status()["policies"] == 1)


def ten_thousand_pods():
    need()
    base = pod_manifest("shop/x")
    objects = []
    for i in range(MANY):
        pod = json.loads(json.dumps(base))
        pod["metadata"] = {
            "name": f"many-{i}", "namespace": "shop",
            "uid": f"00000000-0000-0000-0000-{i:012d}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": f"app-{i % 200}", "tier": f"t{i % 7}",
                       "pod-template-hash": f"{i % 500:08x}"},
            "annotations": {"note": "y" * 1500}}
        pod["spec"]["nodeName"] = f"node-{i % 1000}"
        pod["status"] = {"phase": "Running",
                         "podIP": f"10.{100 + i // 60000}.{i // 250 % 240}.{i % 250 + 1}"}
        objects.append((f"/registry/pods/shop/many-{i}", pod))
    small = NODE.rss_mb()
    before = pods_known()
    API.etcd_put(objects)
    began = time.monotonic()
    try:
        wait_for("they are watched", lambda: pods_known() == before + MANY, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}: {pods_known()}, {NODE.cpu_s()} s CPU")
    came = time.monotonic() - began
    watched = NODE.rss_mb()
    NODE.stop()
    began = time.monotonic()
    NODE.start(wait=False)
    wait_for("ready", lambda: (NODE.hears() or {}).get("ready"), 60)
    took = time.monotonic() - began
    equal(pods_known(), before + MANY)
    return (f"read in {took:.2f} s, {NODE.rss_mb():.1f} MB resident; "
            f"watched in {came:.1f} s, {watched:.1f} MB then, {small:.1f} MB before")


def a_change_among_ten_thousand():
    need()
    API.delete("pods", "shop", "new1")
    times = []
    for i in range(20):
        API.label("pods", "shop", "new0", turn=f"m{i}")
        sent = time.monotonic()
        wait_for("the label", lambda: labels_of("new0").get("turn") == f"m{i}")
        times.append((time.monotonic() - sent) * 1000)
    return f"median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms"


def a_blackhole_is_noticed_and_left():
    need()
    NODE.ns.run("nft", "-f", "-", input="""
        table inet hole { chain out { type filter hook output priority 0;
          ip daddr 192.0.2.2 drop;
        }
        chain in { type filter hook input priority 0;
          ip saddr 192.0.2.2 drop;
        }
        }
    """)
    pods, cpu, began = pods_known(), NODE.cpu_s(), time.monotonic()
    said = NODE.away_said()
    # Not by asking: answers cost more than what is measured.
    wait_for("it is said", lambda: NODE.away_said() > said, 90)
    said = time.monotonic() - began
    time.sleep(max(0, 45 - said))  # what is measured: the load meanwhile
    share = (NODE.cpu_s() - cpu) / (time.monotonic() - began) * 100
    equal(pods_known(), pods)
    NODE.ns.run("nft", "delete", "table", "inet", "hole")
    began = time.monotonic()
    wait_for("all is well", lambda: not NODE.source_error(), 60)
    back = time.monotonic() - began
    new_pod("back")
    wait_for("the pod", lambda: source_has("shop/back"))
    return f"said after {said:.0f} s, {share:.2f} % CPU, back {back:.1f} s after its end"


def a_lost_permission_is_said_once():
    need()
    NODE.stop()
    NODE.kubeconfig = kubeconfig(f"{NODE.dir}/nobody", API.server, API.pki.ca,
                                 token="nobody-token")
    NODE.start(wait=False)
    wait_for("an answer", NODE.hears)
    error = wait_for("it is said", lambda: NODE.source_error())
    assert "403" in error and "forbidden" in error, error
    equal(NODE.status()["ready"], False)
    code, answer = NODE.attach("shop/unheard")
    equal(answer.get("code"), 11, answer)
    time.sleep(3)  # long enough for more of its tries
    with open(f"{NODE.dir}/log") as f:
        equal(sum("403" in line for line in f), 1, "lines about it")


def a_dry_run_waits_for_the_cluster():
    need()
    out = NODE.ns.run(f"{NODE_STILED()}", "--source", "kube", "--kubeconfig",
                      API.kubeconfig, "--node-name", "node", "--dry-run",
                      "--state-dir", f"{NODE.dir}/dry", "--device", "uplink",
                      timeout=60)
    json.loads(out.stdout)
    assert not os.path.exists(f"{NODE.dir}/dry")


def NODE_STILED():
    from stage import BUILD
    return f"{BUILD}/stiled"


def uninstall_takes_the_runtimes_file():
    need()
    NODE.stop()
    NODE.ns.run(f"{os.path.dirname(NODE_STILED())}/stile", "--run-dir",
                f"{NODE.dir}/run", "uninstall", "--yes", "--state-dir",
                f"{NODE.dir}/state", "--bpffs", NODE.bpffs)
    equal(os.listdir(f"{NODE.dir}/net.d"), [])
    assert not os.path.exists(f"{NODE.dir}/state")


try:
    test("a_cluster_is_up", a_cluster_is_up)
    for run_test in (the_daemon_reads_the_cluster_and_says_it_is_ready,
                     the_node_is_told_and_keeps_other_taints,
                     the_runtime_is_told_by_a_whole_file,
                     add_of_a_pod_just_made_succeeds_at_once,
                     add_of_no_pod_and_of_another_uid_is_tried_again,
                     a_label_change_reaches_the_store,
                     an_outage_changes_nothing_and_is_said,
                     what_went_while_it_was_away_goes_by_a_new_list,
                     a_watch_goes_on_over_a_restart,
                     an_unreadable_policy_gets_an_event,
                     ten_thousand_pods,
                     a_change_among_ten_thousand,
                     a_blackhole_is_noticed_and_left,
                     a_lost_permission_is_said_once,
                     a_dry_run_waits_for_the_cluster,
                     uninstall_takes_the_runtimes_file):
        if any(w in run_test.__name__ for w in os.environ.get("KUBE_ONLY", "").split(",")):
            test(run_test.__name__, run_test)
finally:
    if API:
        API.stop()
done()
