// Waveforms and spectrograms on canvases.
"use strict";

async function inflate(picture) {
  const stream = new Blob([bytesOf(picture.data)]).stream();
  const inflated = stream.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(inflated).arrayBuffer());
}

// Colour map from black through blue and red to pale yellow, with linear lightness, so that equal
// steps in dB look equal. Oklab by B. Ottosson, https://bottosson.github.io/posts/oklab (2020).
const COLOURS = Array.from({ length: 256 }, (_, value) => {
  const t = value / 255;
  const hue = ((275 + 190 * t) * Math.PI) / 180;
  const chroma = 0.19 * Math.sin(Math.PI * Math.min(1, 0.08 + t * 0.86)) ** 0.9;
  const [L, a, b] = [0.12 + 0.85 * t, chroma * Math.cos(hue), chroma * Math.sin(hue)];
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const bytes = linear.map((x) => 255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
  return new Uint8ClampedArray([...bytes, 255]);
});

function draw(track) {
  const { canvas } = track;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  if (!track.pixels || !canvas.width) return;
  canvas.setAttribute("aria-label", `${state.view} of ${track.isOriginal ? "the original" : track.name}`);
  const painter = canvas.getContext("2d");
  if (state.view === "waveform") drawWaveform(track, painter, canvas.width, canvas.height);
  else drawSpectrogram(track, painter, canvas.width, canvas.height);
}

function drawWaveform(track, painter, width, height) {
  const { columns, seconds } = track.waveform;
  const colour = getComputedStyle(track.canvas).color;
  const [peaks, means] = [0, 1].map((row) => track.pixels.subarray(row * columns, (row + 1) * columns));
  const bar = (values, x) => {
    const first = Math.floor(((x / width) * duration) / seconds);
    const last = Math.max(first + 1, Math.floor((((x + 1) / width) * duration) / seconds));
    let loudest = 0;
    for (let i = first; i < last && i < columns; i++) loudest = Math.max(loudest, values[i]);
    return Math.max(1, (loudest / 255) * height * 0.94);
  };
  painter.fillStyle = colour;
  for (const [values, alpha] of [[peaks, 0.42], [means, 1]]) {
    painter.globalAlpha = alpha;
    for (let x = 0; x < width; x++) {
      const size = bar(values, x);
      painter.fillRect(x, (height - size) / 2, 1, size);
    }
  }
}

function drawSpectrogram(track, painter, width, height) {
  track.image ??= imageOf(track);
  const { columns, seconds } = track.spectrogram;
  painter.imageSmoothingQuality = "high";
  painter.fillStyle = `rgb(${COLOURS[0].slice(0, 3)})`;
  painter.fillRect(0, 0, width, height);
  painter.drawImage(track.image, 0, 0, ((columns * seconds) / duration) * width, height);
}

function imageOf(track) {
  const { rows, columns } = track.spectrogram;
  const canvas = make("canvas", { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  track.bands.forEach((value, i) => {
    const row = rows - 1 - Math.floor(i / columns); // low frequencies at the bottom
    image.data.set(COLOURS[value], 4 * (row * columns + (i % columns)));
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
