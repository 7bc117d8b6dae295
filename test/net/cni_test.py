# SPDX-License-Identifier: Apache-2.0
"""cni_test.py - the plugin against the CNI specification, in every version."""
import os
import shutil
import tempfile

import cni
import cni_cases_bare  # noqa: F401  (its cases)
import stage


def main():
    bare = stage.Netns("bare")
    work = tempfile.mkdtemp()

    def make(version):
        state = f"{work}/state"
        shutil.rmtree(state, ignore_errors=True)
        if os.path.exists(state):
            os.unlink(state)
        return cni.Call(version, bare, work, state)

    cni.run_all(make)
    shutil.rmtree(work)
    stage.done()


if __name__ == "__main__":
    main()
