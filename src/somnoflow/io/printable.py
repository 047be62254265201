"""Texts of others as they may be written to a terminal, a log or a line of a table."""


def printable(text: str, *, keep: str = "") -> str:
    """Put `?` in the place of signs that a terminal would obey, but for those in `keep`."""
    return "".join(sign if sign.isprintable() or sign in keep else "?" for sign in text)
