"""Errors whose message is for the person who typed a command, and what caused others."""

from __future__ import annotations


class RejectedError(ValueError):
    """What was asked cannot be done, or would not be what it says.

    The message says what was expected, what was got and what to do; ``monai-ima`` prints it without
    a traceback.
    """


class DataError(ValueError):
    """What is wrong with a file, and what one does about it who prepares a training.

    Args:
        found: what was expected, and what was got.
        advice: on data set and settings. Who asks a trained model about a file can change neither.
    """

    @property
    def found(self) -> str:
        return str(self.args[0])

    @property
    def advice(self) -> str:
        return "; ".join(map(str, self.args[1:]))

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


def root_cause(error: BaseException) -> BaseException:
    """The error that all the others around it were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
