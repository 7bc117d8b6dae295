# SPDX-License-Identifier: Apache-2.0
"""snapshot.py - all of a node that a network plugin could change, as text: before
and after must be equal."""
import subprocess

# What is looked at; lines that change by themselves are cut off, and what
# kube-proxy sets when it comes up (route_localnet).
LOOKS = {
    "links": "ip -o link | sed 's/^[0-9]*: //; s/ state .*//; s/@if[0-9]*//' | sort",
    "addresses": "ip -o addr | sed 's/^[0-9]*: //; s/ valid_lft.*//' | sort",
    "routes": "ip route show table all | sort; ip -6 route show table all |"
              " sed 's/ expires [0-9]*sec//; s/ error .*//' | sort",
    "rules": "ip rule; ip -6 rule",
    "neighbours": "ip neigh show nud permanent; ip neigh show proxy",
    "filters": "for d in $(ls /sys/class/net); do tc qdisc show dev $d;"
               " tc filter show dev $d ingress; tc filter show dev $d egress; done"
               " | sed 's/noqueue 0: .*/noqueue/'",
    "tcx": "for d in $(ls /sys/class/net); do [ ! -x /usr/sbin/bpftool ] ||"
           " /usr/sbin/bpftool net show dev $d | grep -E 'tcx|xdp' | grep -v ':$'; done"
           " || true",
    "pins": "find /sys/fs/bpf | sort",
    "sysctls": "sysctl -a 2>/dev/null | grep -E '^net\\.' | grep -vE"
               " 'random|nf_conntrack_count|route\\.(flush|max_size)|dev\\.|"
               "netdev_rss|route_localnet|stat|\\.tcp_fastopen_key|neigh|conf\\.(stl|veth|lxc)' |"
               " sort",
    "files": "find /opt/cni/bin /etc/cni/net.d /run/stile /var/lib/stile 2>/dev/null"
             " | sort",
    "netfilter": "nft list ruleset 2>/dev/null | grep -i stile || true",
}


def take(argv):
    """@argv: what comes before a command to run it on the node."""
    found = {}
    for name, command in LOOKS.items():
        out = subprocess.run(argv + ["sh", "-c", command], capture_output=True,
                             text=True, check=False)
        found[name] = out.stdout.splitlines()
    return found


def cluster(kube):
    """Objects that an installation brings, or changes."""
    names = {}
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        names[kind] = sorted(i["metadata"]["name"] for i in kube.get(kind)["items"])
    for kind in ("ServiceAccount", "ConfigMap", "DaemonSet", "Pod"):
        names[kind] = sorted(i["metadata"]["name"]  # the tests remove CoreDNS
                             for i in kube.get(kind, "kube-system")["items"]
                             if not i["metadata"]["name"].startswith("coredns-"))
    return names


def differences(before, after):
    """Lines, with + and -."""
    found = []
    for name, lines in before.items():
        found += [f"- {name}: {x}" for x in lines if x not in after[name]]
        found += [f"+ {name}: {x}" for x in after[name] if x not in lines]
    return found
