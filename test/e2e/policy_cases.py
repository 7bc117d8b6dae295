# SPDX-License-Identifier: Apache-2.0
"""policy_cases.py - what policy_test applies: (name, steps).  A step is a policy,
or a function of the scene that changes it; the whole table is looked at after
each.  Numbers in brackets are rules of the API that a case is about."""


def policy(name, namespace="x", pods=None, types=None, ingress=None, egress=None):
    """@pods: labels, or a selector; types from the sections unless given."""
    selector = pods or {}
    if selector and not set(selector) <= {"matchLabels", "matchExpressions"}:
        selector = {"matchLabels": selector}
    spec = {"podSelector": selector}
    if types is not None:
        spec["policyTypes"] = types
    if ingress is not None:
        spec["ingress"] = ingress
    if egress is not None:
        spec["egress"] = egress
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": namespace, "name": name}, "spec": spec}


def term(key, operator, *values):
    found = {"key": key, "operator": operator}
    return {**found, "values": list(values)} if values else found


def pods(**labels):
    return {"podSelector": {"matchLabels": labels} if labels else {}}


def spaces(**labels):
    return {"namespaceSelector": {"matchLabels": labels} if labels else {}}


def port(number=None, protocol=None, end=None):
    found = {}
    if number is not None:
        found["port"] = number
    if protocol:
        found["protocol"] = protocol
    if end is not None:
        found["endPort"] = end
    return found


def block(cidr, *holes):
    return {"ipBlock": {"cidr": cidr, **({"except": list(holes)} if holes else {})}}


def both(**rule):
    """The same rule for each direction: ingress from, egress to."""
    ports = {"ports": rule["ports"]} if "ports" in rule else {}
    peers = rule.get("peers")
    return {"ingress": [{**({"from": peers} if peers else {}), **ports}],
            "egress": [{**({"to": peers} if peers else {}), **ports}],
            "types": ["Ingress", "Egress"]}


A = {"pod": "a"}
ALL_PEERS = {
    "pods_of_its_own_namespace": [pods()],
    "pods_by_label_in_its_own_namespace": [pods(pod="b")],
    "every_namespace": [spaces()],
    "a_namespace_by_label": [spaces(ns="y")],
    "a_namespace_by_its_default_label": [spaces(**{"kubernetes.io/metadata.name": "z"})],
    "both_selectors_are_AND": [{**pods(pod="b"), **spaces(ns="y")}],
    "two_peers_are_OR": [pods(pod="b"), spaces(ns="y")],
    "NotIn_matches_who_lacks_the_key": [{"podSelector": {"matchExpressions": [
        term("team", "NotIn", "red")]}, "namespaceSelector": {}}],
    "In_of_two": [{"podSelector": {"matchExpressions": [term("pod", "In", "b", "c")]},
                   "namespaceSelector": {"matchExpressions": [
                       term("ns", "In", "x", "z")]}}],
    "Exists": [{"podSelector": {"matchExpressions": [term("pod", "Exists")]},
                "namespaceSelector": {"matchExpressions": [term("ns", "Exists")]}}],
    "DoesNotExist": [{"podSelector": {"matchExpressions": [
        term("team", "DoesNotExist")]}}],
    "nobody_by_label": [pods(pod="nobody")],
}
ALL_PORTS = {
    "one_number": [port(80, "TCP")],
    "the_protocol_left_out_is_TCP": [port(81)],
    "a_protocol_without_a_port": [port(protocol="UDP")],
    "TCP_and_UDP_of_one_number": [port(80, "TCP"), port(80, "UDP")],
    "a_range": [port(80, "TCP", 81)],
    "a_range_of_one": [port(81, "UDP", 81)],
    "a_range_that_ends_at_65535": [port(81, "TCP", 65535)],
    "a_range_below": [port(1, "TCP", 80)],
    "a_name": [port("serve-80-tcp", "TCP")],
    "a_name_of_UDP": [port("serve-81-udp", "UDP")],
    "a_name_with_another_protocol": [port("serve-80-tcp", "UDP")],
    "a_name_nobody_has": [port("nothing", "TCP")],
    "SCTP_opens_nothing_else": [port(80, "SCTP")],
}


def directions():
    """Isolation by direction, defaults of policyTypes (A2 to A5)."""
    yield "deny_ingress (A2 A5)", [policy("p", pods=A, types=["Ingress"])]
    yield "deny_egress (A2)", [policy("p", pods=A, types=["Egress"])]
    yield "deny_both", [policy("p", pods=A, types=["Ingress", "Egress"])]
    yield "types_left_out_with_egress_isolate_both (A3)", [
        policy("p", pods=A, egress=[{"to": [pods()]}])]
    yield "types_left_out_with_ingress_isolate_ingress (A3)", [
        policy("p", pods=A, ingress=[{"from": [pods(pod="b")]}])]
    yield "types_left_out_and_no_rules_isolate_ingress (A3)", [policy("p", pods=A)]
    yield "an_empty_selector_is_the_namespace (A4)", [policy("p", types=["Ingress"])]
    yield "an_empty_rule_allows_all (A5)", [
        policy("p", pods=A, ingress=[{}], types=["Ingress"]),
        policy("p", pods=A, egress=[{}], types=["Egress"]),
        policy("p", pods=A, **both())]
    yield "egress_rules_without_their_type_do_nothing", [
        policy("p", pods=A, types=["Ingress"], ingress=[{}],
               egress=[{"to": [pods(pod="nobody")]}])]
    yield "a_selector_by_expressions (A11)", [
        policy("p", pods={"matchExpressions": [term("pod", "NotIn", "a")]},
               types=["Ingress"])]


def peers():
    """Each kind of peer, each direction (A6 A7 A11 A12)."""
    for name, some in ALL_PEERS.items():
        yield f"from_{name}", [policy("p", pods=A, types=["Ingress"],
                                      ingress=[{"from": some}])]
        yield f"to_{name}", [policy("p", pods=A, types=["Egress"],
                                    egress=[{"to": some}])]


def ports():
    """Each kind of port (A8 A9 A10 A22)."""
    for name, some in ALL_PORTS.items():
        yield f"ports_{name}", [policy("p", pods=A, **both(ports=some))]
        yield f"ports_{name}_of_a_peer", [
            policy("p", "y", pods=A, **both(ports=some, peers=[spaces(ns="x")]))]


def blocks(scene):
    """ipBlock, also over pods' addresses (A7 A21 A27 A28)."""
    def of(name, bits4, bits6, holes=()):
        peers = []
        for ip in scene.probers[name].ips:
            bits = bits6 if ":" in ip else bits4
            same = [f"{i}/{128 if ':' in i else 32}" for h in holes
                    for i in scene.probers[h].ips if (":" in i) == (":" in ip)]
            peers.append(block(f"{ip}/{bits}", *same))
        return peers
    yield "a_block_matches_pods (A21)", [
        policy("p", pods=A, **both(peers=of("y/b", 32, 128)))]
    yield "a_block_of_a_node_with_host_bits (A28)", [
        policy("p", pods=A, **both(peers=of("y/b", 24, 64)))]
    yield "a_block_with_a_hole (A7)", [
        policy("p", pods=A, **both(peers=of("y/b", 4, 4, ["y/b", "z/c"])))]
    yield "a_hole_that_another_rule_fills (A7)", [
        policy("p", pods=A, **both(peers=of("y/b", 4, 4, ["y/b"]))),
        policy("q", pods=A, **both(peers=of("y/b", 32, 128)))]
    yield "a_block_of_everything_is_every_pod", [
        policy("p", pods=A, **both(peers=[block("0.0.0.0/0"), block("::/0")]))]
    yield "a_block_of_one_family_says_nothing_of_the_other (A27)", [
        policy("p", pods=A, **both(peers=[block("0.0.0.0/0")])),
        policy("p", pods=A, **both(peers=[block("::/0")]))]
    yield "a_block_with_ports", [
        policy("p", pods=A, **both(peers=of("y/b", 24, 64), ports=[port(80)]))]
    yield "a_block_far_away", [
        policy("p", pods=A, **both(peers=[block("192.0.2.0/24"),
                                          block("2001:db8::/32")]))]


def stacks():
    """Several policies are a union; order and updates do not matter (A1)."""
    one = policy("p", pods=A, types=["Ingress"], ingress=[{"from": [spaces(ns="y")]}])
    two = policy("q", pods=A, types=["Ingress"],
                 ingress=[{"from": [spaces(ns="z")], "ports": [port(80)]}])
    yield "policies_are_a_union (A1)", [one, two]
    yield "a_policy_that_goes_takes_only_its_own (A1)", [
        one, two, lambda s: s.policy_gone("x", "p"), one,
        lambda s: s.policy_gone("x", "q")]
    yield "the_same_rule_twice_survives_one_deletion (A1)", [
        one, dict(one, metadata={"namespace": "x", "name": "twin"}),
        lambda s: s.policy_gone("x", "p")]
    yield "deny_all_and_allow_all_is_allow_all", [
        policy("no", types=["Ingress", "Egress"]), policy("yes", **both())]
    yield "both_ends_must_agree", [
        policy("out", "x", pods=A, types=["Egress"], egress=[{"to": [spaces(ns="y")]}]),
        policy("in", "y", pods={"pod": "b"}, types=["Ingress"],
               ingress=[{"from": [spaces(ns="z")]}])]
    yield "several_peers_and_ports_in_several_rules", [
        policy("p", pods=A, types=["Ingress"], ingress=[
            {"from": [spaces(ns="y"), pods(pod="b")], "ports": [port(80)]},
            {"from": [{**spaces(ns="z"), **pods(pod="c")}],
             "ports": [port(81, "UDP"), port(80, "UDP")]}])]
    yield "updates_of_one_policy", [
        policy("p", pods=A, types=["Ingress"]),
        policy("p", pods=A, types=["Ingress"], ingress=[{"from": [pods()]}]),
        policy("p", pods=A, types=["Ingress"], ingress=[{"ports": [port(81)]}]),
        policy("p", pods={"pod": "b"}, types=["Egress"]),
        policy("p", pods=A, **both())]
    yield "every_namespace_denied_but_inside", [
        policy("p", ns, types=["Ingress"], ingress=[{"from": [pods()]}])
        for ns in ("x", "y", "z")]


def labels():
    """Pods and namespaces change under a policy."""
    team = policy("p", pods={"team": "red"}, types=["Ingress"],
                  ingress=[{"from": [{**pods(team="blue"), **spaces()}]}])
    yield "a_pod_gets_and_loses_labels", [
        team, lambda s: s.labels(s.world.pods["x/a"], team="red"),
        lambda s: s.labels(s.world.pods["y/b"], team="blue"),
        lambda s: s.labels(s.world.pods["y/b"], team="red"),
        lambda s: s.labels(s.world.pods["y/b"], team=None),
        lambda s: s.labels(s.world.pods["x/a"], team=None)]
    yield "a_namespace_gets_and_loses_labels", [
        policy("p", pods=A, **both(peers=[spaces(team="blue")])),
        lambda s: s.namespace_labels("y", team="blue"),
        lambda s: s.namespace_labels("z", team="blue"),
        lambda s: s.namespace_labels("y", team=None),
        lambda s: s.namespace_labels("z", team=None)]


def lives(scene):
    """Pods come and go under policies that name them (A10 A19)."""
    node = scene.world.pods["x/b"].node
    far = scene.world.pods["x/c"].node
    named = policy("p", pods={}, types=["Ingress"],
                   ingress=[{"ports": [port("door", "TCP")]}])
    allowed = policy("p", pods=A, **both(peers=[pods(pod="d"), spaces(ns="y")]))

    def gone(s):
        s.pod_gone(s.world.pods["x/d"])
    yield "a_new_pod_is_known_to_policy (A19)", [
        allowed, lambda s: s.pod_new("x", "d", node), gone,
        lambda s: s.pod_new("x", "d", far), gone]
    yield "a_port_name_means_another_number_in_another_pod (A10)", [
        named, lambda s: s.pod_new("x", "d", node, ports=[
            ("door", 80, "TCP"), ("back", 81, "TCP"), ("u", 80, "UDP"),
            ("v", 81, "UDP")]),
        lambda s: s.pod_new("x", "e", far, ports=[
            ("back", 80, "TCP"), ("door", 81, "TCP"), ("u", 80, "UDP"),
            ("v", 81, "UDP")]),
        gone, lambda s: s.pod_gone(s.world.pods["x/e"])]
