"""Markdown of ours into HTML of the design system: tabs, tables that scroll, headings with ids, links that fit."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from posixpath import join, normpath

from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from komilion.web.site.examples import Tab

RUNS = "run"  # after the language of a fence: this example can be run, and a test does
WORDY_CHARACTERS = 30  # of a cell that needs some width to be read
LABELS = {"bash": "curl", "python": "Python", "js": "JavaScript", "json": "JSON", "text": "Example"}


def to_html(text: str, file: str, hrefs: Mapping[str, str]) -> SafeString:
    """`file` is where the text lies below docs/; `hrefs` the addresses of files there. A link to any other file goes.

    The heading of the first level is left out, since the page around has it. HTML in the text is shown as text.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = _without_title(markdown.parse(text))
    _link(tokens, file, hrefs)
    _name_headings(tokens)
    _dress_tables(tokens)
    tokens = _group_examples(tokens)
    markdown.add_render_rule("examples", _render_examples)
    markdown.add_render_rule("fence", _render_fence)
    markdown.add_render_rule("table_open", _open_table)
    markdown.add_render_rule("table_close", _close_table)
    return SafeString(markdown.renderer.render(tokens, markdown.options, {}))  # ours, and without HTML of its own


def runnable(text: str) -> list[Tab]:
    """The examples of a page that can be run, in its order."""
    fences = [token for token in MarkdownIt("commonmark").parse(text) if token.type == "fence"]
    return [_tab(fence) for fence in fences if _is_runnable(fence)]


def _is_runnable(token: Token) -> bool:
    return token.type == "fence" and RUNS in token.info.split()[1:]


def _tab(fence: Token) -> Tab:
    language = (fence.info.split() or ["text"])[0]
    return Tab(LABELS.get(language, language), language, fence.content.rstrip("\n"))


def _without_title(tokens: list[Token]) -> list[Token]:
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        return tokens[3:]
    return tokens


def _link(tokens: Sequence[Token], file: str, hrefs: Mapping[str, str]) -> None:
    """Links between documents become links between pages; a picture or a source file is not on the site."""
    folder = file.rpartition("/")[0]
    for token in tokens:
        dead = False
        for child in token.children or []:
            if child.type == "link_open":
                target, mark, fragment = str(child.attrGet("href")).partition("#")
                if not target or re.match(r"[a-z][a-z0-9+.-]*:|/", target):
                    continue
                href = hrefs.get(normpath(join(folder, target))) or hrefs.get(target)
                dead = href is None
                child.attrSet("href", f"{href}{mark}{fragment}")
                child.hidden = dead
            elif child.type == "link_close" and dead:
                child.hidden, dead = True, False
            elif child.type == "image":
                child.type, child.children = "text", []
        token.children = [child for child in token.children or [] if not child.hidden] or token.children


def _name_headings(tokens: Sequence[Token]) -> None:
    seen: dict[str, int] = {}
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            text = "".join(child.content for child in inline.children or [])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
            number = seen[slug] = seen.get(slug, -1) + 1
            heading.attrSet("id", f"{slug}-{number}" if number else slug)
            inline.meta["text"] = text


def _dress_tables(tokens: Sequence[Token]) -> None:
    """A table is named by the heading above it; its header cells say what they head, and cells with much text that."""
    name, named = "This page", dict[str, int]()
    for token, following in pairwise(tokens):
        if token.type == "inline" and "text" in token.meta:
            name = token.meta["text"]
        elif token.type == "table_open":
            number = named[name] = named.get(name, 0) + 1
            token.meta["name"] = name if number == 1 else f"{name}, table {number}"
        elif token.type == "th_open":
            token.attrSet("scope", "col")
            token.attrs.pop("style", None)
        elif token.type == "td_open":
            token.attrs.pop("style", None)  # an alignment would be a style attribute, which the policy refuses
            if len(following.content) > WORDY_CHARACTERS:
                token.attrSet("class", "wordy")


def _group_examples(tokens: Sequence[Token]) -> list[Token]:
    """Runnable fences that follow each other become one token."""
    grouped: list[Token] = []
    for token in tokens:
        if not _is_runnable(token):
            grouped.append(token)
        elif grouped and grouped[-1].type == "examples":
            grouped[-1].meta["tabs"].append(_tab(token))
        else:
            number = sum(1 for other in grouped if other.type == "examples") + 1
            grouped.append(Token("examples", "", 0, meta={"tabs": [_tab(token)], "name": f"example-{number}"}))
    return grouped


def _render_examples(_: RendererProtocol, tokens: Sequence[Token], index: int, __: OptionsDict, ___: EnvType) -> str:
    tabs = tokens[index].meta["tabs"]
    if len(tabs) == 1:
        return _code(tabs[0])
    return render_to_string("components/tabs.html", {"name": tokens[index].meta["name"], "tabs": tabs})


def _render_fence(_: RendererProtocol, tokens: Sequence[Token], index: int, __: OptionsDict, ___: EnvType) -> str:
    return _code(_tab(tokens[index]))


def _code(tab: Tab) -> str:
    return render_to_string("components/code.html", {"text": tab.text, "language": tab.label})


def _open_table(_: RendererProtocol, tokens: Sequence[Token], index: int, __: OptionsDict, ___: EnvType) -> str:
    return render_to_string("site/table_open.html", {"name": tokens[index].meta["name"]})


def _close_table(*_: object) -> str:
    return "</table></div>\n"
