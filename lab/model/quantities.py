"""Quantities with units, and the rounding that makes two reports of one run identical, byte for byte."""

import math
import re

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)$", re.ASCII)
_SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"^(\d+)(KB|MB|GB)$", re.ASCII)
KB, MB, GB = 1000, 1000**2, 1000**3
_BYTES_PER_UNIT = {"KB": KB, "MB": MB, "GB": GB}


def parse_duration_s(text: str) -> float:
    """Seconds in a duration such as `90s`, `10m`, `1.5h` or `250ms`; raises ValueError on anything else."""
    match = _DURATION.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and ms, s, m or h, such as 90s or 10m")
    return float(match.group(1)) * _SECONDS_PER_UNIT[match.group(2)]


def parse_size_bytes(text: str) -> int:
    """Bytes in a size such as `500MB` or `2GB` (powers of 1000); raises ValueError on anything else."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write a whole number and KB, MB or GB, such as 500MB")
    return int(match.group(1)) * _BYTES_PER_UNIT[match.group(2)]


def format_duration(seconds: float) -> str:
    """A duration as people write it, such as `45 s`, `10 min` or `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:g} s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g} ms"
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (left, "s")]
    return " ".join(f"{n} {unit}" for n, unit in parts if n)


def round_significant(value: float, digits: int = 6) -> float | None:
    """`value` to `digits` significant digits; None for NaN and infinities, which JSON has not."""
    if not math.isfinite(value):
        return None
    if value == 0:
        return 0.0
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))
