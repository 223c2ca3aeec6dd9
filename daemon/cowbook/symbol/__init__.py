"""One symbol: capture, input, book, sink and checkpoint put together, on a thread and an event loop of its own."""
