# SPDX-License-Identifier: Apache-2.0
"""tap.py - tests that say TAP: what those of test/net and test/e2e share."""
import sys
import time
import traceback

_results = []


class Skip(Exception):
    """This cannot be tested here."""


def test(name, run, *args):
    """Run one test; it fails by raising, and may return its figure.

    Return: did it pass?
    """
    number = len(_results) + 1
    try:
        figure = run(*args)
        figure = f": {figure}" if figure is not None else ""
        print(f"ok {number} - {name}{figure}")
        _results.append(True)
    except Skip as why:
        print(f"ok {number} - {name} # SKIP {why}")
        _results.append(True)
    except Exception:  # whatever it is, the others go on
        print(f"not ok {number} - {name}")
        for line in traceback.format_exc().splitlines():
            print(f"# {line}")
        _results.append(False)
    sys.stdout.flush()
    return _results[-1]


def done():
    print(f"1..{len(_results)}", flush=True)
    sys.exit(0 if all(_results) else 1)


def wait_for(what, condition, seconds=30):
    """The first true value of @condition; fails when none comes.

    The limit is for a machine where much else runs: a wait that passes ends
    with its condition, so a longer one costs nothing.
    """
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.01)
