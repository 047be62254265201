"""Tables of the report as LaTeX, to be put into a paper: `booktabs`, and nothing else."""

from collections.abc import Sequence

from somnoflow.report.tables import MINUS, NOTHING, UNBROKEN, Column, Table

ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": "$<$", ">": "$>$",
    MINUS: "$-$", NOTHING: "--", UNBROKEN: "~", "\N{PLUS-MINUS SIGN}": r"$\pm$",
}  # fmt: skip
INTRO = """\
% Written by the step compare of Somnoflow. Put \\usepackage{booktabs} into the preamble.
% A column of prose is 6 cm wide; the tables are as wide as a page in landscape.
"""
PROSE, RIGHT, LEFT = "p{6cm}", "r", "l"


def to_latex(tables: Sequence[Table]) -> str:
    """Write tables as `table*` environments, one after the other."""
    return INTRO + "\n".join(_table(table) for table in tables)


def escape(text: str) -> str:
    """Write a text so that LaTeX prints it as it is."""
    return "".join(ESCAPES.get(character, character) for character in text)


def _table(table: Table) -> str:
    lines = [
        r"\begin{table*}",
        r"\centering\scriptsize",
        rf"\caption{{{escape(_caption(table))}}}",
        rf"\begin{{tabular}}{{{''.join(_alignment(column) for column in table.columns)}}}",
        r"\toprule",
        _row([column.name for column in table.columns]),
        *_body(table),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _caption(table: Table) -> str:
    return f"{table.caption} Data: {table.simulated}." if table.simulated else table.caption


def _alignment(column: Column) -> str:
    if column.prose:
        return PROSE
    return RIGHT if column.numeric else LEFT


def _body(table: Table) -> list[str]:
    lines, above = [], None
    quiet = table.quiet or [False] * len(table.rows)
    for row, group, below in zip(table.rows, table.groups, quiet, strict=True):
        if group != above:
            heading = rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\textit{{{escape(group)}}}}} \\"
            lines += [r"\midrule", heading]
            above = group
        lines.append((r"\quad " if below else "") + _row(row))
    return lines


def _row(cells: Sequence[str]) -> str:
    # A row that begins with [ would be read as an option of the line break above it.
    return " & ".join(f"{{}}{escape(cell)}" if cell.startswith("[") else escape(cell)
                      for cell in cells) + r" \\"  # fmt: skip
