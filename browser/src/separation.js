// A song through network and filter, chunk by chunk, as openunmix/predict/stream.py does it.
import { Fourier, Synthesis } from "./fourier.js";
import { WienerFilter } from "./wiener.js";

// In frames. The networks see `lookahead` frames after a chunk; the filter is fitted to windows.
export const LENGTHS = { chunk: 600, lookahead: 512, window: 300 };

// Yield consecutive parts of the estimates, (targets, channels) of Float32Arrays, of a mixture of
// two Float32Arrays. Together they are as long as it.
export async function* separate(mixture, network, { chunk, lookahead, window } = LENGTHS) {
  const { n_fft: size, n_hop: hop, targets } = network.model;
  const fourier = new Fourier(size, hop);
  const filter = new WienerFilter(targets.length, fourier.bins);
  const synthesis = new Synthesis(fourier, targets.length, window);
  const samples = mixture[0].length;
  const signal = mixture.map((channel) => padded(channel, size / 2 + 1));
  const frames = 1 + Math.floor(signal[0].length / hop);
  const queue = []; // spectra of the chunk and its lookahead
  let emitted = 0;
  for (let start = 0; start < frames; ) {
    const rest = frames - start;
    const wanted = rest > chunk + lookahead ? chunk : rest;
    const seen = Math.min(rest, chunk + lookahead);
    while (queue.length < seen) queue.push(fourier.analyse(signal, start + queue.length));
    const masks = await network.masks(magnitudes(queue, fourier.bins), wanted);
    for (let first = 0; first < wanted; first += window) {
      const part = queue.splice(0, Math.min(window, wanted - first));
      filter.fit(part, masks, wanted, first);
      part.forEach((x, number) => synthesis.add(number, filter.estimate(x, masks, wanted, first + number)));
      const isLast = start + first + part.length === frames;
      const estimates = synthesis.finish(part.length, isLast);
      const length = Math.min(estimates[0][0].length, samples - emitted);
      emitted += length;
      yield estimates.map((channels) => channels.map((values) => values.subarray(0, length)));
    }
    start += wanted;
  }
}

// A signal too short to be mirrored is extended with zeros.
function padded(channel, shortest) {
  if (channel.length >= shortest) return channel;
  const values = new Float32Array(shortest);
  values.set(channel);
  return values;
}

// Absolute values (frames, channels, bins) of spectra.
function magnitudes(spectra, bins) {
  const values = new Float32Array(spectra.length * 2 * bins);
  spectra.forEach((x, frame) => {
    const first = frame * 2 * bins;
    for (let i = 0; i < 2 * bins; i++) values[first + i] = Math.sqrt(x[2 * i] ** 2 + x[2 * i + 1] ** 2);
  });
  return values;
}
