"""Finds the values of a JSON array one after the other, without decoding them."""

from __future__ import annotations

from cowbook.input.text.text_scanner import BRACKET, BRACKET_END, CLOSE, COMMA, FAILED, NEWLINE, OPEN, QUOTE, RETURN, SPACE
from cowbook.kernels.jit import kernel

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
