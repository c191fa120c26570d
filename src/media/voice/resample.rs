//! Resamples from any rate to 48 kHz by band-limited interpolation with a windowed sinc.
//!
//! Positions between samples are exact, in 48,000ths, so that there is no drift over hours; their filters are
//! interpolated from a table.

use std::f64::consts::PI;

use super::RATE;

/// Filters in the table, for equidistant positions between two samples.
const PHASES: usize = 256;
/// Zero crossings of the sinc on each side.
const CROSSINGS: f64 = 24.0;
/// The passband, as a share of the lower Nyquist frequency.
const PASS: f64 = 0.94;
/// The parameter of the Kaiser window, for a stopband of some -80 dB.
const BETA: f64 = 8.0;

/// Resamples one channel.
#[derive(Debug)]
pub(super) struct Resampler {
    rate: u32,
    /// `PHASES + 1` filters of `2 * reach` taps; empty if there is nothing to do.
    filters: Vec<f32>,
    /// Samples on each side of a position.
    reach: usize,
    /// Samples still needed; the first is `reach - 1` before the next position.
    waiting: Vec<f32>,
    /// The position between two samples, in 48,000ths.
    fraction: u32,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A resampler from `rate`, not 0.
    pub(super) fn new(rate: u32) -> Resampler {
        // For higher rates the filter is stretched, which lowers its passband.
        let stretch = (f64::from(rate) / f64::from(RATE)).max(1.0);
        let reach = (CROSSINGS * stretch).ceil() as usize;
        let filters = if rate == RATE {
            Vec::new()
        } else {
            filters(reach, stretch)
        };
        Resampler {
            rate,
            filters,
            reach,
            // Silence before the first sample.
            waiting: vec![0.0; reach - 1],
            fraction: 0,
            taken: 0,
            given: 0,
        }
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes samples, and appends the output that they determine.
    pub(super) fn push(&mut self, sound: &[f32], to: &mut Vec<f32>) {
        self.taken += sound.len() as u64;
        self.run(sound, to);
    }

    fn run(&mut self, sound: &[f32], to: &mut Vec<f32>) {
        if self.filters.is_empty() {
            to.extend_from_slice(sound);
            self.given += sound.len() as u64;
            return;
        }
        self.waiting.extend_from_slice(sound);
        let taps = 2 * self.reach;
        let mut at = 0;
        while let Some(samples) = self.waiting.get(at..at + taps) {
            let place = f64::from(self.fraction) / f64::from(RATE) * PHASES as f64;
            let phase = place as usize;
            let share = (place - phase as f64) as f32;
            let (now, next) = self.filters[phase * taps..][..2 * taps].split_at(taps);
            let (mut low, mut high) = (0.0, 0.0);
            for ((sample, now), next) in samples.iter().zip(now).zip(next) {
                low += sample * now;
                high += sample * next;
            }
            to.push(low + (high - low) * share);
            self.given += 1;
            let position = u64::from(self.fraction) + u64::from(self.rate);
            at += (position / u64::from(RATE)) as usize;
            self.fraction = (position % u64::from(RATE)) as u32;
        }
        // At high rates the next position may be beyond the input.
        let done = at.min(self.waiting.len());
        self.waiting.drain(..done);
        debug_assert!(at == done, "a step is shorter than a filter");
    }

    /// Appends the rest; the total duration is that of the input within half a sample.
    pub(super) fn finish(mut self, to: &mut Vec<f32>) {
        let rate = u64::from(self.rate);
        let all = (self.taken * u64::from(RATE) + rate / 2) / rate;
        let before = to.len();
        let missing = all.saturating_sub(self.given) as usize;
        if !self.filters.is_empty() {
            self.run(&vec![0.0; self.reach * 2], to);
        }
        to.truncate(before + missing);
    }
}

fn filters(reach: usize, stretch: f64) -> Vec<f32> {
    let taps = 2 * reach;
    let mut filters = Vec::with_capacity((PHASES + 1) * taps);
    let cut = PASS / stretch;
    for phase in 0..=PHASES {
        let part = phase as f64 / PHASES as f64;
        let filter: Vec<f64> = (0..taps)
            .map(|tap| {
                let at = tap as f64 - (reach - 1) as f64 - part;
                let sinc = if at == 0.0 {
                    1.0
                } else {
                    (PI * at * cut).sin() / (PI * at * cut)
                };
                let inside = 1.0 - (at / reach as f64).powi(2);
                sinc * bessel(BETA * inside.max(0.0).sqrt())
            })
            .collect();
        // Normalised, so that a constant signal keeps its level at every position.
        let sum: f64 = filter.iter().sum();
        filters.extend(filter.iter().map(|tap| (tap / sum) as f32));
    }
    filters
}

/// The modified Bessel function of the first kind and order 0.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (1.0, 1.0, 1.0);
    while term > sum * 1e-12 {
        term *= (x / 2.0 / n) * (x / 2.0 / n);
        sum += term;
        n += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f64, seconds: f64) -> Vec<f32> {
        (0..(f64::from(rate) * seconds) as usize)
            .map(|n| (0.5 * (2.0 * PI * hertz * n as f64 / f64::from(rate)).sin()) as f32)
            .collect()
    }

    fn resample(rate: u32, sound: &[f32], piece: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(rate);
        let mut out = Vec::new();
        for piece in sound.chunks(piece) {
            resampler.push(piece, &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    #[test]
    fn a_tone_is_preserved_at_every_rate() {
        for rate in [
            8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000,
        ] {
            let sound = tone(rate, 1_000.0, 0.5);
            let out = resample(rate, &sound, 1_000);
            let expected = tone(48_000, 1_000.0, 0.5);
            let length = (sound.len() as f64 * 48_000.0 / f64::from(rate)).round();
            assert_eq!(out.len(), length as usize, "{rate}");
            // Without the edges.
            let worst = out
                .iter()
                .zip(&expected)
                .skip(2_000)
                .take(20_000)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.001, "{rate}: off by {worst}");
        }
    }

    #[test]
    fn frequencies_above_nyquist_are_removed() {
        let out = resample(96_000, &tone(96_000, 30_000.0, 0.2), 4_096);
        let loudest = out[500..9_000].iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!(loudest < 0.001, "{loudest}");
    }

    #[test]
    fn pieces_of_any_size_resample_to_the_same() {
        let sound = tone(44_100, 440.0, 0.1);
        let whole = resample(44_100, &sound, usize::MAX);
        for piece in [1, 7, 1_152] {
            assert_eq!(resample(44_100, &sound, piece), whole);
        }
        assert_eq!(whole.len(), 4_800);
        assert!(resample(44_100, &[], 1).is_empty());
    }
}
