# SPDX-License-Identifier: Apache-2.0
"""spec.py - what NetworkPolicy says, in Python, written from the API's text
alone (networking.k8s.io/v1 and its page on kubernetes.io), so that it can be
wrong only in its own way: none of policy/ is used.

A world is namespaces {name: labels}, pods (Pod below) and policies, as the API
has them.
"""
import ipaddress


class Pod:
    def __init__(self, namespace, name, labels, ports, node=None, ips=()):
        self.namespace, self.name, self.labels = namespace, name, dict(labels)
        self.ports = ports  # (name, number, protocol)
        self.node, self.ips = node, list(ips)

    def __repr__(self):
        return f"{self.namespace}/{self.name}"


def labels_match(selector, labels):
    """A label selector; an empty one selects everything."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for term in selector.get("matchExpressions") or []:
        key, values = term["key"], term.get("values") or []
        if not {"In": labels.get(key) in values and key in labels,
                "NotIn": key not in labels or labels[key] not in values,
                "Exists": key in labels,
                "DoesNotExist": key not in labels}[term["operator"]]:
            return False
    return True


def directions(policy):
    """policyTypes; left out: Ingress, and Egress when there are egress rules."""
    spec = policy["spec"]
    if spec.get("policyTypes"):
        return set(spec["policyTypes"])
    return {"Ingress"} | ({"Egress"} if spec.get("egress") else set())


def selects(policy, pod):
    return policy["metadata"]["namespace"] == pod.namespace and \
        labels_match(policy["spec"].get("podSelector") or {}, pod.labels)


def in_block(block, address):
    ip = ipaddress.ip_address(address)

    def holds(cidr):
        net = ipaddress.ip_network(cidr, strict=False)
        return ip.version == net.version and ip in net
    return holds(block["cidr"]) and not any(map(holds, block.get("except") or []))


def peer_matches(peer, policy, namespaces, other, address):
    """@other: a Pod, or None for an address that is no pod's."""
    if peer.get("ipBlock") is not None:
        return in_block(peer["ipBlock"], address)
    if other is None:
        return False
    pods, spaces = peer.get("podSelector"), peer.get("namespaceSelector")
    if spaces is None:
        if other.namespace != policy["metadata"]["namespace"]:
            return False
    elif not labels_match(spaces, namespaces[other.namespace]):
        return False
    return pods is None or labels_match(pods, other.labels)


def port_matches(term, target, protocol, number):
    """A name is looked up on @target, the pod that the packet goes to."""
    if term.get("protocol", "TCP") != protocol:
        return False
    port = term.get("port")
    if port is None:
        return True
    if isinstance(port, str):
        return target is not None and (port, number, protocol) in target.ports
    return port <= number <= term.get("endPort", port)


def rules_allow(policy, direction, namespaces, other, address, target, protocol,
                number):
    section, peers = ("ingress", "from") if direction == "Ingress" else \
        ("egress", "to")
    for rule in policy["spec"].get(section) or []:
        ends = not rule.get(peers) or any(
            peer_matches(p, policy, namespaces, other, address)
            for p in rule[peers])
        ports = not rule.get("ports") or any(
            port_matches(t, target, protocol, number) for t in rule["ports"])
        if ends and ports:
            return True
    return False


class World:
    def __init__(self):
        self.namespaces, self.pods, self.policies = {}, {}, {}

    def half(self, direction, pod, other, address, target, protocol, number):
        """One direction of one pod: not isolated, or a policy allows it."""
        isolating = [p for p in self.policies.values()
                     if selects(p, pod) and direction in directions(p)]
        return not isolating or any(
            rules_allow(p, direction, self.namespaces, other, address, target,
                        protocol, number) for p in isolating)

    def allows(self, source, target, source_ip, target_ip, protocol, number):
        """From and to: a Pod, or None for what is outside the cluster."""
        if source is target:
            return True  # a pod cannot block access to itself
        return (source is None or self.half(
            "Egress", source, target, target_ip, target, protocol, number)) and (
            target is None or self.half(
                "Ingress", target, source, source_ip, target, protocol, number))
