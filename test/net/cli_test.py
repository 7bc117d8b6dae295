# SPDX-License-Identifier: Apache-2.0
"""cli_test - what people and programs get from `stile`, on a node in use.

    internet --- node ---+--- shop/web, shop/db
                         +--- visitors/guest
"""
import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time

from stage import (BUILD, FAR4, NODE4, Node, connect, done, equal,
                   namespace_manifest, netpol, run, test, wait_for)

node = Node()
WEB, DB, GUEST = "shop/web", "shop/db", "visitors/guest"
SQL = 5432


def stile(*argv, want=0):
    out = node.stile(*argv, check=False)
    equal(out.returncode, want, f"exit status of {argv}: {out.stdout}{out.stderr}")
    return out


def refused(*argv, want, says):
    """It fails with that status and tells why, on stderr alone."""
    out = stile(*argv, want=want)
    assert says in out.stderr, out.stderr
    equal(out.stdout, "", f"stdout of {argv}")


# ---- what is -------------------------------------------------------------------

def waits_for_ready():
    begin = time.monotonic()
    stile("status", "--wait=0.3s", want=3)
    assert time.monotonic() - begin >= 0.3, "it did not wait"
    node.start(wait=False)
    stile("status", "--wait=60s")
    equal(stile("status", "--brief").stdout, "ready\n", "one word")
    status = node.ask("status")
    equal((status["ready"], status["policy_mode"], status["node_name"]),
          (True, "enforce", node.name), "status")
    equal([c["cidr"] for c in status["pod_cidrs"]], list(node.cidrs), "CIDRs")
    equal(status["source"]["synced"], True, "source")


def make_world():
    """Three pods, two policies; what the other tests ask about."""
    global web, db, guest
    node.put("ns.json", namespace_manifest("shop", team="a"),
             namespace_manifest("visitors"))
    web = node.pod(WEB, {"app": "web"}, [("http", "TCP", 8080)])
    db = node.pod(DB, {"app": "db"}, [("sql", "TCP", SQL)])
    guest = node.pod(GUEST, {"app": "guest"})
    node.put("policies.json",
             netpol("shop/db-from-web", {"app": "db"}, ingress=[
                 {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
                  "ports": [{"protocol": "TCP", "port": "sql"}]},
                 {"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}]),
             netpol("visitors/inside", {}, egress=[
                 {"to": [{"namespaceSelector": {}}]}]))
    wait_for("the policies", lambda: len(node.ask("policy", "list")) == 2)


def endpoints():
    rows = {f"{e['namespace']}/{e['pod']}": e for e in node.ask("endpoint", "list")}
    equal(sorted(rows), sorted([WEB, DB, GUEST]), "pods")
    for pod in (web, db, guest):
        e = rows[pod.name]
        equal((e["ips"], e["ifname"], e["state"]),
              ([pod.v4, pod.v6], pod.host_ifname, "ready"), pod.name)
        equal(e["mac"], pod.mac(), "mac")
        for key in ("id", "identity", "ifindex", "mtu"):
            assert isinstance(e[key], int) and e[key] > 0, (key, e)
    equal((rows[DB]["isolated_ingress"], rows[DB]["isolated_egress"],
           rows[GUEST]["isolated_ingress"], rows[GUEST]["isolated_egress"]),
          (True, False, False, True), "isolation")
    one = node.ask("endpoint", "get", rows[DB]["id"])
    equal(one, node.ask("endpoint", "get", DB), "by number and by name")
    equal((one["labels"], one["ingress_policies"], one["egress_policies"]),
          ({"app": "db"}, ["db-from-web"], []), "db")
    refused("endpoint", "get", "shop/nobody", want=1, says="no such endpoint")


def identities():
    ids = {i["id"]: i for i in node.ask("identity", "list")}
    cache = {c["address"]: c for c in node.ask("ipcache", "list")}
    equal(cache[db.v4]["name"], DB, "name of an address")
    equal(cache[NODE4]["node"], True, "the node's address")
    assert cache[web.v4]["identity"] != cache[db.v4]["identity"], "one identity"
    assert cache[db.v4]["identity"] in ids, "an identity that is not listed"
    assert "198.51.100.0/24" in cache, "the policy's CIDR"
    own = node.ask("node", "list")
    equal((len(own), own[0]["name"], NODE4 in own[0]["addresses"],
           own[0]["uplinks"][0]["name"]), (1, node.name, True, "uplink"), "node")
    return f"{len(ids)} identities, {len(cache)} addresses"


# ---- policy --------------------------------------------------------------------

def policies():
    rows = {f"{p['namespace']}/{p['name']}": p for p in node.ask("policy", "list")}
    equal(sorted(rows), ["shop/db-from-web", "visitors/inside"], "policies")
    p = rows["shop/db-from-web"]
    equal((p["state"], p["endpoints"], p["directions"], p["ingress_rules"]),
          ("in force", 1, ["ingress"], 2), "db-from-web")
    text = stile("policy", "get", "db-from-web").stdout
    assert "pods with app=web of namespace shop, on tcp port \"sql\"" in text, text
    one = node.ask("policy", "get", "shop/db-from-web")
    equal((one["pods"], len(one["ingress"])), (["db"], 2), "its pods and rules")
    refused("policy", "get", "nothing", want=1, says="no such policy")


def refused_policy():
    """One that cannot be read is listed with its error; the others stay."""
    bad = netpol("shop/bad", {"app": "db"}, ingress=[])
    bad["spec"]["podSelector"] = {"matchExpressions": [
        {"key": "a", "operator": "Maybe"}]}
    node.put("bad.json", bad)

    def listed():
        rows = {p["name"]: p for p in node.ask("policy", "list")}
        return rows.get("bad")

    row = wait_for("the bad policy", listed)
    equal(row["state"], "refused", "state")
    assert "Maybe" in row["error"], row["error"]
    equal(node.ask("status")["refused"], 1, "refused")
    stile("policy", "why", WEB, DB, f"{SQL}/tcp")
    node.remove("bad.json")
    wait_for("its end", lambda: not listed())


WHY = [  # from, to, port, allowed, decided by, nearest, how it differs
    (WEB, DB, f"{SQL}/tcp", True, [0], None, None),
    (WEB, DB, "5433/tcp", False, [], 0, "differs in port"),
    (WEB, DB, f"{SQL}/udp", False, [], 1, "differs in peer"),
    (GUEST, DB, f"{SQL}/tcp", False, [0], 0, "differs in peer"),
    (WEB, DB, "icmp", False, [], 0, "differs in protocol"),
    ("198.51.100.7", DB, "9/sctp", True, [1], None, None),
    ("world", DB, f"{SQL}/tcp", False, [], 0, "differs in peer"),
    ("host", DB, "1/tcp", True, [], None, None),
    (DB, DB, "1/tcp", True, [], None, None),
    (DB, WEB, "1/udp", True, [], None, None),
    (GUEST, "world", "443/tcp", False, [], 0, "differs in peer"),
    (GUEST, "host", "443/tcp", True, [], None, None),
    (GUEST, WEB, "0/icmp", True, [0], None, None),
]


def why():
    for src, dst, port, allowed, decided, nearest, differs in WHY:
        out = stile("policy", "why", src, dst, port, "-o", "json",
                    want=0 if allowed else 1)
        answer, label = json.loads(out.stdout), f"{src} {dst} {port}"
        equal((answer["allowed"], answer["agrees"]), (allowed, True), label)
        found = [s["decided_by"]["index"] for s in answer["sides"]
                 if "decided_by" in s]
        equal(found, decided, f"decided: {label}")
        near = [s["nearest"] for s in answer["sides"] if "nearest" in s]
        equal([(n["index"], n["differs"]) for n in near],
              [] if nearest is None else [(nearest, differs)],
              f"nearest: {label}")
    return f"{len(WHY)} questions"


def why_in_words():
    text = stile("policy", "why", GUEST, DB, f"{SQL}/tcp", want=1).stdout
    for words in ("ingress of shop/db: denied", "isolated by shop/db-from-web",
                  "nearest is shop/db-from-web ingress[0]", "differs in peer",
                  "egress of visitors/guest: allowed",
                  "decided by visitors/inside egress[0]", "agrees"):
        assert words in text, (words, text)
    refused("policy", "why", "shop/nobody", DB, "80/tcp", want=2,
            says="no pod shop/nobody is known")
    refused("policy", "why", "10.0.0.300", DB, "80/tcp", want=2,
            says="not NS/POD, an address, host or world")
    text = stile("policy", "why", "8.8.8.8", "9.9.9.9", "80/tcp").stdout
    assert "neither end is a pod of this node" in text, text


def why_is_true():
    """What `policy why` says is what packets meet."""
    servers = [web.ns.listen(8080), db.ns.listen(SQL), db.ns.listen(5433)]
    asked = 0
    for a, b, ports in ((web, db, (SQL, 5433)), (guest, db, (SQL, 5433)),
                        (db, web, (8080,)), (guest, web, (8080,))):
        for port in ports:
            for addr in (b.v4, b.v6):
                denied = node.stile("policy", "why", a.name, addr,
                                    f"{port}/tcp", check=False).returncode
                equal(connect(a.ns, addr, port, 0.5 if denied else 5),
                      not denied, f"{a} to {addr} port {port}")
                asked += 1
    for server in servers:
        server.close()
    return f"{asked} connections as foretold"


def verify():
    text = stile("policy", "verify").stdout
    assert "0 differences" in text, text
    key = ["0"] * 10 + ["0xff"] * 2 + db.v4.split(".")
    pinned = next(m["pin"] for m in node.ask("map", "list")
                  if m["name"] == "addrs")
    run("bpftool", "map", "delete", "pinned", pinned, "key", *key)
    out = json.loads(stile("policy", "verify", "-o", "json", want=1).stdout)
    equal([d["map"] for d in out["differences"]], ["addrs"], "differences")
    assert "addrs" in stile("policy", "verify", want=1).stdout
    node.daemon.send_signal(signal.SIGHUP)
    wait_for("the repair", lambda: node.stile(
        "policy", "verify", check=False).returncode == 0)
    return f"{out['checked']} things compared"


# ---- flows ---------------------------------------------------------------------

def between(flows, src, dst):
    return [f for f in flows
            if f["source"].get("pod_name") == src.name.split("/")[1] and
            f["destination"].get("pod_name") == dst.name.split("/")[1]]


def flows():
    server = db.ns.listen(SQL)
    assert connect(web.ns, db.v4, SQL)
    assert not connect(guest.ns, db.v6, SQL, 0.2)
    server.close()
    new = wait_for("a first packet", lambda: between(node.flows(
        "--pod", WEB, "--verdict", "FORWARDED", "--port", SQL, "--ip", db.v4),
        web, db))[-1]
    equal((new["IP"]["destination"], new["l4"]["TCP"]["destination_port"],
           new["node_name"], new["is_reply"]),
          (db.v4, SQL, node.name, False), "the first packet")
    equal([p["name"] for p in new["ingress_allowed_by"]], ["db-from-web"],
          "allowed by")
    assert "k8s:app=web" in new["source"]["labels"], new["source"]
    drop = wait_for("a drop", lambda: between(node.flows(
        "--from-pod", GUEST, "--verdict", "DROPPED"), guest, db))[-1]
    equal((drop["drop_reason_desc"], drop["traffic_direction"],
           drop["IP"]["ipVersion"]), ("POLICY_DENIED", "INGRESS", "IPv6"),
          "the drop")
    equal([p["name"] for p in drop["ingress_denied_by"]], ["db-from-web"],
          "isolated by")
    value = drop["extensions"]["value"]
    equal(value["reason"], "POLICY_INGRESS", "reason")
    assert "db-from-web ingress[0]" in value["nearest_rule"], value
    text = stile("flows", "--from-pod", GUEST, "--verdict", "DROPPED",
                 "--last", "1").stdout
    assert "shop/db is isolated and no rule allows it" in \
        re.sub(r"\n +", " ", text), text


def end_of_a_flow():
    """With packets and bytes, both ways."""
    server = db.ns.listen(SQL)
    with web.ns.open(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.connect((db.v4, SQL))
        conn = server.accept()[0]
        client.sendall(b"x" * 5000)
        got = 0
        while got < 5000:
            got += len(conn.recv(8192))
        port = client.getsockname()[1]
        conn.close()
    server.close()

    def ended():
        return [f for f in node.flows("--port", port)
                if f["extensions"]["value"]["event"] == "end"]

    value = wait_for("the end", ended, 90)[0]["extensions"]["value"]
    assert value["bytes"] > 5000 and value["packets"] >= 4, value
    assert value["reply_packets"] >= 3, value
    return f"{value['packets']} packets, {value['bytes']} bytes"


def names_of_their_time():
    """A pod that is gone keeps its name in what was; its number's next owner
    has another."""
    gone = node.pod("visitors/gone", {"app": "gone"})
    connect(gone.ns, web.v4, 4712, 0.1)
    mine = wait_for("its event", lambda: node.flows(
        "--from-pod", "visitors/gone", "--port", "4712"))
    node.delete("visitors/gone")
    wait_for("its end", lambda: not [
        e for e in node.ask("endpoint", "list") if e["pod"] == "gone"])
    node.remove("pod-visitors-gone.json")
    later = node.flows("--from-pod", "visitors/gone", "--port", "4712")
    equal(later[:len(mine)], mine, "its events, later")


def audited():
    """In audit mode what policy would drop passes, and says so."""
    other = Node("audit", args=("--policy", "audit"))
    other.start()
    other.put("ns.json", namespace_manifest("a"))
    x, y = other.pod("a/x", {"app": "x"}), other.pod("a/y", {"app": "y"})
    other.put("deny.json", netpol("a/closed", {"app": "y"}, ingress=[]))
    wait_for("the policy", lambda: other.stile(
        "policy", "why", "a/x", "a/y", "80/tcp", check=False).returncode == 1)
    server = y.ns.listen(80)
    assert connect(x.ns, y.v4, 80), "audit mode drops"
    server.close()
    flow = wait_for("the event", lambda: other.flows(
        "--verdict", "AUDIT", "--port", "80"))[0]
    equal([p["name"] for p in flow["ingress_denied_by"]], ["closed"],
          "isolated by")
    assert flow["Summary"].startswith("would be dropped, ingress: a/y"), flow
    text = other.stile("policy", "why", "a/x", "a/y", "80/tcp",
                       check=False).stdout
    assert "audit mode" in text, text
    equal(other.stop(), 0, "its end")


def filters():
    everything = node.flows()
    for option, value, key in (("--namespace", "visitors", "namespace"),
                               ("-n", "shop", "namespace")):
        found = node.flows(option, value)
        assert 0 < len(found) < len(everything) + 100, (option, value)
        for f in found:
            assert value in (f["source"].get(key), f["destination"].get(key)), f
    for f in node.flows("--protocol", "tcp", "--ip", "fd00::/8"):
        assert "TCP" in f["l4"] and f["IP"]["ipVersion"] == "IPv6", f
    equal(len(node.flows("--last", "3")), 3, "--last 3")
    equal(node.flows("--since", "2999-01-01T00:00:00Z"), [], "--since later")
    assert len(node.flows("--since", "1h")) >= len(everything), "--since 1h"
    equal(node.flows("--pod", "nobody"), [], "no such pod")
    refused("flows", "--ip", "10.0.0.300", want=1, says="10.0.0.300")
    refused("flows", "--verdict", "MAYBE", want=1, says="FORWARDED, DROPPED")


@contextlib.contextmanager
def follower(*filters):
    """`stile flows -f` of what comes; its output."""
    argv = node.ns.argv(f"{BUILD}/stile", "--run-dir", f"{node.dir}/run", "flows",
                        "-f", "--last", "0", *filters, "-o", "json")

    def followers():
        return node.ask("status")["flow_log"]["followers"]

    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as reader:
        try:
            wait_for("the follower", lambda: followers() == 1)
            yield reader
        finally:
            reader.kill()
    wait_for("its end", lambda: followers() == 0)


def follow():
    with follower("--pod", GUEST) as reader:
        begin = time.monotonic()
        connect(guest.ns, web.v4, 4711, 0.1)
        ready, _, _ = select.select([reader.stdout], [], [], 30)
        took = time.monotonic() - begin
        assert ready, "nothing came"
        flow = json.loads(reader.stdout.readline())["flow"]
        equal(flow["l4"]["TCP"]["destination_port"], 4711, "port")
    return f"{took * 1000:.0f} ms"


def slow_reader():
    """Who does not read holds up nobody, and is told what it missed."""
    with follower() as reader:
        reader.send_signal(signal.SIGSTOP)
        slowest, seen = 0.0, node.ask("status")["flow_log"]["seen"]
        with node.ns.open(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for port in range(1, 30001):
                sock.sendto(b"x", (guest.v4, 10000 + port))
                if port % 3000 == 0:
                    begin = time.monotonic()
                    stile("status")
                    slowest = max(slowest, time.monotonic() - begin)
        assert slowest < 10, f"status took {slowest:.2f} s"
        read = node.ask("status")["flow_log"]["seen"] - seen
        reader.send_signal(signal.SIGCONT)
        text = b""

        def lost_lines():
            nonlocal text
            if select.select([reader.stdout], [], [], 0.1)[0]:
                text += os.read(reader.stdout.fileno(), 1 << 20)
            return [line for line in text.split(b"\n")[:-1]
                    if line.startswith(b'{"lost_events"')]

        line = wait_for("being told what it missed", lost_lines)[0]
    lost = int(json.loads(line)["lost_events"]["num_events_lost"])
    kept = node.ask("status")["flow_log"]
    assert kept["kept"] <= 4096 and kept["bytes"] <= 2 << 20, kept
    return (f"{read} events, {lost} missed, slowest answer "
            f"{slowest * 1000:.0f} ms, {kept['bytes'] / 1e6:.2f} MB kept")


# ---- the flow table ------------------------------------------------------------

def conntrack():
    server = db.ns.listen(SQL)
    client = web.ns.open(socket.AF_INET, socket.SOCK_STREAM)
    client.connect((db.v4, SQL))
    conn = server.accept()[0]
    client.sendall(b"one")
    equal(conn.recv(9), b"one", "data")
    port = client.getsockname()[1]

    def mine(least=0):
        return [f for f in node.ask("conntrack", "list", "--pod", WEB)
                if f["source"]["port"] == port and f["packets"] >= least
                and f["reply_packets"] >= least - 1]

    flow = wait_for("the flow", lambda: mine(3))[0]
    equal((flow["source"]["name"], flow["destination"]["name"],
           flow["destination"]["port"], flow["protocol"], flow["state"]),
          (WEB, DB, SQL, "tcp", "established"), "the flow")
    equal(flow["ingress_rule"], "shop/db-from-web ingress[0]", "its rule")
    assert flow["idle_seconds"] < 30, flow
    text = stile("conntrack", "flush", "--pod", WEB).stdout
    assert int(text.split()[0]) >= 1, text
    equal([f["state"] for f in mine()], [], "after the flush")
    client.sendall(b"two")
    conn.settimeout(0.5)
    try:
        raise AssertionError(f"a forgotten connection delivers {conn.recv(9)}")
    except TimeoutError:
        pass
    assert connect(web.ns, db.v4, SQL), "a new connection"
    for sock in (client, conn, server):
        sock.close()


def translated():
    """A masqueraded flow is one line, with what the far side sees."""
    server = node.far.listen(80)
    client = web.ns.open(socket.AF_INET, socket.SOCK_STREAM)
    client.connect((FAR4, 80))
    port = client.getsockname()[1]
    rows = wait_for("the flow", lambda: [
        f for f in node.ask("conntrack", "list")
        if f["source"]["port"] == port and f["source"]["name"] == WEB])
    equal(len(rows), 1, "lines")
    equal(rows[0]["translated_to"]["source"]["address"], NODE4, "seen as")
    equal((rows[0]["state"], rows[0]["side"]), ("established", "pod"), "state")
    assert rows[0]["reply_packets"] >= 1, "answers, counted at the far side"
    client.close()
    server.close()


def flush_is_a_verdict():
    """Forgotten flows are judged by what is in force now."""
    refused("conntrack", "flush", "--pod", "shop/nobody", want=1,
            says="no pod shop/nobody")
    refused("conntrack", "flush", "--pod", "web", want=1, says="NS/NAME")


# ---- maps and programs -----------------------------------------------------------

def maps():
    rows = {m["name"]: m for m in node.ask("map", "list")}
    equal(rows["endpoints"]["entries"], 3, "endpoints")
    assert rows["addrs"]["entries"] >= 6 and rows["addrs"]["memory_bytes"] > 0
    dumped = 0
    for name in rows:
        if name in ("events", "sweeps"):
            refused("map", "dump", name, want=1, says="nothing to dump")
            continue
        elements = node.ask("map", "dump", name)
        assert isinstance(elements, list), name
        assert not any("key_hex" in e for e in elements), name
        dumped += len(elements)
    pods = {e["pod"] for e in node.ask("map", "dump", "endpoints")}
    equal(pods, {WEB, DB, GUEST}, "pods in the map")
    rules = [e["rule"] for e in node.ask("map", "dump", "policies")]
    assert "shop/db-from-web ingress[0]" in rules, rules
    drops = {(d["hook"], d["reason"]) for d in node.ask("map", "dump", "drops")}
    assert ("from_pod", "POLICY_INGRESS") in drops, drops
    refused("map", "dump", "nothing", want=1, says="no such map")
    return f"{len(rows)} maps, {dumped} elements"


def programs():
    rows = {p["name"]: p for p in node.ask("program", "list")}
    for name in ("from_pod", "to_pod", "from_net", "to_net"):
        assert rows[name]["verified_instructions"] > 0, name
    equal((rows["stub_from_pod"]["devices"], rows["stub_from_net"]["devices"]),
          (3, 1), "devices")


# ---- for people ------------------------------------------------------------------

COMMANDS = [["status"], ["endpoint", "list"], ["endpoint", "get", DB],
            ["identity", "list"], ["ipcache", "list"], ["node", "list"],
            ["policy", "list"], ["policy", "get", "db-from-web"],
            ["policy", "verify"], ["flows"], ["conntrack", "list"],
            ["map", "list"], ["map", "dump", "policies"],
            ["map", "dump", "flows"], ["program", "list"], ["kernel-check"]]


def a_hundred_columns():
    lines = 0
    for words in COMMANDS:
        for line in stile(*words).stdout.splitlines():
            assert len(line) <= 100, (words, len(line), line)
            equal(line, line.rstrip(), f"blanks at the end: {words}")
            lines += 1
    for words in ([GUEST, DB, f"{SQL}/tcp"],):
        for line in stile("policy", "why", *words, want=1).stdout.splitlines():
            assert len(line) <= 100, line
    return f"{lines} lines"


def on_a_terminal(*argv, **env):
    """What a person's terminal would get."""
    ours, theirs = pty.openpty()
    subprocess.run(node.ns.argv(f"{BUILD}/stile", "--run-dir",
                                f"{node.dir}/run", *argv), stdout=theirs,
                   env={**os.environ, **env})
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # its other side is closed
            piece = b""
        if not piece:
            break
        text += piece
    os.close(ours)
    return text


def colour():
    esc = b"\x1b["
    assert esc in on_a_terminal("status", NO_COLOR=""), "no colour on a terminal"
    assert esc not in on_a_terminal("status", NO_COLOR="1"), "NO_COLOR"
    assert esc not in on_a_terminal("status", "--color=never", NO_COLOR="")
    assert "\x1b[" not in stile("status").stdout, "colour in a pipe"
    assert "\x1b[" in stile("status", "--color=always").stdout, "always"
    assert "\x1b[" not in stile("status", "-o", "json",
                                "--color=always").stdout, "colour in JSON"


def not_for_everybody():
    """The socket is root's alone."""
    mode = os.stat(f"{node.dir}/run/stile.sock").st_mode & 0o777
    equal(oct(mode), "0o600", "mode of the socket")


def hubble_reads_it():
    """Every line has what GetFlowsResponse has, and nothing else."""
    known = {"time", "verdict", "drop_reason", "drop_reason_desc", "IP", "l4",
             "source", "destination", "Type", "node_name", "event_type",
             "traffic_direction", "trace_observation_point", "trace_reason",
             "is_reply", "interface", "Summary", "extensions",
             "ingress_allowed_by", "egress_allowed_by", "ingress_denied_by",
             "egress_denied_by"}
    lines = [json.loads(line) for line in
             stile("flows", "-o", "json").stdout.splitlines()]
    for line in lines:
        assert set(line) <= {"flow", "lost_events", "node_name", "time"}, line
        assert set(line.get("flow", {})) <= known, line
    return f"{len(lines)} lines"


test("status --wait waits until pods can be made", waits_for_ready)
make_world()
test("endpoints are listed and shown", endpoints)
test("identities, addresses and the node are listed", identities)
test("policies are listed, and said in words", policies)
test("a policy that can not be read is listed with its error", refused_policy)
test("policy why names the rule that decided, or the nearest", why)
test("policy why says it in words", why_in_words)
test("policy why says what packets meet", why_is_true)
test("policy verify sees a planted difference", verify)
test("flows name pods, rules and reasons", flows)
test("the end of a flow carries packets and bytes", end_of_a_flow)
test("events keep the names of their time", names_of_their_time)
test("audit mode tells what policy would drop", audited)
test("flows are filtered", filters)
test("flows -f shows what comes", follow)
test("flow lines have Hubble's fields alone", hubble_reads_it)
test("conntrack list names the flow, flush forgets it", conntrack)
test("a masqueraded flow is one line", translated)
test("conntrack flush refuses what it does not know", flush_is_a_verdict)
test("maps are listed and dumped with names", maps)
test("programs are listed", programs)
test("no line for people is wider than 100 columns", a_hundred_columns)
test("colour is for terminals", colour)
test("the socket is for root", not_for_everybody)
test("a reader that does not read holds up nobody", slow_reader)
done()
