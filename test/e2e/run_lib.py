# SPDX-License-Identifier: Apache-2.0
"""run_lib.py - what `run` and `scale` share: the tools, and the yard."""
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("O") or f"{TOP}/build")
STATE = f"{BUILD}/e2e"
GLOBALS = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"]
NEEDED = {"containerd": "containerd", "ctr": "containerd", "runc": "runc",
          "openssl": "openssl", "iptables": "iptables", "nft": "nftables"}

# What the yard's first process does before all else.
YARD = """
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
"$@" &
wait $!
"""


def tools(*kind):
    """The directory with hk, coredns (and kind), or the end."""
    missing = {p for c, p in NEEDED.items() if not shutil.which(c)}
    if missing:
        print(f"1..0 # SKIP not installed: {' '.join(sorted(missing))} "
              "(scripts/deps --e2e installs it)")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    given = os.environ.get("HK_DIR")
    if given:
        return os.path.abspath(given)
    out = subprocess.run([f"{HERE}/binaries", f"{BUILD}/k8s", *kind], check=False)
    if out.returncode == 77:
        print("1..0 # SKIP there is no Go to build Kubernetes with")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    if out.returncode:
        sys.exit("run: Kubernetes was not built")
    return f"{BUILD}/k8s"


# ---- what outlives namespaces -----------------------------------------------------

def sysctls():
    values = {}
    for key in GLOBALS:
        with open(f"/proc/sys/{key}") as f:
            values[key] = f.read().strip()
    return values


def sysctls_restore(values):
    for key, value in values.items():
        if sysctls()[key] != value:
            with open(f"/proc/sys/{key}", "w") as f:
                f.write(value)


def cgroups_remove(name):
    """Those of this run; they empty when its last process has gone."""
    import cluster
    end = time.monotonic() + 10
    for root in cluster.cgroup_roots():
        for path, _, _ in os.walk(f"{root}/{name}", topdown=False):
            while os.path.exists(path):
                try:
                    os.rmdir(path)
                except OSError:
                    if time.monotonic() > end:
                        print(f"run: {path} is left", file=sys.stderr)
                        break
                    time.sleep(0.05)


def program_argv(settings, *argv):
    """In namespaces of its own; kind's nodes are Docker's, which is outside."""
    if settings["cluster"] == "kind":
        return ["setpriv", "--pdeathsig", "TERM", *argv]
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid",
            "--fork", "--kill-child", "sh", "-ec", YARD, "yard", *argv]


def yard(program, settings):
    """@program, told by a file: its exit status."""
    lock = open(f"{STATE}/lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"run: another cluster is using {STATE}")
    name = f"{STATE}/settings.json"
    with open(name, "w") as f:
        json.dump(settings, f)
    before = sysctls()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is below is done
    child = subprocess.Popen(  # the lock is not handed on
        program_argv(settings, sys.executable, program, name), start_new_session=True,
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
    try:
        return child.wait()
    except KeyboardInterrupt:
        return 1
    finally:
        if child.poll() is None:
            kind = settings["cluster"] == "kind"  # which ends its cluster first
            os.kill(child.pid, signal.SIGTERM if kind else signal.SIGKILL)
            child.wait()
        sysctls_restore(before)
        cgroups_remove(settings["cgroup"])


def in_yard(program, settings):
    """All of a program such as `scale`."""
    if os.getuid():
        os.execvp("sudo", ["sudo", "-E", *sys.argv])
    binaries = tools()
    os.makedirs(STATE, exist_ok=True)
    shutil.rmtree(f"{STATE}/s", ignore_errors=True)
    status = yard(program, {
        "dir": f"{STATE}/s", "bin": binaries, "build": BUILD,
        "cluster": "netns", "cgroup": f"stile-e2e-{os.getpid()}", **settings})
    shutil.rmtree(f"{STATE}/s", ignore_errors=True)
    sys.exit(status)
