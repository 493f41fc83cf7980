"""The name server that knows no name, and the checksum of echoes."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from lab.host.network.nameserver import denial
from lab.host.network.net_probes import _checksum

QUESTION = struct.pack("!HHHHHH", 0xBEEF, 0x0100, 1, 0, 0, 1) + b"\x09toxiproxy\x00\x00\x01\x00\x01"
OPTIONS = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"


def test_a_denial_repeats_the_question_and_says_no_such_name() -> None:
    answer = denial(QUESTION + OPTIONS)
    mark, flags, asked, answers, authorities, more = struct.unpack("!HHHHHH", answer[:12])
    assert (mark, asked, answers, authorities, more) == (0xBEEF, 1, 0, 0, 0)
    assert flags & 0x8000 and flags & 0xF == 3
    assert answer[12:] == QUESTION[12:]


@given(st.binary(max_size=600))
def test_garbage_never_breaks_it(garbage: bytes) -> None:
    answer = denial(garbage)
    assert answer == b"" if len(garbage) < 12 else answer[:2] == garbage[:2]


@given(st.binary(max_size=200).filter(lambda data: len(data) % 2 == 0))
def test_a_packet_with_its_checksum_sums_to_nothing(data: bytes) -> None:
    assert _checksum(data + struct.pack("!H", _checksum(data))) in (0, 0xFFFF)
