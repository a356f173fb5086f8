"""Calls of `hscli --json`, which talks to the hyperscaled of this host.

A subprocess, and not the daemon's Unix socket: only root may use that socket, and the services of
OpenStack are not root. A program can be run as root through the privileged daemon of os-brick,
which every deployment of Cinder and Nova has configured already; a socket would need a group or a
daemon of its own. It also keeps one contract, the documented exit codes and JSON of hscli, for
people and programs.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
from typing import Any, Callable, Optional

from oslo_concurrency import processutils

Execute = Callable[..., 'tuple[str, str]']


class HscliError(Exception):
    """What hscli reported. `code` is stable: docs/api.md of HyperScale lists all of them."""

    def __init__(self, code: str, message: str, hint: str = '',
                 values: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(f'{message} ({hint})' if hint else message)
        self.code = code
        self.message = message
        self.hint = hint
        self.values = dict(values or {})


class Hscli:
    """`hscli`, run by `execute` (as that of os-brick or processutils).

    :param timeout: seconds to wait for each answer; calls that copy data have no limit
    """

    def __init__(self, execute: Execute, program: str = 'hscli', socket: Optional[str] = None,
                 timeout: int = 120, **execute_options: Any) -> None:
        self._execute = execute
        self._program = program
        self._socket = socket
        self._timeout = timeout
        self._execute_options = execute_options

    def ask(self, *args: str) -> dict[str, Any]:
        """Runs a command and returns what it answered.

        :raises HscliError: with the code that hscli reported; `unavailable` when it cannot be run
        """
        return self._run(*args, '--timeout', str(self._timeout))

    def ask_long(self, *args: str) -> dict[str, Any]:
        """As `ask`, for what may take as long as there is data."""
        return self._run(*args, '--timeout', '0')

    def _run(self, *args: str) -> dict[str, Any]:
        socket = ['--socket', self._socket] if self._socket else []
        command = [self._program, *args, '--json', *socket]
        try:
            out, _err = self._execute(*command, **self._execute_options)
        except processutils.ProcessExecutionError as error:
            raise reported(args, error) from error
        except OSError as error:
            raise HscliError('unavailable', f'cannot run {self._program}: {error}') from error
        try:
            answer = json.loads(out)
        except ValueError as error:
            start = out[:100]
            raise HscliError('internal', f'{shown(args)} answered {start!r}, no JSON') from error
        if not isinstance(answer, dict):
            raise HscliError('internal', f'{shown(args)} answered no object')
        return answer


def reported(args: tuple[str, ...], error: processutils.ProcessExecutionError) -> HscliError:
    """The error that hscli wrote, perhaps below lines of what ran it."""
    stderr = (error.stderr or '').strip()
    last = stderr.splitlines()[-1] if stderr else ''
    if last.startswith('{"error":'):
        try:
            told = json.loads(last)['error']
            return HscliError(str(told['code']), str(told['message']), told.get('hint') or '',
                              told.get('values'))
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
    why = stderr[-500:] or error.description or f'exit status {error.exit_code}'
    return HscliError('unavailable', f'{shown(args)} failed: {why}')


def shown(args: tuple[str, ...]) -> str:
    text = ' '.join(args)
    return 'hscli ' + (text if len(text) <= 200 else text[:200] + '…')
