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

  function curve(number, edges, values, errors, yaxis) {
    const { color, dash } = data.lines[number];
    const shared = {
      x: [...edges], yaxis, mode: "lines", legendgroup: String(number), hoverinfo: "skip",
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
      { ...shared, y: steps(values), line, name: literal(data.names[number]), showlegend: yaxis === "y" },
    ];
  }

  function traces(histograms) {
    const edges = unpack(histograms.edges);
    const reference = [...unpack(histograms.values[0])];
    const spread = unpack(histograms.errors[0]);
    // No ratio where Geant4 has too few showers.
    const below = reference.map((value, i) => (spread[i] < 0.5 * value ? value : NaN));
    return data.names.flatMap((_, number) => {
      const values = [...unpack(histograms.values[number])];
      const errors = [...unpack(histograms.errors[number])];
      const over = (all) => all.map((value, i) => value / below[i]);
      return [
        ...curve(number, edges, values, errors, "y"),
        ...curve(number, edges, over(values), over(errors), "y2"),
      ];
    });
  }

  function layout(feature, layer) {
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
        ...frame, title: { text: feature.log ? "1/N dN/d log<sub>10</sub> E" : "1/N dN/dx" },
        domain: [0.31, 1], rangemode: "tozero", uirevision: `${feature.title} ${layer}`,
      },
      yaxis2: { ...frame, title: { text: "ratio" }, domain: [0, 0.27], range: [0.5, 1.5] },
    };
  }

  function draw() {
    const feature = data.features[Number(element("feature").value)];
    const slider = element("layer");
    slider.max = String(feature.layers.length - 1);
    const histograms = feature.layers[Number(slider.value)];
    const { layer } = histograms;
    element("layer-value").textContent = String(layer);
    Plotly.react("histogram", traces(histograms), layout(feature, layer), { displaylogo: false, responsive: true });
  }

  data.features.forEach((feature, number) => element("feature").add(new Option(feature.title, number)));
  element("layer").max = String(data.features[0].layers.length - 1);
  element("layer").value = String(Math.floor(data.features[0].layers.length / 4));
  for (const id of ["feature", "layer"]) element(id).addEventListener("input", draw);
  draw();
})();
