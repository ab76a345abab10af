"""The CDNOW purchases (1997-01 to 1998-06) in this project's interactions table.

    python -m training.datasets.cdnow --out DIR [--sample] [--format parquet|csv.gz|csv]

69,659 purchases of the 23,570 customers who first bought at an online music shop in the first quarter of 1997; `--sample`
writes the 1/10 sample of 2,357 customers that papers report on. It comes with the package `lifetimes` (MIT).

A purchase has a day and no product: the item is `CD` for all, the quantity is the number of CDs, the value is in dollars.
Purchases of one customer on one day stay separate, as in the set.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from training.datasets import packages

_FILES: Final = {False: "CDNOW_master.txt", True: "CDNOW_sample.txt"}

# Fixed-width text, the master's with a header; the sample carries a second numbering of its own after the customer's.
_QUERY: Final = """
    WITH lines AS (
        SELECT row_number() OVER () AS line, line AS line_text, regexp_split_to_array(trim(line), '\\s+') AS cells
        FROM read_csv('{path}', header = false, columns = {{'line': 'VARCHAR'}}, delim = '\\t', quote = '', escape = ''))
    SELECT cells[1] AS user_id, 'CD' AS item_id, 'purchase' AS event_type,
           try_strptime(cells[-3], '%Y%m%d') AS "timestamp", cells[-2]::DOUBLE AS quantity, cells[-1]::DOUBLE AS event_value,
           'USD' AS currency
    FROM lines WHERE line_text ~ '^\\s*[0-9]' ORDER BY "timestamp", user_id, line"""


def write(directory: Path, *, sample: bool = False, form: str = "parquet") -> int:
    """Write `interactions.form` into a directory; its number of rows. Raises `DataPackageMissing`."""
    source = packages.package_directory("lifetimes", "lifetimes") / "datasets" / _FILES[sample]
    query = _QUERY.format(path=str(source).replace("'", "''"))
    with packages.connect() as connection:
        return packages.write_table(connection, query, directory, "interactions", form)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = packages.options("cdnow", __doc__ or "")
    parser.add_argument("--sample", action="store_true", help="the 2,357 customers that papers report on")
    parser.add_argument("--format", choices=packages.FORMATS, default="parquet")
    return packages.run(parser, arguments, lambda o: {f"interactions.{o.format}": write(o.out, sample=o.sample, form=o.format)})


if __name__ == "__main__":
    sys.exit(main())
