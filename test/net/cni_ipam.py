# SPDX-License-Identifier: Apache-2.0
"""cni_ipam.py - an IPAM plugin to delegate to, that notes what it is asked.

Debian's own plugins end at CNI 1.0.0; this one speaks what it is spoken to in.
"""
import json
import os
import shutil
import tempfile

SCRIPT = """#!/bin/sh
# Notes command, container and input; prints the answer that stands beside it.
dir=$(dirname "$0")
conf=$(cat)
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS" >>"$dir/calls"
printf %s "$conf" >"$dir/conf"
if [ -e "$dir/sleep" ]; then sleep "$(cat "$dir/sleep")"; fi
if [ -e "$dir/fail" ]; then cat "$dir/fail"; exit 1; fi
if [ "$CNI_COMMAND" = ADD ]; then cat "$dir/answer"; fi
"""


class Ipam:
    """@ips: what it answers; @fail: the error that it answers instead."""

    def __init__(self, t, ips=(), fail=None, answer=None, **more):
        self.dir = tempfile.mkdtemp()
        t.later(lambda: shutil.rmtree(self.dir))
        self.write("answer", answer or json.dumps(
            {"cniVersion": t.version, "ips": [{"address": a} for a in ips],
             **more}))
        if fail:
            self.fail(fail)
        self.write("test-ipam", SCRIPT)
        os.chmod(f"{self.dir}/test-ipam", 0o755)
        self.conf = {"ipam": {"type": "test-ipam", "anything": [1]}}
        self.env = {"CNI_PATH": f"/none:{self.dir}"}

    def write(self, name, text):
        with open(f"{self.dir}/{name}", "w") as f:
            f.write(text)

    def fail(self, error):
        self.write("fail", json.dumps(error))

    def calls(self):
        try:
            with open(f"{self.dir}/calls") as f:
                return [line.split()[0] for line in f]
        except FileNotFoundError:
            return []

    def given(self):
        """The configuration that it got last."""
        with open(f"{self.dir}/conf") as f:
            return json.load(f)
