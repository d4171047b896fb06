"""Foreign HTML made safe: an allow-list, tables and headings that fit the page."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any, Final

import nh3
from bs4 import BeautifulSoup, Tag
from bs4.dammit import EntitySubstitution
from bs4.formatter import HTMLFormatter
from markupsafe import Markup
from mistune import HTMLRenderer
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

_TAGS = set(
    "a abbr b bdi blockquote br caption code col colgroup dd del details dfn div dl dt em "
    "figcaption figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span "
    "strong sub summary sup table tbody td tfoot th thead time tr u ul var".split()
)
_DROPPED_WITH_CONTENT = set(
    "applet audio canvas embed form iframe math noembed noframes noscript object option script "
    "select style svg template textarea title video xmp".split()
)
# great_tables and pandas name what a cell is by class; only those the stylesheet knows are
# kept, so that foreign HTML cannot dress up as the page's own banner, and cells stay short.
_CLASSES = set(
    "dataframe gt_table gt_right gt_center gt_group_heading gt_summary_row gt_first_summary_row "
    "gt_grand_summary_row gt_first_grand_summary_row gt_stub gt_sourcenote gt_footnote "
    "gt_column_spanner_outer gt_title gt_subtitle "
    "rows r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12".split()
)
_STYLES = set(
    "background-color color font-style font-variant-numeric font-weight text-align "
    "text-decoration vertical-align white-space width".split()
)
_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml)[;,]", re.IGNORECASE)
_STYLE_ATTACK = re.compile(r"\(|\\|@|!|/\*")
_COLOUR = re.compile(r"\b(rgba?|hsla?)\([\d\s.,%/deg-]*\)", re.IGNORECASE)


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "class":
        return " ".join(word for word in value.split() if word in _CLASSES) or None
    if name == "style":
        return None if _STYLE_ATTACK.search(_COLOUR.sub("", value)) else value
    if name == "src":
        return value if _IMAGE.match(value) else None
    if name == "href":
        # //host and \\host name another machine; on Windows opening one sends credentials.
        target = re.sub(r"[\x00-\x20]", "", value).lower()
        return None if target.startswith(("/", "\\", "data:")) else value
    return value


_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    clean_content_tags=_DROPPED_WITH_CONTENT,
    attributes={
        "*": {"class", "style", "title", "lang", "dir"},
        "a": {"href"},
        "img": {"src", "alt", "width", "height"},
        "td": {"colspan", "rowspan"},
        "th": {"colspan", "rowspan", "scope", "abbr"},
        **{tag: {"span"} for tag in ("col", "colgroup")},
        "ol": {"start"},
        "details": {"open"},
        "time": {"datetime"},
    },
    attribute_filter=_attribute,
    url_schemes={"http", "https", "mailto", "data"},
    filter_style_properties=_STYLES,
    link_rel="noopener noreferrer",
)


@dataclass
class Outline:
    """The headings of a page while it is being put together."""

    anchors: set[str]
    title: str | None = None
    headings: list[dict[str, Any]] = field(default_factory=list)
    last_level: int = 1
    last_text: str = ""

    def _anchor(self, text: str) -> str:
        # Same spelling as in JupyterLab, so links written there work here.
        stem = name = re.sub(r"\s+", "-", text)[:80]
        for count in itertools.count(2):
            if name not in self.anchors:
                break
            name = f"{stem}-{count}"
        self.anchors.add(name)
        return name

    def place(self, tag: Tag, listed: bool) -> None:
        """Give a heading its level and id; the first top-level one becomes the page's title."""
        text = " ".join(tag.get_text(" ").split())
        if not text:
            tag.unwrap()
        elif listed and self.title is None and tag.name == "h1":
            self.title = text
            tag.decompose()
        else:
            # The page's title is the one h1, and no level may be skipped below it.
            level = min(max(2, int(tag.name[1])), self.last_level + 1)
            tag.name = f"h{level}"
            self.last_level, self.last_text = level, text
            if listed:
                tag["id"] = self._anchor(text)
                self.headings.append({"level": level, "text": text, "anchor": tag["id"]})


# As "minimal", but void elements are written the HTML way, which is also shorter.
_FORMATTER: Final = HTMLFormatter(EntitySubstitution.substitute_xml, void_element_close_prefix="")
_PORTRAIT_COLUMNS: Final = 10
_HEADINGS: Final = ["h1", "h2", "h3", "h4", "h5", "h6"]


def sanitise(html: str, outline: Outline, *, listed: bool = False) -> Markup:
    """Return foreign HTML as markup that is safe and fits the page; empty if nothing is left.

    listed: its headings are the notebook's own and belong in the contents.
    """
    clean = _CLEANER.clean(html)
    if not re.search(r"<(h[1-6]|table|img)\b", clean):
        return Markup(clean) if _visible(clean) else Markup()  # noqa: S704
    soup = BeautifulSoup(clean, "html.parser")
    for image in soup.find_all("img"):
        _check_image(soup, image)
    # In document order, because a table is named after the heading above it.
    for tag in list(soup.find_all([*_HEADINGS, "table"])):
        if tag.name != "table":
            outline.place(tag, listed)
        elif not tag.find_parent("table"):
            _fit_table(soup, tag, outline.last_text)
    text = soup.decode(formatter=_FORMATTER)
    return Markup(text) if _visible(text) else Markup()  # noqa: S704


def _visible(html: str) -> bool:
    return bool(re.sub(r"<(?!img|hr)[^>]*>", "", html).strip())


def _check_image(soup: BeautifulSoup, image: Tag) -> None:
    if image.get("src"):
        image["alt"] = image.get("alt") or "Image"
        return
    note = soup.new_tag("span", attrs={"class": "note"})
    note.string = f"[image left out: {image.get('alt') or 'no description'}]"
    image.replace_with(note)


def _fit_table(soup: BeautifulSoup, table: Tag, heading: str) -> None:
    titles = table.find_all("caption", recursive=False)
    # great_tables writes title and subtitle as rows of their own.
    titles = titles or table.select(":scope > thead td:is(.gt_title, .gt_subtitle)")
    caption = soup.new_tag("caption")
    for title in titles:
        # Inside an element of its own it can stay in sight while the table scrolls.
        part = soup.new_tag("span")
        part.extend(list(title.contents))
        if kind := title.get("class"):
            part["class"] = kind
        caption.append(part)
        (title.find_parent("tr") or title).extract()
    if titles:
        table.insert(0, caption)
    words = " ".join(caption.get_text(" ").split())
    label = words or (f"Table in {heading}" if heading else "Table")
    first_row = table.find("tr")
    columns = len(first_row.find_all(["td", "th"])) if first_row else 0
    extent = "scroll wide" if columns > _PORTRAIT_COLUMNS else "scroll"
    # A scrolling part must be reachable by keyboard, and so needs a name; it is no landmark.
    around = {"class": extent, "role": "group", "tabindex": "0", "aria-label": label}
    table.wrap(soup.new_tag("div", attrs=around))


class _Renderer(IPythonRenderer):
    """nbconvert's markdown, without colours for code and without failing on a lost attachment."""

    block_code = HTMLRenderer.block_code

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Render an image; sanitising notes those that cannot be shown."""
        if url.startswith("attachment:") and not self.attachments.get(url[len("attachment:") :]):
            url = ""
        return str(super().image(text, url, title))


def markdown(
    source: str, outline: Outline, attachments: dict[str, dict[str, str]] | None = None
) -> Markup:
    """Return a markdown text as safe markup; its headings join the outline."""
    renderer = _Renderer(escape=False, exclude_anchor_links=True, attachments=attachments)
    html = MarkdownWithMath(renderer=renderer).render(source)
    return sanitise(html, outline, listed=True)
