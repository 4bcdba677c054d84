"""Tables of code points as little C: runs of equal values in bytes, keys in runs, deltas in one plane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def ranges(values: dict[int, int]) -> list[tuple[int, int]]:
    """Returns the lengths of runs of one value, from 0 to the last code point, with the value."""
    runs: list[tuple[int, int]] = []
    for point in range(0x110000):
        # Nobody asks for surrogates: they go on with what is before them.
        value = runs[-1][1] if 0xD800 <= point <= 0xDFFF else values.get(point, 0)
        if runs and runs[-1][1] == value:
            runs[-1] = runs[-1][0] + 1, value
        else:
            runs.append((1, value))
    return runs


def stream(name: str, runs: Sequence[tuple[int, int]], kinds: Sequence[int], length_bits: int) -> list[str]:
    """Returns runs as bytes, with an index of every 32nd run.

    A byte has the number of the value in its upper bits and the length less one in its lower ones. Where all of these
    are set, the rest of the length follows, seven bits a byte, the lowest first, and bit 7 set where more follow.
    """
    most = (1 << length_bits) - 1
    assert len(kinds) <= 1 << (8 - length_bits)
    data: list[int] = []
    points, offsets = [], []
    point = 0
    for number, (length, value) in enumerate(runs):
        if number % 32 == 0:
            points.append(point)
            offsets.append(len(data))
        point += length
        data.append(kinds.index(value) << length_bits | min(length - 1, most))
        rest = length - 1 - most
        while rest >= 0:
            data.append((rest & 0x7F) | (0x80 if rest >> 7 else 0))
            rest = rest >> 7 if rest >> 7 else -1
    return [
        array("uint8_t", f"{name}_runs", data),
        array("uint32_t", f"{name}_points", map(hex, points)),
        array("uint16_t", f"{name}_offsets", offsets),
    ]


def keys_of(name: str, keys: Sequence[int]) -> list[str]:
    """Returns sorted code points as runs: the first one in 21 bits, how many in 11; and how many come before."""
    runs: list[list[int]] = []
    for at, key in enumerate(keys):
        if runs and key == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([key, 1, at])
    return [
        array("uint32_t", f"{name}_runs", (hex(first << 11 | count) for first, count, _ in runs)),
        array("uint16_t", f"{name}_before", (at for *_, at in runs)),
    ]


def lower_runs(lower: dict[int, str]) -> list[tuple[int, int, int, int]]:
    """Returns runs of code points, one or two apart, whose lowercase is as far away: first, step, count, distance."""
    runs: list[tuple[int, int, int, int]] = []
    for point, text in sorted(lower.items()):
        if text == chr(point) or len(text) != 1:
            continue
        distance = ord(text) - point
        if runs:
            first, step, count, before = runs[-1]
            last = first + (count - 1) * step
            if before == distance and count < 1023 and (point - last == step or (count == 1 and point - last <= 2)):
                runs[-1] = first, point - last, count + 1, distance
                continue
        runs.append((point, 1, 1, distance))
    return runs


def array(kind: str, name: str, values: Iterable[object]) -> str:
    """Returns the definition of a constant array."""
    lines, line = [], "   "
    for value in values:
        item = f" {value},"
        if len(line) + len(item) > 120:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line)
    return f"static const {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def bits(values: Sequence[bool]) -> list[int]:
    """Returns truths packed into bytes, the first one lowest."""
    return [sum(bool(value) << bit for bit, value in enumerate(values[at : at + 8])) for at in range(0, len(values), 8)]


def low(point: int) -> int:
    """Returns a code point's place in its plane."""
    return point & 0xFFFF
