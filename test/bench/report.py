# SPDX-License-Identifier: Apache-2.0
"""report.py - figures: a line as each comes, a table and a file in the end."""
import json
import time

WIDTH = 100
MARK = {True: "ok", False: "MISSED", None: ""}


class Report:
    def __init__(self, path):
        self.rows, self.file = [], open(path, "w")
        self.started = time.monotonic()

    def title(self, text):
        self.rows.append((text, None, None, None))
        print(f"\n{text}", flush=True)

    def add(self, name, figure, goal="", ok=None, **detail):
        """One figure, as text.  @ok is None for one that gates nothing."""
        self.rows.append((name, figure, goal, ok))
        print(row(name, figure, goal, ok), flush=True)
        json.dump({"name": name, "figure": figure, "goal": goal, "ok": ok,
                   **detail}, self.file)
        self.file.write("\n")
        self.file.flush()

    def at_least(self, name, value, goal, unit="", digits=3, **detail):
        """A figure that must reach its goal."""
        self.add(name, f"{value:.{digits}f}{unit}", f">= {goal:g}{unit}",
                 value >= goal, value=value, **detail)

    def at_most(self, name, value, goal, unit="", digits=2, **detail):
        self.add(name, f"{value:.{digits}f}{unit}", f"<= {goal:g}{unit}",
                 value <= goal, value=value, **detail)

    def summary(self):
        """Print the table; how many figures missed."""
        missed = sum(ok is False for *_, ok in self.rows)
        gated = sum(ok is not None for *_, ok in self.rows)
        print(f"\n{'=' * WIDTH}")
        for name, figure, goal, ok in self.rows:
            print(name if figure is None else row(name, figure, goal, ok))
        print(f"{'=' * WIDTH}\n{gated - missed} of {gated} goals reached, "
              f"in {time.monotonic() - self.started:.0f} s", flush=True)
        self.file.close()
        return missed


def row(name, figure, goal, ok):
    """Name, figure, goal, verdict: 100 columns."""
    room = WIDTH - 2 - 31 - 12 - 7
    if len(name) > room:
        name = name[:room - 1] + "…"
    return f"  {name:<{room}}{figure:>31}{goal:>12} {MARK[ok]:<6}".rstrip()
