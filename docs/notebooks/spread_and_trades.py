# %% [markdown]
# # Spread and trades
#
# What a market cost, minute by minute: the spread, the volume of either side, and how much of a trade's price was spread.
# Streams are Parquet, so that Polars reads only the columns that are asked for.

# %%
import polars as pl

DATA = "build/demo/data"


def stream(name: str) -> pl.LazyFrame:
    """A stream of all symbols and days, read when it is needed."""
    return pl.scan_parquet(f"{DATA}/{name}/**/*.parquet", hive_partitioning=True)


# %% [markdown]
# Rows that are not `synced` are left out: between a gap and the next snapshot the best prices are guesses.

# %%
mid = (pl.col("bid_price").cast(float) + pl.col("ask_price").cast(float)) / 2
quotes = (
    stream("bbo")
    .filter(pl.col("synced"))
    .select("event_index", "ts_event", mid.alias("mid"), (pl.col("ask_price") - pl.col("bid_price")).cast(float).alias("spread"))
    .sort("event_index")
    .collect()
)
minutes = quotes.group_by_dynamic("ts_event", every="1m").agg(
    pl.col("mid").last(), pl.col("spread").mean(), pl.len().alias("changes")
)
print(minutes)

# %% [markdown]
# Each trade with the quote before it. `event_index` numbers the rows of a symbol in one order, so that the join is exact where
# times are equal. Binance sends depth ten times a second, so a quote may be a tenth of a second old.

# %%
trades = stream("trades").select("event_index", "side", pl.col("price", "size").cast(float)).sort("event_index").collect()
paid = trades.join_asof(quotes, on="event_index").drop_nulls("mid")
half_spread = (pl.col("price") - pl.col("mid")) * pl.when(pl.col("side").cast(str) == "buy").then(1).otherwise(-1)
costs = (
    paid.group_by(pl.col("side").cast(str))
    .agg(pl.col("size").sum(), half_spread.mean().alias("paid_above_mid"), pl.len())
    .sort("side")
)
print(costs)
