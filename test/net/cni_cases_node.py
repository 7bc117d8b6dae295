# SPDX-License-Identifier: Apache-2.0
"""cni_cases_node.py - ADD, DEL, GC and STATUS, with the daemon."""
import functools
import json
import os
import subprocess

import cni
import cni_ipam as ipam
import stage
from stage import equal, ping, wait_for

case = functools.partial(cni.case, on="node")
GATEWAYS = {4: "169.254.1.1", 6: "fe80::1"}
GATEWAY_MAC = "ee:ee:ee:ee:ee:ee"


def addresses(result):
    return [ip["address"].split("/")[0] for ip in result["ips"]]


def host_ifname(result):
    return next(i["name"] for i in result["interfaces"] if not i.get("sandbox"))


def devices(netns):
    return [link["ifname"] for link in show(netns, "link")]


def show(netns, *argv):
    return json.loads(netns.run("ip", "-j", *argv).stdout or "[]")


def endpoints(t, result):
    """The endpoints that bear one of the result's addresses, and are not about
    to go."""
    return [e for e in t.node.ask("endpoint", "list")
            if set(e["ips"]) & set(addresses(result))
            and e["state"] != "closing"]


# ---- ADD: the result ---------------------------------------------------------------


@case("ADD prints the result in the form of its version")
def _(t):
    t.pod()
    result = t.ok("ADD")
    equal(result["cniVersion"], t.version)
    host, pod = result["interfaces"]
    equal("sandbox" in host, False)
    equal((pod["name"], pod["sandbox"]), ("eth0", t.env["CNI_NETNS"]))
    for one in host, pod:
        equal(one.get("mtu"), 1500 if t.version >= "1.1.0" else None)
    equal(len(result["ips"]), 2)
    for ip in result["ips"]:
        six = ":" in ip["address"]
        equal(ip["address"].split("/")[1], "128" if six else "32")
        equal(ip["gateway"], GATEWAYS[6 if six else 4])
        equal(ip["interface"], 1)
        equal(ip.get("version"),
              ("6" if six else "4") if t.version < "1.0.0" else None)
    equal(result["routes"], [{"dst": "0.0.0.0/0", "gw": GATEWAYS[4]},
                             {"dst": "::/0", "gw": GATEWAYS[6]}])
    equal(result["dns"], {})


@case("the pod has the addresses, the routes and the neighbours of the result")
def _(t):
    pod = t.pod()
    result = t.ok("ADD")
    link, = show(pod, "addr", "show", "eth0")
    have = [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]
            if a["scope"] == "global"]
    equal(have, [ip["address"] for ip in result["ips"]])
    for addr in link["addr_info"]:
        if addr["scope"] == "global":
            assert addr["noprefixroute"], addr
            assert addr["family"] == "inet" or addr["nodad"], addr
    equal(link["address"], result["interfaces"][1]["mac"])
    equal(int(link["address"][:2], 16) & 3, 2, "a local unicast MAC address")
    equal(link["mtu"], 1500)
    for six in False, True:
        gateway = GATEWAYS[6 if six else 4]
        flag = "-6" if six else "-4"
        routes = show(pod, flag, "route", "show", "default")
        equal([(r["gateway"], r["dev"]) for r in routes], [(gateway, "eth0")])
        neigh = {n["dst"]: n for n in show(pod, flag, "neigh")}[gateway]
        equal((neigh["lladdr"], neigh["state"]), (GATEWAY_MAC, ["PERMANENT"]))
    equal("UP" in show(pod, "link", "show", "lo")[0]["flags"], True)


@case("the host's side has its programs, its routes and no forwarding")
def _(t):
    t.pod()
    result = t.ok("ADD")
    name, host = host_ifname(result), t.place
    for side, stub in (("ingress", "stub_from_pod"), ("egress", "stub_to_pod")):
        out = host.run("tc", "filter", "show", "dev", name, side).stdout
        assert stub in out and "direct-action" in out, out
    link, = show(host, "-d", "link", "show", name)
    equal(link["address"], GATEWAY_MAC)
    equal(link["inet6_addr_gen_mode"], "none")
    equal(host.run("ip", "-6", "addr", "show", name).stdout, "")
    for key in "ipv4.forwarding", "ipv6.accept_ra", "ipv6.accept_redirects":
        family, _, key = key.partition(".")
        path = f"/proc/sys/net/{family}/conf/{name}/{key}"
        equal(host.run("cat", path).stdout.strip(), "0", path)
    assert f"iif {name} unreachable" in host.run("ip", "-6", "rule").stdout
    for addr in addresses(result):
        route, = show(host, "route", "get", addr)
        equal(route["dev"], name)
        neigh, = show(host, "neigh", "show", addr, "dev", name)
        equal((neigh["lladdr"], neigh["state"]),
              (result["interfaces"][1]["mac"], ["PERMANENT"]))


@case("host and pod, and two pods, reach each other after ADD")
def _(t):
    one, other = t, t.other()
    ns1, ns2 = one.pod(), other.pod()
    result1, result2 = one.ok("ADD"), other.ok("ADD")
    for a, b in zip(addresses(result1), addresses(result2)):
        assert ping(ns1, b), f"{a} to {b}"
        assert ping(ns2, a), f"{b} to {a}"
        assert ping(t.place, a), f"host to {a}"
    assert ping(ns1, stage.NODE4) and ping(ns1, stage.NODE6)


@case("a second ADD of the container gets the same MAC address")
def _(t):
    t.pod()
    macs = set()
    for _ in range(2):
        macs.add(t.ok("ADD")["interfaces"][1]["mac"])
        t.ok("DEL")
    equal(len(macs), 1)


@case("ADD does without CNI_PATH and CNI_ARGS")
def _(t):
    t.pod()
    result = t.ok("ADD", env={"CNI_PATH": None, "CNI_ARGS": None})
    found, = endpoints(t, result)
    assert not found["namespace"], found


@case("ADD obeys a smaller MTU of its configuration, and no larger one")
def _(t):
    pod = t.pod()
    for mtu, want in (1400, 1400), (9000, 1500), (0, 1500):
        result = t.ok("ADD", conf={"mtu": mtu})
        equal(show(pod, "link", "show", "eth0")[0]["mtu"], want)
        link, = show(t.place, "link", "show", host_ifname(result))
        equal(link["mtu"], want)
        t.ok("DEL")


@case("dns of the configuration is passed on")
def _(t):
    t.pod()
    dns = {"nameservers": ["192.0.2.53"], "domain": "x.example",
           "search": ["x.example"], "options": ["ndots:5"]}
    equal(t.ok("ADD", conf={"dns": dns})["dns"], dns)


@case("runtimeConfig and capabilities are no hindrance")
def _(t):
    t.pod()
    t.ok("ADD", conf={"capabilities": {"mac": True, "portMappings": True},
                      "runtimeConfig": {"mac": "02:11:22:33:44:55",
                                        "portMappings": []},
                      "args": {"cni": {"labels": []}}, "ipam": {}})


@case("interface names of every allowed shape work")
def _(t):
    for name in "a", "eth0.1", "x" * 15, "net-1_2", "e@b", "#$&":
        call = t.other()
        call.env["CNI_IFNAME"] = name
        call.pod()
        equal(call.ok("ADD")["interfaces"][1]["name"], name)
        call.ok("DEL")


# ---- ADD: pods of Kubernetes ----------------------------------------------------------


@case("the pod that CNI_ARGS name is the endpoint's")
def _(t):
    name = f"web-{t.env['CNI_CONTAINERID']}"
    t.node.put(f"{name}.json", stage.pod_manifest(f"shop/{name}", {"a": "b"}))
    t.later(lambda: t.node.remove(f"{name}.json"))
    t.pod()
    t.env["CNI_ARGS"] = (f"IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;"
                         f"K8S_POD_NAME={name};K8S_POD_UID=u-1")
    answer = wait_for("the manifest is known", lambda: _served(t))
    found, = endpoints(t, answer.data)
    equal((found["namespace"], found["pod"].split("/")[-1]), ("shop", name))


def _served(t):
    answer = t.call("ADD")
    assert answer.status == 0 or answer.code == 11, answer
    return answer if answer.status == 0 else None


@case("a pod that the directory does not hold is code 11, and nothing is left")
def _(t):
    pod = t.pod()
    t.env["CNI_ARGS"] = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=nobody"
    with t.nothing_left():
        t.fails("ADD", 11, "nobody")
        known = t.node.ask("endpoint", "list")
        equal([e for e in known if e["pod"].endswith("nobody")], [])
    equal(devices(pod), ["lo"])


# ---- ADD: what is there already ---------------------------------------------------------


@case("ADD of an interface name that the pod has is an error, and it stays")
def _(t):
    pod = t.pod()
    pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x")
    before = devices(pod)
    with t.nothing_left():
        t.fails("ADD", 101, "eth0")
    equal(devices(pod), before)


@case("ADD repeated is an error, and the first one works on")
def _(t):
    pod = t.pod()
    result = t.ok("ADD")
    with t.nothing_left():
        t.fails("ADD", 101, "eth0")
    equal(len(endpoints(t, result)), 1)
    assert ping(pod, stage.NODE4)


@case("ADD of the same container into another namespace is an error")
def _(t):
    first = t.pod()
    result = t.ok("ADD")
    second = t.pod()
    with t.nothing_left():
        t.fails("ADD", 101)
    equal(devices(second), ["lo"])
    equal(len(endpoints(t, result)), 1)
    assert ping(first, stage.NODE4)
    t.env["CNI_NETNS"] = first.path


@case("a second interface in a pod is refused in words, and the first works on")
def _(t):
    pod = t.pod()
    t.ok("ADD")
    with t.nothing_left():
        t.fails("ADD", 100, "route", env={"CNI_IFNAME": "net1"})
    equal(devices(pod), ["lo", "eth0"])
    assert ping(pod, stage.NODE4)


@case("ADD clears away what a killed ADD left, when nobody sent DEL")
def _(t):
    t.pod()
    kill_in_add(t)
    t.ok("ADD")


def kill_in_add(t):
    """Kill an ADD after it made the link, before the daemon knew of it."""
    silent = cni.BadDaemon(None)
    child = subprocess.Popen(
        t.place.argv(cni.PLUGIN), stdin=subprocess.PIPE,
        env={**t.env, "CNI_COMMAND": "ADD"}, stdout=subprocess.DEVNULL)
    child.stdin.write(json.dumps({**t.conf, "socket": silent.path}).encode())
    child.stdin.close()
    wait_for("the plugin waits for its answer", lambda: silent.kept)
    child.kill()
    child.wait()
    silent.close()


# ---- DEL ----------------------------------------------------------------------------------


@case("DEL frees the name at once, and all else soon")
def _(t):
    pod = t.pod()
    with t.nothing_left():
        result = t.ok("ADD")
        t.ok("DEL")
        names = [link["ifname"] for link in show(pod, "link")]
        assert "eth0" not in names, names
        equal(endpoints(t, result), [])
    equal(devices(pod), ["lo"])


@case("ADD and DEL take turns in one namespace, without a pause")
def _(t):
    pod = t.pod()
    seen = set()
    for _ in range(10):
        result = t.ok("ADD")
        seen.update(addresses(result))
        assert ping(pod, stage.NODE4)
        t.ok("DEL")
    equal(len(seen), 20, "addresses: none is given out again at once")


@case("DEL succeeds however often, and before any ADD")
def _(t):
    t.pod()
    t.ok("DEL")
    t.ok("ADD")
    for _ in range(20):
        t.ok("DEL")
    equal(t.queue(), [])


@case("DEL without CNI_NETNS removes the attachment")
def _(t):
    pod = t.pod()
    with t.nothing_left():
        result = t.ok("ADD")
        t.ok("DEL", env={"CNI_NETNS": None})
    equal(endpoints(t, result), [])
    equal(devices(pod), ["lo"])


@case("DEL after the namespace is gone removes the attachment")
def _(t):
    pod = t.pod()
    with t.nothing_left():
        result = t.ok("ADD")
        stage.run("ip", "netns", "del", pod.name)
        t.ok("DEL")
    equal(endpoints(t, result), [])


@case("DEL does not look at prevResult, be it right, wrong or missing")
def _(t):
    t.pod()
    for prev in lambda r: r, lambda r: None, lambda r: {"ips": 7}, \
            lambda r: {"interfaces": [{"name": "lo"}, {"name": "../x"}, 5]}:
        result = t.ok("ADD")
        t.ok("DEL", conf={"prevResult": prev(result)})
        equal(endpoints(t, result), [])


@case("DEL with the namespace of another pod leaves that one alone")
def _(t):
    other = t.other()
    t.pod()
    theirs = other.pod()
    t.ok("ADD")
    result = other.ok("ADD")
    t.ok("DEL", env={"CNI_NETNS": theirs.path})
    equal(len(endpoints(t, result)), 1)
    assert ping(theirs, stage.NODE4)


@case("DEL of an interface that is not ours leaves it alone")
def _(t):
    pod = t.pod()
    pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x")
    before = devices(pod)
    t.ok("DEL")
    equal(devices(pod), before)


@case("DEL removes what a killed ADD left")
def _(t):
    pod = t.pod()
    with t.nothing_left():
        kill_in_add(t)
        t.ok("DEL")
    equal(devices(pod), ["lo"])


@case("a DEL queued while the daemon was down is replayed at its start")
def _(t):
    t.pod()
    kept = t.other()
    kept.pod()
    result, stays = t.ok("ADD"), kept.ok("ADD")
    t.node.stop()
    t.ok("DEL")
    equal(len(t.queue()), 1)
    t.node.start()
    equal(t.queue(), [])
    equal(endpoints(t, result), [])
    equal(len(endpoints(t, stays)), 1)
    again = t.ok("ADD")
    assert not set(addresses(again)) & set(addresses(stays)), again


@case("an attachment keeps working while the daemon is down, DEL works too")
def _(t):
    pod = t.pod()
    result = t.ok("ADD")
    t.node.stop()
    assert ping(pod, stage.NODE4)
    t.ok("DEL")
    assert host_ifname(result) not in t.link_names()
    t.node.start()


@case("a DEL left in the queue never undoes a later ADD")
def _(t):
    pod = t.pod()
    t.ok("DEL", conf={"socket": "/none/stile.sock"})
    equal(len(t.queue()), 1)
    result = t.ok("ADD")
    equal(t.queue(), [])
    t.node.stop()
    t.node.start()
    equal(len(endpoints(t, result)), 1)
    assert ping(pod, stage.NODE4)


# ---- STATUS and GC -------------------------------------------------------------------------


@case("STATUS succeeds when ADD can be served")
def _(t):
    if t.known("STATUS"):
        t.ok("STATUS")


def _gc(t, *valid, **conf):
    t.ok("GC", env={"CNI_PATH": "/"}, conf={"cni.dev/valid-attachments": [
        {"containerID": c.env["CNI_CONTAINERID"], "ifname": "eth0"}
        for c in valid], **conf})


@case("GC removes every attachment that is not named, and keeps the others")
def _(t):
    if not t.known("GC"):
        return
    calls = [t, t.other(), t.other()]
    pods = [c.pod() for c in calls]
    results = [c.ok("ADD") for c in calls]
    _gc(t, calls[1])
    equal([len(endpoints(t, r)) for r in results], [0, 1, 0])
    assert ping(pods[1], stage.NODE4)
    names = t.link_names()
    equal([host_ifname(r) in names for r in results], [False, True, False])
    _gc(t, calls[1])
    equal(len(endpoints(t, results[1])), 1)


@case("GC with nothing valid removes all")
def _(t):
    if not t.known("GC"):
        return
    t.pod()
    with t.nothing_left():
        result = t.ok("ADD")
        kill = t.other()
        kill.pod()
        kill_in_add(kill)
        _gc(t)
    equal(endpoints(t, result), [])


@case("GC of another network leaves ours alone")
def _(t):
    if not t.known("GC"):
        return
    pod = t.pod()
    result = t.ok("ADD")
    _gc(t, name="another")
    equal(len(endpoints(t, result)), 1)
    assert ping(pod, stage.NODE4)


@case("GC goes on after an error and reports it")
def _(t):
    if not t.known("GC"):
        return
    t.pod()
    result = t.ok("ADD")
    bad = ipam.Ipam(t, fail={"code": 123, "msg": "out of order"})
    t.fails("GC", 123, "out of order", env=bad.env,
            conf={**bad.conf, "cni.dev/valid-attachments": []})
    equal(endpoints(t, result), [])


# ---- one family only ------------------------------------------------------------------------


@case("a pod without IPv6 has none, inside and outside", on="node4")
def _(t):
    pod = t.pod()
    result = t.ok("ADD")
    equal([":" in a for a in addresses(result)], [False])
    equal(result["routes"], [{"dst": "0.0.0.0/0", "gw": GATEWAYS[4]}])
    for netns, name in (pod, "eth0"), (t.place, host_ifname(result)):
        path = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
        equal(netns.run("cat", path).stdout.strip(), "1", path)
    assert ping(pod, stage.NODE4) and ping(t.place, addresses(result)[0])
    if t.known("CHECK"):
        t.ok("CHECK", conf={"prevResult": result})


@case("a pod with IPv6 alone works", on="node6")
def _(t):
    pod = t.pod()
    with t.nothing_left():
        result = t.ok("ADD")
        equal([":" in a for a in addresses(result)], [True])
        equal(result["routes"], [{"dst": "::/0", "gw": GATEWAYS[6]}])
        assert ping(pod, stage.NODE6) and ping(t.place, addresses(result)[0])
        if t.known("CHECK"):
            t.ok("CHECK", conf={"prevResult": result})
        t.ok("DEL")


@case("the plugin leaves no file open and nothing on stderr")
def _(t):
    t.pod()
    answer = t.call("ADD")
    equal((answer.status, answer.err), (0, ""))
    answer = t.call("DEL")
    equal((answer.status, answer.err, answer.out), (0, "", ""))
    equal(os.path.exists(f"{t.state_dir}/del-queue") and t.queue() or [], [])
