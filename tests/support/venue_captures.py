"""The recorded captures of ../shared/data by venue and symbol, and what is known to be in them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capture:
    """One symbol of one capture."""

    venue: str
    symbol: str
    paths: tuple[str, ...]
    depth_messages: int
    checksums: int = 0
    tickers: int = 0
    price_decimals: int = 8
    proves: bool = True
    """Whether the venue's messages prove that none is missing."""
    trades: int | None = None  # where they are counted
    gaps: int = 0
    synced: bool = True  # at the end

    def __str__(self) -> str:
        """For the names of tests."""
        return f"{self.venue}-{self.symbol}"

    def is_depth_update(self, line: bytes) -> bool:
        """Whether a line is a change of this symbol's book."""
        kinds = rb'"book-|"action": ?"update"|"type":"(?:update|l2update|change)"|"feed":"book","product_id":|depthUpdate'
        if self.venue == "kucoin":
            return b"trade.l2update" in line and self.symbol.encode() in line
        if self.venue == "gateio":
            return b'order_book_update","event":"update"' in line and self.symbol.encode() in line
        if self.venue == "bitfinex":
            return re.match(rb"[0-9.]+: \[[0-9]+,\[[^\[]", line) is not None  # of any symbol: one sequence for all
        return self.symbol.encode() in line and re.search(kinds, line) is not None and b"trade" not in line


def _of(venue: str, paths: tuple[str, ...], symbols: dict[str, tuple[int, int]], **more: object) -> list[Capture]:
    """By symbol: depth messages and checksums."""
    return [
        Capture(venue, symbol, paths, messages, checksums, **more)  # type: ignore[arg-type]
        for symbol, (messages, checksums) in symbols.items()
    ]


CAPTURES = (
    *_of(
        "kraken",
        ("cryptofeed/KRAKEN.ws.50.0", "cryptofeed/KRAKEN.ws.48.0"),
        {
            "ADA/XBT": (348, 347),
            "ETH/CHF": (318, 317),
            "GRT/ETH": (21, 20),
            "KSM/XBT": (336, 335),
            "OCEAN/XBT": (149, 148),
            "OMG/USD": (574, 573),
            "SC/EUR": (819, 818),
            "WAVES/EUR": (577, 576),
            "XMR/USD": (847, 846),
        },
        price_decimals=9,
    ),
    *_of("kraken", ("cryptofeed/KRAKEN.ws.50.0", "cryptofeed/KRAKEN.ws.48.0"), {"XBT/CHF": (290, 289)}),
    *_of(
        "kraken",
        ("crossbook/kraken_btcusd_sample.cbcap",),
        {"BTC/USD": (2052, 2052)},
    ),
    *_of(
        "kraken",
        ("crossbook/kraken_btcusd_l2.cbcap",),
        {"BTC/USD": (301, 301)},
    ),
    *_of(
        "okx",
        ("cryptofeed/OKX.ws.1.0",),
        {"BTC-USDT": (98, 98), "UNI-USD-SWAP": (93, 93), "BTC-USD-220527": (99, 99)},
    ),
    *_of(
        "bitget",
        ("cryptofeed/BITGET.ws.1.0",),
        {
            "AVAXUSDT": (56, 56),
            "CULTUSDT": (52, 52),
            "EOSUSDT": (56, 56),
            "GOGUSDT": (57, 57),
            "HOTUSDT": (55, 55),
            "STGUSDT": (56, 56),
            "SUNUSDT": (56, 56),
            "VVSUSDT": (55, 55),
        },
    ),
    *_of(
        "ftx",
        ("cryptofeed/FTX.ws.32.0",),
        {
            "AKRO/USD": (52, 52),
            "AMD/USD": (29, 29),
            "BTC-MOVE-WK-0507": (32, 32),
            "NVDA-0625": (28, 28),
            "PAXG/USD": (31, 31),
            "SUSHIBEAR/USD": (77, 77),
            "SXPBULL/USD": (264, 264),
            "THETAHEDGE/USD": (42, 42),
            "XRP/USD": (628, 628),
            "ZECBULL/USD": (93, 93),
        },
    ),
    *_of(
        "coinbase",
        ("cryptofeed/COINBASE.ws.28.0",),
        {
            "BAND-BTC": (1006, 0),
            "BAND-GBP": (472, 0),
            "CRV-EUR": (671, 0),
            "DASH-BTC": (1926, 0),
            "NMR-EUR": (666, 0),
            "NU-GBP": (77, 0),
            "SKL-BTC": (1540, 0),
            "SKL-GBP": (290, 0),
            "SKL-USD": (2593, 0),
            "YFI-BTC": (488, 0),
        },
        proves=False,
    ),
    *_of(
        "deribit",
        ("cryptofeed/DERIBIT.ws.1.0",),
        {
            "BTC-24JUN22-15000-C": (1, 0),
            "BTC-24SEP21-34000-P": (2, 0),
            "BTC-24SEP21-8000-P": (31, 0),
            "BTC-25MAR22-30000-C": (1, 0),
            "BTC-30JUL21-24000-P": (1, 0),
            "BTC-31DEC21-300000-C": (2, 0),
            "BTC-31DEC21-34000-P": (4, 0),
            "ETH-23JUL21-2300-C": (1, 0),
            "ETH-27AUG21-4000-P": (1, 0),
            "ETH-30JUL21-2800-C": (2, 0),
        },
    ),
    *_of(
        "kraken_futures",
        ("cryptofeed/KRAKEN_FUTURES.ws.1.0",),
        {
            "FI_BCHUSD_210730": (19, 0),
            "FI_BCHUSD_210924": (45, 0),
            "FI_ETHUSD_210730": (347, 0),
            "FI_ETHUSD_211231": (350, 0),
            "FI_XBTUSD_210730": (407, 0),
            "FI_XBTUSD_210924": (1241, 0),
            "FI_XRPUSD_210924": (38, 0),
            "PI_ETHUSD": (3891, 0),
            "PI_LTCUSD": (450, 0),
            "PI_XRPUSD": (236, 0),
        },
    ),
    *_of(
        "bitfinex",
        ("cryptofeed/BITFINEX.ws.11.0",),
        {
            "tBFTUSD": (1, 0),
            "tIOTETH": (784, 0),
            "tDOGUSD": (385, 0),
            "tMNABTC": (322, 0),
            "tODEUSD": (18, 0),
            "tTESTBTC:TESTUSD": (80, 0),
            "tSNGUSD": (10, 0),
        },
    ),
    *_of(
        "gemini",
        ("cryptofeed/GEMINI.ws.1.0",),
        {
            "ALCXUSD": (22, 0),
            "ANKRUSD": (107, 0),
            "BATBTC": (47, 0),
            "BTCGBP": (153, 0),
            "ETHEUR": (56, 0),
            "FILUSD": (168, 0),
            "GRTUSD": (76, 0),
            "LINKETH": (16, 0),
            "LTCETH": (3, 0),
            "ZECLTC": (7, 0),
        },
        proves=False,
    ),
    *(
        Capture("bybit", symbol, ("cryptofeed/BYBIT.ws.25.0",), messages, proves=False, trades=trades)
        for symbol, messages, trades in (
            ("ADAUSDT", 375, 10),
            ("BCHUSDT", 478, 17),
            ("DOTUSDT", 407, 1),
            ("ETHUSDT", 289, 6),
            ("LINKUSDT", 396, 4),
            ("LTCUSDT", 647, 29),
            ("UNIUSDT", 219, 5),
            ("XTZUSDT", 449, 29),
        )
    ),
    *_of("htx", ("cryptofeed/HUOBI.ws.44.0",), {"dogeeth": (30, 0), "yfihusd": (31, 0), "zeneth": (31, 0)}, proves=False),
    Capture("kucoin", "SNX-BTC", ("cryptofeed/KUCOIN.http.0.0", "cryptofeed/KUCOIN.ws.1.0"), 601, tickers=154, trades=0),
    Capture(
        "kucoin",
        "DAPPT-BTC",
        ("cryptofeed/KUCOIN.http.0.0", "cryptofeed/KUCOIN.ws.1.0"),
        163,
        tickers=52,
        price_decimals=10,
        trades=12,
    ),
    Capture("gateio", "NEO_BTC", ("cryptofeed/GATEIO.http.0.0", "cryptofeed/GATEIO.ws.1.0"), 37, trades=5),
    Capture("gateio", "FAST_USDT", ("cryptofeed/GATEIO.http.0.0", "cryptofeed/GATEIO.ws.1.0"), 21, trades=1),
    Capture("bitstamp", "xrpeur", ("cryptofeed/BITSTAMP.http.0.0", "cryptofeed/BITSTAMP.ws.1.0"), 65, proves=False, trades=0),
    Capture("bitmex", "XBTUSD", ("cryptofeed/BITMEX.ws.1.0",), 1300, proves=False, trades=15),
    *_of("phemex", ("cryptofeed/PHEMEX.ws.1.0",), {"sGRTUSDT": (156, 0), "XTZUSD": (393, 0)}, proves=False),
    Capture("dydx", "SUSHI-USD", ("cryptofeed/DYDX.ws.1.0",), 752, proves=False, trades=1),
    Capture("tardis", "BTC-PERPETUAL", ("tardis/deribit_incremental_book_L2_BTC-PERPETUAL.csv",), 1, proves=False, trades=0),
    Capture(
        "tardis",
        "BTCUSDT",
        ("tardis/binance-futures_trades_BTCUSDT_10k.csv",),
        0,
        proves=False,
        trades=9_999,
        synced=False,
    ),
    *(
        Capture("tardis", "BTCUSDT", (f"tardis/binance-futures_book_snapshot_{levels}_BTCUSDT.csv",), 10, proves=False, trades=0)
        for levels in (5, 25)
    ),
    Capture("tardis", "BTC-USD", ("tardis/huobi-dm-swap_quotes_BTC-USD.csv",), 10, proves=False, trades=0),
    Capture("tardis", "XBTUSD", ("tardis/bitmex_trades_XBTUSD.csv",), 0, proves=False, trades=10, synced=False),
    *(
        Capture("databento", symbol, (f"databento/{name}.dbn.zst",), messages, proves=False, trades=trades, synced=messages > 0)
        for name, symbol, messages, trades in (
            # Of 2,168 pictures one is there twice: at midnight the file repeats the last one, with its time.
            ("futures_mbp-1_2024-07-01T23-58_2024-07-02T00-02", "ESU4", 2_167, 120),
            ("futures_trades_2024-07-01T23-58_2024-07-02T00-02", "ESU4", 0, 120),
            ("test_data.mbp-10", "ESH1", 2, 0),
        )
    ),
    # Ten minutes lie between the two: they are samples of the format.
    Capture(
        "binance_csv",
        "BTCUSDT",
        ("binance_csv/btcusdt-depth-snap.csv", "binance_csv/btcusdt-depth-update.csv"),
        2,
        proves=False,
        gaps=1,
        synced=False,
    ),
    Capture("binance", "BLZETH", ("cryptofeed/BINANCE.http.0.0", "cryptofeed/BINANCE.ws.1.0"), 10, tickers=1),
    Capture("binance", "LRCBTC", ("cryptofeed/BINANCE.http.0.0", "cryptofeed/BINANCE.ws.1.0"), 14, tickers=6),
    Capture("binance", "NKNUSDT", ("cryptofeed/BINANCE.http.0.0", "cryptofeed/BINANCE.ws.1.0"), 150, tickers=19),
    Capture("binance", "RUNEEUR", ("cryptofeed/BINANCE.http.0.0", "cryptofeed/BINANCE.ws.1.0"), 2, tickers=0),
    Capture("binance", "AKROUSDT", ("cryptofeed/BINANCE_FUTURES.http.0.0", "cryptofeed/BINANCE_FUTURES.ws.1.0"), 189, tickers=7),
    Capture("binance", "CTKUSDT", ("cryptofeed/BINANCE_FUTURES.http.0.0", "cryptofeed/BINANCE_FUTURES.ws.1.0"), 181, tickers=18),
    Capture("binance", "KEEPUSDT", ("cryptofeed/BINANCE_FUTURES.http.0.0", "cryptofeed/BINANCE_FUTURES.ws.1.0"), 133, tickers=13),
    Capture(
        "binance", "SUSHIUSDT", ("cryptofeed/BINANCE_FUTURES.http.0.0", "cryptofeed/BINANCE_FUTURES.ws.1.0"), 253, tickers=12
    ),
)
"""All of them."""
