# SPDX-License-Identifier: Apache-2.0
"""cli_alone_test - what `stile` says where no daemon runs."""
import json

from stage import Node, done, equal, test

node = Node()


def stile(*argv, want=0):
    out = node.stile(*argv, check=False)
    equal(out.returncode, want, f"exit status of {argv}: {out.stdout}{out.stderr}")
    return out


def refused(*argv, want, says):
    """It fails with that status and tells why, on stderr alone."""
    out = stile(*argv, want=want)
    assert says in out.stderr, out.stderr
    equal(out.stdout, "", f"stdout of {argv}")


def nobody_there():
    for words in (["status"], ["endpoint", "list"], ["flows"],
                  ["policy", "why", "a/b", "c/d", "80/tcp"]):
        refused(*words, want=3, says="no daemon listens on")
    assert "stile" in stile("version").stdout
    assert "policy why" in stile("help").stdout


def usage():
    refused("frobnicate", want=2, says="unknown command")
    refused("policy", want=2, says="say one of list, get, why, verify")
    refused("policy", "why", "a/b", want=2, says="usage: stile policy why")
    for bad in ("80", "tcp", "0/tcp", "65536/tcp", "80/tcpp", "8/icmp", "x/tcp"):
        refused("policy", "why", "a/b", "c/d", bad, want=2, says=bad)
    refused("status", "-o", "yaml", want=2, says="want table, wide or json")
    refused("flows", "--since", "soon", want=2, says="soon")
    refused("flows", "--last", "x", want=2, says="not a number")
    refused("status", "--wait=soon", want=2, says="soon")
    refused("status", "--color", "pink", want=2, says="want auto, always")


def kernel_check():
    rows = json.loads(stile("kernel-check", "-o", "json").stdout)
    missing = [r["feature"] for r in rows if not r["have"]]
    assert all(r.get("instead") for r in rows if not r["have"]), missing
    assert "Stile can run here" in stile("kernel-check").stdout
    return f"{len(rows)} features, {len(missing)} missing"


test("without a daemon every question ends with 3", nobody_there)
test("what makes no sense ends with 2 and says what to do", usage)
test("kernel-check tries this kernel", kernel_check)
done()
