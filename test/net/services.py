# SPDX-License-Identifier: Apache-2.0
"""services.py - manifests of Services and their EndpointSlices, in namespace s."""

VIP4, VIP6 = "10.96.0.{}", "fd00:96::{}"


def service(number, ports, name=None, **spec):
    """@ports: (name, protocol, number)."""
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name or f"svc{number}", "namespace": "s"},
            "spec": {"clusterIPs": [VIP4.format(number), VIP6.format(number)],
                     "ports": [{"name": n, "protocol": p, "port": port}
                               for n, p, port in ports], **spec}}


def slices(number, ports, ends, name=None):
    """A slice a family; @ends: (address, conditions)."""
    name = name or f"svc{number}"
    return [{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
             "metadata": {"name": f"{name}-{kind.lower()}", "namespace": "s",
                          "labels": {"kubernetes.io/service-name": name}},
             "addressType": kind,
             "ports": [{"name": n, "protocol": p, "port": port}
                       for n, p, port in ports],
             "endpoints": [{"addresses": [a], "conditions": c}
                           for a, c in ends if (":" in a) == (kind == "IPv6")]}
            for kind in ("IPv4", "IPv6")]
