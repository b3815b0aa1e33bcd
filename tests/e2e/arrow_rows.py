"""Rows read back from Arrow or Parquet beside those that were meant."""


def rows_equal(got, want):
    """A member that a row lacks is null in Arrow; a struct of nothing but nulls may be one."""
    if isinstance(want, dict) and isinstance(got, dict):
        return set(want) <= set(got) and all(rows_equal(got[k], want.get(k)) for k in got)
    if isinstance(want, list) and isinstance(got, list):
        return len(got) == len(want) and all(rows_equal(a, b) for a, b in zip(got, want))
    return type(got) is type(want) and got == want
