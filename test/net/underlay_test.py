# SPDX-License-Identifier: Apache-2.0
"""underlay_test - IPv4 and IPv6 under IPv4, IPv6 and both, by tunnel."""
import json

from cluster import Cluster, Fabric, Member, hosts_and_outside, pods_reach_pods
from stage import done, equal, namespace_manifest, test

MTU = {4: 1450, 6: 1430}
fabric = Fabric()


def case(underlay, overlay):
    """Two nodes: all that must work between them."""
    name = f"u{underlay}o{overlay}"
    one, two = (Member(fabric, n, f"{name}n{n}", underlay, overlay,
                       ("--routing", "tunnel")) for n in (1, 2))
    cluster = Cluster(fabric, [one, two]).start()
    cluster.put("n.json", namespace_manifest("n"))
    a = cluster.pod(one, f"n/{name}a")
    b = cluster.pod(two, f"n/{name}b")
    cluster.settled()
    equal((bool(a.v4), bool(a.v6)), (overlay != 6, overlay != 4), "families")
    pods = pods_reach_pods([a, b])
    hosts = hosts_and_outside(a, one, two, b)
    link = json.loads(one.ns.run("ip", "-j", "link", "show", "stl-vxlan").stdout)
    equal((link[0]["mtu"], one.ask("status")["pod_mtu"]),
          (MTU[underlay], MTU[underlay]), "MTU of the tunnel and of pods")
    for node in (one, two):
        node.stop()
        node.ns.run("ip", "link", "del", "uplink")
    return f"{pods}; hosts and outside {hosts}"


for underlay in (4, 6):
    for overlay in (4, 6, 46):
        test(f"IPv{overlay} over IPv{underlay}".replace("46", "4 and IPv6"),
             case, underlay, overlay)
done()
