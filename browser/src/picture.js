// Waveform and spectrogram of a stem, as openunmix/web/_pictures.py computes them for the player.
import FFT from "fft.js";

const COLUMNS = 1600; // of a waveform; a spectrogram has half as many
const WINDOW = 0.09; // seconds, rounded to a power of two
const BANDS = 128;
const LOWEST = 40; // Hz
const HIGHEST = 20000;
const RANGE = 75; // dB
const STEP = 4; // quantisation of the values of a spectrogram

export const frequencies = (sampleRate) => [LOWEST, Math.min(HIGHEST, sampleRate / 2)];

export class Picture {
  constructor(sampleRate, samples) {
    this.sampleRate = sampleRate;
    this.hop = Math.max(32, Math.ceil(samples / COLUMNS));
    const columns = Math.ceil(samples / this.hop);
    Object.assign(this, { peaks: new Float32Array(columns), squares: new Float64Array(columns), position: 0 });
    const size = 2 ** Math.round(Math.log2(WINDOW * sampleRate));
    this.size = size;
    this.perColumn = Math.ceil((2 * this.hop) / (size / 2)); // frames
    this.stride = Math.ceil((2 * this.hop) / this.perColumn);
    this.columnSamples = this.perColumn * this.stride;
    this.powers = Array.from({ length: Math.ceil(samples / this.columnSamples) }, () => new Float64Array(BANDS));
    this.fft = new FFT(size);
    this.output = this.fft.createComplexArray();
    this.windowed = new Float64Array(size);
    this.bands = bandWeights(sampleRate, size);
    this.frame = new Float64Array(size); // the last samples, of which `filled` have arrived
    this.filled = (size - this.stride) >> 1; // the first frame is centred on the first column
    this.frames = 0;
  }

  // Process channels, Float32Arrays.
  add(channels) {
    for (let n = 0; n < channels[0].length; n++) {
      const column = Math.floor(this.position++ / this.hop);
      let mean = 0;
      for (const channel of channels) {
        const value = channel[n];
        mean += value / channels.length;
        this.peaks[column] = Math.max(this.peaks[column], Math.abs(value));
        this.squares[column] += value ** 2 / channels.length;
      }
      this.frame[this.filled++] = mean;
      if (this.filled === this.size) this.transform();
    }
  }

  transform() {
    const { size, frame, stride, windowed, output } = this;
    for (let n = 0; n < size; n++) windowed[n] = frame[n] * (0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
    this.fft.realTransform(output, windowed);
    const powers = this.powers[Math.floor(this.frames++ / this.perColumn)];
    if (powers) {
      this.bands.forEach((weights, band) => {
        for (const [bin, weight] of weights) {
          powers[band] += (weight * (output[2 * bin] ** 2 + output[2 * bin + 1] ** 2)) / this.perColumn;
        }
      });
    }
    frame.copyWithin(0, stride).fill(0, size - stride);
    this.filled = size - stride;
  }

  // Process what is left, padded with silence.
  finish() {
    while (this.frames < this.powers.length * this.perColumn) this.transform();
    this.levels = this.squares.map((sum) => Math.sqrt(sum / this.hop));
    this.decibels = this.powers.map((column) => column.map((power) => 10 * Math.log10(power + 1e-12)));
  }
}

// The data of the player for pictures of all stems, on a common scale.
export async function playerPictures(pictures) {
  pictures.forEach((picture) => picture.finish());
  const largest = (lists) => lists.reduce((most, list) => list.reduce((a, b) => Math.max(a, b), most), -Infinity);
  const peak = Math.max(largest(pictures.map((picture) => picture.peaks)), 1e-9);
  const loudest = largest(pictures.flatMap((picture) => picture.decibels));
  return Promise.all(
    pictures.map(async (picture) => ({
      waveform: await pixels([picture.peaks, picture.levels], (v) => (v / peak) * 255, picture.hop / picture.sampleRate),
      spectrogram: await pixels(
        Array.from({ length: BANDS }, (_, band) => picture.decibels.map((column) => column[band])),
        (v) => Math.round(((v - loudest + RANGE) * 255) / RANGE / STEP) * STEP,
        picture.columnSamples / picture.sampleRate,
      ),
    })),
  );
}

// Rows of values as compressed bytes.
async function pixels(rows, scaled, seconds) {
  const columns = rows[0].length;
  const bytes = new Uint8ClampedArray(rows.length * columns);
  rows.forEach((row, number) => row.forEach((value, i) => (bytes[number * columns + i] = scaled(value))));
  const compressed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = base64(new Uint8Array(await new Response(compressed).arrayBuffer()));
  return { rows: rows.length, columns, seconds, data };
}

function base64(bytes) {
  return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
}

// For every band, the bins of a power spectrum and their weights in its integral; the spectrum is
// linearly interpolated between bins.
function bandWeights(sampleRate, size) {
  const [lowest, highest] = frequencies(sampleRate);
  const edge = (band) => (lowest * (highest / lowest) ** (band / BANDS) * size) / sampleRate;
  // Integral of a triangle around a bin up to a distance from it.
  const clip = (x) => Math.min(Math.max(x, 0), 1);
  const upTo = (distance) => clip(distance + 1) ** 2 / 2 + (1 - clip(1 - distance) ** 2) / 2;
  const fullScale = 1.5 * (size / 4) ** 2; // of a sine, over the noise bandwidth of a Hann window
  return Array.from({ length: BANDS }, (_, band) => {
    const [from, to] = [edge(band), edge(band + 1)];
    const weights = [];
    for (let bin = Math.max(0, Math.floor(from)); bin <= Math.min(size / 2, Math.ceil(to)); bin++) {
      const weight = (upTo(to - bin) - upTo(from - bin)) / fullScale;
      if (weight > 0) weights.push([bin, weight]);
    }
    return weights;
  });
}
