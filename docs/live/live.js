// Runs one timestep of a spiking network after another on a drawn digit.

import * as ort from "./ort.wasm.bundle.min.mjs";

const SIDE = 28;
const TIMESTEPS = 64;
const ROWS = 40; // neurons shown per layer
const LAYERS = ["pixels", "convolution 1", "convolution 2", "dense"];
const ORANGE = "#d55e00";

const element = (id) => document.getElementById(id);
const pad = element("pad").getContext("2d", { willReadFrequently: true });
let run = 0; // Changes with the drawing, and so ends the run of the last one.

// Drawing. Strokes are white on black, as in MNIST.

function clear() {
  run++;
  pad.fillStyle = "#000";
  pad.fillRect(0, 0, pad.canvas.width, pad.canvas.height);
  element("answer").textContent = "–";
  showProbabilities(Array(10).fill(0));
}

function position(event) {
  const box = pad.canvas.getBoundingClientRect();
  const scale = pad.canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function listen() {
  const { canvas } = pad;
  Object.assign(pad, { lineWidth: 22, lineCap: "round", strokeStyle: "#fff" });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pad.beginPath();
    pad.moveTo(...position(event));
    pad.lineTo(...position(event));
    pad.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    pad.lineTo(...position(event));
    pad.stroke();
  });
  canvas.addEventListener("pointerup", () => simulate(centred(pad)));
  element("clear").addEventListener("click", clear);
}

// Scales a drawing to a square of 20 pixels, and puts its centre of mass in the
// middle of 28 x 28 pixels, as the digits of MNIST are. Returns intensities, or
// null without a stroke.
function centred(context) {
  const { width, height } = context.canvas;
  const { data } = context.getImageData(0, 0, width, height);
  const box = { left: width, right: -1, top: height, bottom: -1 };
  let [mass, x, y] = [0, 0, 0];
  for (let i = 0; i < width * height; i++) {
    const value = data[4 * i];
    if (!value) continue;
    const [column, row] = [i % width, Math.floor(i / width)];
    box.left = Math.min(box.left, column);
    box.right = Math.max(box.right, column);
    box.top = Math.min(box.top, row);
    box.bottom = Math.max(box.bottom, row);
    mass += value;
    x += value * column;
    y += value * row;
  }
  if (!mass) return null;
  const size = 1 + Math.max(box.right - box.left, box.bottom - box.top);
  const scale = 20 / size;
  const small = new OffscreenCanvas(SIDE, SIDE).getContext("2d");
  small.imageSmoothingQuality = "high";
  small.setTransform(
    scale, 0, 0, scale,
    SIDE / 2 - (scale * x) / mass, SIDE / 2 - (scale * y) / mass,
  );
  small.drawImage(context.canvas, 0, 0);
  const pixels = small.getImageData(0, 0, SIDE, SIDE).data;
  return Float32Array.from({ length: SIDE ** 2 }, (_, i) => pixels[4 * i] / 255);
}

// The network.

element("status").textContent = "Loading the network ...";
const url = (file) => new URL(file, import.meta.url).href;
ort.env.wasm.wasmPaths = { wasm: url("ort-wasm-simd-threaded.wasm") };
ort.env.wasm.numThreads = 1;
const network = await ort.InferenceSession.create(url("digit.onnx")).catch(
  (error) => {
    element("status").textContent = `The network does not run here: ${error.message}`;
    throw error;
  },
);
const [pixelsName, ...stateNames] = network.inputNames;

function zeros(name) {
  const { shape } = network.inputMetadata.find((input) => input.name === name);
  const sizes = [1, ...shape.slice(1)];
  const length = sizes.reduce((a, b) => a * b);
  return new ort.Tensor("float32", new Float32Array(length), sizes);
}

// Runs the network on an image. Draws after every timestep.
async function simulate(intensities) {
  if (!intensities) return;
  const mine = ++run;
  let states = stateNames.map(zeros);
  const spikes = LAYERS.map(() => []); // by layer and timestep
  const potentials = [];
  for (let t = 0; t < TIMESTEPS; t++) {
    const fired = intensities.map((x) => (Math.random() < x ? 1 : 0));
    const inputs = {
      [pixelsName]: new ort.Tensor("float32", fired, [1, SIDE, SIDE, 1]),
    };
    stateNames.forEach((name, i) => (inputs[name] = states[i]));
    const found = await network.run(inputs);
    if (mine !== run) return; // There is another drawing.
    const [logits, ...rest] = network.outputNames.map((name) => found[name]);
    const layers = rest.slice(0, LAYERS.length - 1);
    states = rest.slice(LAYERS.length - 1);
    [fired, ...layers.map((x) => x.data)].forEach((x, i) => spikes[i].push(x));
    potentials.push(states[LAYERS.length - 2].data);
    const probabilities = softmax(logits.data);
    showProbabilities(probabilities);
    const best = probabilities.indexOf(Math.max(...probabilities));
    element("answer").textContent = best;
    draw(spikes, potentials);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  element("live").dataset.timesteps = TIMESTEPS; // The tests wait for this.
}

function softmax(logits) {
  const highest = Math.max(...logits);
  const powers = Array.from(logits, (x) => Math.exp(x - highest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((x) => x / total);
}

// Pictures.

function showProbabilities(probabilities) {
  const bars = element("bars");
  bars.replaceChildren(
    ...probabilities.flatMap((x, digit) => {
      const [label, bar] = [0, 1].map(() => document.createElement("span"));
      label.textContent = digit;
      bar.style.width = `${100 * x}%`;
      return [label, bar];
    }),
  );
}

// Returns the context of a canvas as large as on the screen, and its size.
function cleared(id, height) {
  const canvas = element(id);
  const width = canvas.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const { color, fontFamily } = getComputedStyle(canvas);
  context.fillStyle = context.strokeStyle = color;
  context.font = `12px ${fontFamily}`;
  return [context, width];
}

// Returns the neurons to show: those that fire, evenly spaced.
function shown(history) {
  const total = history[0].length;
  const active = [];
  for (let i = 0; i < total; i++) {
    if (history.some((now) => now[i])) active.push(i);
  }
  const step = Math.max(1, active.length / ROWS);
  const count = Math.min(ROWS, active.length);
  return Array.from({ length: count }, (_, i) => active[Math.floor(i * step)]);
}

function draw(spikes, potentials) {
  const height = 84;
  const [raster, width] = cleared("raster", height * LAYERS.length);
  const at = (t) => ((t + 0.5) * width) / TIMESTEPS;
  spikes.forEach((history, layer) => {
    const top = layer * height;
    const fired = history.reduce((sum, now) => sum + now.reduce((a, b) => a + b), 0);
    const rate = fired / history.length / history[0].length;
    const title = `${LAYERS[layer]}: ${history[0].length} neurons, rate ${rate.toFixed(2)}`;
    raster.fillText(title, 0, top + 12);
    shown(history).forEach((neuron, row) => {
      const y = top + 20 + (row * (height - 26)) / ROWS;
      history.forEach((now, t) => {
        if (now[neuron]) raster.fillRect(at(t) - 1, y, 2, 2);
      });
    });
  });

  const last = spikes.at(-1);
  const totals = Array.from(last[0], (_, i) => last.reduce((sum, now) => sum + now[i], 0));
  // Those that fire about every third timestep show the most.
  const unlike = (neuron) => Math.abs(totals[neuron] / last.length - 0.3);
  const typical = [...totals.keys()].sort((a, b) => unlike(a) - unlike(b)).slice(0, 3);
  const [lines] = cleared("potentials", 3 * 60 + 20);
  lines.fillText("potentials of three dense neurons; dots are spikes", 0, 12);
  typical.forEach((neuron, row) => {
    const base = 20 + row * 60 + 50;
    const y = (value) => base - 40 * Math.max(-0.2, Math.min(1.1, value));
    lines.globalAlpha = 0.4;
    lines.fillRect(0, y(1), width, 0.5);
    lines.globalAlpha = 1;
    lines.beginPath();
    potentials.forEach((now, t) => lines.lineTo(at(t), y(now[neuron])));
    lines.stroke();
    lines.save();
    lines.fillStyle = ORANGE;
    last.forEach((now, t) => {
      if (now[neuron]) lines.fillRect(at(t) - 2, y(1) - 2, 4, 4);
    });
    lines.restore();
  });
}

// Start.

clear();
listen();
element("status").remove();
// The tests pass 28 x 28 bytes in base64.
const given = new URLSearchParams(location.search).get("pixels");
if (given) {
  const bytes = Uint8Array.from(atob(given), (x) => x.charCodeAt(0));
  const image = new ImageData(SIDE, SIDE);
  bytes.forEach((x, i) => image.data.set([x, x, x, 255], 4 * i));
  const small = new OffscreenCanvas(SIDE, SIDE);
  small.getContext("2d").putImageData(image, 0, 0);
  pad.drawImage(small, 0, 0, pad.canvas.width, pad.canvas.height);
  simulate(centred(pad));
}
