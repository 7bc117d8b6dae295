# SPDX-License-Identifier: Apache-2.0
"""flood_test - a million half-open flows push out nothing that lives.

    node ---+--- n/client ==== n/server    1 000 connections held, 1 000 new ones
            +--- n/flooder --> n/server    SYNs at silent, listening, closed ports
"""
import json
import os
import subprocess

from stage import TOOLS, Node, done, equal, namespace_manifest, test

COUNT = int(os.environ.get("COUNT", "1000000"))
RATE = 150000
HELD, NEW = 1000, 12 * 84
LISTENING, CLOSED, SILENT = 7000, 7100, 7200  # six ports of each
EACH = 6

node = Node().start()
node.put("n.json", namespace_manifest("n"))
client = node.pod("n/client", {"app": "client"})
server = node.pod("n/server", {"app": "server"})
flooder = node.pod("n/flooder", {"app": "flooder"})


def setup():
    """Silence: the server's own firewall eats SYNs; the flooder never answers
    a SYN-ACK."""
    for pod, rule in ((server, f"tcp dport {SILENT}-{SILENT + EACH - 1}"),
                      (flooder, "tcp flags syn,ack / syn,ack")):
        pod.ns.run("nft", "-f", "-", input=(
            "table inet t {\n chain c {\n"
            f"  type filter hook input priority 0;\n  {rule} drop\n }}\n}}\n"))
    server.ns.sysctl(net__ipv4__tcp_max_syn_backlog=4096)


def flood():
    """The same count at each kind of port, one after the other."""
    mac = "ee:ee:ee:ee:ee:ee"
    for i, first in enumerate((SILENT, LISTENING, CLOSED)):
        for src, dst in zip(flooder.ips, server.ips):
            yield flooder.ns.argv(
                f"{TOOLS}/flood", "eth0", mac, src, dst,
                first, EACH, -(-COUNT // 6), RATE)


def survives():
    serve = server.ns.tool("conns", "serve", 80,
                           *range(LISTENING, LISTENING + EACH))
    holds = [client.ns.tool("conns", "hold", ip, 80, HELD // 2, ready="open")
             for ip in server.ips]
    for hold in holds:
        equal(hold.said, f"open {HELD // 2}\n")
    sent = done_new = 0
    for argv in flood():
        running = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        for ip in server.ips:
            out = client.ns.run(f"{TOOLS}/conns", "churn", ip,
                                80, NEW // 12, 20).stdout
            done_new += int(out.split()[1])
            for hold in holds:
                equal(hold.ask(), f"alive {HELD // 2}\n", "alive meanwhile")
        sent += json.loads(running.communicate()[0])["sent"]
    alive = sum(int(hold.ask().split()[1]) for hold in holds)
    equal((alive, done_new), (HELD, NEW), "alive, new")
    main = [f for f in node.ask("conntrack", "list")
            if f["table"] == "main" and
            f["source"]["address"] in flooder.ips]
    equal(main, [], "flood entries in the main table")
    return (f"{sent} tuples; {alive} of {HELD} alive, {done_new} of "
            f"{NEW} new; 0 in the main table")


setup()
test("a SYN flood leaves established and new connections alone", survives)
done()
