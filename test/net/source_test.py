# SPDX-License-Identifier: Apache-2.0
"""source_test - however its manifest is saved, and whatever becomes of the
directory, an isolated pod is never open for a moment.

    node ---+--- n/a ~~~~> n/b      datagrams without end, all denied
            +--- n/c ----> n/b      allowed by some versions of the policy
"""
import contextlib
import json
import os
import shutil
import threading
import time

from stage import (Node, connect, done, equal, namespace_manifest, netpol, run,
                   test, wait_for)

node = Node().start()
node.put("namespace.json", namespace_manifest("n"))
DENY = netpol("n/deny", {"app": "b"}, ingress=[])
FROM_C = netpol("n/deny", {"app": "b"}, ingress=[
    {"from": [{"podSelector": {"matchLabels": {"app": "c"}}}]}])
DENY_FILE = f"{node.manifests}/deny.json"
node.put("deny.json", DENY)
a, b, c = (node.pod(f"n/{x}", {"app": x}) for x in "abc")
listener = b.ns.listen(80)


class Spray:
    """Datagrams from a to b, some thousand a second."""

    def __init__(self):
        self.server, self.client = b.ns.udp(5000, b.v4), a.ns.udp(0, a.v4)
        self.server.setblocking(False)
        self.sent, self.ends = 0, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ends.is_set():
            with contextlib.suppress(OSError):
                self.client.sendto(b"x", (b.v4, 5000))
                self.sent += 1
            time.sleep(0.0002)

    def more(self, count=200):
        """Until so many more were sent."""
        sent = self.sent
        wait_for("datagrams", lambda: self.sent >= sent + count)

    def received(self):
        self.more()
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.server.recv(16)
                count += 1
        return count

    def stop(self):
        self.ends.set()
        self.thread.join()


def c_may(want):
    """Until it is so: a connection that was only slow is none that is denied."""
    wait_for(f"c {'may' if want else 'may not'}",
             lambda: connect(c.ns, b.v4, 80, 0.2) is want and node.stile(
                 "policy", "why", "n/c", "n/b", "80/tcp", check=False
             ).returncode == (0 if want else 1))


def refused(name):
    return name in node.stile("status", check=False).stdout


def held(text, flags=os.O_TRUNC):
    """Open the manifest as a program does that takes its time; what closes it
    after writing @text."""
    fd = os.open(DENY_FILE, os.O_WRONLY | os.O_CREAT | flags, 0o644)

    def finish():
        os.write(fd, text.encode())
        os.close(fd)
    return finish


def closed(change):
    """Run @change, and then again as it was: nothing came through."""
    equal(spray.received(), 0, "datagrams before")
    sent = spray.sent
    change()
    node.put("deny.json", DENY)
    c_may(False)
    equal(spray.received(), 0, "datagrams to the isolated pod")
    return f"0 of {spray.sent - sent} came through"


def the_harness_sees_a_leak():
    equal(spray.received(), 0, "before")
    node.remove("deny.json")
    wait_for("a leak", lambda: spray.received() > 0)
    node.put("deny.json", DENY)
    c_may(False)
    wait_for("its end", lambda: spray.received() == 0)


def saved_by_way_of_a_backup():
    os.rename(DENY_FILE, DENY_FILE + "~")
    finish = held(json.dumps(FROM_C), os.O_EXCL)
    spray.more(1500)
    finish()
    c_may(True)
    os.unlink(DENY_FILE + "~")


def removed_and_made_anew():
    pads = [netpol(f"z/pad{i}", {"app": f"x{i}"}, ingress=[{"from": [
        {"ipBlock": {"cidr": f"10.{i}.{j}.0/24"}} for j in range(20)]}])
        for i in range(200)]
    copy = f"{node.dir}/copy.json"
    for i in range(6):
        with open(copy, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "List",
                       "items": [DENY if i % 2 else FROM_C, *pads]}, f)
        run("install", "-m", "644", copy, DENY_FILE)
        c_may(i % 2 == 0)


def written_over():
    for i in range(6):
        finish = held(json.dumps(DENY if i % 2 else FROM_C))
        spray.more(100)
        finish()
        c_may(i % 2 == 0)


def a_command_that_failed_left_it_empty():
    run("sh", "-c", f"false > {DENY_FILE}", check=False)
    wait_for("a complaint", lambda: refused("deny.json"))
    spray.more()


def restarted_while_it_was_written():
    finish = held(json.dumps(FROM_C))
    for _ in range(2):
        node.stop()
        node.start()
        wait_for("a complaint", lambda: refused("deny.json"))
        spray.more(1500)
    finish()
    c_may(True)


def the_directory_was_made_anew():
    copy = f"{node.dir}/copy"
    shutil.copytree(node.manifests, copy)
    for i in range(3):
        run("sh", "-c", f"rm -rf {node.manifests}; cp -r {copy} {node.manifests}")
        node.put("deny.json", FROM_C)
        c_may(True)
        node.put("deny.json", DENY)
        c_may(False)
        wait_for("settled", lambda: not refused("Source/dir"))
    shutil.rmtree(copy)


def the_directory_was_away():
    away = f"{node.dir}/away"
    os.rename(node.manifests, away)
    wait_for("a complaint", lambda: refused("Source/dir"))
    spray.more(2000)
    os.rename(away, node.manifests)
    wait_for("settled", lambda: not refused("Source/dir"))


def something_was_mounted_over_it():
    run("mount", "-t", "tmpfs", "tmpfs", node.manifests)
    wait_for("a complaint", lambda: refused("Source/dir"))
    spray.more(5000)  # it is empty: that has no effect
    run("umount", "-l", node.manifests)
    wait_for("settled", lambda: not refused("Source/dir"))
    run("mount", "-t", "tmpfs", "tmpfs", node.manifests)
    node.put("deny.json", FROM_C)
    c_may(True)
    run("umount", "-l", node.manifests)
    c_may(False)


def a_link_was_swapped():
    """As git-sync does; the first time it takes a directory's place."""
    release = f"{node.dir}/release"
    os.rename(node.manifests, f"{release}0")
    os.symlink(f"{release}0", node.manifests)
    for i in range(1, 7):
        shutil.copytree(f"{release}{i - 1}", f"{release}{i}")
        with open(f"{release}{i}/deny.json", "w") as f:
            json.dump(FROM_C if i % 2 else DENY, f)
        os.symlink(f"{release}{i}", f"{node.dir}/link")
        os.rename(f"{node.dir}/link", node.manifests)
        if i % 3:  # removed at once, or when it is in force
            shutil.rmtree(f"{release}{i - 1}")
        c_may(i % 2 == 1)
        shutil.rmtree(f"{release}{i - 1}", ignore_errors=True)


spray = Spray()
test("the harness sees a leak", the_harness_sees_a_leak)
for change in (saved_by_way_of_a_backup, removed_and_made_anew, written_over,
               a_command_that_failed_left_it_empty,
               restarted_while_it_was_written, the_directory_was_made_anew,
               the_directory_was_away, something_was_mounted_over_it,
               a_link_was_swapped):
    test(f"never open: {change.__name__.replace('_', ' ')}", closed, change)
spray.stop()
equal(node.stop(), 0, "status of stiled")
done()
