"""What a person can do wrong, told as a problem and a way out.

UserError
├── SettingError   one or more values of a spec or a form
├── DataError      a file, a row or a column
├── ModelError     a model that is missing, damaged or of the wrong kind
├── MachineError   memory, disk or a missing program
└── RunError       a run that does not exist or is in the wrong state

Exceptions of libraries are translated into one of these where they arise. Anything else is a bug.
"""

from __future__ import annotations


class UserError(Exception):
    """A problem that the person can solve.

    problem: one sentence, what is wrong and where.
    fix: one sentence, what to do about it.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(f"{problem} {fix}".strip())
        self.problem = problem
        self.fix = fix


class SettingError(UserError):
    """Values that were refused; `problems` lists each one, so that all can be mended at once."""

    def __init__(self, problems: list[str], fix: str = "Change these settings and try again.") -> None:
        super().__init__(" ".join(problems), fix)
        self.problems = problems


class DataError(UserError):
    pass


class ModelError(UserError):
    pass


class MachineError(UserError):
    pass


class RunError(UserError):
    pass
