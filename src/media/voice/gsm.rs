//! A decoder of GSM 06.10 full rate (ETSI EN 300 961), 13 kbit/s at 8 kHz, in which telephone systems store
//! voice mail.
//!
//! The residual is decoded in integers as in the standard, the filters run in floating point: bit-exactness is
//! not needed for listening.

/// Samples in a frame.
pub(super) const FRAME: usize = 160;
/// Bytes of a frame, whose first nibble is 0xD.
pub(super) const BYTES: usize = 33;
/// Bytes of two frames in WAV files.
pub(super) const PAIR: usize = 65;

/// Bits of a frame's eight reflection coefficients, then of each of its four parts: lag, gain, grid, maximum and 13
/// samples.
const COEFFICIENTS: [u32; 8] = [6, 6, 5, 5, 4, 4, 3, 3];
const SAMPLES: usize = 13;

/// Log area ratios: the lowest value of each code, the offset and the scale.
const LOWEST: [f32; 8] = [-32.0, -32.0, -16.0, -16.0, -8.0, -8.0, -4.0, -4.0];
const OFFSET: [f32; 8] = [0.0, 0.0, 4.0, -5.0, 0.184, -3.5, -0.666, -2.235];
const SCALE: [f32; 8] = [20.0, 20.0, 20.0, 20.0, 13.637, 15.0, 8.334, 8.824];
/// Gains of the long-term prediction.
const GAIN: [i32; 4] = [3277, 11469, 21299, 32767];
/// Mantissas of the largest sample.
const MANTISSA: [i32; 8] = [18431, 20479, 22527, 24575, 26623, 28671, 30719, 32767];
/// Lags of the long-term prediction, in samples.
const LAGS: std::ops::RangeInclusive<usize> = 40..=120;
/// Samples of a subframe.
const PART: usize = 40;
/// De-emphasis.
const BEFORE: f32 = 28180.0 / 32768.0;

/// The bit order within bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Most,
    Least,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

impl Bits<'_> {
    /// The next bits as a number; 0 after the end.
    fn take(&mut self, count: u32) -> u32 {
        let mut value = 0;
        for n in 0..count {
            let byte = self.bytes.get(self.at / 8).copied().unwrap_or(0);
            let place = self.at % 8;
            match self.order {
                Order::Most => value = value << 1 | u32::from(byte >> (7 - place) & 1),
                Order::Least => value |= u32::from(byte >> place & 1) << n,
            }
            self.at += 1;
        }
        value
    }
}

/// The state of decoding.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The residual of the last 120 samples and of the current subframe.
    residual: [i32; 120 + PART],
    lag: usize,
    ratios: [f32; 8],
    lattice: [f32; 9],
    last: f32,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            residual: [0; 120 + PART],
            lag: *LAGS.start(),
            ratios: [0.0; 8],
            lattice: [0.0; 9],
            last: 0.0,
        }
    }
}

impl Decoder {
    /// Appends the samples of a packet: a pair of frames as in WAV, or single frames.
    pub(super) fn decode(&mut self, packet: &[u8], to: &mut Vec<f32>) {
        if packet.len() == PAIR {
            let mut bits = Bits {
                bytes: packet,
                at: 0,
                order: Order::Least,
            };
            self.frame(&mut bits, to);
            self.frame(&mut bits, to);
            return;
        }
        for frame in packet.chunks_exact(BYTES) {
            let mut bits = Bits {
                bytes: frame,
                at: 4,
                order: Order::Most,
            };
            self.frame(&mut bits, to);
        }
    }

    fn frame(&mut self, bits: &mut Bits<'_>, to: &mut Vec<f32>) {
        let mut ratios = [0.0; 8];
        for n in 0..8 {
            let code = bits.take(COEFFICIENTS[n]) as f32;
            ratios[n] = (code + LOWEST[n] - OFFSET[n]) / SCALE[n];
        }
        for part in 0..4 {
            self.part(bits);
            let new = &self.residual[120..];
            let new: [i32; PART] = std::array::from_fn(|n| new[n]);
            for (n, residual) in new.into_iter().enumerate() {
                // The filter is interpolated in the first quarter of a frame.
                let share = match part * PART + n {
                    0..13 => 0.25,
                    13..27 => 0.5,
                    27..40 => 0.75,
                    _ => 1.0,
                };
                let reflections = std::array::from_fn(|i| {
                    reflection(self.ratios[i] + (ratios[i] - self.ratios[i]) * share)
                });
                to.push(self.sample(residual as f32, &reflections));
            }
            self.residual.copy_within(PART.., 0);
        }
        self.ratios = ratios;
    }

    /// The residual of the next 40 samples.
    fn part(&mut self, bits: &mut Bits<'_>) {
        let lag = bits.take(7) as usize;
        let gain = GAIN[bits.take(2) as usize];
        let grid = bits.take(2) as usize;
        let largest = bits.take(6) as i32;
        if LAGS.contains(&lag) {
            self.lag = lag;
        }
        for n in 120..120 + PART {
            self.residual[n] = rounded(gain, self.residual[n - self.lag]);
        }
        let (exponent, mantissa) = exponent_and_mantissa(largest);
        // 0 to 10.
        let shift = 6 - exponent;
        let half = if shift > 0 { 1 << (shift - 1) } else { 0 };
        for n in 0..SAMPLES {
            let sample = (2 * bits.take(3) as i32 - 7) << 12;
            let sample = (rounded(MANTISSA[mantissa], sample) + half) >> shift;
            let at = 120 + grid + 3 * n;
            self.residual[at] = (self.residual[at] + sample).clamp(-32_768, 32_767);
        }
    }

    /// The short-term synthesis filter.
    fn sample(&mut self, residual: f32, reflections: &[f32; 8]) -> f32 {
        let mut sample = residual;
        for n in (0..8).rev() {
            sample -= reflections[n] * self.lattice[n];
            self.lattice[n + 1] = self.lattice[n] + reflections[n] * sample;
        }
        // Keeps malformed files from overflowing.
        sample = sample.clamp(-32_768.0, 32_767.0);
        self.lattice[0] = sample;
        self.last = sample + BEFORE * self.last;
        (self.last / 16_384.0).clamp(-1.0, 1.0)
    }
}

/// `a * b / 32768`, rounded.
fn rounded(a: i32, b: i32) -> i32 {
    (a * b + 16_384) >> 15
}

/// -4 to 6, and 0 to 7.
fn exponent_and_mantissa(largest: i32) -> (i32, usize) {
    let mut exponent = if largest > 15 { (largest >> 3) - 1 } else { 0 };
    let mut mantissa = largest - (exponent << 3);
    if mantissa == 0 {
        return (-4, 7);
    }
    while mantissa <= 7 {
        mantissa = mantissa << 1 | 1;
        exponent -= 1;
    }
    (exponent, (mantissa - 8) as usize & 7)
}

fn reflection(ratio: f32) -> f32 {
    let size = ratio.abs();
    let reflection = if size < 0.675 {
        size
    } else if size < 1.225 {
        0.5 * size + 0.3375
    } else {
        (0.125 * size + 0.796_875).min(1.0)
    };
    reflection.copysign(ratio)
}
