# SPDX-License-Identifier: Apache-2.0
"""cni_cases_bare.py - the plugin on its own: its input, a daemon that is down
or mad, the chroot."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading

import cni
import stage
from cni import case
from stage import equal, run

# ---- VERSION ------------------------------------------------------------------


@case("VERSION repeats the version asked for and lists what it speaks")
def _(t):
    data = t.ok("VERSION", stdin=json.dumps({"cniVersion": t.version}).encode())
    equal(data, {"cniVersion": t.version, "supportedVersions": cni.VERSIONS})


@case("VERSION needs nothing but CNI_COMMAND")
def _(t):
    answer = subprocess.run([cni.PLUGIN], env={"CNI_COMMAND": "VERSION"},
                            stdin=subprocess.DEVNULL, capture_output=True)
    equal(answer.returncode, 0)
    equal(json.loads(answer.stdout)["supportedVersions"], cni.VERSIONS)


@case("VERSION answers though its input is garbage")
def _(t):
    data = t.ok("VERSION", stdin=b"\xff{{{")
    equal(data["cniVersion"], "1.1.0")


@case("VERSION does not wait for an input that never ends")
def _(t):
    child = subprocess.Popen([cni.PLUGIN], env={"CNI_COMMAND": "VERSION"},
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        equal(child.wait(timeout=30), 0)


@case("VERSION works in a chroot that holds nothing but the binary")
def _(t):
    root = tempfile.mkdtemp()
    t.later(lambda: shutil.rmtree(root))
    shutil.copy(cni.PLUGIN, f"{root}/stile-cni")
    equal(os.listdir(root), ["stile-cni"])
    out = run("/usr/sbin/chroot", root, "/stile-cni",
              env={"CNI_COMMAND": "VERSION"},
              input=json.dumps({"cniVersion": t.version}))
    equal(json.loads(out.stdout)["cniVersion"], t.version)


# ---- the variables --------------------------------------------------------------


@case("no CNI_COMMAND is code 4")
def _(t):
    t.fails("", 4, "CNI_COMMAND")
    t.fails("ADD", 4, "CNI_COMMAND", env={"CNI_COMMAND": None})


@case("an unknown command is code 4")
def _(t):
    for command in "add", "ADDD", "UPDATE", "../ADD", " ADD", "A" * 5000:
        t.fails(command, 4, "CNI_COMMAND")


@case("ADD names every variable it lacks in one message")
def _(t):
    gone = {"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None}
    t.fails("ADD", 4, *gone, env=gone)
    t.fails("ADD", 4, "CNI_NETNS", env={"CNI_NETNS": ""})


@case("DEL needs a container and an interface, not a namespace")
def _(t):
    gone = {"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None}
    answer = t.fails("DEL", 4, "CNI_CONTAINERID", "CNI_IFNAME", env=gone)
    assert "CNI_NETNS" not in answer.msg, answer


@case("CHECK names every variable it lacks in one message")
def _(t):
    gone = {"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None}
    t.fails("CHECK", 4, *gone, env=gone)


@case("GC needs CNI_PATH")
def _(t):
    t.fails("GC", 4, "CNI_PATH", env={"CNI_PATH": None})


@case("a container id that is no name is code 4")
def _(t):
    for bad in ("../x", "a/b", ".hidden", "-x", "_x", "a b", "a\tb", "a;b",
                "a\nb", "ä", "a\\b", "a*", "a:b", "%2e%2e", "x" * 129,
                "x" * 100000, "/", "a/../../etc", "\x7f", "a\u202eb"):
        for command in "ADD", "DEL", "CHECK":
            t.fails(command, 4, "CNI_CONTAINERID",
                    env={"CNI_CONTAINERID": bad})


@case("an interface name that can be none is code 4")
def _(t):
    for bad in (".", "..", "a/b", "a:b", "a b", "a\tb", "\n", "x" * 16,
                "x" * 10000, "../eth0", "eth0\x01", "ä"):
        for command in "ADD", "DEL", "CHECK":
            t.fails(command, 4, "CNI_IFNAME", env={"CNI_IFNAME": bad})


@case("CNI_ARGS that are no pairs are code 4")
def _(t):
    for bad in ("x", "=x", "a=b=c", ";;", "a=b;;c", "IgnoreUnknown=maybe",
                "IgnoreUnknown", "x" * 200 + "=1", "K8S_POD_NAME"):
        t.fails("ADD", 4, "CNI_ARGS", env={"CNI_ARGS": bad})


@case("unknown CNI_ARGS are code 4 unless IgnoreUnknown is set")
def _(t):
    t.fails("ADD", 4, "FOO", env={"CNI_ARGS": "FOO=1"})
    t.fails("ADD", 4, "FOO", env={"CNI_ARGS": "IgnoreUnknown=0;FOO=1"})
    for yes in "1", "true", "True":
        t.fails("ADD", 4, "CNI_NETNS",  # it went on to the next step
                env={"CNI_ARGS": f"FOO=1;IgnoreUnknown={yes};BAR=2"})


@case("a pod's name and namespace go together in CNI_ARGS")
def _(t):
    t.fails("ADD", 4, "K8S_POD_NAME", env={"CNI_ARGS": "K8S_POD_NAME=a"})
    t.fails("ADD", 4, "K8S_POD_NAME", env={"CNI_ARGS": "K8S_POD_NAMESPACE=a"})


@case("pod names that Kubernetes would not give are code 4")
def _(t):
    for bad in ("../x", "A", "a_b", "a..b", "-a", "a-", ".a", "a.", "a/b",
                "a b", "ä", "", "x" * 254, "a.-b", "a-.b"):
        t.fails("ADD", 4, "K8S_POD_NAME", env={
            "CNI_ARGS": f"K8S_POD_NAMESPACE=a;K8S_POD_NAME={bad}"})
    for bad in "a.b", "x" * 64, "..":
        t.fails("ADD", 4, "K8S_POD_NAMESPACE", env={
            "CNI_ARGS": f"K8S_POD_NAMESPACE={bad};K8S_POD_NAME=a"})


@case("DEL does not look at CNI_ARGS")
def _(t):
    t.ok("DEL", env={"CNI_ARGS": "=;=;K8S_POD_NAME=../.."})


def _bad_netns(t):
    root = tempfile.mkdtemp()
    t.later(lambda: shutil.rmtree(root))
    os.mkfifo(f"{root}/fifo")
    os.symlink("loop", f"{root}/loop")
    os.symlink(t.place.path, f"{root}/own")
    open(f"{root}/file", "w").close()
    return [f"{root}/fifo", f"{root}/loop", f"{root}/own", f"{root}/file",
            root, f"{root}/none", "relative", "/dev/zero", "/dev/null",
            "/proc/1/ns/net", "/proc/self/ns/net", "/proc/self/ns/mnt",
            "/proc/self/ns/user", "/proc/self/exe", t.place.path,
            "/" + "x" * 300, "/dev/../dev/zero", "\x01"]


@case("a CNI_NETNS that is no pod's namespace is code 4, at once")
def _(t):
    for bad in _bad_netns(t):
        with t.nothing_left():
            answer = t.fails("ADD", 4, "CNI_NETNS", env={"CNI_NETNS": bad})
        assert answer.seconds < 5, f"{bad}: {answer.seconds} s"


@case("CHECK of a namespace that is no pod's is code 4",
      only=lambda v: v >= "0.4.0")
def _(t):
    for bad in _bad_netns(t):
        t.fails("CHECK", 4, "CNI_NETNS", env={"CNI_NETNS": bad},
                conf={"prevResult": {}})


@case("DEL takes a CNI_NETNS that is no pod's namespace for one that is gone")
def _(t):
    for bad in _bad_netns(t):
        if len(bad) < 256:
            t.ok("DEL", env={"CNI_NETNS": bad})


# ---- the network configuration ----------------------------------------------------


@case("an input that is no JSON object is code 6")
def _(t):
    for bad in (b"", b" ", b"{", b"[]", b"null", b"3", b'"x"', b"{}{}",
                b'{"cniVersion":"%s",}' % t.version.encode(), b"\xff\xfe",
                b'{"name":"\xff"}', b'{"a":"\\u0000"}', b"[" * 100000,
                b'{"name":"a","name":"b"}', b"\x00", b"nul"):
        for command in "ADD", "DEL":
            t.fails(command, 6, stdin=bad)


@case("an input cut short at any byte is code 6")
def _(t):
    whole = json.dumps(t.conf).encode()
    for n in range(0, len(whole), 7):
        t.fails("ADD", 6, stdin=whole[:n])


@case("an input that can not be read is code 5")
def _(t):
    t.fails("ADD", 5, stdin=b" " * (1 << 20) + b"{}")
    done = subprocess.run(["sh", "-c", f"exec {cni.PLUGIN} <&-"],
                          env={**t.env, "CNI_COMMAND": "DEL"},
                          capture_output=True)
    equal(json.loads(done.stdout)["code"], 5)


@case("a version that we do not speak is code 1")
def _(t):
    for bad in ("0.1.0", "0.2.0", "0.3.0", "1.2.0", "2.0.0", "", "x", "1",
                t.version + " ", "v" + t.version, "1.1.0.0"):
        for command in "ADD", "DEL", "CHECK", "GC", "STATUS":
            answer = t.fails(command, 1, conf={"cniVersion": bad},
                             env={"CNI_PATH": "/"})
            equal(answer.data["cniVersion"], "1.1.0")


@case("no version is code 1, one that is no string code 6")
def _(t):
    t.fails("ADD", 1, "cniVersion", conf={"cniVersion": None})
    for bad in 1, [], {}, True:
        answer = t.call("ADD", conf={"cniVersion": bad})
        equal(answer.code, 6)


@case("a command that the version does not have is code 1")
def _(t):
    for command in cni.SINCE:
        t.known(command)


@case("a network without a name, or with a bad one, is code 7")
def _(t):
    for bad in (None, "", "../x", "a/b", ".x", "-x", "a b", "ä", "a\n", 1, [],
                {}, "x" * 129, "a;b"):
        t.fails("ADD", 7, "name", conf={"name": bad})
        t.fails("DEL", 7, "name", conf={"name": bad})


@case("a plugin type that is no file name is code 7")
def _(t):
    for bad in "../x", "a/b", "", ".", 1, {}, "a b":
        t.fails("ADD", 7, "type", conf={"type": bad})


@case("a field that we do not know is code 2, with its key and value")
def _(t):
    t.fails("ADD", 2, "ipMasq", "true", conf={"ipMasq": True})
    t.fails("ADD", 2, "bridge", "br7", conf={"bridge": "br7"})
    t.fails("ADD", 2, "mut", '{"a":[1,2]}', conf={"mut": {"a": [1, 2]}})
    t.fails("ADD", 2, "x" * 60, conf={"x" * 500: "y" * 5000})
    if t.version >= "1.1.0":
        t.fails("STATUS", 2, "ipMasq", conf={"ipMasq": True})


@case("DEL passes over fields that we do not know")
def _(t):
    t.ok("DEL", conf={"ipMasq": True, "x": {"y": []}})


@case("fields of the specification and of runtimes are no reason to refuse")
def _(t):
    t.fails("ADD", 4, "CNI_NETNS", conf={
        "capabilities": {"portMappings": True}, "args": {"a": 1},
        "runtimeConfig": {"portMappings": [], "mac": "02:00:00:00:00:01"},
        "disableCheck": True, "disableGC": False, "ipam": {},
        "cniVersions": cni.VERSIONS, "loadOnlyInlinedPlugins": False,
        "cni.dev/anything": [1], "dns": {}})


@case("an MTU that can be none is code 7")
def _(t):
    for bad in "1500", -1, 1, 575, 65536, 1 << 40, 1500.5, [], True:
        t.fails("ADD", 7, "mtu", conf={"mtu": bad})


@case("an ipam that is no object, or names no plugin, is code 7")
def _(t):
    for bad in ("host-local", [], 1, {"type": 1}, {"range": "x"},
                {"type": ""}, {"type": "x" * 65}):
        t.fails("ADD", 7, "ipam", conf={"ipam": bad}, env={"CNI_PATH": "/x"})


@case("an ipam type that is a path is code 7, and nothing of it runs")
def _(t):
    proof = f"{tempfile.gettempdir()}/ran-{os.getpid()}"
    root = tempfile.mkdtemp()
    t.later(lambda: shutil.rmtree(root))
    os.mkdir(f"{root}/bin")
    with open(f"{root}/evil", "w") as f:
        f.write(f"#!/bin/sh\ntouch {proof}\n")
    os.chmod(f"{root}/evil", 0o755)
    for bad in ("../evil", "./../evil", f"{root}/evil", "bin/../../evil",
                "..", ".", "a/b", "evil\n", "evil;evil", "$(evil)"):
        for command in "ADD", "DEL":
            t.fails(command, 7, "ipam", conf={"ipam": {"type": bad}},
                    env={"CNI_PATH": f"{root}/bin"})
    assert not os.path.exists(proof)


@case("a delegated ipam needs CNI_PATH, and to be there")
def _(t):
    t.pod()
    conf = {"ipam": {"type": "host-local"}}
    t.fails("ADD", 4, "CNI_PATH", conf=conf, env={"CNI_PATH": None})
    with t.nothing_left():
        t.fails("ADD", 7, "host-local", conf=conf,
                env={"CNI_PATH": "/none:relative:"})


@case("a prevResult, dns or path of the wrong kind is code 7")
def _(t):
    for key, values in (("prevResult", ("x", [], 1)), ("dns", ("x", [])),
                        ("socket", ("x", 1, "/" + "x" * 108, "")),
                        ("stateDir", ("x", [], "../x", "/" + "x" * 201))):
        for bad in values:
            t.fails("ADD", 7, key, conf={key: bad})
            t.fails("DEL", 7, key, conf={key: bad})


@case("GC's list of attachments must be one", only=lambda v: v >= "1.1.0")
def _(t):
    for bad in (None, "x", {}, [1], [{}], [{"containerID": "a"}],
                [{"containerID": 1, "ifname": "eth0"}]):
        t.fails("GC", 7, "valid-attachments", env={"CNI_PATH": "/"},
                conf={"cni.dev/valid-attachments": bad})


# ---- the daemon is down ------------------------------------------------------------


@case("ADD while the daemon is down is code 11, and leaves nothing")
def _(t):
    pod = t.pod()
    with t.nothing_left():
        for _ in range(5):
            answer = t.fails("ADD", 11, "stile.sock")
            assert answer.seconds < 20, answer.seconds
    equal(len(json.loads(pod.run("ip", "-j", "link").stdout)), 1, "links")


@case("STATUS while the daemon is down is code 50")
def _(t):
    if t.known("STATUS"):
        t.fails("STATUS", 50, "stile.sock")


@case("GC while the daemon is down is code 11")
def _(t):
    if t.known("GC"):
        t.fails("GC", 11, "stile.sock", env={"CNI_PATH": "/"},
                conf={"cni.dev/valid-attachments": []})


@case("DEL while the daemon is down succeeds and is queued on disk")
def _(t):
    t.pod()
    t.ok("DEL")
    queue = f"{t.state_dir}/del-queue"
    equal(len(t.queue()), 1)
    name, = t.queue()
    with open(f"{queue}/{name}") as f:
        equal(json.load(f), {"container_id": t.env["CNI_CONTAINERID"],
                             "ifname": "eth0", "host_ifname": name})
    equal(os.stat(f"{queue}/{name}").st_mode & 0o777, 0o600)
    equal(os.stat(queue).st_mode & 0o777, 0o700)
    equal(os.stat(t.state_dir).st_mode & 0o777, 0o700)


@case("DEL repeated while the daemon is down is queued once")
def _(t):
    for _ in range(20):
        t.ok("DEL")
    equal(len(t.queue()), 1)
    t.ok("DEL", env={"CNI_IFNAME": "net1"})
    equal(len(t.queue()), 2)


@case("DEL without a namespace, with one that is gone, and with none succeeds")
def _(t):
    t.ok("DEL", env={"CNI_NETNS": None})
    t.ok("DEL", env={"CNI_NETNS": ""})
    t.ok("DEL", env={"CNI_NETNS": "/run/netns/gone"})
    t.ok("DEL", conf={"prevResult": {}})


@case("DEL while the daemon is down removes the link, also after a killed ADD")
def _(t):
    pod = t.pod()
    silent = cni.BadDaemon(None)
    t.later(silent.close)
    before = t.link_names()
    child = subprocess.Popen(
        t.place.argv(cni.PLUGIN), stdin=subprocess.PIPE,
        env={**t.env, "CNI_COMMAND": "ADD"}, stdout=subprocess.DEVNULL)
    child.stdin.write(json.dumps({**t.conf, "socket": silent.path}).encode())
    child.stdin.close()
    stage.wait_for("the plugin waits for its answer", lambda: silent.kept)
    assert t.link_names() != before, "it made a link"
    child.kill()
    child.wait()
    t.ok("DEL")
    equal(t.link_names(), before)
    equal(len(json.loads(pod.run("ip", "-j", "link").stdout)), 1, "links")


@case("a symbolic link in the place of the queue is not followed")
def _(t):
    trap = tempfile.mkdtemp()
    t.later(lambda: shutil.rmtree(trap))
    os.mkdir(t.state_dir, 0o700)
    os.symlink(trap, f"{t.state_dir}/del-queue")
    t.fails("DEL", 11, "del-queue")
    equal(os.listdir(trap), [])


@case("a symbolic link in the place of a queued file is not followed")
def _(t):
    t.ok("DEL")
    name, = t.queue()
    queue = f"{t.state_dir}/del-queue"
    trap = f"{t.state_dir}/trap"
    open(trap, "w").close()
    os.unlink(f"{queue}/{name}")
    os.symlink(trap, f"{queue}/{name}")
    os.symlink(trap, f"{queue}/.{name}")
    t.fails("DEL", 11, "del-queue")  # and clears what was in the way
    t.ok("DEL")
    assert not os.path.islink(f"{queue}/{name}")
    equal(os.stat(trap).st_size, 0)


@case("a full queue refuses a further release, and takes those it has")
def _(t):
    t.ok("DEL")
    queue = f"{t.state_dir}/del-queue"
    for i in range(4095):
        open(f"{queue}/f{i}", "w").close()
    t.ok("DEL")
    t.fails("DEL", 11, "del-queue", env={"CNI_CONTAINERID": "other"})
    equal(len(t.queue()), 4096)


@case("a state directory that can not be written is code 11, and DEL repeats")
def _(t):
    open(t.state_dir, "w").close()
    t.fails("DEL", 11, "del-queue")
    os.unlink(t.state_dir)
    t.ok("DEL")


@case("a full disk is code 11, and no half file stays")
def _(t):
    os.mkdir(t.state_dir, 0o700)
    run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3,mode=700", "tmpfs",
        t.state_dir)
    t.later(lambda: run("umount", t.state_dir))
    t.ok("DEL")
    t.fails("DEL", 11, env={"CNI_CONTAINERID": "other"})
    equal(len(t.queue()), 1)


# ---- a daemon that is mad -------------------------------------------------------------


def _replies(t, *replies):
    for reply in replies:
        daemon = cni.BadDaemon(reply)
        try:
            yield reply, daemon
        finally:
            daemon.close()


@case("a daemon that answers garbage is code 11, and nothing is left")
def _(t):
    t.pod()
    for reply, daemon in _replies(t, b"", b"\n", b"{", b"[]\n", b"null\n",
                                  b"\xff\n", b'{"ips"', b"x" * 100000):
        with t.nothing_left():
            t.fails("ADD", 11, "stiled", conf={"socket": daemon.path})


@case("an answer of another version is refused, and nothing is left")
def _(t):
    t.pod()
    ok = {"ips": ["10.0.0.5"], "mtu": 1500, "gso_max": 65536,
          "gw_mac": "ee:ee:ee:ee:ee:ee", "pins": "/none",
          "gateway": {"v4": "169.254.1.1", "v6": "fe80::1"}}
    for key, bad in (("ips", []), ("ips", ["x"]), ("ips", [1]),
                     ("ips", None), ("pins", None), ("pins", "x" * 300),
                     ("mtu", -1), ("mtu", 70000), ("gso_max", -5),
                     ("gw_mac", "x"), ("gateway", {"v4": "fe80::1"}),
                     ("pins", "/none")):
        line = json.dumps({**ok, key: bad}).encode() + b"\n"
        for _, daemon in _replies(t, line):
            with t.nothing_left():
                t.fails("ADD", 100, conf={"socket": daemon.path})
            equal([r["op"] for r in daemon.requests][:1], ["cni.add"])


@case("the daemon's refusal is passed on with its code and its sentence")
def _(t):
    t.pod()
    for code in 7, 11, 100, 107:
        line = json.dumps({"error": {"code": code, "msg": "no: ä"}}).encode()
        for _, daemon in _replies(t, line + b"\n"):
            with t.nothing_left():
                t.fails("ADD", code, "no: ", conf={"socket": daemon.path})
            equal([r["op"] for r in daemon.requests], ["cni.add"])
            t.fails("DEL", code, "no: ", conf={"socket": daemon.path})
            equal(t.queue(), [])


@case("a daemon that never answers makes ADD code 11 and DEL queued, in time")
def _(t):
    t.pod()
    silent = cni.BadDaemon(None)
    t.later(silent.close)
    conf = {"socket": silent.path}
    other = {"CNI_CONTAINERID": "other", "CNI_NETNS": None}
    answers = {}

    def call(command, env):
        answers[command] = t.call(command, conf=conf, env=env)
    threads = [threading.Thread(target=call, args=a)
               for a in (("ADD", None), ("DEL", other))]
    before = t.link_names()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(answers["ADD"].code, 11)
    assert answers["ADD"].seconds < 20, answers["ADD"].seconds
    equal(answers["DEL"].status, 0)
    equal(t.link_names(), before)
    equal(len(t.queue()), 1)


@case("who is not root can not use the daemon's socket or the queue")
def _(t):
    sock = socket.socket(socket.AF_UNIX)
    t.later(sock.close)
    root = tempfile.mkdtemp()
    t.later(lambda: shutil.rmtree(root))
    os.chmod(root, 0o755)
    sock.bind(f"{root}/stile.sock")
    os.chmod(f"{root}/stile.sock", 0o600)
    sock.listen(1)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    t.fails("DEL", 11, wrap=nobody, conf={"socket": f"{root}/stile.sock",
                                          "stateDir": f"{root}/state"})
    if t.known("STATUS"):
        t.fails("STATUS", 50, "Permission denied", wrap=nobody,
                conf={"socket": f"{root}/stile.sock"})
