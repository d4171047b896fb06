"""What the names of columns say of what is in them."""

from __future__ import annotations

import re

_CODES = (
    "id|ids|oid|key|pk|fk|code|no|nr|num|number|ref|reference|account|acct|zip|zipcode|plz|postcode"
    "|postal|cusip|isin|sedol|ticker|lei|iban|bic|sku|ean|gtin|upc|barcode|serial|uuid|guid|hash|pin"
    "|version|year|phone|mobile|fax|tel"
)
CODE = re.compile(rf"(^|_)({_CODES})(_|$)")
"""Names of texts that stay texts although they are made of digits."""
IDENTIFIER = re.compile(rf"(^|_)({_CODES})$")
"""Names of numbers that are no quantities; one of days_no_load is."""
AHEAD = re.compile(
    r"(^|_)((plan|planned|exp|valid|due|end|ends|until|thru|through|to|next|eta|term|call)(_|$)|"
    r"expir|expect|matur|schedul|forecast|estimat|deadlin|renew|settle|effectiv|deliver|redem|target)"
)
"""Names of days that are meant to lie ahead."""
GENERIC = set(
    "id name code type status state kind description comment comments note notes value date time "
    "title label text key number amount rank source category level flag owner".split()
)
"""Names that mean another thing in every table."""


def words(name: str) -> str:
    """Write a column's name in lower case with `_` between its words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+", "_", name).strip("_").lower()
