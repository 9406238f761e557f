"""A page in a browser: it loads without complaint, sorts, tells, and asks nothing of any network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Page, browser, needs_chromium
from PIL import Image
from reported_run import HOSTILE, reported_run

from trunkline.report.html.write import write_html

pytestmark = [pytest.mark.golden, needs_chromium]

TABLE = "document.querySelector('#overview ~ .table table')"
HEADING = f"[...{TABLE}.querySelectorAll('thead th')].find(th => th.textContent.includes('p50'))"
TIP = "document.getElementById('tip')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of a run with ten ways of sharing, and hostile names."""
    folder = tmp_path_factory.mktemp("browser")
    others = ("multi-task", f"share{HOSTILE}", *(f"share-until:{i}" for i in range(7)))
    run = reported_run(folder / "run", name=HOSTILE, others=others)
    report = write_html([run], folder / "report.html")
    with browser(folder / "profile") as opened:
        opened.open(report.path)
        yield opened


def column(page: Page, name: str) -> list[str]:
    """What a column of the overview shows, from above."""
    place = f"[...{TABLE}.querySelectorAll('thead th')].findIndex(th => th.textContent.includes('{name}'))"
    found: list[str] = page.run(f"(i => [...{TABLE}.tBodies[0].rows].map(row => row.cells[i].textContent))({place})")
    return found


def test_nothing_is_complained_of_or_asked_for(page: Page) -> None:
    """No error, no blocked style or script, no request but for the file; names ran no script."""
    assert page.complaints() == []
    assert len(page.requests()) == 1 and page.requests()[0].startswith("file://")
    assert page.run("document.title") != "obeyed"
    assert page.run("document.querySelectorAll('script').length") == 1


def test_pictures_are_shown(page: Page) -> None:
    """Each is decoded, and has a width."""
    widths = page.run("Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(widths) >= 6
    assert all(width > 50 for width in widths)


def test_a_table_sorts_by_keyboard(page: Page) -> None:
    """Enter on a heading sorts by numbers, once more the other way, and says so to who cannot see it."""
    page.run(f"{HEADING}.querySelector('button').focus()")
    page.press("Enter")
    rising = [float(cell.split()[0]) for cell in column(page, "p50")]
    assert rising == sorted(rising) and len(set(rising)) == 11
    assert page.run(f"{HEADING}.getAttribute('aria-sort')") == "ascending"
    page.press("Enter")
    assert [float(cell.split()[0]) for cell in column(page, "p50")] == rising[::-1]
    assert page.run(f"{HEADING}.getAttribute('aria-sort')") == "descending"
    assert "descending" in page.run("document.getElementById('said').textContent")
    others = page.run(f"[...{TABLE}.querySelectorAll('thead th')].filter(th => th.ariaSort !== 'none').length")
    assert others == 1


def test_what_has_no_number_comes_last(page: Page) -> None:
    """Whichever way a column is sorted; only two of these models have a file in the folder."""
    for _ in range(2):
        page.run(f"[...{TABLE}.querySelectorAll('button')].find(b => b.textContent.includes('file')).click()")
        sizes = column(page, "file")
        assert sizes[0] != "–" and sizes[-1] == "–"


def test_a_tooltip_comes_by_focus_and_by_pointer(page: Page) -> None:
    """The same text by both; Escape takes it away; arrow keys walk, and a drawing is one stop of Tab."""
    page.run("document.querySelector('svg .mark[tabindex=\"0\"]').focus()")
    first = page.run(f"{TIP}.textContent")
    assert not page.run(f"{TIP}.hidden") and "Δ" in first and "latency" in first
    page.press("Escape")
    assert page.run(f"{TIP}.hidden")
    page.press("ArrowRight")
    second = page.run(f"{TIP}.textContent")
    assert not page.run(f"{TIP}.hidden") and second != first
    assert page.run("document.querySelectorAll('svg.drawing')[0].querySelectorAll('[tabindex=\"0\"]').length") == 1
    page.press("End")
    assert page.run("document.activeElement.dataset.tip") == page.run(f"{TIP}.textContent")
    page.run("document.activeElement.blur()")
    assert page.run(f"{TIP}.hidden")
    page.point_at("svg .mark circle")
    assert page.run(f"{TIP}.textContent") == page.run("document.querySelector('.mark:has(circle)').dataset.tip")


def test_tab_leads_through_the_page(page: Page) -> None:
    """The first stop skips the contents; whatever has focus shows it."""
    page.run("document.activeElement.blur(); window.scrollTo(0, 0); document.querySelector('.skip').focus()")
    page.press("Enter")
    assert page.run("location.hash") == "#main"
    page.press("Tab")
    assert page.run("document.activeElement.closest('main') !== null")
    outline = page.run("(s => [s.outlineStyle, parseFloat(s.outlineWidth)])(getComputedStyle(document.activeElement))")
    assert outline[0] == "solid" and outline[1] >= 2


def test_colours_have_contrast(page: Page) -> None:
    """4.5 : 1 for all text that is a colour of the style sheet, light and dark (WCAG 2.2, 1.4.3)."""
    script = """
    (() => {
      const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      const numbers = text => text.match(/[\\d.]+/g).map(Number);
      const light = rgb => { const [r, g, b] = rgb.map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const behind = e => { for (; e; e = e.parentElement) { const c = numbers(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
      let least = 99;
      const texts = 'p, td, th, a, h1, h2, h3, dd, dt, code, summary, figcaption, svg text';
      for (const e of document.querySelectorAll(texts)) {
        const style = getComputedStyle(e), ink = e.closest('svg') ? style.fill : style.color;
        const pair = [light(numbers(ink).slice(0, 3)), light(behind(e.closest('svg') || e))].sort((a, b) => b - a);
        least = Math.min(least, (pair[0] + 0.05) / (pair[1] + 0.05));
      }
      return [least, behind(document.body)];
    })()"""
    page.prefer("light")
    least, ground = page.run(script)
    assert least >= 4.5
    page.prefer("dark")
    least, dark_ground = page.run(script)
    page.prefer("light")
    assert least >= 4.5
    assert sum(dark_ground) < 150 < sum(ground)


def test_a_picture_of_the_page_is_not_empty(page: Page, tmp_path: Path) -> None:
    page.run("window.scrollTo(0, 0)")
    image = Image.open(io.BytesIO(page.picture()))
    assert image.size[0] == 1280
    colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None and len(colours) > 100
