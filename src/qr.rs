//! QR codes for a terminal, as PNG and as SVG. Pure.
//!
//! All forms have the quiet zone of four modules that ISO/IEC 18004 requires. Error correction is the lowest:
//! a screen has no damage, and a smaller code fits more terminals.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

/// The width of the quiet zone, in modules.
const QUIET: usize = 4;

/// Pixels per module in a PNG.
const SCALE: usize = 8;

/// Black on white of the 256-colour palette: themes change only the 16 named colours, so the polarity is
/// right on dark and light terminals.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// The text is longer than any QR code holds (2,953 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is too long for a QR code")]
pub struct TooLong;

/// The modules of a code with its quiet zone.
struct Modules {
    width: usize,
    dark: Vec<bool>,
}

impl Modules {
    fn of(text: &str) -> Result<Modules, TooLong> {
        let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|_| TooLong)?;
        let inner = code.width();
        let width = inner + 2 * QUIET;
        let mut dark = vec![false; width * width];
        for (i, color) in code.to_colors().into_iter().enumerate() {
            dark[(i / inner + QUIET) * width + i % inner + QUIET] = color == Color::Dark;
        }
        Ok(Modules { width, dark })
    }

    /// Whether the module is dark; outside of the code it is light.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        x < self.width && self.dark.get(y * self.width + x).copied().unwrap_or(false)
    }
}

/// The code in half blocks, two modules per character. Ends with a newline.
///
/// # Errors
/// [`TooLong`], which no pairing code is.
pub fn terminal_qr(text: &str) -> Result<String, TooLong> {
    let code = Modules::of(text)?;
    let mut out = String::with_capacity(code.width * code.width * 2);
    for y in (0..code.width).step_by(2) {
        out.push_str(BLACK_ON_WHITE);
        for x in 0..code.width {
            out.push(match (code.is_dark(x, y), code.is_dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        out.push_str(RESET);
        out.push('\n');
    }
    Ok(out)
}

/// The columns of a line of [`terminal_qr`].
pub fn shown_width(line: &str) -> usize {
    let line = line.strip_prefix(BLACK_ON_WHITE).unwrap_or(line);
    line.strip_suffix(RESET).unwrap_or(line).chars().count()
}

/// The code as an SVG image that scales to any size.
///
/// # Errors
/// [`TooLong`]; no pairing code is.
pub fn svg_qr(text: &str) -> Result<String, TooLong> {
    let code = Modules::of(text)?;
    let width = code.width;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" \
         width=\"{pixels}\" height=\"{pixels}\" shape-rendering=\"crispEdges\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/><path fill=\"#000\" d=\"",
        pixels = width * SCALE
    );
    for y in 0..width {
        let mut x = 0;
        while x < width {
            let run = (x..width).take_while(|&x| code.is_dark(x, y)).count();
            if run > 0 {
                // Writing to a String cannot fail.
                let _ = write!(out, "M{x} {y}h{run}v1h-{run}z");
            }
            x += run.max(1);
        }
    }
    out.push_str("\"/></svg>\n");
    Ok(out)
}

/// The code as a PNG image of one bit per pixel, [`SCALE`] pixels per module.
///
/// # Errors
/// [`TooLong`]; no pairing code is.
pub fn png_qr(text: &str) -> Result<Vec<u8>, TooLong> {
    let code = Modules::of(text)?;
    let side = (code.width * SCALE) as u32;
    // A module is SCALE = 8 pixels wide: one byte. A set bit is white.
    let pixels: Vec<u8> = code
        .dark
        .chunks(code.width)
        .flat_map(|row| std::iter::repeat_n(row, SCALE).flatten())
        .map(|&dark| if dark { 0x00 } else { 0xff })
        .collect();
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_compression(png::Compression::Fastest);
    // Never fails: the writer is a vector, and the number of pixels is that of the header.
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&pixels))
        .map_err(|_| TooLong)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as a real code: reference, Noise key, identity key, ADV secret.
    const PAIRING: &str = "2@AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz0123456789\
        AbCdEfGhIjKlMnOpQrStUvWxYz==,q8Pp3kq4m0y7bYq2m4o0h5f4k2bq2n9p6m4Zx9a3c1M=,\
        Kq8Pp3kq4m0y7bYq2m4o0h5f4k2bq2n9p6m4Zx9a3cE=,9Pp3kq4m0y7bYq2m4o0h5f4k2bq2n9p6m4Zx9a3c1Mk=";

    fn scan(side: usize, dark: impl Fn(usize, usize) -> bool) -> String {
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| {
            if dark(x, y) { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code in the image");
        grids[0].decode().expect("a readable code").1
    }

    #[test]
    fn the_terminal_code_reads_back() {
        let text = terminal_qr(PAIRING).unwrap();
        let lines: Vec<Vec<char>> = text
            .lines()
            .map(|line| {
                let line = line.strip_prefix(BLACK_ON_WHITE).unwrap();
                line.strip_suffix(RESET).unwrap().chars().collect()
            })
            .collect();
        let width = lines[0].len();
        assert!(width <= 80, "fits an 80-column terminal: {width}");
        assert!(lines.iter().all(|line| line.len() == width));
        assert!(
            lines[0].iter().chain(&lines[1]).all(|&c| c == ' '),
            "quiet zone"
        );
        let zoom = 6;
        let dark = |x: usize, y: usize| {
            let (x, y) = (x / zoom, y / zoom);
            match lines.get(y / 2).and_then(|line| line.get(x)) {
                Some('█') => true,
                Some('▀') => y % 2 == 0,
                Some('▄') => y % 2 == 1,
                _ => false,
            }
        };
        assert_eq!(scan(width * zoom, dark), PAIRING);
    }

    #[test]
    fn the_png_reads_back() {
        let png = png_qr(PAIRING).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png.as_slice()))
            .read_info()
            .unwrap();
        let mut rows = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut rows).unwrap();
        assert_eq!(frame.bit_depth, png::BitDepth::One);
        assert_eq!(frame.width, frame.height);
        let side = frame.width as usize;
        let dark = |x: usize, y: usize| rows[y * (side / 8) + x / 8] & (0x80 >> (x % 8)) == 0;
        assert_eq!(scan(side, dark), PAIRING);
        assert!(png.len() < 4_000, "{} bytes", png.len());
    }

    #[test]
    fn the_svg_draws_every_dark_module_once() {
        let svg = svg_qr(PAIRING).unwrap();
        let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        let drawn: usize = path
            .split('h')
            .skip(1)
            .step_by(2)
            .map(|run| run.split('v').next().unwrap().parse::<usize>().unwrap())
            .sum();
        let code = Modules::of(PAIRING).unwrap();
        assert_eq!(drawn, code.dark.iter().filter(|&&dark| dark).count());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn text_longer_than_any_code_is_an_error() {
        assert_eq!(terminal_qr(&"x".repeat(3000)), Err(TooLong));
    }
}
