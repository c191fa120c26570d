//! Conversion of complete and damaged files.

use std::io::Write as _;
use std::path::PathBuf;

use super::*;

struct Place {
    spool: Spool,
    _dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        Place {
            spool: Spool::open(&dir.path().join("tmp")).unwrap(),
            _dir: dir,
        }
    }

    fn file(&self, bytes: &[u8]) -> Spooled {
        let (file, mut to) = self.spool.create().unwrap();
        to.write_all(bytes).unwrap();
        file
    }

    fn prepare(&self, kind: MediaKind, ptt: bool, bytes: &[u8]) -> Result<Prepared, MediaError> {
        self.prepare_as(self.request(kind, ptt), bytes)
    }

    fn request(&self, kind: MediaKind, ptt: bool) -> MediaRequest {
        MediaRequest {
            kind,
            ptt,
            gif_playback: false,
            note: false,
            pack: None,
            mimetype: None,
            declared: None,
            file_name: None,
        }
    }

    fn prepare_as(&self, request: MediaRequest, bytes: &[u8]) -> Result<Prepared, MediaError> {
        let mut work = Work::new(request, self.file(bytes), self.spool.clone());
        // Without the guard, so that panics fail the test.
        loop {
            if let Some(prepared) = work.step_unguarded(Duration::from_millis(10))? {
                return Ok(prepared);
            }
        }
    }
}

fn fixtures() -> PathBuf {
    // Relative to the current directory: the build may have run elsewhere.
    PathBuf::from("tests/fixtures/media")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap()
}

const RED: [u8; 3] = [220, 40, 40];
const GREEN: [u8; 3] = [40, 200, 60];
const BLUE: [u8; 3] = [40, 60, 220];
const YELLOW: [u8; 3] = [240, 220, 40];

/// The size of a thumbnail, and the pixels in the middle of its quarters, by rows.
fn quarters(jpeg: &[u8]) -> ((usize, usize), [[u8; 3]; 4]) {
    let mut decoder = zune_jpeg::JpegDecoder::new(std::io::Cursor::new(jpeg));
    let pixels = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    let at = |x: usize, y: usize| {
        let at = (y * height / 4 * width + x * width / 4) * 3;
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    };
    ((width, height), [at(1, 1), at(3, 1), at(1, 3), at(3, 3)])
}

fn assert_near(found: [[u8; 3]; 4], expected: [[u8; 3]; 4], name: &str) {
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!(
            found.abs_diff(*expected) < 25,
            "{name}: {found:?}, not {expected:?}"
        );
    }
}

#[test]
fn images_have_size_and_thumbnail() {
    let place = Place::new();
    let upright = [RED, GREEN, BLUE, YELLOW];
    for (name, size, mimetype) in [
        ("small.jpg", (96, 64), "image/jpeg"),
        ("progressive-mid.jpg", (240, 160), "image/jpeg"),
        ("restart-large.jpg", (480, 320), "image/jpeg"),
        ("photo.jpg", (900, 600), "image/jpeg"),
        ("progressive-photo.jpg", (900, 600), "image/jpeg"),
        ("small.png", (96, 64), "image/png"),
        ("interlaced.png", (96, 64), "image/png"),
        ("rgba64.png", (96, 64), "image/png"),
        ("small.gif", (96, 64), "image/gif"),
        ("small.webp", (96, 64), "image/webp"),
        ("lossless.webp", (96, 64), "image/webp"),
    ] {
        let bytes = fixture(name);
        let image = place.prepare(MediaKind::Image, false, &bytes).unwrap();
        assert_eq!(
            (image.look.width, image.look.height),
            (Some(size.0), Some(size.1)),
            "{name}"
        );
        assert_eq!(image.mimetype, mimetype);
        assert_eq!(std::fs::read(image.file.path()).unwrap(), bytes);
        let thumbnail = image
            .look
            .thumbnail
            .unwrap_or_else(|| panic!("{name} has none"));
        assert!(thumbnail.len() < 4096, "{name}: {}", thumbnail.len());
        let (size, colors) = quarters(&thumbnail);
        assert!((96..=100).contains(&size.0), "{name}: {size:?}");
        assert_near(colors, upright, name);
    }
}

#[test]
fn a_turned_photo_is_shown_upright() {
    let image = Place::new()
        .prepare(MediaKind::Image, false, &fixture("turned.jpg"))
        .unwrap();
    assert_eq!((image.look.width, image.look.height), (Some(64), Some(96)));
    let (size, colors) = quarters(&image.look.thumbnail.unwrap());
    assert_eq!(size, (64, 96));
    assert_near(colors, [BLUE, RED, YELLOW, GREEN], "turned");
}

#[test]
fn grey_stays_grey() {
    let image = Place::new()
        .prepare(MediaKind::Image, false, &fixture("grey.jpg"))
        .unwrap();
    let (_, colors) = quarters(&image.look.thumbnail.unwrap());
    for [r, g, b] in colors {
        assert!(r.abs_diff(g) < 4 && g.abs_diff(b) < 4);
    }
    assert!(
        colors[3][0] > colors[2][0] + 80,
        "yellow is brighter than blue"
    );
}

#[test]
fn films_have_size_and_seconds() {
    let place = Place::new();
    for (name, size, seconds, mimetype) in [
        ("film.mp4", (64, 48), 2, "video/mp4"),
        ("turned.mov", (48, 64), 1, "video/quicktime"),
        ("film.3gp", (128, 96), 1, "video/3gpp"),
    ] {
        let film = place
            .prepare(MediaKind::Video, false, &fixture(name))
            .unwrap();
        assert_eq!(
            (film.look.width, film.look.height),
            (Some(size.0), Some(size.1)),
            "{name}"
        );
        assert_eq!(film.look.seconds, Some(seconds), "{name}");
        assert_eq!(film.mimetype, mimetype);
    }
    let fragments = place
        .prepare(MediaKind::Video, false, &fixture("fragmented.mp4"))
        .unwrap();
    // Its header has no duration.
    assert_eq!(
        (fragments.look.width, fragments.look.seconds),
        (Some(64), Some(1))
    );
}

#[test]
fn animated_stickers_are_detected() {
    let place = Place::new();
    let still = place
        .prepare(MediaKind::Sticker, false, &fixture("small.webp"))
        .unwrap();
    assert_eq!(
        (still.look.width, still.look.height, still.look.animated),
        (Some(512), Some(512), false)
    );
    let moving = place
        .prepare(MediaKind::Sticker, false, &fixture("animated.webp"))
        .unwrap();
    assert_eq!(
        (moving.look.width, moving.look.height, moving.look.animated),
        (Some(64), Some(64), true)
    );
    let image = place
        .prepare(MediaKind::Image, false, &fixture("animated.webp"))
        .unwrap();
    assert!(image.look.thumbnail.is_some(), "its first frame");
}

/// The pixels of a still sticker, or of the first frame of one that moves: those in the middle of the picture's
/// quarters, where the picture has three fifths of the sticker's height, and one above it.
fn on_sticker(file: &[u8]) -> ([[u8; 3]; 4], [u8; 4]) {
    let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(file)).unwrap();
    assert_eq!(decoder.dimensions(), (512, 512));
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    match decoder.is_animated() {
        true => drop(decoder.read_frame(&mut pixels).unwrap()),
        false => decoder.read_image(&mut pixels).unwrap(),
    }
    let at = |x: usize, y: usize| {
        let pixel = &pixels[(y * 512 + x) * 4..][..4];
        [pixel[0], pixel[1], pixel[2], pixel[3]]
    };
    let opaque = |x, y| {
        let [r, g, b, alpha] = at(x, y);
        assert_eq!(alpha, 255);
        [r, g, b]
    };
    let quarters = [(128, 170), (384, 170), (128, 340), (384, 340)];
    (quarters.map(|(x, y)| opaque(x, y)), at(256, 40))
}

#[test]
fn pictures_become_stickers_with_their_pack() {
    let place = Place::new();
    let pack = Pack {
        name: "Cats".to_owned(),
        author: "Ümit".to_owned(),
    };
    let upright = [RED, GREEN, BLUE, YELLOW];
    for name in [
        "small.jpg",
        "photo.jpg",
        "progressive-photo.jpg",
        "small.png",
        "small.gif",
        "small.webp",
    ] {
        let request = MediaRequest {
            pack: Some(pack.clone()),
            ..place.request(MediaKind::Sticker, false)
        };
        let sticker = place.prepare_as(request, &fixture(name)).unwrap();
        assert_eq!(sticker.mimetype, "image/webp");
        assert!(!sticker.look.animated, "{name}");
        let bytes = std::fs::read(sticker.file.path()).unwrap();
        assert!(bytes.len() <= 300_000, "{name}: {}", bytes.len());
        let (colors, above) = on_sticker(&bytes);
        assert_near(colors, upright, name);
        assert_eq!(above, [0; 4], "{name}");
        let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(&bytes)).unwrap();
        let exif = decoder.exif_metadata().unwrap().expect("metadata");
        let json: serde_json::Value = serde_json::from_slice(&exif[22..]).unwrap();
        assert_eq!(json["sticker-pack-name"], "Cats");
        assert_eq!(json["sticker-pack-publisher"], "Ümit");
        assert_eq!(exif[14..18], (exif.len() as u32 - 22).to_le_bytes());
    }
}

#[test]
fn a_sticker_that_is_one_keeps_its_pixels_and_gets_a_pack() {
    let place = Place::new();
    let pack = Some(Pack::default());
    let made = |bytes: &[u8]| {
        let request = MediaRequest {
            pack: pack.clone(),
            ..place.request(MediaKind::Sticker, false)
        };
        let sticker = place.prepare_as(request, bytes).unwrap();
        std::fs::read(sticker.file.path()).unwrap()
    };
    let has = |file: &[u8], part: &[u8]| file.windows(part.len()).any(|window| window == part);
    let moving = fixture("animated.webp");
    let with_pack = made(&moving);
    assert!(has(&with_pack, b"EXIF") && with_pack.len() > moving.len());
    let frames = moving
        .windows(4)
        .position(|window| window == b"ANIM")
        .unwrap();
    assert!(has(&with_pack, &moving[frames..frames + 200]));
    assert_eq!(made(&with_pack), with_pack, "one block of metadata");
    let still = made(&fixture("small.png"));
    assert_eq!(made(&still), still);
}

#[test]
fn a_gif_that_moves_becomes_a_moving_sticker() {
    let colors = [[255, 0, 0], [0, 255, 0], [0, 0, 255]];
    let mut gif = Vec::new();
    let mut encoder = gif::Encoder::new(&mut gif, 40, 20, &[]).unwrap();
    for color in colors {
        // The left half stays as it is.
        let pixels: Vec<u8> = (0..800).map(|at| u8::from(at % 40 >= 20)).collect();
        let palette = [[9; 3], color].concat();
        let mut frame = gif::Frame::from_palette_pixels(40, 20, pixels, palette, None);
        frame.delay = 20;
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    let place = Place::new();
    let sticker = place.prepare(MediaKind::Sticker, false, &gif).unwrap();
    assert!(sticker.look.animated);
    let bytes = std::fs::read(sticker.file.path()).unwrap();
    let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(&bytes)).unwrap();
    assert_eq!(
        (decoder.dimensions(), decoder.num_frames()),
        ((512, 512), 3)
    );
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    for color in colors {
        assert_eq!(decoder.read_frame(&mut pixels).unwrap(), 200);
        let at = |x: usize| {
            let pixel = &pixels[(256 * 512 + x) * 4..][..4];
            [pixel[0], pixel[1], pixel[2]]
        };
        assert_near([at(400); 4], [color; 4], "right");
        assert_near([at(100); 4], [[9; 3]; 4], "left");
    }
}

#[test]
fn files_of_another_kind_are_refused_by_name() {
    let place = Place::new();
    for (kind, bytes, said) in [
        (
            MediaKind::Image,
            &b"%PDF-1.7\n"[..],
            "the file is application/pdf, not an image that WhatsApp shows",
        ),
        (
            MediaKind::Image,
            b"hello",
            "the file is of a kind that is not known, not an image",
        ),
        (
            MediaKind::Video,
            b"RIFF\0\0\0\0AVI LIST",
            "the file is video/x-msvideo, not a video that WhatsApp shows",
        ),
        (
            MediaKind::Video,
            &fixture("tone.m4a"),
            "the file is sound without a picture, not a video",
        ),
        (
            MediaKind::Audio,
            b"%PDF-1.7\n",
            "the file is application/pdf, not audio",
        ),
        (
            MediaKind::Sticker,
            &fixture("film.mp4"),
            "the file is video/mp4, not a picture that can be made a sticker",
        ),
        (MediaKind::Document, b"", "the file is empty"),
    ] {
        let error = place.prepare(kind, false, bytes).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn documents_are_sent_unchanged() {
    let place = Place::new();
    let bytes = fixture("film.mp4");
    let document = place.prepare(MediaKind::Document, false, &bytes).unwrap();
    assert_eq!(document.mimetype, "video/mp4");
    assert_eq!(document.size, bytes.len() as u64);
    assert_eq!(std::fs::read(document.file.path()).unwrap(), bytes);
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    })
}

#[test]
fn bombs_are_not_decompressed() {
    let place = Place::new();
    let mut png = fixture("small.png");
    png[16..20].copy_from_slice(&30_000_u32.to_be_bytes());
    png[20..24].copy_from_slice(&30_000_u32.to_be_bytes());
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    let mut jpeg = fixture("photo.jpg");
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xFF, 0xC0])
        .unwrap();
    jpeg[frame + 5..frame + 9].fill(0xFF);
    let mut gif = fixture("small.gif");
    gif[6..10].fill(0xFF);
    let mut webp = fixture("small.webp");
    webp[26..30].copy_from_slice(&[0xFF, 0x3F, 0xFF, 0x3F]);
    for (bytes, side) in [(png, 30_000), (jpeg, 65_535), (gif, 65_535), (webp, 16_383)] {
        let image = place.prepare(MediaKind::Image, false, &bytes).unwrap();
        assert_eq!(
            (image.look.width, image.look.height),
            (Some(side), Some(side))
        );
        assert_eq!(image.look.thumbnail, None);
    }
}

/// The kinds that a fixture can be sent as.
fn kinds(name: &str) -> &'static [MediaKind] {
    match name.rsplit_once('.').unwrap().1 {
        _ if name == "animated.webp" => &[MediaKind::Image, MediaKind::Sticker],
        "webp" => &[MediaKind::Image],
        "gif" => &[MediaKind::Image, MediaKind::Sticker],
        "jpg" | "png" => &[MediaKind::Image],
        "mp4" => &[MediaKind::Video, MediaKind::Audio],
        "mov" | "3gp" => &[MediaKind::Video],
        "md" => &[MediaKind::Document],
        _ => &[MediaKind::Audio],
    }
}

#[test]
fn damaged_files_neither_panic_nor_hang() {
    let place = Place::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let bytes = fixture(&name);
        for kind in kinds(&name) {
            // Conversions are slow: only small files are tried at every byte.
            let times = match kind {
                MediaKind::Audio | MediaKind::Sticker => 5,
                _ if bytes.len() < 450 => bytes.len(),
                _ => 60,
            };
            let step = bytes.len().div_ceil(times);
            for cut in (0..bytes.len()).step_by(step) {
                // Success and error are both fine.
                let began = std::time::Instant::now();
                let _ = place.prepare(*kind, true, &bytes[..cut]);
                let took = began.elapsed();
                assert!(took.as_secs() < 60, "{name} cut at {cut} took {took:?}");
                seen += 1;
            }
            for (at, bit) in (0..bytes.len()).step_by(step).zip((0..8).cycle()) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let _ = place.prepare(*kind, true, &flipped);
                flipped[at] = 0xFF;
                let _ = place.prepare(*kind, true, &flipped);
                seen += 2;
            }
        }
    }
    assert!(seen > 3_000, "{seen}");
}

#[cfg(feature = "voice")]
mod sounds {
    use super::*;

    /// Samples of an OGG/Opus file at 48 kHz, as a player decodes them.
    fn heard(path: &Path) -> Vec<f32> {
        let file = std::io::BufReader::new(File::open(path).unwrap());
        let mut reader = opus_pure::OggOpusReader::new(file).unwrap();
        assert_eq!(reader.head().channel_count, 1);
        let mut decoder = reader.head().decoder(48_000).unwrap();
        let mut trim = opus_pure::Trim::new(reader.head(), 48_000, 1).unwrap();
        let mut block = vec![0.0; 5760];
        let mut sound = Vec::new();
        for packet in reader.packets() {
            let packet = packet.unwrap();
            let count = decoder.decode(&packet.data, 5760, &mut block).unwrap();
            sound.extend_from_slice(trim.keep(&packet, &block[..count]));
        }
        sound
    }

    /// The share of a signal's energy at a frequency (Goertzel), 0 to 1.
    fn share_at(sound: &[f32], hertz: f64) -> f64 {
        let coefficient = 2.0 * (2.0 * std::f64::consts::PI * hertz / 48_000.0).cos();
        let (mut one, mut two, mut energy) = (0.0, 0.0, 0.0);
        for sample in sound {
            let sample = f64::from(*sample);
            let now = sample + coefficient * one - two;
            two = one;
            one = now;
            energy += sample * sample;
        }
        let power = one * one + two * two - coefficient * one * two;
        2.0 * power / (energy * sound.len() as f64)
    }

    fn loudness(sound: &[f32]) -> f32 {
        (sound.iter().map(|s| s * s).sum::<f32>() / sound.len() as f32).sqrt()
    }

    #[test]
    fn every_kind_of_sound_becomes_ogg_opus() {
        let place = Place::new();
        for name in [
            "tone.mp3",
            "tone.m4a",
            "tone.aac",
            "tone.wav",
            "tone.flac",
            "tone.ogg",
            "film.mp4",
        ] {
            for ptt in [false, true] {
                let audio = place
                    .prepare(MediaKind::Audio, ptt, &fixture(name))
                    .unwrap();
                let length = if name == "film.mp4" { 2 } else { 1 };
                assert_eq!(audio.mimetype, "audio/ogg; codecs=opus");
                assert_eq!(audio.look.seconds, Some(length), "{name}");
                assert_eq!(
                    audio.size,
                    std::fs::metadata(audio.file.path()).unwrap().len()
                );
                let said = ogg::length(File::open(audio.file.path()).unwrap()).unwrap();
                let sound = heard(audio.file.path());
                assert_eq!(said, sound.len() as u64 * 1000 / 48_000);
                let off = said.abs_diff(u64::from(length) * 1000);
                assert!(off <= 50, "{name} lasts {said} ms");
                let middle = &sound[12_000..36_000];
                assert!(
                    share_at(middle, 440.0) > 0.9,
                    "{name}: {}",
                    share_at(middle, 440.0)
                );
                // The source's amplitude is 1/8, doubled but in the film, and shared between channels.
                let expected = match name {
                    "film.mp4" => 0.0884,
                    "tone.mp3" => 0.125,
                    _ => 0.1768,
                };
                let loud = loudness(middle);
                assert!((loud / expected - 1.0).abs() < 0.15, "{name}: {loud}");
                assert_eq!(audio.look.waveform.is_some(), ptt);
                if let Some(waveform) = audio.look.waveform {
                    assert_eq!(waveform.len(), 64);
                    assert!(
                        waveform[8..56].iter().all(|v| (75..=100).contains(v)),
                        "{waveform:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn ogg_opus_passes_untouched() {
        let place = Place::new();
        let bytes = fixture("tone.opus");
        let audio = place.prepare(MediaKind::Audio, false, &bytes).unwrap();
        assert_eq!(std::fs::read(audio.file.path()).unwrap(), bytes);
        assert_eq!((audio.look.seconds, audio.look.waveform), (Some(1), None));
        let note = place.prepare(MediaKind::Audio, true, &bytes).unwrap();
        assert_eq!(std::fs::read(note.file.path()).unwrap(), bytes);
        let waveform = note.look.waveform.unwrap();
        assert_eq!(waveform.len(), 64);
        assert!(
            waveform[4..60].iter().all(|v| (75..=100).contains(v)),
            "{waveform:?}"
        );
    }

    fn wav(rate: u32, samples: impl ExactSizeIterator<Item = i16>) -> Vec<u8> {
        let bytes = samples.len() as u32 * 2;
        let mut wav = b"RIFF".to_vec();
        wav.extend((36 + bytes).to_le_bytes());
        wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        wav.extend(rate.to_le_bytes());
        wav.extend((rate * 2).to_le_bytes());
        wav.extend(b"\x02\0\x10\0data");
        wav.extend(bytes.to_le_bytes());
        wav.extend(samples.flat_map(i16::to_le_bytes));
        wav
    }

    #[test]
    fn the_length_is_exact_and_the_waveform_follows() {
        let place = Place::new();
        // Silence, then a tone of the same duration.
        let samples = (0..66_150_i32).map(|n| {
            let tone = (f64::from(n) * 600.0 * std::f64::consts::TAU / 44_100.0).sin();
            if n < 33_075 {
                0
            } else {
                (tone * 20_000.0) as i16
            }
        });
        let note = place
            .prepare(MediaKind::Audio, true, &wav(44_100, samples))
            .unwrap();
        assert_eq!(heard(note.file.path()).len(), 72_000);
        assert_eq!(note.look.seconds, Some(2), "1.5, rounded");
        let waveform = note.look.waveform.unwrap();
        assert!(waveform[..31].iter().all(|v| *v < 2), "{waveform:?}");
        assert!(waveform[33..].iter().all(|v| *v > 95), "{waveform:?}");
    }

    #[test]
    fn sound_of_no_length_and_of_too_many_hours_is_refused() {
        let place = Place::new();
        let error = place.prepare(MediaKind::Audio, false, &wav(8_000, [].into_iter()));
        assert!(matches!(error, Err(MediaError::Broken(_))), "{error:?}");
        let error = place.prepare(MediaKind::Audio, false, &wav(900, [0_i16; 900].into_iter()));
        assert!(
            matches!(error, Err(MediaError::Unsupported(_))),
            "{error:?}"
        );
    }

    /// The packets of an OGG/Opus file, and its duration in ms.
    fn packets(path: &Path) -> (Vec<Vec<u8>>, u64) {
        let length = ogg::length(File::open(path).unwrap()).unwrap();
        let file = std::io::BufReader::new(File::open(path).unwrap());
        let mut reader = opus_pure::OggOpusReader::new(file).unwrap();
        let packets = reader.packets().map(|packet| packet.unwrap().data);
        (packets.collect(), length)
    }

    #[test]
    fn what_browsers_and_phones_record_loses_nothing() {
        let place = Place::new();
        // All of them contain the packets of this file.
        let (original, length) = packets(&fixtures().join("tone.opus"));
        for name in [
            "tone.webm",
            "live.webm",
            "tone-opus.mp4",
            "opus-fragmented.mp4",
            "opus.caf",
        ] {
            for ptt in [false, true] {
                let bytes = fixture(name);
                let audio = place.prepare(MediaKind::Audio, ptt, &bytes).unwrap();
                let (packets, its) = packets(audio.file.path());
                assert!(packets == original, "{name}");
                // Not every container has the duration of the last packet.
                assert!((length..=length + 20).contains(&its), "{name}: {its}");
                assert_eq!(audio.look.seconds, Some(1), "{name}");
                assert_eq!(audio.look.waveform.is_some(), ptt, "{name}");
            }
        }
        // A truncated recording is converted up to its end.
        let bytes = fixture("live.webm");
        let cut = place
            .prepare(MediaKind::Audio, true, &bytes[..2_000])
            .unwrap();
        let (packets, _) = packets(cut.file.path());
        assert!(packets.len() > 20 && original.starts_with(&packets));
    }

    #[test]
    fn opus_of_several_channels_becomes_mono() {
        let place = Place::new();
        // The center keeps its level within 1.5 dB.
        for (name, expected) in [
            ("stereo.opus", 0.0611),
            ("stereo.webm", 0.0611),
            ("center.opus", 0.0721),
            ("center.ogg", 0.0721),
        ] {
            let note = place
                .prepare(MediaKind::Audio, true, &fixture(name))
                .unwrap();
            // The header and each packet are mono.
            let sound = heard(note.file.path());
            let (packets, _) = packets(note.file.path());
            assert!(packets.iter().all(|packet| packet[0] & 4 == 0), "{name}");
            let middle = &sound[sound.len() / 4..sound.len() * 3 / 4];
            assert!(share_at(middle, 440.0) > 0.9, "{name}");
            let loud = loudness(middle);
            assert!((loud / expected - 1.0).abs() < 0.1, "{name}: {loud}");
        }
    }

    #[test]
    fn less_usual_kinds_are_heard_too() {
        let place = Place::new();
        for name in [
            "alac.m4a",
            "alac.caf",
            "adpcm-ms.wav",
            "adpcm-ima.wav",
            "alaw.wav",
            "gsm.wav",
            "tone.gsm",
            "tone.aiff",
            "ima4.aifc",
            "tone.au",
            "tone.mp2",
            "vorbis.webm",
            "aac-fragmented.mp4",
        ] {
            let note = place
                .prepare(MediaKind::Audio, true, &fixture(name))
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let sound = heard(note.file.path());
            // Some formats pad to whole blocks.
            assert!(
                (47_900..50_400).contains(&sound.len()),
                "{name}: {}",
                sound.len()
            );
            let middle = &sound[12_000..36_000];
            assert!(share_at(middle, 440.0) > 0.9, "{name}");
            let loud = loudness(middle);
            assert!((loud / 0.0862 - 1.0).abs() < 0.15, "{name}: {loud}");
        }
    }

    #[test]
    fn mp3_that_was_cut_out_of_a_stream_is_heard() {
        let place = Place::new();
        let mp3 = fixture("tone.mp3");
        for from in [1, 100, 333, 1_000, 1_500] {
            let note = place
                .prepare(MediaKind::Audio, true, &mp3[from..mp3.len() - 60])
                .unwrap_or_else(|error| panic!("from {from}: {error}"));
            let sound = heard(note.file.path());
            assert!(sound.len() > 25_000, "from {from}: {}", sound.len());
            let middle = &sound[12_000..sound.len() - 3_000];
            // The first frames lack the bit reservoir of earlier ones.
            assert!(share_at(middle, 440.0) > 0.8, "from {from}");
        }
    }

    #[test]
    fn wav_files_of_unknown_length_and_odd_heads_are_heard() {
        let place = Place::new();
        let plain = wav(8_000, (0..8_000).map(|n: i16| (n % 20 - 10) * 1_000));
        let length = |bytes: &[u8]| {
            let audio = place.prepare(MediaKind::Audio, false, bytes);
            audio.map(|audio| heard(audio.file.path()).len())
        };
        assert_eq!(length(&plain).unwrap(), 48_000);
        for size in [0, 0xFFFF_FFFF, 0x7FFF_FFFF_u32] {
            let mut piped = plain.clone();
            piped[40..44].copy_from_slice(&size.to_le_bytes());
            assert_eq!(length(&piped).unwrap(), 48_000, "{size}");
        }
        let mut long = plain.clone();
        long[..4].copy_from_slice(b"RF64");
        assert_eq!(length(&long).unwrap(), 48_000);
        // No memory is allocated by the sizes in a header.
        for (at, lie) in [
            (22, [0xFF, 0xFF]),
            (32, [0xFF, 0xFF]),
            (34, [0xFF, 0xFF]),
            (20, [2, 0]),
        ] {
            let mut odd = plain.clone();
            odd[at..at + 2].copy_from_slice(&lie);
            let _ = length(&odd);
        }
        // The error for other formats says what to do.
        let mut unknown = plain;
        unknown[20..22].copy_from_slice(&[0x61, 1]);
        let words = length(&unknown).unwrap_err().to_string();
        assert!(
            words.contains("convert it to MP3, M4A, OGG or WAV"),
            "{words}"
        );
    }
}

#[cfg(not(feature = "voice"))]
#[test]
fn without_the_voice_feature_only_ogg_opus_is_audio() {
    let place = Place::new();
    let bytes = fixture("tone.opus");
    let note = place.prepare(MediaKind::Audio, true, &bytes).unwrap();
    assert_eq!((note.look.seconds, note.look.waveform), (Some(1), None));
    let error = place.prepare(MediaKind::Audio, true, &fixture("tone.mp3"));
    assert!(
        matches!(error, Err(MediaError::Unsupported(_))),
        "{error:?}"
    );
}
