//! Transforms frequencies to pixels (T.81, A.3.3), one pixel per kept frequency.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use super::super::shrink::Shrink;
use super::{Component, Frame};

/// Draws a frame into a small picture; `None` if it has no components.
pub(super) fn paint(frame: &Frame, adobe: Option<u8>, most: u32) -> Option<Shrink> {
    let planes: Vec<Plane> = frame
        .components
        .iter()
        .map(|component| Plane::new(component, frame))
        .collect();
    let color = Color::of(frame, adobe)?;
    let small = |size: u32| (size as usize * frame.keep).div_ceil(8);
    let (width, height) = (small(frame.size.0), small(frame.size.1));
    let mut shrink = Shrink::new(width as u32, height as u32, most);
    let mut samples = [0; 4];
    for y in 0..height {
        for x in 0..width {
            for (sample, plane) in samples.iter_mut().zip(&planes) {
                *sample = plane.at(x, y);
            }
            shrink.add(x as u32, y as u32, color.rgb(samples));
        }
    }
    Some(shrink)
}

/// The samples of a component.
struct Plane {
    samples: Vec<u8>,
    stride: usize,
    across: (usize, usize),
    down: (usize, usize),
}

impl Plane {
    fn new(component: &Component, frame: &Frame) -> Plane {
        let keep = frame.keep;
        let table = &frame.quantization[component.quantization];
        let basis = basis(keep);
        let stride = component.stride * keep;
        let mut samples = vec![0; stride * component.rows * keep];
        let blocks = component.kept.chunks_exact(keep * keep);
        for (number, kept) in blocks.enumerate() {
            let mut values = [0.0; 64];
            for (at, (value, kept)) in values.iter_mut().zip(kept).enumerate() {
                let step = table[at / keep * 8 + at % keep];
                *value = f32::from(*kept) * f32::from(step);
            }
            let left = number % component.stride * keep;
            let top = number / component.stride * keep;
            let rows = transform(&values, &basis, keep);
            let pixels = transform(&rows, &basis, keep);
            for (at, pixel) in pixels[..keep * keep].iter().enumerate() {
                // Saturates.
                samples[(top + at / keep) * stride + left + at % keep] = (pixel + 128.5) as u8;
            }
        }
        Plane {
            samples,
            stride,
            across: (component.across, frame.most_across),
            down: (component.down, frame.most_down),
        }
    }

    /// The sample at a pixel of the reduced picture.
    fn at(&self, x: usize, y: usize) -> u8 {
        let x = x * self.across.0 / self.across.1;
        let y = y * self.down.0 / self.down.1;
        self.samples.get(y * self.stride + x).copied().unwrap_or(0)
    }
}

/// The basis of a transform of `keep` points, scaled to the brightness of one of 8 points.
fn basis(keep: usize) -> [f32; 64] {
    let mut basis = [0.0; 64];
    for (at, value) in basis[..keep * keep].iter_mut().enumerate() {
        let (pixel, frequency) = ((at / keep) as f32, (at % keep) as f32);
        let scale = if at % keep == 0 { FRAC_1_SQRT_2 } else { 1.0 };
        let angle = (2.0 * pixel + 1.0) * frequency * PI / (2 * keep) as f32;
        *value = scale * angle.cos() / 2.0;
    }
    basis
}

/// Transforms one direction and transposes; applied twice it transforms both.
fn transform(values: &[f32; 64], basis: &[f32; 64], keep: usize) -> [f32; 64] {
    let mut result = [0.0; 64];
    for line in 0..keep {
        for pixel in 0..keep {
            let products = (0..keep).map(|f| values[line * keep + f] * basis[pixel * keep + f]);
            result[pixel * keep + line] = products.sum();
        }
    }
    result
}

/// The colour space of the components.
#[derive(Debug, Clone, Copy)]
enum Color {
    Grey,
    YCbCr,
    Rgb,
    /// Inverted, as encoders write it.
    Cmyk,
    Ycck,
}

impl Color {
    fn of(frame: &Frame, adobe: Option<u8>) -> Option<Color> {
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        match (ids.as_slice(), adobe) {
            ([_], _) => Some(Color::Grey),
            ([_, _, _], Some(0)) | ([b'R', b'G', b'B'], None) => Some(Color::Rgb),
            ([_, _, _], _) => Some(Color::YCbCr),
            ([_, _, _, _], Some(2)) => Some(Color::Ycck),
            ([_, _, _, _], _) => Some(Color::Cmyk),
            _ => None,
        }
    }

    fn rgb(self, [a, b, c, d]: [u8; 4]) -> [u8; 3] {
        let black = |value: u8| (u16::from(value) * u16::from(d) / 255) as u8;
        match self {
            Color::Grey => [a; 3],
            Color::Rgb => [a, b, c],
            Color::YCbCr => from_ycbcr(a, b, c),
            Color::Cmyk => [a, b, c].map(black),
            Color::Ycck => from_ycbcr(a, b, c).map(|value| black(255 - value)),
        }
    }
}

/// JFIF's conversion, in 16.16 fixed point.
fn from_ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (
        (i32::from(y) << 16) + (1 << 15),
        i32::from(cb) - 128,
        i32::from(cr) - 128,
    );
    [
        y + 91_881 * cr,
        y - 22_554 * cb - 46_802 * cr,
        y + 116_130 * cb,
    ]
    .map(|value| (value >> 16).clamp(0, 255) as u8)
}
