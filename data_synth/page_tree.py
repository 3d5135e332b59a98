"""Pages that are read without a network: a tree of elements, written with all text escaped.

Texts and names are anybody's. Each becomes the text of an element or the value of an attribute, and
so can never be an element itself.
"""

from base64 import b64encode
from collections.abc import Iterable
from string import Template
from xml.etree import ElementTree

Node = ElementTree.Element


def node(tag: str, *inside: str | Node, kind: str = "", **attributes: str) -> Node:
    """Return an element; ``kind`` is its class."""
    made = Node(tag, {"class": kind, **attributes} if kind else attributes)
    last: Node | None = None
    for each in inside:
        if isinstance(each, Node):
            made.append(each)
            last = each
        elif last is None:
            made.text = (made.text or "") + each
        else:
            last.tail = (last.tail or "") + each
    return made


def page_bytes(template: str, body: Iterable[Node]) -> bytes:
    """Return a page, UTF-8: a template whose ``$body`` are some elements."""
    written = "\n".join(ElementTree.tostring(each, "unicode", method="html") for each in body)
    return Template(template).substitute(body=written).encode("utf-8", "replace")


def data_uri(kind: str, data: bytes) -> str:
    """Return a file as a link that holds it; ``kind`` is its media type."""
    return f"data:{kind};base64,{b64encode(data).decode()}"
