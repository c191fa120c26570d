//! Mixes channels down to one.

use symphonia::core::audio::{Channels, Position};

/// The weight of the center in surround sound. The matrix is that of ITU-R BS.775: 1 : 0.71 : 0.5 for center,
/// each front and each surround channel, without the subwoofer. The two usual scalings, which keep the
/// level of the center or of a signal on both fronts, differ by 3 dB; this is in between.
const CENTER: f32 = 0.840_896_4;
const FRONT: f32 = 0.594_603_6;
const SURROUND: f32 = 0.420_448_2;

/// Mixes interleaved samples down to one channel.
#[derive(Debug)]
pub(super) struct Mixer {
    /// One per channel.
    weights: Vec<f32>,
    /// Sums of more than two channels can clip.
    limiter: Option<Limiter>,
}

impl Mixer {
    pub(super) fn new(channels: &Channels) -> Mixer {
        let positions: Vec<Position> = match channels {
            Channels::Positioned(positions) => positions.iter().collect(),
            other => u32::try_from(other.count())
                .ok()
                .and_then(Position::from_wave_channel_count)
                .map(|positions| positions.iter().collect())
                .unwrap_or_default(),
        };
        let mut weights = weights(&positions);
        if weights.len() != channels.count() {
            weights = vec![1.0 / channels.count().max(1) as f32; channels.count()];
        }
        Mixer::with(weights)
    }

    /// A mixer with these weights of channels.
    pub(super) fn with(weights: Vec<f32>) -> Mixer {
        let limiter = (weights.iter().sum::<f32>() > 1.001).then(Limiter::default);
        Mixer { weights, limiter }
    }

    pub(super) fn channels(&self) -> usize {
        self.weights.len()
    }

    /// Appends the mix of whole frames.
    pub(super) fn push(&mut self, interleaved: &[f32], to: &mut Vec<f32>) {
        let Mixer { weights, limiter } = self;
        let mixed = interleaved.chunks_exact(weights.len()).map(|frame| {
            let sum: f32 = frame.iter().zip(&*weights).map(|(s, w)| s * w).sum();
            // Floating-point files can contain NaN and infinity.
            if sum.is_finite() { sum } else { 0.0 }
        });
        match limiter {
            Some(limiter) => mixed.for_each(|sample| limiter.push(sample, to)),
            None => to.extend(mixed.map(|sample| sample.clamp(-1.0, 1.0))),
        }
    }

    /// Appends the samples held back.
    pub(super) fn finish(&mut self, to: &mut Vec<f32>) {
        if let Some(limiter) = &mut self.limiter {
            limiter.finish(to);
        }
    }
}

/// The weights of channel positions, in their order.
pub(super) fn weights(positions: &[Position]) -> Vec<f32> {
    const LEFT_OUT: Position = Position::LFE1.union(Position::LFE2);
    const FRONTS: Position = Position::FRONT_LEFT
        .union(Position::FRONT_RIGHT)
        .union(Position::FRONT_LEFT_CENTER)
        .union(Position::FRONT_RIGHT_CENTER)
        .union(Position::FRONT_LEFT_WIDE)
        .union(Position::FRONT_RIGHT_WIDE);
    let heard: Vec<&Position> = positions
        .iter()
        .filter(|position| !LEFT_OUT.contains(**position))
        .collect();
    // A single channel has weight 1 at any position.
    if let [only] = heard[..] {
        let weight = |position| f32::from(u8::from(position == only));
        return positions.iter().map(weight).collect();
    }
    // Without a center, a signal on both fronts keeps its level.
    let has_center = positions.contains(&Position::FRONT_CENTER);
    let scale = if has_center { 1.0 } else { 0.5 / FRONT };
    positions
        .iter()
        .map(|position| match *position {
            Position::FRONT_CENTER => CENTER,
            low if LEFT_OUT.contains(low) => 0.0,
            front if FRONTS.contains(front) => FRONT * scale,
            _ => SURROUND * scale,
        })
        .collect()
}

/// Samples with a common limit: some 5 ms.
const BLOCK: usize = 256;
/// The most by which the gain rises per block.
const RELEASE: f32 = 0.02;

/// A limiter that looks ahead by a block: lowers the gain before loud blocks, and raises it slowly after them.
#[derive(Debug, Default)]
struct Limiter {
    /// A complete block, held until the next one is complete; then that one.
    held: Vec<f32>,
    block: Vec<f32>,
    /// The gain at the start of `held`.
    gain: f32,
}

/// The largest gain of a block without clipping.
fn limit(block: &[f32]) -> f32 {
    let peak = block.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
    if peak > 1.0 { 1.0 / peak } else { 1.0 }
}

impl Limiter {
    fn push(&mut self, sample: f32, to: &mut Vec<f32>) {
        self.block.push(sample);
        if self.block.len() == BLOCK {
            self.pass(to);
        }
    }

    /// Appends the held block, and holds the next.
    fn pass(&mut self, to: &mut Vec<f32>) {
        let next = limit(&self.block);
        if self.held.is_empty() {
            self.gain = next;
        } else {
            // At the border of two blocks the lower of their limits, so that no sample in between clips.
            let end = next.min(limit(&self.held)).min(self.gain + RELEASE);
            let step = (end - self.gain) / self.held.len() as f32;
            let gains = (0..).map(|n: u16| self.gain + step * f32::from(n));
            let samples = self.held.iter().zip(gains).map(|(s, gain)| s * gain);
            to.extend(samples.map(|sample| sample.clamp(-1.0, 1.0)));
            self.gain = end;
        }
        std::mem::swap(&mut self.held, &mut self.block);
        self.block.clear();
    }

    fn finish(&mut self, to: &mut Vec<f32>) {
        if !self.block.is_empty() {
            self.pass(to);
        }
        self.pass(to);
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphonia::core::audio::layouts;

    fn mix(channels: &Channels, frame: &[f32]) -> f32 {
        let mut mixer = Mixer::new(channels);
        let (mut out, frames) = (Vec::new(), 2_000);
        for _ in 0..frames {
            mixer.push(frame, &mut out);
        }
        mixer.finish(&mut out);
        assert_eq!(out.len(), frames);
        out[1_000]
    }

    #[test]
    fn channels_are_mixed_at_their_levels() {
        let near = |a: f32, b: f32| assert!((a - b).abs() < 0.001, "{a}, not {b}");
        near(mix(&layouts::CHANNEL_LAYOUT_MONO, &[0.5]), 0.5);
        near(mix(&layouts::CHANNEL_LAYOUT_STEREO, &[0.5, 0.5]), 0.5);
        near(mix(&layouts::CHANNEL_LAYOUT_STEREO, &[0.5, 0.0]), 0.25);
        near(mix(&Channels::Discrete(1), &[0.5]), 0.5);
        near(mix(&layouts::CHANNEL_LAYOUT_2P1, &[0.5, 0.5, 0.9]), 0.5);
        let surround = |frame: [f32; 6]| mix(&layouts::CHANNEL_LAYOUT_5P1, &frame);
        // Within 1.5 dB, where it was 15.6 and 9.5 dB less.
        near(surround([0.0, 0.0, 0.5, 0.0, 0.0, 0.0]), 0.4204);
        near(surround([0.5, 0.5, 0.0, 0.0, 0.0, 0.0]), 0.5946);
        near(surround([0.0, 0.0, 0.0, 0.9, 0.0, 0.0]), 0.0);
        near(surround([0.0, 0.0, 0.0, 0.0, 0.5, 0.5]), 0.4204);
        near(
            mix(&Channels::Discrete(6), &[0.0, 0.0, 0.5, 0.9, 0.0, 0.0]),
            0.4204,
        );
        near(mix(&Channels::Discrete(20), &[0.5; 20]), 0.5);
    }

    #[test]
    fn loud_sums_are_limited_and_do_not_clip() {
        let mut mixer = Mixer::new(&layouts::CHANNEL_LAYOUT_5P1);
        let mut out = Vec::new();
        let tone = |n: usize| (n as f32 * 0.1).sin();
        for n in 0..48_000 {
            let level = if (20_000..30_000).contains(&n) {
                1.0
            } else {
                0.1
            };
            mixer.push(&[level * tone(n); 6], &mut out);
        }
        mixer.finish(&mut out);
        assert_eq!(out.len(), 48_000);
        assert!(out.iter().all(|sample| sample.abs() <= 1.0));
        // The tone keeps its form, scaled by a constant factor.
        for (n, sample) in out.iter().enumerate().take(29_000).skip(22_000) {
            assert!((sample - tone(n)).abs() < 0.02, "{n}: {sample}");
        }
        assert!((out[10_016] / tone(10_016) - 0.287).abs() < 0.01);
        assert!(
            (out[47_016] / tone(47_016) - 0.287).abs() < 0.01,
            "it comes back"
        );
    }

    #[test]
    fn nan_and_infinity_become_silence() {
        let mut mixer = Mixer::new(&layouts::CHANNEL_LAYOUT_STEREO);
        let mut out = Vec::new();
        mixer.push(&[f32::NAN, 1.0, f32::INFINITY, 0.0, 9.0, 9.0], &mut out);
        assert_eq!(out, [0.0, 0.0, 1.0]);
    }
}
