"""The answers that are not 200, as exceptions that carry their status code and Qdrant's wording.

ApiError
├── BadRequestError           400  the request is wrong
├── NotFoundError             404
├── ConflictError             409
├── TooLargeError             413
├── OutOfBoundsError     422  well-formed, out of bounds
├── EngineError         500
├── MissingFeatureError   501  Qdrant knows it, this server does not
└── NotReadyError             503  collections are still being loaded
"""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# The engine raises plain `Exception`; these beginnings of its messages mean that the request was at fault.
_REQUEST_FAULTS = (
    "Vector dimension error",
    "Not existing vector name error",
    "Validation failed",
    "No range index",
    "No appropriate index",
    "Wrong usage",
    "Wrong input",
    "Missed vector name error",
    "Conversion between",
    "Bad request",
)


class ApiError(Exception):
    """An answer other than 200; `status` is the HTTP status code."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequestError(ApiError):
    """The request cannot mean anything here."""

    status = 400


class NotFoundError(ApiError):
    """The collection or point is not there."""

    status = 404


class ConflictError(ApiError):
    """The collection exists already."""

    status = 409


class TooLargeError(ApiError):
    """The body exceeds the limit."""

    status = 413


class OutOfBoundsError(ApiError):
    """A value is well-formed and out of its bounds."""

    status = 422


class EngineError(ApiError):
    """The engine refused for a reason of its own, or panicked."""

    status = 500


class MissingFeatureError(ApiError):
    """A call, field or value that Qdrant has and this server lacks."""

    status = 501


class NotReadyError(ApiError):
    """Collections are still being loaded."""

    status = 503


def wrong_input(message: str) -> BadRequestError:
    """A semantic fault of the request, in Qdrant's wording."""
    return BadRequestError(f"Wrong input: {message}")


def bad_format(where: str, message: str) -> BadRequestError:
    """A fault in the shape of the JSON body, with the place where it was seen."""
    return BadRequestError(f"Format error in JSON body: {where}: {message}")


def out_of_bounds(where: str, message: str) -> OutOfBoundsError:
    """A value that is well-formed and outside of what Qdrant accepts."""
    return OutOfBoundsError(f"Validation error in JSON body: [{where}: {message}]")


def collection_not_found(name: str) -> NotFoundError:
    """The answer to any call on a collection that is not there."""
    return NotFoundError(f"Not found: Collection `{name}` doesn't exist!")


def engine_call(call: Callable[[], T]) -> T:
    """Run one engine call and give its failures a status code.

    A panic arrives as a BaseException that no ordinary handler sees; everything else that is no `Exception`
    (KeyboardInterrupt, CancelledError) passes through.
    """
    try:
        return call()
    except (TypeError, ValueError, OverflowError) as error:
        raise wrong_input(first_line(error)) from error
    except Exception as error:
        message = first_line(error)
        if message.startswith(_REQUEST_FAULTS):
            raise wrong_input(message) from error
        raise EngineError(f"Service internal error: {message}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise EngineError(f"Service internal error: the engine panicked: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """An exception's message cut to one line."""
    return str(error).split("\n", 1)[0]
