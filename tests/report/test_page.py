"""The page: complete, self-contained, and alive in a browser."""

from __future__ import annotations

import html
import json
import re
import subprocess
from base64 import b64decode

import numpy as np
import pytest
from markupsafe import escape

from caloforge.report.display import event_display
from caloforge.report.explorer import explorer
from caloforge.report.figures import draw, encode, encode_small
from caloforge.report.histograms import distribution, of_bins
from caloforge.report.images import average_showers, correlations
from caloforge.report.interlayer import rho_panels
from caloforge.report.keys import key_of
from caloforge.report.lines import legend_name, line_of
from caloforge.report.panel import Panel
from caloforge.report.panels import sections
from caloforge.report.rings import ring_panels

BROWSER = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
    "--virtual-time-budget=15000",
    "--enable-logging=stderr",
    "--window-size=1300,900",
)

# Reads the display, turns every knob and reads it again; what it saw goes into the document.
PROBE = """
<script>
(async () => {
  const seen = [];
  const wait = () => new Promise((done) => setTimeout(done, 500));
  async function look(what) {
    await wait();
    const drawn = {};
    for (const side of ["reference", "candidate"]) {
      const scene = document.getElementById(`scene-${side}`);
      const plot = scene._fullLayout.scene._scene.glplot;
      plot.redraw();
      const gl = plot.gl;
      const pixels = new Uint8Array(4 * gl.drawingBufferWidth * gl.drawingBufferHeight);
      gl.readPixels(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight, gl.RGBA,
                    gl.UNSIGNED_BYTE, pixels);
      let coloured = 0;
      for (let i = 0; i < pixels.length; i += 4) {
        const [r, g, b] = pixels.subarray(i, i + 3);
        if (Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured++;
      }
      drawn[side] = {
        title: document.getElementById(`title-${side}`).textContent,
        voxels: scene.data[0].x.length, coloured,
        eye: scene.layout.scene.camera.eye.x,
      };
    }
    seen.push({ what, ...drawn });
  }
  const turn = (id, value) => {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("input", { bubbles: true }));
  };
  const histogram = () => ({
    title: document.getElementById("histogram").layout.xaxis.title.text,
    sum: document.getElementById("histogram").data[2].y.reduce((a, b) => a + b),
  });
  const first = histogram();
  turn("feature", "3");
  turn("layer", "20");
  const names = () =>
    [...document.querySelectorAll("#overview tr.candidate .name")].map((name) => name.textContent);
  const order = [names()];
  document.querySelector('button[data-column="1"]').click();
  order.push(names());
  seen.push({ what: "explorer", first, then: histogram(), order });
  await look("start");
  turn("event", "7");
  await look("event");
  turn("candidate", document.getElementById("candidate").options[1].value);
  await look("candidate");
  turn("threshold", "70");
  await look("threshold");
  await Plotly.relayout("scene-reference", { "scene.camera": { eye: { x: 2, y: 1, z: 1 } } });
  await look("turned");
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
})();
</script>
"""


@pytest.fixture(scope="module")
def text(page):
    return page.read_text(encoding="utf-8")


def test_the_page_needs_no_other_file(text):
    body = text[: text.index("/**\n* plotly.js")]  # the library names addresses that it never calls
    for pattern in (
        r"""\ssrc=["'](?!data:)""",
        r"""\shref=["'](?!data:|#)""",
        r"url\(",
        r"@import",
    ):
        assert not re.search(pattern, body), pattern


def test_the_page_is_small_enough_to_send(page):
    assert page.stat().st_size < 15e6


def test_the_page_shows_every_score(text, scores):
    table = html.unescape(text)
    for _, _, row in scores.rows():
        assert row[0].title in table
    assert text.count("<tr>") >= len(scores.rows())


def test_the_page_says_what_is_shared_which_way_is_worse_and_why_a_value_is_missing(text, scores):
    (shared,) = scores.shared
    assert str(escape(shared.text)) in text
    assert str(escape(f"{scores.values[0].title}: {scores.values[0].reason}")) in text
    assert "<small>holds 7 Geant4 showers</small>" in text
    for words in ("lower is better", ">better</th>", ">lower</td>", "farthest off"):
        assert words in text


def test_the_page_tells_where_everything_came_from(text, scores):
    for value in ("calochallenge-2", scores.provenance["caloforge"], scores.provenance["torch"]):
        assert str(value) in text[text.index('id="provenance"') :]


def test_the_name_of_a_candidate_cannot_break_the_page(text):
    assert "<script>alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_every_figure_is_also_written_for_a_paper(page, samples):
    folder = page.with_name(f"{page.stem}_figures")
    names = {panel.name for section in sections(samples) for panel in section.panels}
    files = {path.stem: path for path in folder.glob("*.pdf")}
    assert names <= files.keys()
    names |= {panel.name for panel in (*ring_panels(samples), *rho_panels(samples))}
    # For each candidate an average shower, correlations and tails; outputs and weights.
    assert len(files) == len(names) + 2 * 3 + 2
    assert all(path.read_bytes().startswith(b"%PDF") for path in files.values())


def test_figures_for_print_are_sharp_and_those_of_the_page_small(samples):
    figure = draw(next(iter(sections(samples))).panels[0])
    printed, small = encode(figure, "png"), encode_small(figure)
    assert printed.startswith(b"\x89PNG")
    assert small.startswith(b"\x89PNG")
    width = int.from_bytes(printed[16:20], "big")
    assert width == pytest.approx(5 * 300, rel=0.05)
    assert len(small) < 40_000
    assert b"/FontFile2" in encode(figure, "pdf")  # fonts are embedded, as outlines


def test_a_page_that_cannot_be_written_leaves_the_old_one(scores, page, tmp_path):
    before = page.read_bytes()
    with pytest.raises(ValueError, match=r"formats such as 'png' and 'pdf', got \['doc'\]"):
        scores.save_page(page, figures=["doc"])
    with pytest.raises(ValueError, match="does not exist"):
        scores.save_page(tmp_path / "nowhere" / "page.html")
    assert page.read_bytes() == before


def test_the_display_holds_the_showers_themselves(samples):
    data = event_display(samples)
    places = {axis: np.frombuffer(b64decode(data["voxels"][axis]), "<f4") for axis in "xyz"}
    geometry = samples["Geant4"].geometry
    for name, sample in samples.items():
        for shower, event in zip(sample.events.batches(1), data["events"], strict=True):
            shown = event[name]
            voxel = np.frombuffer(b64decode(shown["voxel"]), "<u4")
            energy = np.frombuffer(b64decode(shown["energy"]), "<f4")
            np.testing.assert_array_equal(energy, shower.energy)
            for axis in "xyz":
                expected = getattr(geometry, f"voxel_{axis}")[shower.index]
                np.testing.assert_allclose(places[axis][voxel], expected, atol=1e-5)
            assert shown["energy_inc"] == shower.energy_inc[0]
    json.dumps(data, allow_nan=False)


def test_showers_shown_together_have_like_incident_energy(samples):
    wanted = samples["Geant4"].events.energy_inc
    assert np.all(np.diff(wanted) > 0)
    assert wanted[-1] > 30 * wanted[0]
    for sample in samples.values():
        np.testing.assert_allclose(sample.events.energy_inc, wanted, rtol=0.15)


def test_the_ratio_of_average_showers_is_that_of_the_energies(samples):
    names = "Geant4", list(samples)[2]
    figure = average_showers(samples[names[0]], samples[names[1]], names).whole()
    meshes = [axes.collections[0] for axes in figure.axes[12:17]]
    ratios = np.ma.concatenate([mesh.get_array().ravel() for mesh in meshes])
    assert ratios.count() > 500
    energies = [samples[name].features["E_tot"].mean() for name in names]
    expected = energies[1] / energies[0]
    assert np.ma.median(ratios) == pytest.approx(expected, rel=0.05)


def test_the_correlations_are_those_of_the_layers_and_so_is_their_difference(samples):
    names = "Geant4", list(samples)[2]
    figure = correlations(samples[names[0]], samples[names[1]], names).whole()
    first, second, difference = (axes.collections[0].get_array() for axes in figure.axes[:3])
    energies = [samples[name].features["E_layer"] for name in names]
    expected = [np.corrcoef(energy[:, 5], energy[:, 20])[0, 1] for energy in energies]
    assert first[5, 20] == pytest.approx(expected[0])
    assert second[20, 5] == pytest.approx(expected[1])
    np.testing.assert_allclose(difference, second - first)
    assert f"max {np.abs(difference).max():.3f}" in figure.axes[2].get_title()


def test_the_explorer_holds_the_histograms_of_every_layer(samples):
    data = explorer(samples)
    energy = next(feature for feature in data["features"] if feature["title"] == "Energy")
    assert [found["layer"] for found in energy["layers"]] == list(range(45))
    found = energy["layers"][12]
    edges = np.frombuffer(b64decode(found["edges"]), "<f4").astype(float)
    for number, sample in enumerate(samples.values()):
        counts = np.frombuffer(b64decode(found["values"][number]), "<f4") * len(sample)
        expected, _ = np.histogram(sample.features["E_layer"][:, 12], edges)
        np.testing.assert_allclose(counts, expected, atol=0.1)
    json.dumps(data, allow_nan=False)


def test_a_panel_draws_every_sample_and_its_ratio(samples):
    section = next(iter(sections(samples)))
    figure = draw(section.panels[0])
    (upper, lower), (legend,) = figure.axes, figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    # a long name stands on several lines, and none is cut
    assert [label.replace("\n", " ") for label in labels] == list(samples)
    assert max(len(line) for label in labels for line in label.split("\n")) <= 28
    assert lower.get_ylabel() == "ratio"
    assert upper.get_xlim() == lower.get_xlim()


def test_of_twenty_candidates_each_has_its_line_above_the_figure(twenty):
    section = next(iter(sections({"Geant4": twenty.reference, **twenty.candidates})))
    figure = draw(section.panels[0])
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["Geant4", *twenty.candidates]
    handles = legend.legend_handles[1:]
    assert len({(line.get_color(), line.get_linestyle()) for line in handles}) == 20
    # without colour, too: dashes and symbols together
    assert len({(line.get_linestyle(), line.get_marker()) for line in handles}) == 20
    figure.canvas.draw()
    box = legend.get_window_extent()
    assert box.y0 >= figure.bbox.y1  # no picture of the page holds it, every file does
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    printed = encode(figure, "png")
    assert int.from_bytes(printed[20:24], "big") > 300 * (box.y1 / figure.dpi - 0.2)


def test_every_line_of_a_panel_stands_in_the_legend_of_the_page(text, scores):
    legend, *_ = re.findall(r'<ul class="legend">(.*?)</ul>', text)
    names = [html.unescape(name) for name in re.findall(r"</svg>(.*?)</li>", legend)]
    assert names == ["Geant4", *scores.candidates]
    assert all(key_of(number) in legend for number in range(len(names) - 1))


def test_a_column_of_a_wide_figure_stands_alone(samples):
    """In a narrow window: with names and scales of its own, and what the whole shows there."""
    pair = samples["Geant4"], list(samples.values())[2]
    names = "Geant4", legend_name("a candidate whose name is long and stands on several lines " * 2)
    for wide in (average_showers(*pair, names), correlations(*pair, names)):
        whole = wide.whole().axes
        for number, column in enumerate(wide.columns()):
            axes, bars = column.axes[::2], column.axes[1::2]
            assert all(each.get_ylabel() for each in (*axes, *bars))
            assert axes[-1].get_xlabel()
            assert column.get_figwidth() < 5
            encode_small(column)  # puts labels in their places
            labels = [each.yaxis.label.get_window_extent() for each in axes]
            assert min(box.x0 for box in labels) >= 0  # no name is cut
            shown, there = (one.collections[0].get_array() for one in (axes[0], whole[number]))
            np.testing.assert_array_equal(shown, there)


def test_values_beyond_the_ratio_have_arrows_and_others_none():
    edges = np.arange(5.0)
    histograms = {
        name: of_bins(edges, "x", values, np.full(4, 1.0))
        for name, values in {
            "Geant4": [100, 100, 100, 100],
            "half of it": [100, 101, 99, 5],
            "the same": [100, 100, 100, 100],
        }.items()
    }
    lower = draw(Panel("x", "x", "y", histograms)).axes[1]
    low, _ = lower.get_ylim()
    arrows = [line for line in lower.lines if line.get_gid() == "beyond"]
    assert low > 0.05
    assert [(line.get_marker(), line.get_xdata().tolist()) for line in arrows] == [("v", [3.5])]
    assert arrows[0].get_color() == line_of(0)["color"]


def test_values_below_a_logarithmic_panel_have_arrows_where_geant4_has_any():
    edges = np.arange(5.0)
    histograms = {
        name: of_bins(edges, "x", values, np.full(4, 1e-3))
        for name, values in {"Geant4": [100, 10, 10, 0], "mine": [100, 0, 0.1, 0]}.items()
    }
    upper = draw(Panel("x", "x", "y", histograms, log_y=True)).axes[0]
    (arrows,) = (line for line in upper.lines if line.get_gid() == "beyond")
    assert (arrows.get_marker(), arrows.get_xdata().tolist()) == ("v", [1.5, 2.5])


def test_showers_beyond_the_ends_of_the_axis_are_told():
    edges = np.linspace(0, 1, 5)
    values = {"Geant4": np.linspace(0, 0.99, 200), "low": np.linspace(-0.25, 0.74, 100)}
    histograms = {name: distribution(found, edges, "x") for name, found in values.items()}
    upper = draw(Panel("x", "x", "y", histograms)).axes[0]
    assert [text.get_text() for text in upper.texts] == [r"$\leftarrow$ 25%"]
    (symbol,) = (line for line in upper.lines if line.get_gid() == "outside")
    assert symbol.get_color() == line_of(0)["color"]


def open_in_browser(chromium, path, folder):
    """The document after its scripts have run, and what they had to complain about."""
    run = subprocess.run(
        [chromium, *BROWSER, f"--user-data-dir={folder}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def worries(console):
    return [line for line in console if re.search(r"Uncaught|Error|error|Failed|Refused", line)]


@pytest.mark.slow
def test_a_page_of_twenty_candidates_loads(chromium, page_of_twenty, tmp_path):
    document, console = open_in_browser(chromium, page_of_twenty, tmp_path / "profile")
    assert not worries(console)
    for number in range(20):
        assert f'<option value="candidate {number}">' in document
        assert f'data-unformatted="candidate {number}"' in document  # in the legend of the explorer


@pytest.fixture(scope="module")
def probed(chromium, text, tmp_path_factory):
    """The page in a browser, with the probe after its own scripts."""
    folder = tmp_path_factory.mktemp("browser")
    path = folder / "probed.html"
    path.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    document, console = open_in_browser(chromium, path, folder / "profile")
    seen = re.search(r'<pre id="seen">(.*?)</pre>', document, re.DOTALL)
    assert seen, f"the page's scripts did not come to their end: {console}"
    return {look["what"]: look for look in json.loads(html.unescape(seen[1]))}, console


def test_the_browser_has_nothing_to_complain_about(probed):
    _, console = probed
    assert not worries(console)


def test_the_display_draws_both_showers(probed):
    looks, _ = probed
    for side in ("reference", "candidate"):
        assert looks["start"][side]["voxels"] > 100
        assert looks["start"][side]["coloured"] > 100
    assert looks["start"]["reference"]["title"].startswith("Geant4: ")


def test_the_selectors_change_what_is_drawn(probed):
    looks, _ = probed
    start, event, candidate, threshold = (
        looks[what] for what in ("start", "event", "candidate", "threshold")
    )
    assert event["reference"]["voxels"] > start["reference"]["voxels"]
    assert event["reference"]["title"] != start["reference"]["title"]
    assert candidate["reference"] == event["reference"]
    assert candidate["candidate"]["title"] != event["candidate"]["title"]
    for side in ("reference", "candidate"):
        assert 0 < threshold[side]["voxels"] < candidate[side]["voxels"] / 2
        assert threshold[side]["coloured"] < candidate[side]["coloured"]


def test_both_showers_turn_together(probed):
    looks, _ = probed
    assert looks["turned"]["reference"]["eye"] == looks["turned"]["candidate"]["eye"] == 2
    assert looks["start"]["candidate"]["eye"] != 2


def test_the_explorer_shows_the_feature_and_layer_that_are_chosen(probed):
    looks, _ = probed
    first, then = looks["explorer"]["first"], looks["explorer"]["then"]
    assert first["title"] == "Energy of layer 11 [MeV]"
    assert then["title"] == "Centre in y of layer 20 [mm]"
    assert first["sum"] > 0
    assert then["sum"] > 0
    assert first["sum"] != then["sum"]


def test_the_overview_is_sorted_by_the_column_that_is_clicked(probed, scores):
    looks, _ = probed
    before, after = looks["explorer"]["order"]
    assert before == list(scores.candidates)
    key = "pearson", "mean"
    assert after == sorted(before, key=lambda name: scores[(*key, name)].value)
