from datetime import UTC, datetime

import pytest

from assay.client.proxy.refusals import Refusal, Refusals, exit_code_of_run, reason_line, render_refusals
from assay.model.errors import (
    AssayError,
    NotFresh,
    NotTrusted,
    OperatorError,
    RefusedByPolicy,
    Unreachable,
    UpstreamChanged,
    UpstreamError,
    VerificationFailed,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
FORGED = VerificationFailed("forged", expected="a", found="b", rule="target-hash", next_step="tell somebody")
HOST = RefusedByPolicy("not covered", rule="host-not-covered")


def refusal(error: AssayError, *, package: bool = True, url: str = "https://example.org/") -> Refusal:
    return Refusal(error, url, AT, package)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FORGED, 10),
        (UpstreamChanged("changed"), 10),
        (NotFresh("old"), 11),
        (HOST, 12),
        (Unreachable("gone"), 13),
        (UpstreamError("odd"), 13),
        (NotTrusted("who"), 14),
        (OperatorError("disk"), 1),
    ],
)
@pytest.mark.parametrize("child_code", [0, 1])
def test_a_refusal_decides_even_when_the_command_ended_well(error: AssayError, code: int, child_code: int) -> None:
    assert exit_code_of_run([refusal(error)], child_code) == code


def test_the_gravest_refusal_decides() -> None:
    assert exit_code_of_run([refusal(Unreachable("gone")), refusal(HOST), refusal(FORGED)], 1) == 10


def test_a_refused_host_that_the_command_did_without_is_a_note() -> None:
    telemetry = refusal(HOST, package=False, url="https://telemetry.example/ping")
    assert exit_code_of_run([telemetry], 0) == 0
    assert exit_code_of_run([telemetry], 3) == 12
    assert render_refusals([telemetry], 0).startswith("assay: note: refused, and the command did without it")


def test_without_refusals_the_command_decides() -> None:
    assert exit_code_of_run([], 7) == 7
    assert render_refusals([], 7) == ""


def test_the_explanation_has_everything_the_reader_needs() -> None:
    text = render_refusals([refusal(FORGED, url="https://example.org/file")], 0)
    for words in ("https://example.org/file", "forged", "target-hash", "looks like an attack", "tell somebody"):
        assert words in text
    assert "Look at what it installed" in text


def test_retries_are_one_refusal() -> None:
    record = Refusals()
    for _ in range(5):
        record.record(FORGED, "https://example.org/", AT, package=True)
    assert len(record.all()) == 1


def test_the_record_is_bounded_and_its_overflow_still_decides() -> None:
    record = Refusals(max_entries=3)
    for number in range(10):
        record.record(HOST, f"https://{number}.example/", AT, package=False)
    record.record(FORGED, "https://example.org/", AT, package=True)
    record.record(Unreachable("gone"), "https://example.org/", AT, package=True)
    assert len(record.all()) == 4
    assert exit_code_of_run(record.all(), 0) == 10
    assert record.not_shown == 9
    blocking = record.blocking()
    assert blocking is not None
    assert blocking.error is FORGED


def test_what_can_be_tried_again_does_not_block() -> None:
    record = Refusals()
    record.record(Unreachable("gone"), "https://example.org/", AT, package=True)
    record.record(HOST, "https://telemetry.example/", AT, package=False)
    assert record.blocking() is None


def test_a_reason_is_one_short_line_of_ascii() -> None:
    line = reason_line(VerificationFailed("bad\r\n\x1b[31mred \N{SNOWMAN} " + "x" * 1000))
    assert line.isascii()
    assert line.isprintable()
    assert len(line) == 300
