//! Audio in packets of a fixed size: WAV (RIFF, RIFX, RF64), AIFF and AIFF-C, AU, raw GSM.
//!
//! A length that is unknown or exceeds the file means: to the end of the file.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known as id;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::super::MediaError;
use super::gsm as gsm_frame;
use super::packets::{self, Codec, Packet, Packets, Source, packet, positions};

/// The most chunks read per file; files have some ten.
const CHUNKS: u32 = 1000;
/// Samples of PCM in a packet.
const PIECE: u64 = 1024;
/// The largest packet, in bytes.
const MAX_PACKET: u64 = 128 * 1024;

/// Packets of a fixed size.
pub(super) struct Fixed {
    source: BufReader<File>,
    left: u64,
    bytes: u64,
    /// Samples per channel in each of these.
    frames: u64,
    /// Packets per read.
    at_once: u64,
}

/// Bytes and samples of each packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) bytes: u64,
    pub(super) frames: u64,
}

impl Fixed {
    /// Packets of `shape` from `start`, at most `length` bytes.
    pub(super) fn new(
        mut file: File,
        start: u64,
        length: u64,
        shape: Shape,
    ) -> Result<Fixed, MediaError> {
        let Shape { bytes, frames } = shape;
        // A packet of PCM is one frame: read many at once.
        let at_once = if frames == 1 { PIECE } else { 1 };
        let size = bytes.saturating_mul(at_once);
        if size == 0 || size > MAX_PACKET * 4 || frames == 0 || frames > MAX_PACKET {
            return Err(unusual());
        }
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Fixed {
            source: BufReader::with_capacity(16 * 1024, file),
            left: length.min(end.saturating_sub(start)),
            bytes,
            frames,
            at_once,
        })
    }
}

impl Packets for Fixed {
    fn next(&mut self) -> Result<Option<Packet>, MediaError> {
        let size = (self.bytes * self.at_once).min(self.left);
        let mut data = Vec::new();
        (&mut self.source).take(size).read_to_end(&mut data)?;
        self.left -= size;
        let count = data.len() as u64 / self.bytes;
        // An incomplete packet at the end is dropped.
        data.truncate((count * self.bytes) as usize);
        Ok((count > 0).then(|| packet(data, count * self.frames)))
    }
}

fn unusual() -> MediaError {
    MediaError::Unsupported("its form is unusual".to_owned())
}

fn cut_off() -> MediaError {
    MediaError::Broken("its head is cut off".to_owned())
}

/// PCM.
fn plain(codec: AudioCodecId, rate: u32, channels: Channels) -> Codec {
    let mut parameters = AudioCodecParameters::new();
    parameters
        .for_codec(codec)
        .with_sample_rate(rate)
        .with_channels(channels)
        .with_max_frames_per_packet(PIECE);
    Codec::Known(parameters)
}

/// Blocks of ADPCM.
pub(super) fn blocks(codec: AudioCodecId, rate: u32, channels: Channels, frames: u64) -> Codec {
    let mut parameters = AudioCodecParameters::new();
    parameters
        .for_codec(codec)
        .with_sample_rate(rate)
        .with_channels(channels)
        .with_max_frames_per_packet(frames)
        .with_frames_per_block(frames);
    Codec::Known(parameters)
}

/// PCM of a sample format, and its shape.
pub(super) fn pcm(
    kind: Pcm,
    bits: u32,
    rate: u32,
    channels: Channels,
) -> Result<(Codec, Shape), MediaError> {
    use Pcm::{Float, Law, Signed, Unsigned};
    let codec = match (kind, bits) {
        (Unsigned, 1..=8) => id::CODEC_ID_PCM_U8,
        (Signed { .. }, 1..=8) => id::CODEC_ID_PCM_S8,
        (Signed { big: false }, 9..=16) => id::CODEC_ID_PCM_S16LE,
        (Signed { big: true }, 9..=16) => id::CODEC_ID_PCM_S16BE,
        (Signed { big: false }, 17..=24) => id::CODEC_ID_PCM_S24LE,
        (Signed { big: true }, 17..=24) => id::CODEC_ID_PCM_S24BE,
        (Signed { big: false }, 25..=32) => id::CODEC_ID_PCM_S32LE,
        (Signed { big: true }, 25..=32) => id::CODEC_ID_PCM_S32BE,
        (Float { big: false }, 32) => id::CODEC_ID_PCM_F32LE,
        (Float { big: true }, 32) => id::CODEC_ID_PCM_F32BE,
        (Float { big: false }, 64) => id::CODEC_ID_PCM_F64LE,
        (Float { big: true }, 64) => id::CODEC_ID_PCM_F64BE,
        (Law(codec), _) => codec,
        _ => {
            return Err(MediaError::Unsupported(format!(
                "its samples have {bits} bits"
            )));
        }
    };
    let bytes = match kind {
        Law(_) => 1,
        _ => u64::from(bits.div_ceil(8)),
    };
    let shape = Shape {
        bytes: bytes * channels.count() as u64,
        frames: 1,
    };
    Ok((plain(codec, rate, channels), shape))
}

/// The format of PCM samples.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pcm {
    Unsigned,
    Signed {
        big: bool,
    },
    Float {
        big: bool,
    },
    /// A-law and µ-law (G.711).
    Law(AudioCodecId),
}

fn channels_of(count: u32) -> Result<Channels, MediaError> {
    positions(count).ok_or_else(|| MediaError::Unsupported(format!("it has {count} channels")))
}

/// A chunk's type, start and end.
struct Chunk {
    kind: [u8; 4],
    start: u64,
    end: u64,
}

/// Calls `see` for each chunk after the first 12 bytes, until it returns `false`.
fn each(
    source: &mut BufReader<File>,
    is_big: bool,
    see: &mut dyn FnMut(&mut BufReader<File>, Chunk) -> io::Result<bool>,
) -> io::Result<()> {
    let mut at = 12_u64;
    for _ in 0..CHUNKS {
        let mut head = [0; 8];
        source.seek(SeekFrom::Start(at))?;
        if source.read_exact(&mut head).is_err() {
            return Ok(());
        }
        let [a, b, c, d, size @ ..] = head;
        let size = match is_big {
            true => u32::from_be_bytes(size),
            false => u32::from_le_bytes(size),
        };
        let start = at + 8;
        let end = start + u64::from(size);
        let kind = [a, b, c, d];
        if !see(source, Chunk { kind, start, end })? {
            return Ok(());
        }
        // Odd sizes are padded.
        at = end + u64::from(size & 1);
    }
    Ok(())
}

/// Up to `most` bytes from `start` to `end`.
fn fields(source: &mut BufReader<File>, start: u64, end: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut fields = Vec::new();
    source
        .take(end.saturating_sub(start).min(most))
        .read_to_end(&mut fields)?;
    Ok(fields)
}

/// The `fmt ` chunk of a WAV file.
struct Format {
    tag: u16,
    channels: Channels,
    rate: u32,
    align: u64,
    bits: u32,
    /// Samples in a block, for block codecs.
    block: u64,
}

impl Format {
    fn read(fields: &[u8], is_big: bool) -> Result<Format, MediaError> {
        let pair = |at: usize| match fields.get(at..at + 2) {
            Some(&[a, b]) if is_big => u16::from_be_bytes([a, b]),
            Some(&[a, b]) => u16::from_le_bytes([a, b]),
            _ => 0,
        };
        let both = |at: usize| match is_big {
            true => u32::from(pair(at)) << 16 | u32::from(pair(at + 2)),
            false => u32::from(pair(at + 2)) << 16 | u32::from(pair(at)),
        };
        if fields.len() < 14 {
            return Err(cut_off());
        }
        let count = u32::from(pair(2));
        let mut format = Format {
            tag: pair(0),
            channels: channels_of(count)?,
            rate: both(4),
            align: u64::from(pair(12)),
            bits: u32::from(pair(14)),
            block: u64::from(pair(18)),
        };
        // WAVE_FORMAT_EXTENSIBLE: channel positions, and the tag at the beginning of a GUID.
        if format.tag == 0xFFFE && fields.len() >= 26 {
            format.tag = pair(24);
            let named = Position::from_wave_channel_mask(both(20)).map(Channels::Positioned);
            if let Some(named) = named.filter(|named| named.count() == count as usize) {
                format.channels = named;
            }
        }
        Ok(format)
    }

    /// Samples in a block of ADPCM, checked against the block's size.
    fn block(&self, head: u64, first: u64) -> Result<u64, MediaError> {
        let channels = self.channels.count() as u64;
        let body = self
            .align
            .checked_sub(head * channels)
            .ok_or_else(unusual)?;
        if channels > 2 {
            return Err(unusual());
        }
        Ok(body * 2 / channels + first)
    }
}

/// WAV, RIFX and RF64.
pub(super) fn wav(mut file: File) -> Result<Source, MediaError> {
    let mut head = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head).map_err(|_| cut_off())?;
    let is_big = &head == b"RIFX";
    let mut source = BufReader::with_capacity(512, file);
    let (mut format, mut data, mut long) = (None, None, None);
    each(&mut source, is_big, &mut |source, chunk| {
        let Chunk { kind, start, end } = chunk;
        match &kind {
            b"fmt " => format = Some(fields(source, start, end, 64)?),
            // The 64-bit size.
            b"ds64" => {
                let sizes = fields(source, start, end, 16)?;
                long = sizes
                    .get(8..16)
                    .and_then(|size| size.first_chunk().copied());
            }
            b"data" => {
                data = Some((start, end));
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    })?;
    let no_sound = || MediaError::Broken("there is no sound in it".to_owned());
    let format = Format::read(&format.ok_or_else(no_sound)?, is_big)?;
    let (start, end) = data.ok_or_else(no_sound)?;
    let length = match (end - start, long) {
        // Unknown when the header was written.
        (0xFFFF_FFFF, Some(long)) => u64::from_le_bytes(long),
        (0 | 0xFFFF_FFFF, _) => u64::MAX,
        (length, _) => length,
    };
    let file = source.into_inner();
    let Format {
        tag, rate, bits, ..
    } = format;
    let channels = format.channels.clone();
    let big = is_big;
    let (codec, shape) = match tag {
        1 if bits <= 8 => pcm(Pcm::Unsigned, bits, rate, channels)?,
        1 => pcm(Pcm::Signed { big }, bits, rate, channels)?,
        3 => pcm(Pcm::Float { big }, bits, rate, channels)?,
        6 => pcm(Pcm::Law(id::CODEC_ID_PCM_ALAW), 8, rate, channels)?,
        7 => pcm(Pcm::Law(id::CODEC_ID_PCM_MULAW), 8, rate, channels)?,
        2 | 0x11 => {
            let (codec, head, first) = match tag {
                2 => (id::CODEC_ID_ADPCM_MS, 7, 2),
                _ => (id::CODEC_ID_ADPCM_IMA_WAV, 4, 1),
            };
            let fits = format.block(head, first)?;
            let frames = match format.block {
                said if (1..fits).contains(&said) => said,
                _ => fits,
            };
            let bytes = format.align;
            (
                blocks(codec, rate, channels, frames),
                Shape { bytes, frames },
            )
        }
        0x31 => {
            let shape = Shape {
                bytes: gsm_frame::PAIR as u64,
                frames: 2 * gsm_frame::FRAME as u64,
            };
            (Codec::Gsm(rate), shape)
        }
        0x50 | 0x55 => return packets::mpeg(start, file),
        tag => {
            return Err(MediaError::Unsupported(format!(
                "it is WAV of the kind {tag:#06x}"
            )));
        }
    };
    Ok(Source {
        packets: Box::new(Fixed::new(file, start, length, shape)?),
        codec,
        heard: None,
    })
}

/// AIFF and AIFF-C.
pub(super) fn aiff(file: File) -> Result<(Fixed, Codec), MediaError> {
    let mut source = BufReader::with_capacity(512, file);
    let (mut common, mut data) = (Vec::new(), None);
    each(&mut source, true, &mut |source, chunk| {
        let Chunk { kind, start, end } = chunk;
        match &kind {
            b"COMM" => common = fields(source, start, end, 22)?,
            b"SSND" => {
                let offset = fields(source, start, end, 4)?;
                let offset = offset.first_chunk().map_or(0, |o| u32::from_be_bytes(*o));
                data = Some((start + 8 + u64::from(offset), end));
            }
            _ => {}
        }
        Ok(data.is_none() || common.is_empty())
    })?;
    let no_sound = || MediaError::Broken("there is no sound in it".to_owned());
    let (start, end) = data.ok_or_else(no_sound)?;
    let common_fields: [u8; 18] = *common.first_chunk().ok_or_else(cut_off)?;
    let [c0, c1, _, _, _, _, b0, b1, rate @ ..] = common_fields;
    let count = u32::from(u16::from_be_bytes([c0, c1]));
    let bits = u32::from(u16::from_be_bytes([b0, b1]));
    let rate = extended(rate);
    let channels = channels_of(count)?;
    let kind = common.get(18..22).and_then(|kind| kind.first_chunk());
    let (kind, bits) = match kind.unwrap_or(b"NONE") {
        b"NONE" | b"twos" => (Pcm::Signed { big: true }, bits),
        b"sowt" => (Pcm::Signed { big: false }, bits),
        b"raw " => (Pcm::Unsigned, bits),
        b"in24" => (Pcm::Signed { big: true }, 24),
        b"in32" => (Pcm::Signed { big: true }, 32),
        b"fl32" | b"FL32" => (Pcm::Float { big: true }, 32),
        b"fl64" | b"FL64" => (Pcm::Float { big: true }, 64),
        b"ulaw" | b"ULAW" => (Pcm::Law(id::CODEC_ID_PCM_MULAW), 8),
        b"alaw" | b"ALAW" => (Pcm::Law(id::CODEC_ID_PCM_ALAW), 8),
        b"ima4" => {
            let shape = ima4(count);
            let codec = blocks(id::CODEC_ID_ADPCM_IMA_QT, rate, channels, shape.frames);
            let packets = Fixed::new(source.into_inner(), start, end - start, shape)?;
            return Ok((packets, codec));
        }
        kind => {
            let kind = String::from_utf8_lossy(kind).into_owned();
            return Err(MediaError::Unsupported(format!(
                "it is AIFF of the kind {kind:?}"
            )));
        }
    };
    let (codec, shape) = pcm(kind, bits, rate, channels)?;
    let length = end.saturating_sub(start);
    Ok((
        Fixed::new(source.into_inner(), start, length, shape)?,
        codec,
    ))
}

/// Apple's ADPCM: 34 bytes for 64 samples of a channel.
pub(super) fn ima4(channels: u32) -> Shape {
    Shape {
        bytes: 34 * u64::from(channels),
        frames: 64,
    }
}

/// A sample rate from an 80-bit float.
fn extended(bytes: [u8; 10]) -> u32 {
    let [s0, s1, mantissa @ ..] = bytes;
    let exponent = i32::from(u16::from_be_bytes([s0, s1]) & 0x7FFF) - 16_383 - 63;
    let value = u64::from_be_bytes(mantissa) as f64 * 2_f64.powi(exponent);
    value.round() as u32
}

/// Sun's AU.
pub(super) fn au(mut file: File) -> Result<(Fixed, Codec), MediaError> {
    let mut head = [0; 24];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head).map_err(|_| cut_off())?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (start, kind, rate) = (word(4), word(12), word(16));
    let big = true;
    let (kind, bits) = match kind {
        1 => (Pcm::Law(id::CODEC_ID_PCM_MULAW), 8),
        2 => (Pcm::Signed { big }, 8),
        3 => (Pcm::Signed { big }, 16),
        4 => (Pcm::Signed { big }, 24),
        5 => (Pcm::Signed { big }, 32),
        6 => (Pcm::Float { big }, 32),
        7 => (Pcm::Float { big }, 64),
        27 => (Pcm::Law(id::CODEC_ID_PCM_ALAW), 8),
        kind => {
            return Err(MediaError::Unsupported(format!(
                "it is AU of the kind {kind}"
            )));
        }
    };
    let (codec, shape) = pcm(kind, bits, rate, channels_of(word(20))?)?;
    let length = match word(8) {
        u32::MAX => u64::MAX,
        length => u64::from(length),
    };
    Ok((Fixed::new(file, u64::from(start), length, shape)?, codec))
}

/// Raw frames of GSM 06.10.
pub(super) fn gsm(file: File) -> Result<(Fixed, Codec), MediaError> {
    let shape = Shape {
        bytes: gsm_frame::BYTES as u64,
        frames: gsm_frame::FRAME as u64,
    };
    Ok((Fixed::new(file, 0, u64::MAX, shape)?, Codec::Gsm(8_000)))
}
