# SPDX-License-Identifier: Apache-2.0
"""http_test - metrics and probes, asked as a scraper and a kubelet do."""
import re
import shutil
import subprocess

from stage import (FAR4, NODE4, Node, Skip, connect, done, equal,
                   namespace_manifest, netpol, run, test, wait_for)

PORT = 9577
LINE = re.compile(r'^([a-z_][a-z0-9_]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})?'
                  r' (-?[0-9][0-9.e+-]*)$')

node = Node(args=["--metrics", f":{PORT}"]).start()
node.put("n.json", namespace_manifest("n"),
         netpol("n/deny", {"app": "b"}, ingress=[]))
a = node.pod("n/a", {"app": "a"})
b = node.pod("n/b", {"app": "b"})


def get(path, host=NODE4, method="GET", check=True):
    """(status, type, body), by curl's own HTTP."""
    out = node.ns.run("curl", "-sS", "-m", 30, "-X", method, "-o", "/run/body",
                      "-w", "%{http_code} %{content_type}",
                      f"http://{host}:{PORT}{path}", check=check)
    with open("/run/body") as f:
        status, _, kind = out.stdout.partition(" ")
        return int(status or 0), kind, f.read()


def metrics():
    """{name and labels: value}; fails on what is not the format."""
    status, kind, body = get("/metrics")
    equal(status, 200)
    assert kind.startswith("text/plain; version=0.0.4"), kind
    values, typed = {}, {}
    for line in body.splitlines():
        if line.startswith("#"):
            word, name, rest = line[2:].split(" ", 2)
            assert word in ("HELP", "TYPE") and rest, line
            if word == "TYPE":
                assert name not in typed, f"{name} twice"
                typed[name] = rest
            continue
        m = LINE.match(line)
        assert m, f"not a sample: {line}"
        assert m[1] in typed, f"{m[1]} has no type"
        equal(m[1].endswith("_total"), typed[m[1]] == "counter", m[1])
        values[m[1] + (m[2] or "")] = float(m[3])
    return values


def families_are_well_formed():
    values = metrics()
    equal(values["stile_ready"], 1)
    equal(values["stile_endpoints"], 2)
    equal(values["stile_policies"], 1)
    assert values["process_resident_memory_bytes"] > 1 << 20
    assert values["process_open_fds"] > 10
    return f"{len(values)} samples"


def drops_are_counted():
    key = 'stile_drops_total{hook="from_pod",reason="POLICY_INGRESS"}'
    before = metrics()[key]
    equal(connect(a.ns, b.v4, 80, 0.3), False)
    wait_for("the drop", lambda: metrics()[key] > before)
    equal(metrics()[key], node.drops()["FROM_POD", "POLICY_INGRESS"])


def promtool_agrees():
    if not shutil.which("promtool"):
        raise Skip("promtool (Debian's prometheus) is not installed")
    out = subprocess.run(["promtool", "check", "metrics"], text=True,
                         input=get("/metrics")[2], capture_output=True)
    equal((out.returncode, out.stdout + out.stderr), (0, ""))


def probes_tell():
    equal(get("/healthz")[0::2], (200, "ok\n"))
    equal(get("/readyz")[0::2], (200, "ok\n"))
    equal(get("/readyz", "[::1]")[0], 200)


def not_ready_is_503():
    """No address left: ADD cannot be served, and readyz says why."""
    small = Node("small", ("10.89.0.0/30",), args=["--metrics", f":{PORT}"])
    small.start()
    small.pod("none/x")
    wait_for("no address", lambda: small.stile(
        "status", check=False).returncode == 1)
    out = small.ns.run("curl", "-sS", "-m", 30, "-w", " %{http_code}",
                       f"http://127.0.0.1:{PORT}/readyz")
    assert out.stdout.endswith(" 503"), out.stdout
    assert "address" in out.stdout, out.stdout
    small.stop()


def others_are_refused():
    equal(get("/")[0], 404)
    equal(get("/metrics/")[0], 404)
    equal(get("/metrics", method="POST")[0], 405)
    equal(get("/" + "x" * 20000, check=False)[0] in (0, 413, 414, 431), True)


def silence_holds_up_nobody():
    """One address that says nothing takes no other's place."""
    held = []
    with node.far.entered():
        import socket
        for _ in range(100):
            sock = socket.create_connection((NODE4, PORT), 10)
            sock.send(b"GET /met")
            held.append(sock)
    equal(get("/healthz")[0], 200)
    equal(node.stile("status").returncode, 0)
    for sock in held:
        sock.close()
    return f"{len(held)} connections from {FAR4}"


test("metrics are in the text format", families_are_well_formed)
test("drops are counted by hook and reason", drops_are_counted)
test("promtool finds nothing to say", promtool_agrees)
test("probes tell how it is, in both families", probes_tell)
test("readyz says why ADD cannot be served", not_ready_is_503)
test("everything else is refused", others_are_refused)
test("connections that say nothing hold up nobody", silence_holds_up_nobody)
node.stop()
run("rm", "-f", "/run/body")
done()
