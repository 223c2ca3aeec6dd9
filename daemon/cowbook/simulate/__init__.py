"""Made-up captures in Binance's format, from a made-up market."""
