"""Run in a Python that has nautilus_trader: its book at many times of receipt, from an exported catalogue.

Arguments: the catalogue, the instrument's id, an .npz file whose `times` are ns in order, and the .npz file to write: `quotes`,
price and size of the best bid and ask at each of them, and `trades`, their number.
"""

import sys

import numpy as np
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import OrderBookDelta, TradeTick
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.persistence.catalog import ParquetDataCatalog


def main(catalogue: str, instrument: str, asked: str, out: str) -> None:
    """Write the quotes."""
    catalog = ParquetDataCatalog(catalogue)
    deltas = iter(list(catalog.query(OrderBookDelta, identifiers=[instrument])))
    trades = len(catalog.query(TradeTick, identifiers=[instrument]))
    book = OrderBook(InstrumentId.from_str(instrument), BookType.L2_MBP)
    quotes = []
    delta = next(deltas)
    for time in np.load(asked)["times"]:
        while delta is not None and delta.ts_init <= time:
            book.apply_delta(delta)
            delta = next(deltas, None)
        best = (book.best_bid_price(), book.best_bid_size(), book.best_ask_price(), book.best_ask_size())
        quotes.append([np.nan if value is None else float(value) for value in best])
    np.savez(out, quotes=np.array(quotes), trades=trades)


main(*sys.argv[1:])
