// The Wiener filter for two channels and one iteration, in closed form.
//
// Model, symbols and formulas are those of openunmix/filtering/gaussian.py. Initial estimates are a
// mask times the mixture in each channel, y_jc = m_jc x_c, so that sums over frames of |y_j1|^2,
// |y_j2|^2 and y_j2 conj y_j1 give the covariances
//   p = S11 / n,  c = S21 / S11,  q = (S22 - |S21|^2 / S11) / n,  n = eps + (S11 + S22) / 2.
// The difference in q is harmless in double precision, in which JavaScript computes.
import { pack } from "./fourier.js";

const EPS = 1e-10;
const NOISE = Math.sqrt(EPS);
const TINY = 1e-20;
const LOUDEST = 10; // mixtures with a larger peak are scaled down to it

export class WienerFilter {
  constructor(sources, bins) {
    Object.assign(this, { sources, bins, size: 2 * (bins - 1) });
    const perSource = () => new Float64Array(sources * bins);
    Object.assign(this, { p: perSource(), cr: perSource(), ci: perSource(), q: perSource() });
    this.packed = Array.from({ length: sources }, () => new Float64Array(2 * this.size));
    this.power = 1; // of the scale
  }

  // Fit the model to frames of spectra; masks are (sources, maskFrames, channels, bins), and those
  // of the first frame are at `first`.
  fit(spectra, masks, maskFrames, first) {
    const { bins, sources, p, cr, ci, q } = this;
    for (const sums of [p, cr, ci, q]) sums.fill(0);
    let loudest = 0;
    spectra.forEach((x, frame) => {
      for (let k = 0; k < bins; k++) {
        const [ar, ai, br, bi] = [x[2 * k], x[2 * k + 1], x[2 * (bins + k)], x[2 * (bins + k) + 1]];
        const power1 = ar * ar + ai * ai;
        const power2 = br * br + bi * bi;
        loudest = Math.max(loudest, power1, power2);
        const crossRe = br * ar + bi * ai;
        const crossIm = bi * ar - br * ai;
        for (let j = 0; j < sources; j++) {
          const at = (j * maskFrames + first + frame) * 2 * bins + k;
          const m1 = masks[at];
          const m2 = masks[at + bins];
          const i = j * bins + k;
          p[i] += m1 * m1 * power1;
          q[i] += m2 * m2 * power2;
          cr[i] += m1 * m2 * crossRe;
          ci[i] += m1 * m2 * crossIm;
        }
      }
    });
    this.power = Math.max(1, loudest / LOUDEST ** 2);
    this.factorise();
  }

  // From sums over frames to the factors p, c and q, for scaled signals.
  factorise() {
    const { p, cr, ci, q, power } = this;
    for (let i = 0; i < p.length; i++) {
      const [s11, s22, re, im] = [p[i] / power, q[i] / power, cr[i] / power, ci[i] / power];
      const n = EPS + (s11 + s22) / 2;
      p[i] = s11 / n + TINY;
      cr[i] = re / n / p[i];
      ci[i] = im / n / p[i];
      const ratio = cr[i] ** 2 + ci[i] ** 2;
      const error = s22 - 2 * (cr[i] * re + ci[i] * im) + ratio * s11;
      q[i] = Math.max(error, 0) / n + TINY * ratio;
    }
  }

  // Posterior means of all sources in a frame, as packed spectra; overwritten by the next call.
  estimate(x, masks, maskFrames, frame) {
    const { bins, sources, size, power, packed, p, cr, ci, q } = this;
    const v = new Float64Array(sources);
    for (let k = 0; k < bins; k++) {
      const [ar, ai, br, bi] = [x[2 * k], x[2 * k + 1], x[2 * (bins + k)], x[2 * (bins + k) + 1]];
      const power1 = (ar * ar + ai * ai) / power;
      const power2 = (br * br + bi * bi) / power;
      let total = NOISE; // P
      let meanRe = 0; // mean c
      let meanIm = 0;
      for (let j = 0; j < sources; j++) {
        const at = (j * maskFrames + frame) * 2 * bins + k;
        const i = j * bins + k;
        v[j] = (masks[at] ** 2 * power1 + masks[at + bins] ** 2 * power2) / 2;
        const w = v[j] * p[i];
        total += w;
        meanRe += w * cr[i];
        meanIm += w * ci[i];
      }
      meanRe /= total;
      meanIm /= total;
      let rest = NOISE * (1 + meanRe * meanRe + meanIm * meanIm); // Q
      for (let j = 0; j < sources; j++) {
        const i = j * bins + k;
        rest += v[j] * (q[i] + p[i] * ((cr[i] - meanRe) ** 2 + (ci[i] - meanIm) ** 2));
      }
      const gr = ar / total; // x1 / P
      const gi = ai / total;
      const hr = (br - meanRe * ar + meanIm * ai) / rest; // u / Q
      const hi = (bi - meanRe * ai - meanIm * ar) / rest;
      for (let j = 0; j < sources; j++) {
        const i = j * bins + k;
        const w = v[j] * p[i];
        const [dr, di] = [cr[i] - meanRe, ci[i] - meanIm];
        const re = w * (gr + dr * hr + di * hi);
        const im = w * (gi + dr * hi - di * hr);
        const r = v[j] * q[i];
        pack(packed[j], size, k, re, im, cr[i] * re - ci[i] * im + r * hr, cr[i] * im + ci[i] * re + r * hi);
      }
    }
    return packed;
  }
}
