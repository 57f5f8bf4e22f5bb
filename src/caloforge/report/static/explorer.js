"use strict";
// Histograms of any feature in any layer, with their ratio to Geant4's.
(() => {
  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("explorer-data").textContent);
  const SHOWN = 6; // candidates that are shown from the start
  const unpack = (text) =>
    new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

  // The last value stands twice, so that its step reaches the last border.
  const steps = (values) => [...values, values[values.length - 1]];
  const translucent = (colour) => colour + "40";
  // Plotly reads tags in names.
  const literal = (name) => name.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  // A long name stands in the legend on several lines.
  const wrapped = (name) => name.replace(/(.{1,28})(?:\s+|$)/g, "$1\n").trimEnd().split("\n").map(literal).join("<br>");

  function curve(number, { edges, middles }, values, errors, yaxis) {
    const { color, dash, symbol } = data.lines[number];
    const shared = {
      x: edges, yaxis, mode: "lines", legendgroup: String(number), hoverinfo: "skip",
      visible: number > SHOWN ? "legendonly" : true,
    };
    const line = { shape: "hv", color, dash, width: number ? 1.8 : 1.2 };
    const hidden = { shape: "hv", width: 0 };
    // Where nothing is known the band is closed, since a gap in it would be filled aslant.
    const known = (limit) => limit.map((value) => (Number.isFinite(value) ? value : 1));
    const high = known(values.map((value, i) => value + errors[i]));
    const low = known(values.map((value, i) => value - errors[i]));
    return [
      { ...shared, y: steps(low), line: hidden, showlegend: false },
      { ...shared, y: steps(high), line: hidden, fill: "tonexty", fillcolor: translucent(color), showlegend: false },
      { ...shared, y: steps(values), line, showlegend: false },
      ...(number ? [symbols(shared, middles, values, number, { color, symbol })] : []),
      {
        ...shared, x: [null], y: [null], mode: number ? "lines+markers" : "lines", line,
        marker: { color, symbol, size: 7 }, name: wrapped(data.names[number]), showlegend: yaxis === "y",
      },
    ];
  }

  // A few symbols on a line, so that it is known in grey as well.
  function symbols(shared, middles, values, number, { color, symbol }) {
    const step = Math.max(1, Math.floor(values.length / 7));
    const chosen = values.map((_, i) => i).filter((i) => i % step === number % step);
    return {
      ...shared, mode: "markers", showlegend: false, marker: { color, symbol, size: 6 },
      x: chosen.map((i) => middles[i]), y: chosen.map((i) => values[i]),
    };
  }

  // Arrows at the frame of the ratio for values beyond it.
  function arrows(number, middles, ratios, [low, high]) {
    const inside = 0.04 * (high - low);
    const of = (found, y, symbol) => ({
      x: found.map((i) => middles[i]), y: found.map(() => y), yaxis: "y2", mode: "markers",
      legendgroup: String(number), hoverinfo: "skip", showlegend: false,
      visible: number > SHOWN ? "legendonly" : true,
      marker: { color: data.lines[number].color, symbol, size: 7 },
    });
    const where = (beyond) => ratios.map((_, i) => i).filter((i) => beyond(ratios[i]));
    return [
      of(where((ratio) => ratio > high), high - inside, "triangle-up"),
      of(where((ratio) => ratio < low), low + inside, "triangle-down"),
    ];
  }

  // The smallest range around 1 that holds nine ratios in ten.
  function ratioRange(ratios) {
    const distances = ratios.flat().filter(Number.isFinite).map((r) => Math.abs(r - 1)).sort((a, b) => a - b);
    const needed = distances.length ? distances[Math.floor(0.9 * (distances.length - 1))] : 0;
    const half = [0.1, 0.2, 0.5].find((size) => needed < 0.9 * size) || 0.9;
    return [1 - half, 1 + half];
  }

  function traces(histograms, log) {
    const edges = [...unpack(histograms.edges)];
    const between = (low, high) => (log ? Math.sqrt(low * high) : (low + high) / 2);
    const x = { edges, middles: edges.slice(1).map((high, i) => between(edges[i], high)) };
    const reference = [...unpack(histograms.values[0])];
    const spread = unpack(histograms.errors[0]);
    // No ratio where Geant4 has too few showers.
    const below = reference.map((value, i) => (spread[i] < 0.5 * value ? value : NaN));
    const over = (all) => all.map((value, i) => value / below[i]);
    const values = data.names.map((_, number) => [...unpack(histograms.values[number])]);
    const range = ratioRange(values.slice(1).map(over));
    const drawn = data.names.flatMap((_, number) => {
      const errors = [...unpack(histograms.errors[number])];
      const ratios = over(values[number]);
      return [
        ...curve(number, x, values[number], errors, "y"),
        ...curve(number, x, ratios, over(errors), "y2"),
        ...arrows(number, x.middles, ratios, range),
      ];
    });
    return [drawn, range];
  }

  function layout(feature, layer, range) {
    const unit = feature.unit ? ` [${feature.unit}]` : "";
    const frame = { showline: true, mirror: true, linecolor: "#3c4350", ticks: "inside", zeroline: false, gridcolor: "#eef0f3" };
    const narrow = element("histogram").clientWidth < 640;
    return {
      margin: { l: 62, r: 12, t: 10, b: 50 }, font: { size: 13 }, uirevision: "keep", autosize: true,
      legend: narrow ? { orientation: "h", y: -0.14 } : { x: 1.01, y: 0.94 },
      xaxis: {
        ...frame, title: { text: `${feature.title} of layer ${layer}${unit}` }, anchor: "y2",
        type: feature.log ? "log" : "linear", uirevision: `${feature.title} ${layer}`, autorange: true,
      },
      yaxis: {
        ...frame, title: { text: "fraction of showers / bin" },
        domain: [0.31, 1], rangemode: "tozero", uirevision: `${feature.title} ${layer}`,
      },
      yaxis2: { ...frame, title: { text: "ratio" }, domain: [0, 0.27], range },
    };
  }

  function draw() {
    const feature = data.features[Number(element("feature").value)];
    const slider = element("layer");
    slider.max = String(feature.layers.length - 1);
    const histograms = feature.layers[Number(slider.value)];
    const { layer } = histograms;
    element("layer-value").textContent = String(layer);
    const [drawn, range] = traces(histograms, feature.log);
    Plotly.react("histogram", drawn, layout(feature, layer, range), { displaylogo: false, responsive: true });
  }

  data.features.forEach((feature, number) => element("feature").add(new Option(feature.title, number)));
  element("layer").max = String(data.features[0].layers.length - 1);
  element("layer").value = String(Math.floor(data.features[0].layers.length / 4));
  for (const id of ["feature", "layer"]) element(id).addEventListener("input", draw);
  draw();
})();
