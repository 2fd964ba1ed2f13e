"""`hill-sim doctor`: what this installation is, and what is wrong with it."""

from __future__ import annotations

import json

from hill_sim.cli.arguments import Doctor
from hill_sim.doctor import examine


def main(given: Doctor) -> int:
    findings = examine()
    if given.json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print(f"{'!' if finding.problem else ' '} {finding.name:<{width}}  {finding.value}".rstrip())
            if finding.problem:
                print(f"  {'':<{width}}  -> {finding.problem}")
    return 1 if any(finding.problem for finding in findings) else 0
