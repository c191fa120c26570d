//! Pairing codes, drawn: for a terminal, as PNG and as SVG. Pure.
//!
//! All forms carry the quiet zone of four modules that ISO/IEC 18004 asks for, so that a phone
//! finds the code whatever surrounds it. The error correction is the lowest: a screen has no
//! stains, and a smaller code fits more terminals.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

/// Modules of light around the code, on each side.
const QUIET: usize = 4;

/// Pixels a module, in a PNG.
const SCALE: usize = 8;

/// Black on white by number of the 256-colour palette: themes change the 16 named colours, these
/// not, so the code has the right polarity on dark and on light terminals.
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

    /// Whether the module is dark; beyond the edge it is light.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        x < self.width && self.dark.get(y * self.width + x).copied().unwrap_or(false)
    }
}

/// The code in half blocks, two modules a character, with the colours set for every line: it can
/// be scanned from dark and light terminals. Ends with a newline.
///
/// # Errors
/// [`TooLong`]; no pairing code is.
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

/// Columns that a line of [`terminal_qr`] takes.
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

/// The code as a PNG image of one bit a pixel, [`SCALE`] pixels a module.
///
/// # Errors
/// [`TooLong`]; no pairing code is.
pub fn png_qr(text: &str) -> Result<Vec<u8>, TooLong> {
    let code = Modules::of(text)?;
    let side = (code.width * SCALE) as u32;
    // A module is SCALE = 8 pixels wide, which is one byte; a set bit is white.
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
    // Writing to a vector cannot fail, and there are as many pixels as the header says.
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&pixels))
        .map_err(|_| TooLong)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as a real one: reference, Noise key, identity key, ADV secret.
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
    fn what_no_code_holds_is_an_error() {
        assert_eq!(terminal_qr(&"x".repeat(3000)), Err(TooLong));
    }
}
