# %% [markdown]
# # Imbalance and returns
#
# Does the imbalance of the best levels say where the mid goes? The books come straight from the capture, without any output:
# `cowbook.replay` yields the book each time that `every` of event time has passed.

# %%
import numpy as np

import cowbook

CAPTURE = "build/demo/BTCUSDT.jsonl.gz"
LEVELS = 5

# %%
rows = [
    (book.instant, book.mid, book.imbalance(LEVELS))
    for book in cowbook.replay(CAPTURE, symbol="BTCUSDT", every="1s")
    if book.synced and book.best_is_known
]
times, mids, imbalances = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
print(len(rows))

# %% [markdown]
# The mean return over the next five seconds, in basis points, for each quarter of the imbalances. Prices of the simulated market
# move by chance, so that what is found here is noise: a recorded one is another matter.

# %%
AHEAD = 5
returns = (mids[AHEAD:] / mids[:-AHEAD] - 1) * 10_000
quarter = np.digitize(imbalances[:-AHEAD], np.quantile(imbalances, [0.25, 0.5, 0.75]))
mean_returns = [float(returns[quarter == number].mean()) for number in range(4)]
print(mean_returns)

# %%
correlation = float(np.corrcoef(imbalances[:-AHEAD], returns)[0, 1])
print(correlation)
