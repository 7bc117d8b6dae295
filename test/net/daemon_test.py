# SPDX-License-Identifier: Apache-2.0
"""daemon_test - stiled as its neighbours see it: the plugin's requests said by
hand, starts and stops, and what happens when files and disks go bad.

    node --- devices made by hand, no pods behind them
"""
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import statistics
import subprocess
import time

from stage import (ABI_VERSION, BUILD, Node, done, equal, netpol, pod_manifest,
                   run, test, wait_for)

MAC = "02:00:00:00:00:01"


def ask(node, op, **request):
    """One request, its reply."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(f"{node.dir}/run/stile.sock")
        sock.sendall(json.dumps({"op": op, **request}).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            more = sock.recv(65536)
            assert more, f"{op}: closed after {data!r}"
            data += more
        return json.loads(data)


def code(reply):
    return reply.get("error", {}).get("code", 0)


def refused(reply, number, *words):
    equal(code(reply), number, f"code of {reply}")
    for word in words:
        assert word in reply["error"]["msg"], f"{word!r} not in {reply}"


def fresh(name, **kw):
    """A node without what an earlier run may have left under its name."""
    shutil.rmtree(f"/run/stile-{name}", ignore_errors=True)
    return Node(name, **kw)


class Link:
    """A device of the node as the plugin would have made it."""

    made = []

    def __init__(self, node, container, name=None):
        self.node, self.container = node, container
        Link.made.append(self)
        self.name = name or "stl" + hashlib.sha1(
            container.encode()).hexdigest()[:12]
        node.ns.run("ip", "link", "add", self.name, "type", "veth", "peer",
                    "name", f"peer{len(Link.made)}x{time.monotonic_ns() % 10**6}")
        self.index = json.loads(node.ns.run(
            "ip", "-j", "link", "show", self.name).stdout)[0]["ifindex"]

    def request(self, **more):
        fields = dict(container_id=self.container, ifname="eth0",
                      netns=f"/run/netns/{self.container}",
                      host_ifname=self.name, ifindex=self.index, mac=MAC,
                      network="stile")
        fields.update(more)
        return {k: v for k, v in fields.items() if v is not None}

    def add(self, **more):
        return ask(self.node, "cni.add", **self.request(**more))

    def check(self, ips, **more):
        return ask(self.node, "cni.check", **self.request(ips=ips, **more))

    def delete(self):
        return ask(self.node, "cni.del", container_id=self.container,
                   ifname="eth0", host_ifname=self.name)

    def release(self):
        """What the plugin does with a link that the daemon takes; it may be
        gone already."""
        self.node.ns.run("ip", "link", "set", self.name, "down", check=False)
        self.node.ns.run("ip", "link", "set", self.name, "name",
                         f"stld{self.index:x}", check=False)

    def exists(self):
        out = self.node.ns.run("ip", "-j", "link").stdout
        return any(l["ifindex"] == self.index for l in json.loads(out))

    def remove(self):
        self.node.ns.run("ip", "link", "del", "dev", self.name)


def endpoints(node):
    path = f"{node.dir}/state/endpoints"
    return sorted(n for n in os.listdir(path) if n.endswith(".json"))


def tidy():
    """Nothing of one test is there for the next."""
    while Link.made:
        link = Link.made.pop()
        if link.node.daemon:
            link.delete()
        # The daemon may be deleting it at this moment.
        for name in (link.name, f"stld{link.index:x}"):
            link.node.ns.run("ip", "link", "del", "dev", name, check=False)
    if node.daemon:
        wait_for("the last files' end", lambda: not endpoints(node))


def map_rows(node, name):
    out = run("bpftool", "-j", "map", "dump", "pinned",
              f"{node.bpffs}/v{ABI_VERSION}/{name}")
    return json.loads(out.stdout)


node = fresh("node")

# ---- start and stop -----------------------------------------------------------
def dry_run_changes_nothing():
    node.put("dry.json", pod_manifest("n/dry", {"app": "x"}),
             netpol("n/dry", ingress=[]))
    links = node.ns.run("tc", "filter", "show", "dev", "uplink",
                        "ingress").stdout
    out = node.ns.run(f"{BUILD}/stiled", "--dry-run", "--source",
                      f"dir:{node.manifests}", "--run-dir", f"{node.dir}/run",
                      "--state-dir", f"{node.dir}/state", "--bpffs",
                      node.bpffs, "--device", "uplink", "--pod-cidr",
                      node.cidrs[0])
    json.loads(out.stdout)
    assert not os.path.exists(node.bpffs), "the directory of pins was made"
    assert not os.path.exists(f"{node.dir}/run"), "the run directory was made"
    assert not os.path.exists(f"{node.dir}/state"), "the state was made"
    equal(node.ns.run("tc", "filter", "show", "dev", "uplink",
                      "ingress").stdout, links, "filters of the uplink")
    node.remove("dry.json")


def files_are_roots_alone():
    node.start()
    for path, mode in ((f"{node.dir}/run", 0o700), (f"{node.dir}/state", 0o700),
                       (f"{node.dir}/run/stile.sock", 0o600),
                       (f"{node.dir}/state/endpoints", 0o700)):
        equal(stat.S_IMODE(os.stat(path).st_mode), mode, path)
    loose = run("find", f"{node.dir}/run", f"{node.dir}/state", "-perm",
                "/077", "!", "-type", "l").stdout
    equal(loose, "", "files that others may use")


def others_may_not_ask():
    out = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         "/usr/bin/python3", "-c", "import socket,sys\ns=socket.socket(1)\n"
         f"try: s.connect('{node.dir}/run/stile.sock')\n"
         "except PermissionError: sys.exit(7)"], check=False)
    equal(out.returncode, 7, "exit status of a stranger")


def a_second_daemon_exits_1():
    out = node.ns.run(f"{BUILD}/stiled", "--source", f"dir:{node.manifests}",
                      "--run-dir", f"{node.dir}/run2", "--state-dir",
                      f"{node.dir}/state", "--bpffs", node.bpffs, "--device",
                      "uplink", check=False)
    equal(out.returncode, 1, "exit status")
    assert "another stiled uses this state directory" in out.stderr, out.stderr
    equal(code(ask(node, "cni.status")), 0, "the first one's status")


def bad_flags_exit_2():
    for args in (["--sauce"], ["--source", "git"], ["--pod-cidr", "x"]):
        out = node.ns.run(f"{BUILD}/stiled", *args, check=False)
        equal(out.returncode, 2, f"exit status of {args}")
        assert out.stderr.startswith("stiled: "), out.stderr


def help_names_every_flag():
    out = run(f"{BUILD}/stiled", "--help").stdout
    for flag in ("source", "pod-cidr", "hubble", "dry-run", "config", "xdp"):
        assert f"--{flag}" in out, f"{flag} is not in the help"
    assert run(f"{BUILD}/stiled", "--version").stdout.startswith("stiled ")


def sigterm_stops_cleanly_and_detaches_nothing():
    link = Link(node, "stays")
    ips = link.add()["ips"]
    pins = sorted(os.listdir(f"{node.bpffs}/v{ABI_VERSION}"))
    rows = map_rows(node, "addrs")
    equal(node.stop(), 0, "exit status")
    assert not os.path.exists(f"{node.dir}/run/stile.sock"), "socket left"
    equal(sorted(os.listdir(f"{node.bpffs}/v{ABI_VERSION}")), pins, "pins")
    equal(len(map_rows(node, "addrs")), len(rows), "addresses in the map")
    assert link.exists()
    node.start()
    equal(code(link.check(ips)), 0, "CHECK after the restart")
    equal(code(link.delete()), 0)


def bpffs_is_mounted_where_it_is_missing():
    path = f"{node.dir}/fs/bpf/stile"
    other = fresh("other")
    other.bpffs = path
    other.start()
    kind = run("stat", "-f", "-c", "%T", path).stdout.strip()
    equal(kind, "bpf_fs", "file system")
    equal(other.stop(), 0)
    assert os.path.isdir(f"{path}/v{ABI_VERSION}"), "no pins"
    run("umount", path)

# ---- the plugin's requests ------------------------------------------------------
def an_add_answers_with_all_that_the_plugin_needs():
    link = Link(node, "c1")
    reply = link.add()
    equal(code(reply), 0, reply)
    equal(len(reply["ips"]), 2, "addresses")
    assert reply["ips"][0].startswith("10.88."), reply
    assert reply["ips"][1].startswith("fd00:88::"), reply
    equal(reply["mtu"], 1500)
    equal(reply["gateway"], {"v4": "169.254.1.1", "v6": "fe80::1"})
    equal(reply["gw_mac"], "ee:ee:ee:ee:ee:ee")
    assert reply["gso_max"] >= 65536, reply
    for stub in ("stub_from_pod", "stub_to_pod"):
        assert os.path.exists(f"{reply['pins']}/{stub}"), stub
    equal(code(link.check(reply["ips"])), 0)
    equal(endpoints(node), ["c1:eth0.json"])
    again = link.add()
    refused(again, 100, "has eth0 already")
    equal(link.delete(), {"taken": True})


def check_sees_every_difference():
    link = Link(node, "c2")
    ips = link.add()["ips"]
    equal(code(link.check(ips)), 0)
    refused(link.check(ips[:1]), 100, "IPv6 address")
    refused(link.check(["10.88.99.99", ips[1]]), 100, "IPv4 address")
    refused(link.check(ips, mac="02:00:00:00:00:02"), 100, "MAC")
    refused(link.check(ips, host_ifname="stl999999999999"), 100, "its device")
    refused(link.check(ips, ifname="eth9"), 100, "no attachment")
    link.remove()
    refused(link.check(ips), 100, "is gone")
    equal(link.delete(), {"taken": False})
    refused(link.check(ips), 100, "no attachment")


def a_pod_that_is_not_known_is_for_later():
    link = Link(node, "c3")
    reply = link.add(pod_namespace="n", pod_name="late")
    refused(reply, 11, "pod n/late is not known yet")
    equal(endpoints(node), [])
    node.put("late.json", pod_manifest("n/late"))
    wait_for("ADD of n/late", lambda: not code(
        link.add(pod_namespace="n", pod_name="late")))
    link.delete()
    node.remove("late.json")


def a_host_network_pod_has_no_interface():
    pod = pod_manifest("n/hostly")
    pod["spec"]["hostNetwork"] = True
    node.put("hostly.json", pod)
    link = Link(node, "c4")
    wait_for("the manifest", lambda: code(
        link.add(pod_namespace="n", pod_name="hostly")) == 7)
    refused(link.add(pod_namespace="n", pod_name="hostly"), 7, "hostNetwork")
    node.remove("hostly.json")
    link.remove()


def devices_must_be_there():
    link = Link(node, "c5")
    refused(link.add(ifindex=link.index + 1000), 7, "no device")
    refused(link.add(host_ifname="uplink"), 7, "no device uplink")
    one = link.add()
    other = Link(node, "c6")
    refused(other.add(host_ifname=link.name, ifindex=link.index), 100,
            "device")
    equal(code(one), 0)
    link.delete()
    other.remove()


def given_addresses_are_used_and_kept_apart():
    a, b = Link(node, "given-a"), Link(node, "given-b")
    reply = a.add(ips=["10.88.200.1/16", "2001:db8:9::1/64"], mtu=1400)
    equal(reply["ips"], ["10.88.200.1", "2001:db8:9::1"])
    equal(reply["mtu"], 1400)
    refused(b.add(ips=["10.88.200.1/16"]), 100, "another endpoint's")
    refused(b.add(ips=["192.0.2.1/24"]), 100, "this node's own")
    refused(b.add(ips=["127.0.0.1/8"]), 7, "can be no pod's")
    only = b.add(ips=["203.0.113.9"])
    equal(only["ips"], ["203.0.113.9"])
    equal(only["gateway"], {"v4": "169.254.1.1"})
    a.delete()
    # Who gives addresses himself may give one again at once.
    again = Link(node, "given-c")
    equal(code(again.add(ips=["2001:db8:9::1/64"])), 0)
    b.delete()


def an_attachment_whose_device_is_gone_is_replaced():
    old = Link(node, "c7")
    first = old.add()
    old.remove()
    new = Link(node, "c7")
    second = new.add()
    equal(code(second), 0, second)
    assert first["ips"] != second["ips"], "an address that should rest"
    equal(endpoints(node), ["c7:eth0.json"])
    new.delete()


def a_deleted_link_goes_soon():
    links = [Link(node, f"d{i}") for i in range(20)]
    for link in links:
        equal(code(link.add()), 0)
    rows = len(map_rows(node, "addrs"))
    for link in links:
        equal(link.delete(), {"taken": True})
        link.release()
    equal(len(map_rows(node, "addrs")), rows - 40, "addresses left")
    start = time.monotonic()
    wait_for("the links' end", lambda: not any(l.exists() for l in links))
    wait_for("the files' end", lambda: not endpoints(node))
    return f"{time.monotonic() - start:.2f} s for 20"


def the_same_names_can_come_back_at_once():
    for _ in range(5):
        link = Link(node, "again")
        equal(code(link.add()), 0)
        equal(link.delete(), {"taken": True})
        link.release()
    wait_for("the links' end", lambda: "stld" not in node.ns.run(
        "ip", "link").stdout)
    wait_for("the files' end", lambda: not endpoints(node))


def links_of_another_plugin_are_left_alone():
    link = Link(node, "chained", name="cbr0pod1")
    equal(code(link.add(ips=["10.88.201.1"])), 0)
    equal(link.delete(), {"taken": False})
    wait_for("the file's end", lambda: not endpoints(node))
    assert link.exists(), "the link was deleted"
    link.remove()


def an_unknown_attachment_is_deleted_already():
    equal(ask(node, "cni.del", container_id="nobody", ifname="eth0",
              host_ifname="stl000000000000"), {"taken": False})


def gc_ends_what_is_not_valid_in_its_network_alone():
    links = {n: Link(node, n) for n in ("gc-a", "gc-b", "gc-c")}
    for name, link in links.items():
        equal(code(link.add(network="other" if name == "gc-c"
                            else "stile")), 0)
    refused(ask(node, "cni.gc", network="stile"), 7, "valid is no list")
    refused(ask(node, "cni.gc", network="stile", valid=[{"ifname": "x"}]), 7,
            "valid[0]")
    refused(ask(node, "cni.gc", valid=[]), 7, "network is missing")
    equal(len(endpoints(node)), 3, "endpoints after bad requests")
    equal(ask(node, "cni.gc", network="stile", valid=[
        {"container_id": "gc-a", "ifname": "eth0"}]), {})
    wait_for("the link's end", lambda: not links["gc-b"].exists())
    wait_for("the file's end", lambda: endpoints(node) == [
        "gc-a:eth0.json", "gc-c:eth0.json"])
    links["gc-a"].delete()
    links["gc-c"].delete()


def hostile_requests_get_an_answer_each():
    bad = [b"", b"\n", b"{}\n", b"[]\n", b"{\"op\":\"cni.add\"}\n",
           b"{\"op\":\"cni.add\",\"container_id\":\"../../x\"}\n",
           b"\x00\xff\n", b"{\"op\":" + b"[" * 5000 + b"\n",
           b"{\"op\":\"cni.del\",\"container_id\":7}\n"]
    for text in bad:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(f"{node.dir}/run/stile.sock")
            sock.sendall(text)
            sock.shutdown(socket.SHUT_WR)
            data = b""
            while more := sock.recv(65536):
                data += more
        if text:
            assert "error" in json.loads(data), (text, data)
    equal(code(ask(node, "cni.status")), 0)

# ---- restarts -------------------------------------------------------------------
def restarts_adopt_what_lives_and_end_what_does_not():
    alive, gone, dying = (Link(node, n) for n in ("alive", "gone", "dying"))
    ips = alive.add()["ips"]
    gone.add()
    dying.add()
    dying.delete()
    dying.release()
    node.stop(signal.SIGKILL)
    gone.remove()
    node.start()
    equal(code(alive.check(ips)), 0)
    wait_for("the released link's end", lambda: not dying.exists())
    wait_for("the files' end",
             lambda: endpoints(node) == ["alive:eth0.json"])
    other = Link(node, "newcomer")
    reply = other.add()
    equal(code(reply), 0, reply)
    assert not set(reply["ips"]) & set(ips), "an address twice"
    alive.delete()
    other.delete()


def releases_of_the_queue_are_caught_up_with():
    links = [Link(node, f"q{i}") for i in range(10)]
    for link in links:
        equal(code(link.add()), 0)
    node.stop(signal.SIGKILL)
    queue = f"{node.dir}/state/del-queue"
    os.makedirs(queue, 0o700, exist_ok=True)
    for link in links:
        with open(f"{queue}/{link.name}", "w") as f:
            json.dump({"container_id": link.container, "ifname": "eth0",
                       "host_ifname": link.name}, f)
    for name, text in (("stlbadbadbadba", "{"), (".tmp", "x"),
                       ("stl0000000000ff", '{"container_id": "../x", "ifname": '
                        '"eth0", "host_ifname": "stl0000000000ff"}')):
        with open(f"{queue}/{name}", "w") as f:
            f.write(text)
    os.symlink("/etc/passwd", f"{queue}/stl0000000000aa")
    node.start()
    wait_for("the links' end", lambda: not any(l.exists() for l in links))
    wait_for("the files' end", lambda: not endpoints(node))
    left = [n for n in os.listdir(queue) if not n.startswith(".")]
    equal(left, [], "files of the queue")
    assert os.path.lexists(f"{queue}/.stlbadbadbadba.bad"), os.listdir(queue)


def a_corrupt_state_file_costs_its_own_pod_alone():
    good, bad = Link(node, "good"), Link(node, "bad")
    ips = good.add()["ips"]
    lost = bad.add()["ips"]
    node.stop(signal.SIGKILL)
    path = f"{node.dir}/state/endpoints/bad:eth0.json"
    with open(path, "r+b") as f:
        f.seek(20)
        f.write(b"\xff")
    node.start()
    equal(code(good.check(ips)), 0)
    refused(bad.check(lost), 100, "no attachment")
    assert os.path.exists(path + ".bad"), "it was not kept for inspection"
    # Closed, not open: nothing in the maps answers for it.
    for row in map_rows(node, "addrs"):
        key = bytes(int(b, 0) for b in row["key"])
        assert socket.inet_ntop(socket.AF_INET6, key) != lost[1], "still there"
    os.unlink(path + ".bad")
    good.delete()
    bad.remove()


def links_that_nobody_knows_but_bear_our_name_go():
    link = Link(node, "stray")
    link.release()
    node.stop()
    node.start()
    wait_for("the stray's end", lambda: not link.exists())

# ---- bad disks -------------------------------------------------------------------
@contextlib.contextmanager
def _state_on_tmpfs(name, size):
    other = fresh(name)
    os.makedirs(f"{other.dir}/state", 0o700)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs",
        f"{other.dir}/state")
    other.start()
    try:
        yield other, f"{other.dir}/state"
    finally:
        equal(other.stop(), 0, "exit status")
        run("umount", f"{other.dir}/state")


def a_full_disk_refuses_add_and_lets_del_through():
    with _state_on_tmpfs("full", "256k") as (other, state):
        first = Link(other, "first")
        ips = first.add()["ips"]
        with open(f"{state}/ballast", "wb", 0) as f:
            with contextlib.suppress(OSError):
                while True:
                    f.write(bytes(4096))
        second = Link(other, "second")
        reply = second.add()
        refused(reply, 11, "No space left", "nothing was attached")
        equal(endpoints(other), ["first:eth0.json"])
        equal(code(first.check(ips)), 0)
        equal(first.delete(), {"taken": True})
        wait_for("the file's end", lambda: not endpoints(other))
        os.unlink(f"{state}/ballast")
        equal(code(second.add()), 0, "ADD with room again")


def a_read_only_disk_refuses_add_and_lets_del_through():
    with _state_on_tmpfs("readonly", "256k") as (other, state):
        first = Link(other, "first")
        equal(code(first.add()), 0)
        run("mount", "-o", "remount,ro", state)
        second = Link(other, "second")
        refused(second.add(), 11, "Read-only file system")
        equal(first.delete(), {"taken": True})
        wait_for("the link's end", lambda: not first.exists())
        run("mount", "-o", "remount,rw", state)


def when_addresses_run_out_status_says_so():
    small = fresh("small", cidrs=("10.89.0.0/29",)).start()
    links = [Link(small, f"s{i}") for i in range(6)]
    for link in links[:5]:
        equal(code(link.add()), 0)
    refused(ask(small, "cni.status"), 50, "no IPv4 address is free")
    equal(code(ask(small, "cni.status", delegated=True)), 0)
    refused(links[5].add(), 11, "no address is free: 5 of 5 in use")
    links[0].delete()
    refused(links[5].add(), 11, "4 of 5 in use")  # it rests
    small.stop()


def without_a_cidr_only_given_addresses_are_served():
    bare = fresh("bare", cidrs=()).start(wait=False)
    wait_for("an answer", lambda: bare.stile("status", check=False).returncode < 3)
    refused(ask(bare, "cni.status"), 50, "no --pod-cidr")
    link = Link(bare, "b1")
    refused(link.add(), 11, "no --pod-cidr")
    equal(code(link.add(ips=["10.90.0.7/24"])), 0)
    bare.stop()

# ---- speed -----------------------------------------------------------------------
def add_is_quick():
    """What a mere question takes tells how quick the machine is."""
    def p50(requests):
        times = []
        for request in requests:
            start = time.perf_counter()
            equal(code(request()), 0)
            times.append(time.perf_counter() - start)
        return statistics.median(times) * 1e3

    links = [Link(node, f"speed{i}") for i in range(60)]
    one = p50([lambda: ask(node, "cni.status")] * 60)
    add, delete = p50([l.add for l in links]), p50([l.delete for l in links])
    wait_for("the files' end", lambda: not endpoints(node))
    assert add < max(5, 20 * one), f"ADD p50 {add:.2f} ms, a question {one:.2f}"
    return f"p50 of the daemon's part: ADD {add:.2f} ms, DEL {delete:.2f} ms"


for run_test in (
        dry_run_changes_nothing, files_are_roots_alone, others_may_not_ask,
        a_second_daemon_exits_1, bad_flags_exit_2, help_names_every_flag,
        sigterm_stops_cleanly_and_detaches_nothing,
        an_add_answers_with_all_that_the_plugin_needs,
        check_sees_every_difference, a_pod_that_is_not_known_is_for_later,
        a_host_network_pod_has_no_interface, devices_must_be_there,
        given_addresses_are_used_and_kept_apart,
        an_attachment_whose_device_is_gone_is_replaced,
        a_deleted_link_goes_soon,
        the_same_names_can_come_back_at_once,
        links_of_another_plugin_are_left_alone,
        an_unknown_attachment_is_deleted_already,
        gc_ends_what_is_not_valid_in_its_network_alone,
        hostile_requests_get_an_answer_each,
        restarts_adopt_what_lives_and_end_what_does_not,
        releases_of_the_queue_are_caught_up_with,
        a_corrupt_state_file_costs_its_own_pod_alone,
        links_that_nobody_knows_but_bear_our_name_go,
        a_full_disk_refuses_add_and_lets_del_through,
        a_read_only_disk_refuses_add_and_lets_del_through,
        when_addresses_run_out_status_says_so,
        without_a_cidr_only_given_addresses_are_served,
        bpffs_is_mounted_where_it_is_missing, add_is_quick):
    test(run_test.__name__.replace("_", " "), run_test)
    tidy()
node.stop()
for name in ("node", "other", "full", "readonly", "small", "bare"):
    shutil.rmtree(f"/run/stile-{name}", ignore_errors=True)
done()
