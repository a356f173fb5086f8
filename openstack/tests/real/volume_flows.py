"""Everything that Cinder can ask of the driver, asked of a real Cinder, with a look at the data.

Run on the control host of test/openstack, as root, with the credentials of a user in the
environment:

    test/openstack/stack volume_flows [STEP...]

Prints a line and the time for each step; its exit status says whether all went well. After each
nothing may be in HyperScale that was not there before and that Cinder knows nothing of.
"""

from __future__ import annotations

import sys
import time
import traceback

from cloud import hscli, name_of, until
import group_flows  # noqa: F401 - these have the steps
import image_flows  # noqa: F401
import life_flows  # noqa: F401
from steps import steps, volumes
import type_flows  # noqa: F401


def residue(before: set[str]) -> list[str]:
    found = {v['name'] for v in hscli('volume', 'list', '--all')['volumes']}
    known = {name_of(v) for v in volumes.list(search_opts={'all_tenants': 1})}
    return sorted(found - before - known)


def main(names: list[str]) -> int:
    failed = []
    began = time.monotonic()
    before = {v['name'] for v in hscli('volume', 'list', '--all')['volumes']}
    chosen = names or list(steps)
    for name in chosen:
        at = time.monotonic()
        try:
            steps[name]()
            until(lambda: not residue(before), f'nothing is left behind of {residue(before)}')
            print(f'PASS {name}: {steps[name].__doc__} ({time.monotonic() - at:.1f} s)', flush=True)
        except Exception:
            failed.append(name)
            before |= set(residue(before))
            traceback.print_exc()
            print(f'FAIL {name}: {steps[name].__doc__}', flush=True)
    print(f'{len(chosen) - len(failed)} of {len(chosen)} steps passed in '
          f'{time.monotonic() - began:.0f} s')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
