"""Binance: spot, USD-M and COIN-M futures, and options. The only venue with a scanner of its own.

Records may be wrapped: `{"stream":"btcusdt@depth@100ms","data":<record>}`.

Spot:

```
diff        {"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,"u":50093239202,
             "b":[["61737.63000000","0.00000000"],...],"a":[["61837.64000000","1.54698000"],...]}
snapshot    {"lastUpdateId":50093239218,"bids":[["61837.63000000","3.78826000"],...],"asks":[...]}
trade       {"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
             "T":1723161255342,"m":true,"M":true}
aggTrade    {"e":"aggTrade","E":1633998534486,"s":"LRCBTC","a":9213679,"p":"0.00000638","q":"177.00000000",
             "f":12368013,"l":12368013,"T":1633998534486,"m":false,"M":true}
bookTicker  {"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}
```

USD-M futures:

```
diff        {"e":"depthUpdate","E":1626992747486,"T":1626992747381,"s":"CTKUSDT","U":600859716030,"u":600859716030,
             "pu":600859712557,"b":[["0.93700","35"]],"a":[]}
snapshot    {"lastUpdateId":600859619434,"E":1626992742018,"T":1626992742012,"bids":[["0.2463","631"],...],"asks":[...]}
trade       {"e":"trade","E":1680652700455,"T":1680652700452,"s":"BTCUSDT","t":3535186032,"p":"28145.10","q":"0.002",
             "X":"MARKET","m":true}
aggTrade    {"e":"aggTrade","E":1626992747395,"a":16599297,"s":"CTKUSDT","p":"1.01000","q":"5","f":23961327,"l":23961327,
             "T":1626992747239,"m":true}
bookTicker  {"e":"bookTicker","u":2710246762461,"s":"BTCUSDT","b":"28145.10","B":"3.868","a":"28145.20","A":"6.887",
             "T":1680652700430,"E":1680652700435}
```

COIN-M futures, as USD-M with the pair in `ps` (in a snapshot: `pair`, beside `symbol`):

```
diff        {"e":"depthUpdate","E":1591270260907,"T":1591270260891,"s":"BTCUSD_200626","ps":"BTCUSD","U":17285681,
             "u":17285702,"pu":17285675,"b":[["9517.6","10"]],"a":[["9518.5","45"]]}
snapshot    {"lastUpdateId":16769853,"symbol":"BTCUSD_PERP","pair":"BTCUSD","E":1591250106370,"T":1591250106368,
             "bids":[["9638.0","431"]],"asks":[["9638.2","12"]]}
aggTrade    {"e":"aggTrade","E":1591261134288,"a":424951,"s":"BTCUSD_200626","p":"9643.5","q":"2","f":606073,"l":606073,
             "T":1591261134199,"m":false}
bookTicker  {"e":"bookTicker","u":17242169,"s":"BTCUSD_200626","ps":"BTCUSD","b":"9548.1","B":"52","a":"9548.5","A":"11",
             "T":1591268628155,"E":1591268628166}
```

`trade` is as for USD-M.

Options, with the best 10 to 1,000 levels anew in each `depth`:

```
picture     {"e":"depth","E":1696118400038,"T":1696118399082,"s":"BTC-231027-34000-C","u":1925729,"pu":1925729,
             "b":[["60","7.31"],...],"a":[["65","8.28"],...]}
trade       {"e":"trade","E":1696118408137,"s":"DOGE-231006-0.06-C","t":"15","p":"2.64","q":"0.01","b":"464785028",
             "a":"471990795","T":1696118408134,"S":"-1"}
```

* Continuity, spot: a diff's `U` is at most the last applied `u` plus one.
* Continuity, futures: a diff's `pu` is the `u` of the diff before; `U` to `u` ranges are not dense. The first diff after a
  snapshot must contain the snapshot's `lastUpdateId` instead.
* Proof of the book: a `bookTicker` whose `u` is that of the last applied depth message has the book's best price and size of
  both sides.
* Differences: a spot snapshot names neither symbol nor time; a futures one has times, and a COIN-M one its symbol. Spot's
  `bookTicker` has no `e` and no time. Sizes are in contracts for COIN-M, in the base asset elsewhere.
* `m` is true if the buyer was the maker, so the aggressor sold.
* Both markets share names of symbols. A diff of futures has `pu`, a snapshot `E` or `T`, a ticker `e`, a trade `X`; a trade of
  spot has `M`. An aggTrade of futures has neither. The `rpiDepth` book, of futures, is told only by its stream's name.
* Options: nothing shows a lost picture, since each shows all that the channel has. A trade's `S` is the aggressor's side.
* Partial books, `@depth5`, `@depth10` and `@depth20`, have the best levels as they are. Those of spot look like REST answers,
  those of futures like diffs, so they are told by their stream's name alone.

docs/rules.md, section 1, has the exact grammar. Sources: binance-spot-api-docs, "How to manage a local order book correctly",
and developers.binance.com for both kinds of futures.
"""

from __future__ import annotations

from cowbook.input.venue import Venue
from cowbook.plain.vocabulary import MARKET_NAMES, SPEED_NAMES
from cowbook.venues.binance.reference import OPTIONS_CHANNEL, decode_record
from cowbook.venues.binance.scanner import BinanceScanner

VENUE = Venue(
    decode_record,
    make_scanner=BinanceScanner,
    channels=dict.fromkeys((*MARKET_NAMES, *SPEED_NAMES), 0) | {"options": OPTIONS_CHANNEL},
)
