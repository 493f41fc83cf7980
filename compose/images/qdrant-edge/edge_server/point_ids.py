"""Point ids: an unsigned 64-bit integer, or a UUID in any of its spellings."""

from uuid import UUID

from edge_server.errors import BadRequestError

MAX_ID = 2**64 - 1


def parse_id(value: object) -> int | str:
    """A point id as the engine takes it; UUIDs in the canonical spelling, as it returns them."""
    if isinstance(value, str):
        try:
            return str(UUID(value))
        except ValueError:
            pass
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID:
        return value
    raise BadRequestError(
        f"Format error in JSON body: value {value} is not a valid point ID, "
        "valid values are either an unsigned integer or a UUID"
    )


def parse_path_id(text: str) -> int | str:
    """A point id from a URL, where integers are digits."""
    return parse_id(int(text) if text.isdecimal() else text)


def render_id(value: object) -> int | str:
    """A point id as JSON; the engine gives scroll offsets as UUID objects and ids as strings."""
    return value if isinstance(value, int) else str(value)
