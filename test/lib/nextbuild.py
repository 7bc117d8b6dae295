# SPDX-License-Identifier: Apache-2.0
"""nextbuild.py - another build of this tree, whose pinned maps are of no use to it.

It has the next ABI_VERSION and a larger struct uplink; everything else is as it is.
"""
import os
import re
import shutil
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTS = ("Makefile", "bpf", "lib", "policy", "cni", "daemon", "cli", "test", "scripts")


def make(build, *programs):
    """Its @programs, made: the directory that they are in, below @build/next."""
    tree = f"{build}/next"
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree)
    for name in PARTS:
        copy = shutil.copytree if os.path.isdir(f"{TOP}/{name}") else shutil.copy
        copy(f"{TOP}/{name}", f"{tree}/{name}")
    with open(f"{tree}/bpf/abi.h") as f:
        abi = f.read()
    abi, n = re.subn(r"(#define ABI_VERSION) (\d+)",
                     lambda m: f"{m[1]} {int(m[2]) + 1}", abi)
    abi, m = re.subn(r"(struct uplink \{.*?__u8 zero\[)6(\];\n\};\n"
                     r"_Static_assert\(sizeof\(struct uplink\) == )40",
                     r"\g<1>14\g<2>48", abi, flags=re.S)
    assert (n, m) == (1, 1), f"what was changed in abi.h: {n}, {m}"
    with open(f"{tree}/bpf/abi.h", "w") as f:
        f.write(abi)
    out = subprocess.run(["make", "-s", "-C", tree, "O=build", "-j2",
                          *(f"build/{p}" for p in programs)],
                         capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr
    return f"{tree}/build"


def remove(build):
    shutil.rmtree(f"{build}/next", ignore_errors=True)
