# SPDX-License-Identifier: Apache-2.0
"""install_test - `make install` on a plain host, a pod, and all of it gone.

The directories that it writes to are empty file systems of this test's own.
"""
import json
import os
import subprocess

from stage import BUILD, TOP, Netns, Node, done, equal, run, test, wait_for

PLACES = ["/etc", "/opt", "/usr/local", "/lib/systemd/system", "/var/lib"]
STILE = "/usr/local/bin/stile"

node = Node()  # its network alone: the daemon is the installed one
for place in PLACES:
    run("mount", "-t", "tmpfs", "tmpfs", place)


def files():
    return sorted(f"{path}/{name}" for place in PLACES + ["/run/stile"]
                  for path, dirs, names in os.walk(place)
                  for name in dirs + names)


def install():
    env = dict(os.environ, O=BUILD)
    run(f"{TOP}/scripts/install", cwd=TOP, env=env)
    equal([path for path in (
        "/usr/local/bin/stiled", STILE, "/opt/cni/bin/stile-cni",
        "/etc/cni/net.d/05-stile.conflist", "/etc/stile/stiled.yaml",
        "/lib/systemd/system/stiled.service", "/etc/stile/manifests")
        if not os.path.exists(path)], [], "missing")


def unit_command():
    """What systemd would start."""
    with open("/lib/systemd/system/stiled.service") as f:
        line = next(line for line in f if line.startswith("ExecStart="))
    return line.strip().removeprefix("ExecStart=").split()


def serves():
    """The unit's command, the plugin and the list where they were put."""
    daemon = subprocess.Popen(node.ns.argv(*unit_command()),
                              stderr=subprocess.PIPE, text=True)
    node.ns.run(STILE, "status", "--wait=60s")
    pod = Netns("pod")
    with open("/etc/cni/net.d/05-stile.conflist") as f:
        conf = json.load(f)
    conf = {"cniVersion": conf["cniVersion"], "name": conf["name"],
            **conf["plugins"][0]}
    env = dict(os.environ, CNI_COMMAND="ADD", CNI_CONTAINERID="one",
               CNI_NETNS=pod.path, CNI_IFNAME="eth0", CNI_PATH="/opt/cni/bin")
    result = json.loads(node.ns.run("/opt/cni/bin/stile-cni", env=env,
                                    input=json.dumps(conf)).stdout)
    equal(len(result["ips"]), 2, "addresses")
    busy = node.ns.run(STILE, "uninstall", "--yes", check=False)
    equal(busy.returncode, 1, "uninstall beside a running daemon")
    daemon.terminate()
    equal(daemon.wait(30), 0, "the daemon's end")


def gone():
    node.ns.run(STILE, "uninstall", "--yes")
    equal(files(), BEFORE, "files")
    wait_for("the links", lambda: "stl" not in node.ns.run("ip", "link").stdout)


def edited_stays():
    install()
    with open("/etc/stile/stiled.yaml", "a") as f:
        f.write("# mine\n")
    with open("/etc/stile/manifests/mine.yaml", "w") as f:
        f.write("# mine\n")
    node.ns.run(STILE, "uninstall", "--yes")
    equal([f for f in files() if f not in BEFORE],
          ["/etc/stile", "/etc/stile/manifests",
           "/etc/stile/manifests/mine.yaml", "/etc/stile/stiled.yaml"], "left")


BEFORE = files()
test("make install brings all that a plain host needs", install)
test("what was installed serves a pod", serves)
test("stile uninstall removes what was installed, too", gone)
test("what somebody wrote stays", edited_stays)
done()
