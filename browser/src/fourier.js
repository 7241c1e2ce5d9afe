// Short-time Fourier transform of two channels, and its inverse, as docs/onnx.md defines them.
//
// Both channels are one complex transform, z = x1 + i x2: since the signals are real,
// X1(k) = (Z(k) + conj Z(-k)) / 2 and X2(k) = (Z(k) - conj Z(-k)) / 2i.
// A frame of spectra is a Float32Array (channels, bins, 2), the last axis real and imaginary part.
import FFT from "fft.js";

export class Fourier {
  constructor(size, hop) {
    Object.assign(this, { size, hop, bins: size / 2 + 1, fft: new FFT(size) });
    this.window = Float64Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
    this.signal = new Float64Array(2 * size); // real part: left, imaginary part: right
    this.packed = new Float64Array(2 * size);
  }

  // Spectra of frame `number` of a signal, two Float32Arrays longer than half a window. The signal
  // is mirrored at its ends; frame 0 is centred on the first sample.
  analyse([left, right], number) {
    const { size, hop, signal, window } = this;
    const start = number * hop - size / 2;
    const last = left.length - 1;
    for (let n = 0; n < size; n++) {
      const mirrored = Math.abs(start + n);
      const i = mirrored > last ? 2 * last - mirrored : mirrored;
      signal[2 * n] = window[n] * left[i];
      signal[2 * n + 1] = window[n] * right[i];
    }
    this.fft.transform(this.packed, signal);
    return this.unpacked();
  }

  unpacked() {
    const { size, bins, packed } = this;
    const spectra = new Float32Array(4 * bins);
    for (let k = 0; k < bins; k++) {
      const [i, j] = [2 * k, 2 * ((size - k) % size)];
      const [re, im, mirroredRe, mirroredIm] = [packed[i], packed[i + 1], packed[j], packed[j + 1]];
      spectra[i] = (re + mirroredRe) / 2;
      spectra[i + 1] = (im - mirroredIm) / 2;
      spectra[2 * bins + i] = (im + mirroredIm) / 2;
      spectra[2 * bins + i + 1] = (mirroredRe - re) / 2;
    }
    return spectra;
  }

  // Windowed signal (samples, 2) of a packed spectrum; overwritten by the next call.
  synthesise(packed) {
    const { size, signal, window } = this;
    this.fft.inverseTransform(signal, packed);
    for (let n = 0; n < size; n++) {
      signal[2 * n] *= window[n];
      signal[2 * n + 1] *= window[n];
    }
    return signal;
  }
}

// Write bin k of both channels into the packed spectrum of `size` bins, from which `synthesise`
// makes real signals.
export function pack(packed, size, k, re1, im1, re2, im2) {
  packed[2 * k] = re1 - im2;
  packed[2 * k + 1] = im1 + re2;
  if (k === 0 || 2 * k === size) return;
  packed[2 * (size - k)] = re1 + im2;
  packed[2 * (size - k) + 1] = re2 - im1;
}

// Overlap-add: the sum of windowed frames over the sum of squared windows.
export class Synthesis {
  constructor(fourier, sources, frames) {
    Object.assign(this, { fourier, frames });
    this.length = (frames - 1) * fourier.hop + fourier.size;
    this.sums = Array.from({ length: sources }, () => [new Float64Array(this.length), new Float64Array(this.length)]);
    this.weight = new Float64Array(this.length);
    this.skip = fourier.size / 2; // before the first sample of the signal
  }

  // Add frame `number` of the window of frames, given as one packed spectrum a source.
  add(number, spectra) {
    const { hop, size, window } = this.fourier;
    const start = number * hop;
    spectra.forEach((packed, source) => {
      const signal = this.fourier.synthesise(packed);
      const [left, right] = this.sums[source];
      for (let n = 0; n < size; n++) {
        left[start + n] += signal[2 * n];
        right[start + n] += signal[2 * n + 1];
      }
    });
    for (let n = 0; n < size; n++) this.weight[start + n] += window[n] ** 2;
  }

  // Samples (sources, channels) that no frame after these adds to; all of them if there is none.
  finish(frames, isLast) {
    const { fourier, sums, weight, skip } = this;
    const count = frames * fourier.hop + (isLast ? fourier.size - fourier.hop : 0);
    const first = Math.min(skip, count);
    this.skip -= first;
    const estimates = sums.map((channels) => channels.map((sum) => quotient(sum, weight, first, count)));
    for (const values of [weight, ...sums.flat()]) values.copyWithin(0, count).fill(0, this.length - count);
    return estimates;
  }
}

function quotient(sum, weight, first, last) {
  const values = new Float32Array(last - first);
  for (let n = first; n < last; n++) values[n - first] = sum[n] / Math.max(weight[n], 1e-11);
  return values;
}
