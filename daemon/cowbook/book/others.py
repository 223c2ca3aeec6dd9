"""Messages that are of another of the symbol's books than this one: they are counted, and a warning names their channel."""

from __future__ import annotations

from cowbook.kernels.jit import rare_kernel


@rare_kernel
def note_other_channel(state, message):
    """Count a message of another of the symbol's books."""
    state.unused += 1
    state.other_channel = message.channel
