"use strict";
// Two showers side by side, rotated together: Geant4's and a generated one.
(() => {
  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("display-data").textContent);
  const [reference, ...candidates] = data.names; // an object would put names such as "100" first
  const unpack = (text, Numbers) =>
    new Numbers(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const place = {};
  for (const axis of ["x", "y", "z"]) place[axis] = unpack(data.voxels[axis], Float32Array);

  const [lowest, highest] = data.energy_range.map(Math.log10);
  const colours = [[0, "#cfdcee"], [0.3, "#6d9fdb"], [0.6, "#7b3fa0"], [0.82, "#d7335c"], [1, "#ff9d1e"]];
  const ticks = [];
  for (let power = Math.ceil(lowest); power <= highest; power++) ticks.push(power);

  const energyText = (energy) =>
    energy >= 1000 ? `${(energy / 1000).toPrecision(3)} GeV` : `${energy.toPrecision(3)} MeV`;

  function trace(shower, threshold) {
    const voxel = unpack(shower.voxel, Uint32Array);
    const energy = unpack(shower.energy, Float32Array);
    const shown = { x: [], y: [], z: [], logEnergy: [], size: [], text: [] };
    for (let i = 0; i < voxel.length; i++) {
      if (!(energy[i] > 0) || energy[i] < threshold) continue;
      const v = voxel[i];
      const logEnergy = Math.log10(energy[i]);
      shown.x.push(place.z[v]);
      shown.y.push(place.x[v]);
      shown.z.push(place.y[v]);
      shown.logEnergy.push(logEnergy);
      shown.size.push(2 + 7 * Math.max(0, (logEnergy - lowest) / (highest - lowest || 1)) ** 1.5);
      shown.text.push(energyText(energy[i]));
    }
    return {
      type: "scatter3d", mode: "markers", x: shown.x, y: shown.y, z: shown.z, text: shown.text,
      hovertemplate: "%{text}<br>depth %{x:.1f} mm<br>x %{y:.1f} mm, y %{z:.1f} mm<extra></extra>",
      marker: {
        color: shown.logEnergy, size: shown.size, cmin: lowest, cmax: highest,
        colorscale: colours, opacity: 0.85, line: { width: 0 },
        colorbar: {
          title: { text: "MeV", side: "top" }, thickness: 11, len: 0.75, outlinewidth: 0, xpad: 4,
          tickvals: ticks, ticktext: ticks.map((power) => String(Number((10 ** power).toPrecision(1)))),
        },
      },
    };
  }

  const axis = (title, range) => ({
    title: { text: title }, range, backgroundcolor: "#f7f8fa", showbackground: true,
    gridcolor: "#dfe3e9", zeroline: false, nticks: 6,
  });
  const distance = element("scene-reference").clientWidth < 460 ? 1.25 : 1;

  // How far HELD of the voxels reach, in the shower that reaches farthest, and a little beyond.
  const HELD = 0.99;
  function reach(showers, far) {
    const ends = showers.map((shower) => {
      const places = [...unpack(shower.voxel, Uint32Array)].map(far).sort((a, b) => a - b);
      return places.length ? places[Math.ceil(HELD * places.length) - 1] : 0;
    });
    return 1.05 * Math.max(...ends);
  }

  function layout(showers) {
    const depth = reach(showers, (v) => place.z[v]) || data.depth[1];
    const half = reach(showers, (v) => Math.max(Math.abs(place.x[v]), Math.abs(place.y[v]))) || data.across;
    const across = [-half, half];
    // True proportions up to 2 : 1, in a box that fits its frame from where the camera stands.
    const stretch = Math.min(Math.max(depth / (2 * half), 1), 2);
    const size = 1.4 / stretch;
    return {
      margin: { l: 0, r: 64, t: 0, b: 0 }, uirevision: "keep", font: { size: 11 },
      paper_bgcolor: "#ffffff",
      scene: {
        xaxis: axis("depth [mm]", [data.depth[0], depth]),
        yaxis: axis("x [mm]", across), zaxis: axis("y [mm]", across),
        aspectmode: "manual", aspectratio: { x: size * stretch, y: size, z: size },
        camera: {
          eye: { x: -0.75 * distance, y: -1.9 * distance, z: 0.6 * distance },
          center: { x: 0, y: 0, z: -0.08 },
        },
      },
    };
  }

  const thresholdNow = () => {
    const part = Number(element("threshold").value) / 100;
    return part === 0 ? 0 : 10 ** (lowest + part * (highest - lowest));
  };

  function draw() {
    const event = data.events[Number(element("event").value)];
    const threshold = thresholdNow();
    element("threshold-value").textContent = threshold ? energyText(threshold) : "the read-out threshold";
    const chosen = { reference, candidate: element("candidate").value };
    const box = layout(Object.values(event)); // of all generators, so that it stays when one is chosen
    for (const [side, name] of Object.entries(chosen)) {
      const shower = event[name];
      const points = trace(shower, threshold);
      Plotly.react(`scene-${side}`, [points], structuredClone(box), { displaylogo: false, responsive: true });
      element(`title-${side}`).textContent =
        `${name}: ${energyText(shower.energy_inc)} incident, ${energyText(shower.energy_dep)} ` +
        `deposited, ${points.x.length.toLocaleString("en")} voxels`;
    }
  }

  // A shower rotated in one scene is rotated in the other.
  function follow(from, to) {
    element(from).on("plotly_relayouting", (change) => rotate(to, change));
    element(from).on("plotly_relayout", (change) => rotate(to, change));
  }
  let rotating = false;
  function rotate(scene, change) {
    const camera = change["scene.camera"];
    if (!camera || rotating) return;
    rotating = true;
    Plotly.relayout(scene, { "scene.camera": camera }).finally(() => { rotating = false; });
  }

  data.events.forEach((event, number) =>
    element("event").add(new Option(energyText(event[reference].energy_inc), number)));
  element("event").value = String(Math.floor(data.events.length / 2));
  candidates.forEach((name) => element("candidate").add(new Option(name, name)));
  for (const id of ["event", "candidate", "threshold"]) element(id).addEventListener("input", draw);

  if (!document.createElement("canvas").getContext("webgl")) {
    element("display-message").hidden = false;
    element("display-message").textContent =
      "This browser draws no WebGL, which the display of single showers needs.";
    return;
  }
  draw();
  follow("scene-reference", "scene-candidate");
  follow("scene-candidate", "scene-reference");
})();
