# SPDX-License-Identifier: Apache-2.0
"""cni_cases_chain.py - addresses from an IPAM plugin, and links from another
plugin of a chain: Debian's host-local and ptp, which speak up to CNI 1.0.0,
and one of ours that speaks all."""
import functools
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time

import cni
import stage
from cni_cases_node import (addresses, devices, endpoints, host_ifname, ping,
                            show)
from cni_ipam import Ipam
from stage import equal

case = functools.partial(cni.case, on="node")
_numbers = itertools.count(5)


def fresh():
    """An address of each family that no pod had before."""
    n = next(_numbers)
    return f"10.99.{n >> 8}.{n & 255}/16", f"fd99::{n:x}/64"


def debian(name, t, command, conf, env=None):
    """Call one of Debian's plugins as the runtime would; its result."""
    path = f"{cni.DEBIAN}/{name}"
    if not os.path.exists(path):
        raise stage.Skip("containernetworking-plugins is not installed")
    version = min(t.version, "1.0.0")
    done = subprocess.run(
        t.place.argv(path), capture_output=True, text=True,
        input=json.dumps({"name": "stile", "type": name,
                          "cniVersion": version, **conf}),
        env={"PATH": os.environ["PATH"], **t.env, **(env or {}),
             "CNI_COMMAND": command, "CNI_PATH": cni.DEBIAN})
    assert done.returncode == 0, f"{name} {command}: {done.stdout}"
    if not done.stdout.strip():
        return None
    return {**json.loads(done.stdout), "cniVersion": t.version}


def local_ipam(t, *subnets):
    """Debian's host-local with state of its own."""
    if t.version > "1.0.0":
        raise stage.Skip("Debian's host-local ends at CNI 1.0.0")
    if not os.path.exists(f"{cni.DEBIAN}/host-local"):
        raise stage.Skip("containernetworking-plugins is not installed")
    data = tempfile.mkdtemp()
    t.later(lambda: shutil.rmtree(data))
    t.env["CNI_PATH"] = cni.DEBIAN
    t.conf["ipam"] = {"type": "host-local", "dataDir": data,
                      "ranges": [[{"subnet": s}] for s in subnets]}

    def taken():
        return sorted(f for f in os.listdir(f"{data}/stile")
                      if f[0].isdigit() or f.startswith("fd"))
    return taken


# ---- a delegated IPAM plugin -----------------------------------------------------------


@case("the addresses of a delegated plugin are the pod's")
def _(t):
    pod = t.pod()
    v4, v6 = fresh()
    plugin = Ipam(t, [v4, v6])
    result = t.ok("ADD", conf=plugin.conf, env=plugin.env)
    equal([ip["address"] for ip in result["ips"]],
          [v4.replace("/16", "/32"), v6.replace("/64", "/128")])
    equal(len(endpoints(t, result)), 1)
    for addr in addresses(result):
        assert ping(t.place, addr), addr
    link, = show(pod, "addr", "show", "eth0")
    assert v4.split("/")[0] in [a["local"] for a in link["addr_info"]]
    t.ok("DEL", conf=plugin.conf, env=plugin.env)
    equal(plugin.calls(), ["ADD", "DEL"])


@case("a delegated plugin gets our configuration and our variables")
def _(t):
    t.pod()
    plugin = Ipam(t, fresh())
    t.ok("ADD", conf={**plugin.conf, "mtu": 1400}, env=plugin.env)
    equal(plugin.given(), {**t.conf, **plugin.conf, "mtu": 1400})
    with open(f"{plugin.dir}/calls") as f:
        equal(f.read().split(), ["ADD", t.env["CNI_CONTAINERID"], "eth0",
                                 t.env["CNI_NETNS"]])


@case("a delegated plugin's dns is passed on, our own goes first")
def _(t):
    t.pod()
    plugin = Ipam(t, fresh(), dns={"nameservers": ["192.0.2.1"]})
    result = t.ok("ADD", conf=plugin.conf, env=plugin.env)
    equal(result["dns"], {"nameservers": ["192.0.2.1"]})
    t.ok("DEL")
    plugin = Ipam(t, fresh(), dns={"nameservers": ["192.0.2.1"]})
    own = {"dns": {"nameservers": ["192.0.2.2"]}}
    result = t.ok("ADD", conf={**plugin.conf, **own}, env=plugin.env)
    equal(result["dns"], own["dns"])


@case("a delegated plugin's refusal is passed on, and nothing is left")
def _(t):
    pod = t.pod()
    plugin = Ipam(t, fail={"code": 120, "msg": "none is free"})
    with t.nothing_left():
        t.fails("ADD", 120, "test-ipam", "none is free", conf=plugin.conf,
                env=plugin.env)
    equal(devices(pod), ["lo"])


@case("a delegated plugin that prints no result is refused, and undone")
def _(t):
    t.pod()
    for answer, code in (("", 6), ("x", 6), ("[]", 6), ("{}", 7),
                         ('{"ips":[]}', 7), ('{"ips":[{"address":"x"}]}', 7),
                         ('{"ips":[{"address":"10.1.0.1/24"},'
                          '{"address":"10.1.0.2/24"}]}', 7)):
        plugin = Ipam(t, answer=answer or " ")
        with t.nothing_left():
            t.fails("ADD", code, "test-ipam", conf=plugin.conf, env=plugin.env)
        equal(plugin.calls(), ["ADD", "DEL"] if code == 7 else ["ADD"], answer)


@case("a failed ADD gives the delegated address back")
def _(t):
    t.pod()
    plugin = Ipam(t, fresh())
    with t.nothing_left():
        t.fails("ADD", 11, conf={**plugin.conf, "socket": "/none/stile.sock"},
                env=plugin.env)
        equal(plugin.calls(), ["ADD", "DEL"])
        pod = t.pod()  # fails at the last step: the gateway's route is there
        pod.run("ip", "link", "add", "x", "up", "type", "bridge")
        pod.run("ip", "route", "add", "169.254.1.1/32", "dev", "x")
        t.fails("ADD", 100, "route", conf=plugin.conf, env=plugin.env)
    equal(plugin.calls(), ["ADD", "DEL"] * 2)


@case("DEL tells the delegated plugin also while the daemon is down")
def _(t):
    plugin = Ipam(t)
    t.ok("DEL", conf={**plugin.conf, "socket": "/none/stile.sock"},
         env=plugin.env)
    t.ok("DEL", conf=plugin.conf, env=plugin.env)
    equal(plugin.calls(), ["DEL", "DEL"])


@case("DEL says when the delegated plugin failed, and frees the link all the same")
def _(t):
    t.pod()
    plugin = Ipam(t, fresh())
    with t.nothing_left():
        result = t.ok("ADD", conf=plugin.conf, env=plugin.env)
        plugin.fail({"code": 121, "msg": "disk on fire"})
        t.fails("DEL", 121, "disk on fire", conf=plugin.conf, env=plugin.env)
        equal(endpoints(t, result), [])


@case("CHECK, STATUS and GC ask the delegated plugin too")
def _(t):
    plugin = Ipam(t, fresh())
    want = ["ADD"]
    t.pod()
    result = t.ok("ADD", conf=plugin.conf, env=plugin.env)
    if t.known("CHECK"):
        t.ok("CHECK", conf={**plugin.conf, "prevResult": result},
             env=plugin.env)
        want.append("CHECK")
    if t.known("STATUS"):
        t.ok("STATUS", conf=plugin.conf, env=plugin.env)
        want.append("STATUS")
    if t.known("GC"):
        t.ok("GC", env=plugin.env, conf={
            **plugin.conf, "cni.dev/valid-attachments": [
                {"containerID": t.env["CNI_CONTAINERID"], "ifname": "eth0"}]})
        want.append("GC")
    equal(plugin.calls(), want)
    plugin.fail({"code": 50, "msg": "no addresses"})
    if t.known("STATUS"):
        t.fails("STATUS", 50, "no addresses", conf=plugin.conf,
                env=plugin.env)
    if t.known("CHECK"):
        t.fails("CHECK", 50, "no addresses", env=plugin.env,
                conf={**plugin.conf, "prevResult": result})


@case("a delegated plugin that floods us with output is stopped")
def _(t):
    t.pod()
    plugin = Ipam(t, answer="x" * (1 << 21))
    start = time.monotonic()
    with t.nothing_left():
        t.fails("ADD", 11, "test-ipam", conf=plugin.conf, env=plugin.env)
    assert time.monotonic() - start < 20


@case("Debian's host-local gives addresses and gets them back")
def _(t):
    t.pod()
    taken = local_ipam(t, "10.98.0.0/24", "fd98::/64")
    result = t.ok("ADD")
    equal(sorted(addresses(result)), taken())
    if t.known("CHECK"):
        t.ok("CHECK", conf={"prevResult": result})
    t.ok("DEL")
    equal(taken(), [])
    t.ok("DEL")


@case("Debian's host-local that has no address left is heard")
def _(t):
    taken = local_ipam(t, "10.98.0.0/30")  # one for the gateway, one for a pod
    t.pod()
    t.ok("ADD")
    other = t.other()
    other.conf, other.env["CNI_PATH"] = t.conf, cni.DEBIAN
    other.pod()
    with t.nothing_left():
        answer = other.call("ADD")
        assert answer.status and "host-local" in answer.msg, answer
    equal(len(taken()), 1)


# ---- a later plugin of a chain -------------------------------------------------------------


def ptp(t):
    """A chain: Debian's ptp, then us.  Its result, and how to undo it."""
    data = tempfile.mkdtemp()
    conf = {"ipam": {"type": "host-local", "dataDir": data,
                     "ranges": [[{"subnet": "10.97.0.0/24"}],
                                [{"subnet": "fd97::/64"}]],
                     "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}
    t.later(lambda: shutil.rmtree(data))
    t.later(lambda: debian("ptp", t, "DEL", conf))
    prev = debian("ptp", t, "ADD", conf)
    t.conf["prevResult"] = prev
    return prev, lambda: debian("ptp", t, "DEL", conf)


@case("in a chain we attach to the link that is there, and pass its result on")
def _(t):
    pod = t.pod()
    prev, _ = ptp(t)
    equal(t.ok("ADD"), prev)
    name = host_ifname(prev)
    for side, stub in (("ingress", "stub_from_pod"), ("egress", "stub_to_pod")):
        out = t.place.run("tc", "filter", "show", "dev", name, side).stdout
        assert stub in out, out
    found, = endpoints(t, prev)
    equal(found["ifname"], name)
    for addr in addresses(prev):
        assert ping(t.place, addr), f"host to {addr}"
    assert ping(pod, stage.NODE4) and ping(pod, stage.NODE6)


@case("in a chain CHECK looks at the link that is there")
def _(t):
    t.pod()
    prev, _ = ptp(t)
    t.ok("ADD")
    if t.known("CHECK"):
        t.ok("CHECK")
        t.node.stop()
        t.place.run("tc", "filter", "del", "dev", host_ifname(prev), "ingress")
        t.fails("CHECK", 102, "from_pod")
        t.node.start()


@case("in a chain DEL lets go of the link, and its maker deletes it")
def _(t):
    pod = t.pod()
    with t.nothing_left():
        prev, undo = ptp(t)
        t.ok("ADD")
        t.ok("DEL")
        equal(endpoints(t, prev), [])
        equal(devices(pod), ["lo", "eth0"], "the link is its maker's")
        assert host_ifname(prev) in t.link_names()
        undo()
        equal(devices(pod), ["lo"])


@case("in a chain pods of both kinds reach each other")
def _(t):
    other = t.other()
    pod = t.pod()
    prev, _ = ptp(t)
    t.ok("ADD")
    theirs = other.pod()
    result = other.ok("ADD")
    for a, b in zip(sorted(addresses(prev)), sorted(addresses(result))):
        assert ping(pod, b), f"{a} to {b}"
        assert ping(theirs, a), f"{b} to {a}"


@case("in a chain a failed ADD leaves the earlier plugin's link as it was")
def _(t):
    pod = t.pod()
    prev, _ = ptp(t)
    def has():
        return [a["local"] for a in show(pod, "addr", "show", "eth0")[0][
            "addr_info"] if a["scope"] == "global"]
    before = has()
    with t.nothing_left():
        t.fails("ADD", 11, conf={"socket": "/none/stile.sock"})
    equal(has(), before)
    assert host_ifname(prev) in t.link_names()


def _claim(t, ifname="eth0", **more):
    """A prevResult that says there is such an interface."""
    return {"cniVersion": t.version, "ips": [
        {"address": "10.97.0.9/24", "interface": 0, "version": "4"}],
        "interfaces": [{"name": ifname, "sandbox": t.env["CNI_NETNS"]}], **more}


@case("a chain whose interface is not there is code 7")
def _(t):
    t.pod()
    with t.nothing_left():
        t.fails("ADD", 7, "eth0", conf={"prevResult": _claim(t)})


@case("a chain whose interface is no veth to the host is code 7")
def _(t):
    pod = t.pod()
    pod.run("ip", "link", "add", "eth0", "type", "bridge")
    with t.nothing_left():
        t.fails("ADD", 7, "veth", conf={"prevResult": _claim(t)})
    pod.run("ip", "link", "del", "eth0")
    pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x")
    with t.nothing_left():
        t.fails("ADD", 7, "host", conf={"prevResult": _claim(t)})


@case("a chain without an address, with two or with bad ones is code 7")
def _(t):
    pod = t.pod()
    prev, _ = ptp(t)
    ip = prev["ips"][0]
    with t.nothing_left():
        for ips in ([], [ip, {**ip, "address": "10.97.0.77/24"}], ["x"], 7,
                    [{**ip, "address": "10.97.0.7"}], [{**ip, "interface": 0}]):
            t.fails("ADD", 7, "prevResult",
                    conf={"prevResult": {**prev, "ips": ips}})
    equal(devices(pod), ["lo", "eth0"])


@case("a chain with an ipam of our own is code 7")
def _(t):
    t.pod()
    ptp(t)
    plugin = Ipam(t, fresh())
    with t.nothing_left():
        t.fails("ADD", 7, "ipam", conf=plugin.conf, env=plugin.env)
    equal(plugin.calls(), [])


@case("a chain behind a bridge is refused: it would forward past the policy")
def _(t):
    pod = t.pod()
    t.place.run("ip", "link", "add", "br9", "type", "bridge")
    t.later(lambda: t.place.run("ip", "link", "del", "br9"))
    t.place.run("ip", "link", "add", "v9", "master", "br9", "type", "veth",
                "peer", "name", "eth0", "netns", pod.name)
    t.later(lambda: t.place.run("ip", "link", "del", "v9"))
    with t.nothing_left():
        t.fails("ADD", 7, "bridge", conf={"prevResult": _claim(t)})


@case("an earlier plugin's result about something else is added to")
def _(t):
    pod = t.pod()
    prev = {"cniVersion": t.version, "ips": [], "routes": [],
            "interfaces": [{"name": "lo", "sandbox": t.env["CNI_NETNS"],
                            "mac": "00:00:00:00:00:00"}],
            "dns": {"nameservers": ["192.0.2.53"]}}
    result = t.ok("ADD", conf={"prevResult": prev})
    equal([i["name"] for i in result["interfaces"]][::2], ["lo", "eth0"])
    equal([ip["interface"] for ip in result["ips"]], [2, 2])
    equal(result["dns"], prev["dns"])
    assert ping(pod, stage.NODE4)
    if t.known("CHECK"):
        t.ok("CHECK", conf={"prevResult": result})
