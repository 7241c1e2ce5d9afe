// Stems as 16-bit WAV files in Blobs, which browsers may keep on disk: those of ten minutes in
// 32 bit would be 850 MB.

const LARGEST = 32767;
export const HEADER = 44; // bytes

export class Stems {
  constructor(count, channels, sampleRate) {
    Object.assign(this, { channels, sampleRate, loudest: 1, samples: 0 });
    this.parts = Array.from({ length: count }, () => []);
  }

  // Append (stems, channels) of Float32Arrays.
  add(estimates) {
    const { channels, parts } = this;
    // The scale of a part is its own, as that of the song is not known yet.
    const scale = estimates.flat().reduce((most, values) => values.reduce((a, b) => Math.max(a, Math.abs(b)), most), 1);
    const length = estimates[0][0].length;
    estimates.forEach((signal, stem) => {
      const values = new Int16Array(length * channels);
      signal.forEach((channel, c) => {
        for (let n = 0; n < length; n++) values[n * channels + c] = Math.round((channel[n] / scale) * LARGEST);
      });
      parts[stem].push({ scale, blob: new Blob([values]) });
    });
    this.loudest = Math.max(this.loudest, scale);
    this.samples += length;
  }

  // Return the files. All are scaled by 1 / loudest, so that none clips.
  async finish() {
    const size = 2 * this.channels * this.samples;
    const files = [];
    for (const parts of this.parts) {
      const blobs = [];
      for (const part of parts) blobs.push(await rescaled(part, this.loudest));
      files.push(new Blob([header(size, this.channels, this.sampleRate), ...blobs], { type: "audio/wav" }));
    }
    return files;
  }
}

async function rescaled({ scale, blob }, loudest) {
  if (scale === loudest) return blob;
  const values = new Int16Array(await blob.arrayBuffer());
  return new Blob([values.map((value) => Math.round((value * scale) / loudest))]);
}

function header(size, channels, sampleRate) {
  const view = new DataView(new ArrayBuffer(HEADER));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  const word = (at, value) => view.setUint32(at, value, true);
  const short = (at, value) => view.setUint16(at, value, true);
  text(0, "RIFF"), word(4, HEADER - 8 + size), text(8, "WAVEfmt "), word(16, 16);
  short(20, 1), short(22, channels), word(24, sampleRate), word(28, 2 * channels * sampleRate);
  short(32, 2 * channels), short(34, 16), text(36, "data"), word(40, size);
  return view.buffer;
}

// Read such a file into an AudioBuffer, piece by piece.
export async function audioBuffer(file, channels, sampleRate) {
  const length = (file.size - HEADER) / (2 * channels);
  const buffer = new AudioBuffer({ numberOfChannels: channels, length, sampleRate });
  const step = 1 << 20;
  for (let start = 0; start < length; start += step) {
    const first = HEADER + 2 * channels * start;
    const values = new Int16Array(await file.slice(first, first + 2 * channels * step).arrayBuffer());
    for (let c = 0; c < channels; c++) {
      const samples = new Float32Array(values.length / channels);
      for (let n = 0; n < samples.length; n++) samples[n] = values[n * channels + c] / LARGEST;
      buffer.copyToChannel(samples, c, start);
    }
  }
  return buffer;
}
