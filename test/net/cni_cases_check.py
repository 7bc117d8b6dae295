# SPDX-License-Identifier: Apache-2.0
"""cni_cases_check.py - CHECK: everything that ADD made, missed one at a time.

Versions without CHECK must say so; there each case asks just that.
"""
import copy
import functools
import json

import cni
import stage
from cni_cases_node import addresses, endpoints, host_ifname, show
from stage import equal

NODE = functools.partial(cni.case, on="node")


def case(name):
    """A case for a pod that was added: run(t, pod, result)."""
    def add(run):
        @NODE(name)
        def _(t):
            if t.known("CHECK"):
                pod = t.pod()
                run(t, pod, t.ok("ADD"))
        return run
    return add


def check(t, result, **conf):
    t.ok("CHECK", conf={"prevResult": result, **conf})


def misses(t, result, *words, code=102, **kw):
    t.fails("CHECK", code, *words, conf={"prevResult": result}, **kw)


@case("CHECK succeeds right after ADD, and again")
def _(t, pod, result):
    for _ in range(3):
        check(t, result)


@case("CHECK without prevResult is code 7")
def _(t, pod, result):
    t.fails("CHECK", 7, "prevResult")
    t.fails("CHECK", 7, conf={"prevResult": {}})
    t.fails("CHECK", 7, "eth0", conf={"prevResult": {
        **result, "interfaces": result["interfaces"][:1]}})


@case("CHECK with a prevResult that is garbage is code 7")
def _(t, pod, result):
    for key, bad in (("ips", 5), ("ips", [{"address": "x"}]), ("ips", [7]),
                     ("routes", [{"dst": "x"}]), ("routes", [5]),
                     ("routes", [{"dst": "0.0.0.0/0", "gw": "x"}])):
        misses(t, {**result, key: bad}, "prevResult", code=7)


@case("CHECK before ADD fails")
def _(t, pod, result):
    t.ok("DEL")
    misses(t, result, "eth0")


@case("CHECK misses the interface")
def _(t, pod, result):
    pod.run("ip", "link", "set", "eth0", "down")
    misses(t, result, "eth0 is down")
    pod.run("ip", "link", "del", "eth0")
    misses(t, result, "eth0")


@case("CHECK misses the host's side when that is down")
def _(t, pod, result):
    t.place.run("ip", "link", "set", host_ifname(result), "down")
    misses(t, result, host_ifname(result), "down")


@case("CHECK sees an interface of the same name that is another one")
def _(t, pod, result):
    pod.run("ip", "link", "set", "eth0", "name", "old")
    pod.run("ip", "link", "add", "eth0", "type", "bridge")
    misses(t, result, "eth0", "no veth")
    pod.run("ip", "link", "del", "eth0")
    pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x")
    misses(t, result, "eth0")


@case("CHECK misses an address")
def _(t, pod, result):
    for ip in result["ips"]:
        pod.run("ip", "addr", "del", ip["address"], "dev", "eth0")
        misses(t, result, ip["address"].split("/")[0])
        pod.run("ip", "addr", "add", ip["address"], "dev", "eth0", "nodad")


@case("CHECK sees that an address has another prefix length")
def _(t, pod, result):
    v4 = addresses(result)[0]
    pod.run("ip", "addr", "del", f"{v4}/32", "dev", "eth0")
    pod.run("ip", "addr", "add", f"{v4}/24", "dev", "eth0")
    misses(t, result, v4)


@case("CHECK misses a route, and sees one by another gateway")
def _(t, pod, result):
    for route in result["routes"]:
        flag = "-6" if ":" in route["dst"] else "-4"
        gone = [flag, "route", "del", "default"]
        back = [flag, "route", "add", "default", "via", route["gw"], "dev",
                "eth0"]
        pod.run("ip", *gone)
        misses(t, result, "route", route["dst"])
        pod.run("ip", *back)
        check(t, result)
    pod.run("ip", "route", "replace", "default", "dev", "eth0")
    misses(t, result, "route", "0.0.0.0/0")


@case("CHECK sees another MAC address")
def _(t, pod, result):
    pod.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:77")
    misses(t, result, "02:00:00:00:00:77")


@case("CHECK sees that prevResult is of another namespace")
def _(t, pod, result):
    wrong = copy.deepcopy(result)
    wrong["interfaces"][1]["sandbox"] = "/run/netns/another"
    misses(t, wrong, "another")


@case("CHECK of another container's interface fails")
def _(t, pod, result):
    stranger = t.other()
    stranger.env["CNI_NETNS"] = t.env["CNI_NETNS"]
    answer = stranger.call("CHECK", conf={"prevResult": result})
    assert answer.status and answer.code in (3, 100, 102), answer


@case("CHECK fails at once when a program was detached, until it is repaired")
def _(t, pod, result):
    """The daemon repairs it: it is stopped meanwhile, and a CHECK with it
    gone must still name the program, for that comes first."""
    t.node.stop()
    try:
        for side, word in ("ingress", "from_pod"), ("egress", "to_pod"):
            t.place.run("tc", "filter", "del", "dev", host_ifname(result), side)
            misses(t, result, word)
            break
        t.place.run("tc", "qdisc", "del", "dev", host_ifname(result), "clsact")
        misses(t, result, "from_pod")
    finally:
        t.node.start()
    stage.wait_for("the daemon has repaired it", lambda: t.call(
        "CHECK", conf={"prevResult": result}).status == 0)


@case("CHECK fails when only the way to the pod has lost its program")
def _(t, pod, result):
    t.node.stop()
    try:
        t.place.run("tc", "filter", "del", "dev", host_ifname(result), "egress")
        misses(t, result, "to_pod")
    finally:
        t.node.start()


@case("CHECK while the daemon is down is code 11")
def _(t, pod, result):
    t.fails("CHECK", 11, "stiled", conf={
        "prevResult": result, "socket": "/none/stile.sock"})


@case("CHECK tolerates what later plugins and the pod itself add")
def _(t, pod, result):
    pod.run("ip", "addr", "add", "203.0.113.9/32", "dev", "eth0")
    pod.run("ip", "route", "add", "203.0.113.0/24", "dev", "lo")
    pod.run("ip", "link", "set", "eth0", "mtu", "1400")
    pod.run("ip", "link", "add", "other", "type", "bridge")
    pod.run("sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=1")
    more = copy.deepcopy(result)
    more["interfaces"].append({"name": "other",
                               "sandbox": t.env["CNI_NETNS"]})
    more["ips"].append({"address": "203.0.113.9/24", "interface": 2})
    more["routes"].append({"dst": "203.0.113.0/24"})
    check(t, more)


@case("CHECK with a field that we do not know is code 2")
def _(t, pod, result):
    t.fails("CHECK", 2, "ipMasq", conf={"prevResult": result, "ipMasq": True})


@case("CHECK changes nothing")
def _(t, pod, result):
    def state():
        return [t.place.run("ip", "-d", "addr").stdout,
                t.place.run("ip", "-6", "rule").stdout,
                pod.run("ip", "-d", "addr").stdout, show(pod, "route"),
                show(pod, "-6", "route"), endpoints(t, result)]
    t.settle()
    stage.wait_for("the device is up", lambda: show(
        pod, "link", "show", "eth0")[0]["operstate"] == "UP")
    stage.wait_for("its own address", lambda: any(
        a["scope"] == "link" and not a.get("tentative")
        for a in show(pod, "addr", "show", "eth0")[0]["addr_info"]))
    before = json.dumps(state())
    check(t, result)
    misses(t, {**result, "routes": [{"dst": "192.0.2.0/30"}]})
    equal(json.dumps(state()), before)
