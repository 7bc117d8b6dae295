# SPDX-License-Identifier: Apache-2.0
"""tunnel_test - pods on several nodes, through the overlay."""
from cluster import FABRIC4, FABRIC6, Cluster, Fabric, Member
from stage import (Netns, connect, connects, datagram, done, equal,
                   namespace_manifest, netpol, ping, test, wait_for)

TUNNEL = ("--routing", "tunnel")
fabric = Fabric()
one, two = (Member(fabric, n, args=TUNNEL) for n in (1, 2))
cluster = Cluster(fabric, [one, two]).start()
cluster.put("n.json", namespace_manifest("n"))
a = cluster.pod(one, "n/a", {"app": "a"})
a2 = cluster.pod(one, "n/a2", {"app": "a2"})
b = cluster.pod(two, "n/b", {"app": "b"})
b2 = cluster.pod(two, "n/b2", {"app": "b2"})
cluster.settled()


def everyone_reaches_everyone():
    pods = [a, a2, b, b2]
    servers = [p.ns.listen(80) for p in pods]
    ways = [(p.ns, ip, 80) for p in pods for q in pods if p is not q
            for ip in q.ips]
    equal(connects(ways), [True] * len(ways))
    for server in servers:
        server.close()
    return f"{len(ways)} ways"


test("every pod reaches every pod", everyone_reaches_everyone)
done()
