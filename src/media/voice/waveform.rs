//! The waveform of a voice note: loudness over time.

/// Values of a waveform, as WhatsApp's clients draw it.
const VALUES: usize = 64;
/// Bins in memory; half of them are empty after a merge.
const BINS: usize = 2048;

/// The level of silence, some -66 dB: a decoder's noise.
const SILENCE: f64 = 0.0005;

/// Accumulates samples of unknown number in bounded memory: when the bins are full, pairs are merged.
#[derive(Debug)]
pub(super) struct Meter {
    /// Sums of the absolute values of `width` samples each.
    bins: Vec<f64>,
    width: u64,
    sum: f64,
    count: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Meter {
            bins: Vec::with_capacity(BINS),
            width: 64,
            sum: 0.0,
            count: 0,
        }
    }
}

impl Meter {
    pub(super) fn push(&mut self, sound: &[f32]) {
        for sample in sound {
            self.sum += f64::from(sample.abs());
            self.count += 1;
            if self.count == self.width {
                self.bins.push(std::mem::take(&mut self.sum));
                self.count = 0;
                if self.bins.len() == BINS {
                    self.bins = self.bins.chunks(2).map(|pair| pair.iter().sum()).collect();
                    self.width *= 2;
                }
            }
        }
    }

    /// 64 values of 0 to 100: the mean of each part, relative to the loudest.
    pub(super) fn finish(self) -> Vec<u8> {
        let silence = SILENCE * self.width as f64;
        let mut bins = self.bins;
        if bins.is_empty() {
            bins.push(self.sum);
        }
        let means: Vec<f64> = (0..VALUES)
            .map(|value| {
                let from = value * bins.len() / VALUES;
                let to = ((value + 1) * bins.len() / VALUES).max(from + 1);
                bins[from..to].iter().sum::<f64>() / (to - from) as f64
            })
            .collect();
        let loudest = means.iter().copied().fold(0.0, f64::max);
        means
            .iter()
            .map(|mean| {
                if loudest > silence {
                    (100.0 * mean / loudest).round() as u8
                } else {
                    0
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_loudness_at_every_duration() {
        for length in [10_000, 48_000, 1_000_003, 20_000_000] {
            let mut meter = Meter::default();
            for n in 0..length {
                let loud = if n < length / 2 { 0.25 } else { 0.5 };
                meter.push(&[if n % 2 == 0 { loud } else { -loud }]);
            }
            assert!(meter.bins.len() < BINS);
            let waveform = meter.finish();
            assert_eq!(waveform.len(), 64);
            assert!(
                waveform[..30].iter().all(|v| v.abs_diff(50) <= 1),
                "{length}: {waveform:?}"
            );
            assert!(
                waveform[34..].iter().all(|v| *v >= 99),
                "{length}: {waveform:?}"
            );
        }
    }

    #[test]
    fn silence_and_empty_input_are_flat() {
        let mut meter = Meter::default();
        meter.push(&[0.0; 5_000]);
        meter.push(&[0.0001; 500_000]);
        assert_eq!(meter.finish(), vec![0; 64]);
        assert_eq!(Meter::default().finish(), vec![0; 64]);
    }
}
