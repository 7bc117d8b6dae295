# SPDX-License-Identifier: Apache-2.0
"""check_test - `stile check connectivity`, in pods: right when all is well, and
when something is not."""
import json

from stage import (BUILD, FAR4, FAR6, NODE4, NODE6, Node, done, equal,
                   namespace_manifest, netpol, test, wait_for)

STILE = f"{BUILD}/stile"
ALLOW = netpol("n/allow", {"app": "peer"}, ingress=[{"ports": [
    {"protocol": p, "port": 8080} for p in ("TCP", "UDP")]}])

node = Node().settled().start()
node.put("n.json", namespace_manifest("n"))
node.put("allow.json", ALLOW)
peers = [node.pod(f"n/peer{i}", {"app": "peer"}) for i in range(3)]
asker = node.pod("n/asker")
servers = [p.ns.proc(STILE, "check", "serve", "--port", 8080, "--port", 8081)
           for p in peers]
keep = [node.ns.listen(10250), node.far.listen(443)]
ARGS = [w for p in peers for ip in p.ips for w in ("--peers", ip)] + [
    "--denied-port", "8081", "--api", f"{NODE4}:10250",
    "--node", f"{NODE4}:10250", "--node", f"[{NODE6}]:10250",
    "--outside", f"{FAR4}:443", "--outside", f"[{FAR6}]:443",
    "--dns", "localhost", "--timeout", "2s"]


def check(*more):
    """(exit status, {name: (answered, asked)}, whole answer)."""
    out = asker.ns.run(STILE, "check", "connectivity", *ARGS, *more, "-o",
                       "json", check=False)
    answer = json.loads(out.stdout)
    return out.returncode, {c["name"]: (c["answered"], c["asked"])
                            for c in answer["checks"]}, answer


def all_is_well():
    status, found, answer = check()
    equal((status, answer["passed"]), (0, True), answer)
    equal(found["pods, full-size packets"], (6, 6))
    equal(found["policy denies, UDP"], (6, 6))
    return f"{len(found)} checks, {sum(n for _, n in found.values())} probes"


def people_read_it():
    out = asker.ns.run(STILE, "check", "connectivity", *ARGS)
    assert out.stdout.splitlines()[-1].startswith("The network works: "), out.stdout
    assert max(map(len, out.stdout.splitlines())) <= 100
    equal(out.stderr, "", "progress without a terminal")


def an_open_door_is_seen():
    node.remove("allow.json")
    wait_for("no policy", lambda: not node.ask("policy", "list"))
    status, found, answer = check()
    equal((status, answer["passed"]), (1, False))
    equal(found["policy denies, TCP"], (0, 6))
    equal(found["pods, TCP"], (6, 6))
    node.put("allow.json", ALLOW)
    wait_for("the policy", lambda: node.ask("policy", "list"))


def a_dead_pod_is_seen():
    servers[0].stop()
    status, found, _ = check()
    equal(status, 1)
    equal(found["pods, TCP"], (4, 6))
    equal(found["pods, UDP"], (4, 6))
    equal(found["outside"], (2, 2))
    # Refused is not denied: nobody listens, so it proves nothing.
    servers[0] = peers[0].ns.proc(STILE, "check", "serve", "--port", 8080)


def a_smaller_path_is_seen():
    """Large packets are lost on the way, small ones are not."""
    peers[1].ns.run("nft", "-f", "-", input=(
        "table inet hole {\n chain c {\n"
        "  type filter hook input priority 0;\n"
        "  meta length > 1400 drop\n }\n}\n"))
    status, found, _ = check()
    equal(status, 1)
    equal(found["pods, UDP"], (6, 6))
    equal(found["pods, full-size packets"], (4, 6))
    peers[1].ns.run("nft", "delete", "table", "inet", "hole")


def nonsense_is_refused():
    for args in ([], ["--timeout", "soon", "--dns", "x"]):
        out = asker.ns.run(STILE, "check", "connectivity", *args, check=False)
        equal(out.returncode, 2, out.stderr)
    out = asker.ns.run(STILE, "check", "serve", "--port", "0", check=False)
    equal(out.returncode, 2, out.stderr)


test("everything is well", all_is_well)
test("people can read it", people_read_it)
test("a door that should be closed is seen", an_open_door_is_seen)
test("a pod that does not answer is seen", a_dead_pod_is_seen)
test("a path that loses large packets is seen", a_smaller_path_is_seen)
test("nonsense is refused", nonsense_is_refused)
for server in servers:
    server.stop()
done()
