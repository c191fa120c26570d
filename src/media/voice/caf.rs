//! Apple's Core Audio Format with PCM, ADPCM, AAC, ALAC or Opus. The packet table is read along with the
//! packets, so that memory does not grow with the file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known as id;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::super::MediaError;
use super::chunks::{Fixed, Pcm, Shape, blocks, ima4, pcm};
use super::opus::Head;
use super::packets::{Codec, Packet, Packets, Source, packet, positions};

/// The most chunks read per file; files have some ten.
const CHUNKS: u32 = 1000;
/// The longest packet, in bytes.
const MAX_PACKET: u64 = 512 * 1024;
/// The longest description of a codec, in bytes.
const MAX_COOKIE: u64 = 4096;

/// A reader of a part of a file, with its own position.
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The packet table, for packets of different sizes.
struct Table {
    data: BufReader<Part>,
    table: BufReader<Part>,
    /// The common size of all packets; 0: each has its own.
    bytes: u64,
    frames: u64,
    left: u64,
}

impl Table {
    /// A number with seven bits per byte; the top bit of the last byte is 0.
    fn number(&mut self) -> io::Result<Option<u64>> {
        let mut value = 0_u64;
        for _ in 0..9 {
            let mut byte = [0];
            if self.table.read(&mut byte)? == 0 {
                return Ok(None);
            }
            value = value << 7 | u64::from(byte[0] & 0x7F);
            if byte[0] & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

impl Packets for Table {
    fn next(&mut self) -> Result<Option<Packet>, MediaError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let bytes = match self.bytes {
            0 => self.number()?,
            bytes => Some(bytes),
        };
        let frames = match self.frames {
            0 => self.number()?,
            frames => Some(frames),
        };
        let (Some(bytes), Some(frames)) = (bytes, frames) else {
            return Ok(None);
        };
        if bytes > MAX_PACKET {
            return Ok(None);
        }
        let mut data = Vec::new();
        (&mut self.data).take(bytes).read_to_end(&mut data)?;
        Ok((data.len() as u64 == bytes).then(|| packet(data, frames)))
    }
}

/// The audio description chunk.
struct Description {
    rate: u32,
    kind: [u8; 4],
    flags: u32,
    bytes: u64,
    frames: u64,
    channels: u32,
    bits: u32,
}

impl Description {
    fn read(fields: &[u8]) -> Option<Description> {
        let fields: &[u8; 32] = fields.first_chunk()?;
        let word = |at: usize| {
            u32::from_be_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]])
        };
        Some(Description {
            rate: f64::from_be_bytes(*fields.first_chunk()?) as u32,
            kind: word(8).to_be_bytes(),
            flags: word(12),
            bytes: u64::from(word(16)),
            frames: u64::from(word(20)),
            channels: word(24),
            bits: word(28),
        })
    }
}

/// The place of the packet table, and its totals.
#[derive(Debug, Clone, Copy)]
struct Packing {
    start: u64,
    end: u64,
    count: u64,
    valid: u64,
    skip: u64,
}

/// Opens the file's only track.
pub(super) fn open(file: File) -> Result<Source, MediaError> {
    let broken = || MediaError::Broken("there is no sound in it".to_owned());
    let length = file.metadata()?.len();
    let file = Arc::new(file);
    let bytes = |start: u64, end: u64, most: u64| {
        let mut bytes = Vec::new();
        let mut part = Part {
            file: Arc::clone(&file),
            at: start,
            end: end.min(start.saturating_add(most)),
        };
        part.read_to_end(&mut bytes).map(|_| bytes)
    };
    let (mut description, mut packing, mut data, mut cookie) = (None, None, None, Vec::new());
    let mut at = 8_u64;
    for _ in 0..CHUNKS {
        let head = bytes(at, u64::MAX, 12)?;
        let Some([a, b, c, d, size @ ..]) = head.first_chunk::<12>() else {
            break;
        };
        let start = at + 12;
        // -1: to the end of the file.
        let end = match i64::from_be_bytes(*size) {
            -1 => length,
            size => match u64::try_from(size)
                .ok()
                .and_then(|size| start.checked_add(size))
            {
                Some(end) => end,
                None => break,
            },
        };
        match &[*a, *b, *c, *d] {
            b"desc" => description = Description::read(&bytes(start, end, 32)?),
            b"kuki" => cookie = bytes(start, end, MAX_COOKIE)?,
            b"data" => data = Some((start + 4, end.min(length))),
            b"pakt" => {
                let fields = bytes(start, end, 24)?;
                let fields: &[u8; 24] = fields.first_chunk().ok_or_else(broken)?;
                let word = |at: usize| {
                    let word = [fields[at], fields[at + 1], fields[at + 2], fields[at + 3]];
                    u64::from(u32::from_be_bytes(word))
                };
                packing = Some(Packing {
                    start: start + 24,
                    end,
                    count: word(0) << 32 | word(4),
                    valid: word(8) << 32 | word(12),
                    skip: word(16) & 0x7FFF_FFFF,
                });
            }
            _ => {}
        }
        at = end;
    }
    let description = description.ok_or_else(broken)?;
    let (start, end) = data.ok_or_else(broken)?;
    let channels = positions(description.channels).ok_or_else(broken)?;
    let (codec, shape) = codec(&description, channels, &cookie, packing)?;
    let heard = packing.filter(|packing| packing.valid > 0).map(|packing| {
        let rate = u64::from(description.rate.max(1));
        let micros = |samples: u64| samples.saturating_mul(1_000_000) / rate;
        (micros(packing.skip), micros(packing.valid))
    });
    let packets: Box<dyn Packets> = match (shape, packing) {
        (Some(shape), _) => {
            let file = Arc::into_inner(file).ok_or_else(broken)?;
            Box::new(Fixed::new(file, start, end.saturating_sub(start), shape)?)
        }
        (None, Some(packing)) => {
            let part = |at, end| {
                let file = Arc::clone(&file);
                BufReader::with_capacity(8 * 1024, Part { file, at, end })
            };
            Box::new(Table {
                data: part(start, end),
                table: part(packing.start, packing.end),
                bytes: description.bytes,
                frames: description.frames,
                left: packing.count,
            })
        }
        (None, None) => return Err(broken()),
    };
    Ok(Source {
        packets,
        codec,
        heard,
    })
}

/// The codec, and the shape of packets if all have the same size.
fn codec(
    description: &Description,
    channels: Channels,
    cookie: &[u8],
    packing: Option<Packing>,
) -> Result<(Codec, Option<Shape>), MediaError> {
    let Description {
        rate, flags, bits, ..
    } = *description;
    let count = description.channels;
    let plain = |kind, bits| pcm(kind, bits, rate, channels.clone());
    let known = |codec: AudioCodecId, extra: &[u8]| {
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(codec)
            .with_sample_rate(rate)
            .with_channels(channels.clone())
            .with_extra_data(extra.into());
        Codec::Known(parameters)
    };
    let whole = |(codec, shape)| (codec, Some(shape));
    let big = flags & 2 == 0;
    Ok(match &description.kind {
        b"lpcm" if flags & 1 != 0 => whole(plain(Pcm::Float { big }, bits)?),
        b"lpcm" => whole(plain(Pcm::Signed { big }, bits)?),
        b"ulaw" => whole(plain(Pcm::Law(id::CODEC_ID_PCM_MULAW), 8)?),
        b"alaw" => whole(plain(Pcm::Law(id::CODEC_ID_PCM_ALAW), 8)?),
        b"ima4" => {
            let shape = ima4(count);
            let codec = blocks(id::CODEC_ID_ADPCM_IMA_QT, rate, channels, shape.frames);
            (codec, Some(shape))
        }
        b"alac" => (known(id::CODEC_ID_ALAC, alac(cookie)), None),
        b"aac " => {
            let specific = specific(cookie).unwrap_or_default();
            (known(id::CODEC_ID_AAC, specific), None)
        }
        b"opus" => {
            let skip = packing.map_or(0, |packing| packing.skip.min(48_000));
            let plain = Head::plain(count.min(2) as u8, skip as u16);
            (Codec::Opus(Head::parse(cookie).unwrap_or(plain)), None)
        }
        kind => {
            let kind = String::from_utf8_lossy(kind).into_owned();
            return Err(MediaError::Unsupported(format!(
                "it is CAF of the kind {kind:?}"
            )));
        }
    })
}

/// ALAC's configuration, without the boxes in which older programs wrap it.
fn alac(cookie: &[u8]) -> &[u8] {
    let mut rest = cookie;
    if rest.get(4..8) == Some(b"frma") {
        rest = rest.get(12..).unwrap_or_default();
    }
    if rest.get(4..8) == Some(b"alac") {
        rest = rest.get(12..).unwrap_or_default();
    }
    rest
}

/// AAC's configuration from its descriptors (ISO 14496-1, 7.2.6).
fn specific(cookie: &[u8]) -> Option<&[u8]> {
    let mut rest = cookie;
    loop {
        let (tag, mut behind) = rest.split_first()?;
        let mut size = 0_usize;
        loop {
            let (byte, next) = behind.split_first()?;
            behind = next;
            size = (size & 0xFF_FFFF) << 7 | usize::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                break;
            }
        }
        rest = match tag {
            // Skip the fields of the stream and decoder descriptors.
            3 => behind.get(3..)?,
            4 => behind.get(13..)?,
            5 => return behind.get(..size),
            _ => behind.get(size..)?,
        };
    }
}
