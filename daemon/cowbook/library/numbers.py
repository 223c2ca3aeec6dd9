"""Fixed-point numbers as a person wants them: floats, exact decimals, or left as they are."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Numbers = Literal["float64", "int64", "decimal"]
"""Floats; whole numbers in units of 10^-decimals; or `decimal.Decimal`, exact."""

NUMBERS: tuple[Numbers, ...] = ("float64", "int64", "decimal")


@dataclass(frozen=True, slots=True)
class Scale:
    """Converts fixed-point numbers of so many decimals."""

    decimals: int
    numbers: Numbers

    def value(self, number: int) -> Any:
        """One number: a float, an int or a Decimal."""
        if self.numbers == "float64":
            return number / 10**self.decimals
        return number if self.numbers == "int64" else exact(number, self.decimals)

    def mean(self, total: int, count: int) -> Any:
        """`total / count`. With whole numbers it is a float in their unit."""
        if self.numbers == "decimal":
            return exact(total, self.decimals) / count
        return total / (count * 10**self.decimals if self.numbers == "float64" else count)

    def array(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """An array: float64, int64, or of Decimal objects."""
        if self.numbers == "float64":
            floats: npt.NDArray[np.float64] = numbers / 10**self.decimals
            return floats
        if self.numbers == "int64":
            return numbers
        decimals = np.empty(len(numbers), object)
        decimals[:] = [exact(number, self.decimals) for number in numbers.tolist()]
        return decimals


def exact(number: int, decimals: int) -> Decimal:
    """A fixed-point number as a Decimal."""
    return Decimal(number).scaleb(-decimals)
