"""The openstack client as a server of its own commands, which saves its start each time.

Reads a JSON list of arguments from each line of standard input and answers with one line of JSON:
``{"status": 0, "stdout": "...", "stderr": "..."}``.
"""

import contextlib
import io
import json
import sys

from openstackclient import shell


def answer(arguments):
    """Run one command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = shell.OpenStackShell().run(arguments)
        except SystemExit as end:
            status = end.code
    return {'status': status or 0, 'stdout': out.getvalue(), 'stderr': err.getvalue()}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
