"""The site as HTML, looked at as a reader's browser would: no page fails, no link or image is missing, nothing is wider than a phone.

Quarto makes the pages that are published; smalldocs, in pure Python, makes these from the same files."""
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import test_site
import test_web

site, browser = test_site.site, test_web.browser  # fixtures
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    "Links, images and anchors of a page"
    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.ids, self.classes = [], [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        self.ids.add(d.get('id'))
        self.classes |= {*(d.get('class') or '').split()}
        if tag == 'img': self.images.append((d.get('src', ''), d.get('alt')))
        target = d.get('href') or d.get('src')
        if tag in ('a', 'link', 'script') and target: self.links.append(target)


@pytest.fixture(scope='module')
def html(site):
    "The folder of the pages, and what the program that made them said"
    pytest.importorskip('smalldocs', reason='smalldocs is not installed: it wants Python 3.11')
    made = site[0]/'_proc'
    said = subprocess.run([sys.executable, '-m', 'smalldocs.cli', 'render', str(made)], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr[-2000:]
    return made/'_docs', said.stderr+said.stdout


@pytest.fixture(scope='module')
def pages(html): return {p: Page(p.read_text(encoding='utf-8')) for p in html[0].rglob('*.html')}


def test_every_chapter_has_a_page(html, pages):
    "None fails, and all that is said is what smalldocs does not know of Quarto"
    names = {p.relative_to(html[0]).with_suffix('').as_posix() for p in pages}
    assert {c.removesuffix('.ipynb') for c in test_site.chapters} <= names
    unknown = 'output-file is not read', 'code-tools is ignored', 'grid is ignored', 'smalldocs runs no code'
    warnings = [l for l in html[1].splitlines() if 'warning' in l and not any(u in l for u in unknown)]
    assert warnings == []


def test_links_and_images(html, pages):
    "Each leads to a file, and to an anchor where it names one; each image says what it shows"
    faults = []
    for path, page in pages.items():
        name = path.relative_to(html[0])
        for link in page.links:
            if re.match(r'[a-z]+:', link): continue
            file, _, anchor = link.partition('#')
            target = (path.parent/unquote(file)).resolve() if file else path
            if target.is_dir(): target = target/'index.html'
            if not target.exists(): faults.append(f'{name} links to {link}')
            elif anchor and target in pages and unquote(anchor) not in pages[target].ids: faults.append(f'{name}: no anchor {link}')
        for src, alt in page.images:
            if not re.match(r'[a-z]+:', src) and not (path.parent/src).exists(): faults.append(f'{name}: no image {src}')
            if not alt: faults.append(f'{name}: an image without alt text, {src[:40]}')
    assert faults == []


def test_navigation(pages, html):
    "A sidebar on each page, and a way to the next one"
    for path, page in pages.items():
        assert 'sidebar' in ' '.join(page.classes), path
    first = pages[html[0]/'1_idea/00_idea.html']
    assert any('01_reading.html' in l for l in first.links)


def test_no_page_is_wider_than_a_phone(html, pages, browser):
    tab, wide = browser.new_page(viewport=dict(width=390, height=844)), []
    for path in pages:
        tab.goto(Path(path).as_uri())
        if tab.evaluate('document.documentElement.scrollWidth') > 390: wide.append(path.name)
    tab.close()
    assert wide == []
