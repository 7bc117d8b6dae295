# SPDX-License-Identifier: Apache-2.0
"""traffic.py - flows between all pods of a scene, and what became of them."""
import contextlib

# A machine so busy that a pod stands still for a second must not fill its socket.
EVERY_MS = 20


class Traffic:
    """TCP and UDP from each pod to two others, where policy lets them."""

    def __init__(self, scene):
        self.flows = []
        pods = list(scene.probers.values())
        for i, source in enumerate(pods):
            for k in (1, 4):
                target = pods[(i + k) % len(pods)]
                for ip in target.ips:
                    for protocol in ("tcp", "udp"):
                        if not self.allowed(scene, source, target, ip, protocol):
                            continue
                        self.flows.append((source, protocol, target, ip))

    @staticmethod
    def allowed(scene, source, target, ip, protocol):
        world, mine = scene.world, source.ip(6 if ":" in ip else 4)
        return world.allows(world.pods[source.name], world.pods[target.name], mine,
                            ip, protocol.upper(), 80)

    def start(self):
        for n, (source, protocol, _, ip) in enumerate(self.flows):
            source.tell([f"flow f{n} {protocol} {ip} 80 {EVERY_MS}"])

    def end(self):
        """[(flow, sent, answered, longest gap in ms, retransmitted)]"""
        found = []
        for n, (source, protocol, target, ip) in enumerate(self.flows):
            words = source.ask(f"end f{n}").split()
            assert words[1] != "no", f"{source} -> {target} {protocol}: it ended"
            found.append((f"{source} -> {target} ({ip}) {protocol}",
                          *map(int, words[1:])))
        return found


@contextlib.contextmanager
def undisturbed(scene, gap_ms=None):
    """What the body does costs no message, and no retransmission: yields a list
    that holds the figure in the end."""
    traffic, figure = Traffic(scene), []
    traffic.start()
    yield figure
    found = traffic.end()
    lost = [f"{name}: {sent - got} of {sent} lost, {again} sent again, gap {gap} ms"
            for name, sent, got, gap, again in found if sent != got or again]
    assert not lost, f"{len(lost)} of {len(found)} flows\n" + "\n".join(lost[:10])
    assert all(sent > 10 for _, sent, *_ in found), "flows that did not run"
    worst = max(gap for *_, gap, _ in found)
    assert gap_ms is None or worst <= gap_ms, f"a gap of {worst} ms"
    figure.append(f"{sum(f[1] for f in found)} messages of {len(found)} flows, "
                  f"0 lost, longest gap {worst} ms")
