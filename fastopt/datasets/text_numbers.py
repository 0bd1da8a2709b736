"""Numbers written as text: decimal commas, thousands separators, currencies, percent, missing values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

#: Texts that mean "missing" in every column, in lower case.
MISSING = frozenset({"", "?", "nan", "-nan", "#n/a", "#na", "<na>", "#n/a n/a"})
# Texts that mean it among numbers; among words they may be classes.
_MISSING_AMONG_NUMBERS = MISSING | {"na", "n/a", "n.a.", "none", "null", "nil", "-", "--", ".", "missing"}
_INFINITE = {"inf": np.inf, "+inf": np.inf, "-inf": -np.inf, "infinity": np.inf, "-infinity": -np.inf}

_CURRENCY = "$€£¥₹"
_GROUPS = "'’\u00a0\u202f "  # signs between thousands that are never decimal points
_WRITTEN = (
    rf"^(?P<sign>[-+]?)\s*(?P<before>[{_CURRENCY}]?)\s*(?P<late_sign>[-+]?)"
    rf"(?P<digits>[\d.,{_GROUPS}]*\d[\d.,]*(?:[eE][-+]?\d+)?)\s*(?P<after>[{_CURRENCY}%]?)$"
)


def _pattern(decimal, thousands):
    group = rf"[{thousands}{_GROUPS}]"
    return rf"(?:\d+|[1-9]\d{{0,2}}(?:{group}\d{{3}})+)?(?:[{decimal}]\d*)?(?:[eE][-+]?\d+)?"


_FORMS = {".": _pattern(".", ","), ",": _pattern(",", ".")}


@dataclass(frozen=True)
class TextNumbers:
    """A column of text in which every value is a number or missing.

    Attributes
    ----------
    texts : Series
        The column, stripped.
    digits : Series
        The distinct texts that are finite numbers, as sign and digits, by text.
    symbol : str
        The currency or percent sign around the digits, or ''.
    decimals : tuple of str
        Under which decimal signs, '.' or ',', every value can be read.
    missing : list of str
        The marks that stand for missing values here.
    """

    texts: pd.Series
    digits: pd.Series
    symbol: str
    decimals: tuple[str, ...]
    missing: list[str]

    def prefers(self, evidence: set[str], separator: str) -> str:
        """Return the decimal sign to assume where the column itself leaves it open.

        Parameters
        ----------
        evidence : set of str
            Decimal signs that other columns of the file show beyond doubt.
        separator : str
            Between the file's columns: beside semicolons a comma is a decimal sign.
        """
        if len(self.decimals) == 1:
            return self.decimals[0]
        if len(evidence) == 1:
            return next(iter(evidence))
        has_comma = self.digits.str.contains(",", regex=False).any()
        return "," if has_comma and separator == ";" else "."

    def is_rounded(self) -> bool:
        """Whether there are whole numbers of more digits than float64 holds."""
        return bool(self.digits.str.fullmatch(r"[-+]?\d{17,}").any())

    def values(self, decimal: str) -> pd.Series:
        """Return the numbers as float64, NaN where missing."""
        plain = self.digits.str.replace(rf"[{_GROUPS}{',' if decimal == '.' else '.'}]", "", regex=True)
        numbers = plain.str.replace(",", ".", regex=False).astype(np.float64)
        return self.texts.map({**_INFINITE, **numbers.to_dict()}).astype(np.float64)

    def remark(self, decimal: str) -> str:
        """Return a note on how the column was read, such as 'thousands (1,234 as 1234)', or ''."""
        signs = self.digits.str.replace(r"^[-+]|[eE][-+]?\d+$", "", regex=True)
        thousands = signs.str.contains(rf"[{_GROUPS}{',' if decimal == '.' else '.'}]", regex=True)
        if decimal == ",":
            what, shown = "decimal commas", signs.str.contains(",", regex=False)
            shown, what = (shown, what) if shown.any() else (thousands, "points between thousands")
        else:
            what, shown = "thousands", thousands
        kind = "percent" if self.symbol == "%" else f"amounts in {self.symbol}"
        if not shown.any():
            if not self.symbol:
                return ""
            what, shown = kind, signs.notna()
        elif self.symbol:
            what = f"{kind} with {what}"
        example = shown.index[shown][0]
        return f"{what} ({example} as {self.values(decimal)[self.texts == example].iloc[0]:.12g})"


def read(column: pd.Series) -> TextNumbers | None:
    """Return the numbers in a column of text, or None if a value is something else.

    Amounts in several currencies, and percentages beside plain numbers, are not numbers of one kind: None.
    """
    texts = column.str.strip()
    distinct = texts.dropna().drop_duplicates()
    lowered = distinct.str.casefold()
    is_missing = lowered.isin(_MISSING_AMONG_NUMBERS)
    written = distinct[~is_missing & ~lowered.isin(list(_INFINITE))]
    parts = written.str.replace("−", "-", regex=False).str.extract(_WRITTEN)
    if (
        written.empty
        or parts["digits"].isna().any()
        or ((parts["sign"] != "") & (parts["late_sign"] != "")).any()
    ):
        return None
    symbols = parts["before"] + parts["after"]
    kinds = set(symbols) - {""}
    if len(kinds) > 1 or any(len(kind) > 1 for kind in kinds) or ("%" in kinds and (symbols == "").any()):
        return None
    digits = parts["digits"].str.strip()
    decimals = tuple(sign for sign, form in _FORMS.items() if digits.str.fullmatch(form).all())
    if not decimals:
        return None
    signed = (parts["sign"] + parts["late_sign"] + digits).set_axis(written)
    return TextNumbers(texts, signed, "".join(kinds), decimals, sorted(set(distinct[is_missing]) - {""}))


def share_of_numbers(column: pd.Series) -> tuple[float, list[str]]:
    """Return the share of distinct texts that are numbers, and some of those that are not."""
    distinct = column.str.strip().dropna().drop_duplicates()
    distinct = distinct[~distinct.str.casefold().isin(_MISSING_AMONG_NUMBERS)]
    is_number = distinct.str.match(_WRITTEN)
    return float(is_number.mean()) if len(distinct) else 0.0, list(distinct[~is_number][:3])
