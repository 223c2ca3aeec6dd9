"""Finds the values of a JSON array one after the other, and copies them to lines, without decoding them."""

from __future__ import annotations

from cowbook.input.text.text_scanner import BRACKET, BRACKET_END, CLOSE, COMMA, FAILED, NEWLINE, OPEN, QUOTE, RETURN, SPACE
from cowbook.kernels.jit import inlined_kernel, kernel

_TAB = 9
_BACKSLASH = 92

# Places in the state of a value whose end is not found yet.
_DEPTH = 0
_IN_STRING = 1
_ESCAPED = 2
STATE_WORDS = 3


@kernel
def _is_separator(byte):
    return byte == COMMA or byte == SPACE or byte == NEWLINE or byte == RETURN or byte == _TAB


@kernel
def value_start(buffer, start, end, skips_opening):
    """Returns the index of the first byte of `buffer[start:end]` that belongs to a value; `end` if there is none.

    Separators and closing brackets of arrays are skipped, and so are opening ones if `skips_opening`.
    """
    for position in range(start, end):
        byte = buffer[position]
        if not (_is_separator(byte) or byte == BRACKET_END or (skips_opening and byte == BRACKET)):
            return position
    return end


@kernel
def value_end(buffer, start, end, state):
    """Returns the index after the value at `start`; FAILED if its end is not in `buffer[start:end]`.

    `state` is int64 of shape (STATE_WORDS,), zeros at a value's beginning. It carries an unfinished value over to the next call.
    """
    for position in range(start, end):
        byte = buffer[position]
        if state[_IN_STRING]:
            if state[_ESCAPED]:
                state[_ESCAPED] = 0
            elif byte == _BACKSLASH:
                state[_ESCAPED] = 1
            elif byte == QUOTE:
                state[_IN_STRING] = 0
                if state[_DEPTH] == 0:
                    return position + 1
        elif byte == QUOTE:
            state[_IN_STRING] = 1
        elif byte == OPEN or byte == BRACKET:
            state[_DEPTH] += 1
        elif byte == CLOSE or byte == BRACKET_END:
            if state[_DEPTH] == 0:
                return max(position, start + 1)
            state[_DEPTH] -= 1
            if state[_DEPTH] == 0:
                return position + 1
        elif state[_DEPTH] == 0 and _is_separator(byte):
            return position
    return FAILED


@inlined_kernel
def _copy_value(buffer, start, end, out, place):
    """Copy the object or array at `start` to `out[place:]`, with spaces for its line ends. Returns the index after it.

    It is FAILED if its end is not in `buffer[start:end]`, if it is neither, or if a string in it has a line end.
    """
    if buffer[start] != OPEN and buffer[start] != BRACKET:
        return FAILED
    depth = 0
    in_string = is_escaped = False
    for position in range(start, end):
        byte = buffer[position]
        out[place + position - start] = byte
        if in_string:
            if is_escaped:
                is_escaped = False
            elif byte == _BACKSLASH:
                is_escaped = True
            elif byte == QUOTE:
                in_string = False
            if byte == NEWLINE or byte == RETURN:
                return FAILED
        elif byte == QUOTE:
            in_string = True
        elif byte == NEWLINE or byte == RETURN:
            out[place + position - start] = SPACE
        elif byte == OPEN or byte == BRACKET:
            depth += 1
        elif byte == CLOSE or byte == BRACKET_END:
            depth -= 1
            if depth == 0:
                return position + 1
    return FAILED


@kernel
def copy_values(buffer, start, end, skips_opening, longest, out, room, starts, ends):
    """Copy the values of `buffer[start:end]` that are objects or arrays to `out[:room]`, one a line, up to the first other one.

    Values are as `value_start` and `value_end` find them, of at most `longest` bytes. Returns how many were copied, and how many
    bytes they take with their line feeds. `starts` and `ends` get their indices in `buffer`.
    """
    count = written = 0
    position = start
    while count < starts.size:
        position = value_start(buffer, position, end, skips_opening)
        if position == end:
            break
        after = _copy_value(buffer, position, min(end, position + min(longest, room - 1 - written)), out, written)
        if after == FAILED:
            break
        starts[count] = position
        ends[count] = after
        count += 1
        written += after - position
        out[written] = NEWLINE
        written += 1
        position = after
    return count, written
