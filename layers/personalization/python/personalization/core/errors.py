"""The errors that callers can receive, each with its HTTP status, code and title (RFC 9457).

A message states what was expected and what was received. It never has a user id: messages are logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request: its place (RFC 6901 JSON pointer) and what was expected and received."""

    pointer: str
    detail: str


class RowFault(NamedTuple):
    """Why a row of a table, or one of its cells, cannot be used as it is.

    row      index of the row within the columns that were checked
    column   of the cell at fault, empty where it is the whole row
    reason   what was expected and what was received
    """

    row: int
    column: str
    reason: str


class PersonalizationError(Exception):
    """Base of our errors; `faults` lists the single faults where `detail` summarises several."""

    status = 500
    code = "internal"
    title = "Internal error"

    def __init__(self, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)


class InvalidInput(PersonalizationError):
    """The request or file is not valid; sending it again unchanged will fail again."""

    status, code, title = 400, "invalid-input", "The input is not valid"


class NotFound(PersonalizationError):
    """Nothing is stored under this name or id."""

    status, code, title = 404, "not-found", "Not found"


class Conflict(PersonalizationError):
    """Another writer changed the object in between; read it again and retry."""

    status, code, title = 409, "conflict", "Changed in between"


class TooLarge(PersonalizationError):
    """More than a published maximum."""

    status, code, title = 413, "too-large", "The request is too large"


class BundleInvalid(PersonalizationError):
    """A model bundle is incomplete, changed since it was written, or does not run."""

    status, code, title = 500, "bundle-invalid", "The model bundle is not usable"


class CatalogInvalid(PersonalizationError):
    """A catalog in S3 cannot be read: its bytes are damaged, or in a format of another version."""

    status, code, title = 500, "catalogue-invalid", "The catalogue is not usable"


class ModelUnavailable(PersonalizationError):
    """No model is available: none was published, or the store does not respond and none is cached."""

    status, code, title = 503, "model-unavailable", "No model is available"


class StateUnavailable(PersonalizationError):
    """The user state cannot be read or written now; the call may be repeated."""

    status, code, title = 503, "state-unavailable", "User state is not available"


class ResultsUnavailable(PersonalizationError):
    """Results of jobs cannot be read now; the call may be repeated."""

    status, code, title = 503, "results-unavailable", "Results are not available"


class CatalogUnavailable(PersonalizationError):
    """The item catalog cannot be changed now. Nothing of the call was stored; it may be repeated."""

    status, code, title = 503, "catalogue-unavailable", "The catalogue is not available"
