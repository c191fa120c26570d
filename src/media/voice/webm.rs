//! Reads the first audio track of WebM and Matroska files (RFC 9559; elements: RFC 8794), also as browsers record
//! them: elements of unknown length, no index.
//!
//! Elements are read in sequence. Container elements are entered without regard to their length. Memory is bounded
//! by the longest packet.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known as id;

use super::super::MediaError;
use super::opus::Head;
use super::packets::{Codec, Packet, Packets, packet, positions};

/// The longest block, in bytes.
const MAX_BLOCK: u64 = 1024 * 1024;
/// The longest private data of a codec, in bytes: Vorbis has its code books there.
const MAX_PRIVATE: u64 = 256 * 1024;
/// Samples per second of Opus.
const OPUS_RATE: u64 = 48_000;

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK: u32 = 0xAE;
const NUMBER: u32 = 0xD7;
const TYPE: u32 = 0x83;
const CODEC: u32 = 0x86;
const PRIVATE: u32 = 0x63A2;
const DELAY: u32 = 0x56AA;
const AUDIO: u32 = 0xE1;
const FREQUENCY: u32 = 0xB5;
const CHANNELS: u32 = 0x9F;
const DEPTH: u32 = 0x6264;
const ENCODINGS: u32 = 0x6D80;
const ENCODING: u32 = 0x6240;
const COMPRESSION: u32 = 0x5034;
const ALGORITHM: u32 = 0x4254;
const SETTINGS: u32 = 0x4255;
const ENCRYPTION: u32 = 0x5035;
const CLUSTER: u32 = 0x1F43_B675;
const GROUP: u32 = 0xA0;
const SIMPLE_BLOCK: u32 = 0xA3;
const BLOCK: u32 = 0xA1;
const DISCARD: u32 = 0x75A2;

/// The description of a track.
#[derive(Debug, Default)]
struct Track {
    number: u64,
    is_sound: bool,
    codec: Vec<u8>,
    private: Vec<u8>,
    /// Nanoseconds.
    delay: u64,
    rate: f64,
    channels: u64,
    depth: u64,
    /// Bytes stripped from the beginning of each packet.
    stripped: Vec<u8>,
    /// Encrypted or compressed: it cannot be read.
    closed: bool,
}

/// The header of an element.
struct Element {
    id: u32,
    /// `None`: unknown.
    size: Option<u64>,
}

/// Reads a file.
pub(super) struct Reader {
    source: BufReader<File>,
    track: Track,
    ready: VecDeque<Packet>,
    /// Packets of the last block, held back: an element after it may shorten the last one.
    last: VecDeque<Packet>,
    ended: bool,
}

impl Reader {
    /// Reads up to the first block.
    pub(super) fn open(mut file: File) -> Result<(Reader, Codec), MediaError> {
        file.seek(SeekFrom::Start(0))?;
        let mut reader = Reader {
            source: BufReader::with_capacity(16 * 1024, file),
            track: Track::default(),
            ready: VecDeque::new(),
            last: VecDeque::new(),
            ended: false,
        };
        // Blocks before the tracks are skipped.
        reader.look()?;
        let codec = reader.track.codec()?;
        Ok((reader, codec))
    }

    /// Reads until a packet is ready, or to the end.
    fn look(&mut self) -> Result<(), MediaError> {
        let mut now = Track::default();
        while !self.ended && self.ready.is_empty() {
            let Some(element) = self.head()? else {
                self.ended = true;
                break;
            };
            if element.id != DISCARD {
                self.ready.append(&mut self.last);
            }
            match element.id {
                SEGMENT | TRACKS | CLUSTER | GROUP | AUDIO | ENCODINGS | ENCODING | COMPRESSION => {
                }
                TRACK => {
                    self.choose(&mut now);
                    now.channels = 1;
                    now.rate = 8_000.0;
                }
                NUMBER => now.number = self.unsigned(&element)?,
                TYPE => now.is_sound = self.unsigned(&element)? == 2,
                CODEC => now.codec = self.bytes(&element, 64)?,
                PRIVATE => now.private = self.bytes(&element, MAX_PRIVATE)?,
                DELAY => now.delay = self.unsigned(&element)?,
                FREQUENCY => now.rate = self.float(&element)?,
                CHANNELS => now.channels = self.unsigned(&element)?,
                DEPTH => now.depth = self.unsigned(&element)?,
                // 3 is header stripping; the others are compression.
                ALGORITHM => now.closed = self.unsigned(&element)? != 3,
                SETTINGS => now.stripped = self.bytes(&element, 256)?,
                ENCRYPTION => {
                    now.closed = true;
                    self.skip(&element)?;
                }
                SIMPLE_BLOCK | BLOCK => {
                    self.choose(&mut now);
                    let block = self.bytes(&element, MAX_BLOCK)?;
                    self.block(&block);
                }
                DISCARD => {
                    let bytes = self.bytes(&element, 8)?;
                    self.discard(&bytes);
                }
                _ => self.skip(&element)?,
            }
        }
        if self.ended {
            self.ready.append(&mut self.last);
        }
        self.choose(&mut now);
        Ok(())
    }

    /// Selects the described track, if it is the first audio track.
    fn choose(&mut self, now: &mut Track) {
        let track = std::mem::take(now);
        if track.is_sound && !self.track.is_sound {
            self.track = track;
        }
    }

    fn block(&mut self, block: &[u8]) {
        let Some((number, rest)) = number(block) else {
            return;
        };
        // After the track number: two bytes of time, and flags.
        let (true, [_, _, flags, data @ ..]) =
            (self.track.is_sound && number == self.track.number, rest)
        else {
            return;
        };
        for frame in laced(*flags, data).unwrap_or_default() {
            let data = [&self.track.stripped, frame].concat();
            self.last.push_back(packet(data, 0));
        }
    }

    /// Shortens the last packet by a number of nanoseconds.
    fn discard(&mut self, bytes: &[u8]) {
        let unsigned = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let is_positive = bytes.first().is_some_and(|byte| byte & 0x80 == 0);
        if is_positive && let Some(last) = self.last.back_mut() {
            last.trim_end = (unsigned.saturating_mul(OPUS_RATE) / 1_000_000_000).into();
        }
    }

    fn head(&mut self) -> io::Result<Option<Element>> {
        let Some((id, _)) = self.vint(4)? else {
            return Ok(None);
        };
        let Some((size, length)) = self.vint(8)? else {
            return Ok(None);
        };
        // Without the length marker; all ones mean "unknown".
        let mask = (1_u64 << (7 * length)) - 1;
        let size = size & mask;
        Ok(Some(Element {
            id: id as u32,
            size: (size != mask).then_some(size),
        }))
    }

    /// A variable-length number with its length marker, and its length; `None` at the end or if malformed.
    fn vint(&mut self, longest: u32) -> io::Result<Option<(u64, u32)>> {
        let mut byte = [0];
        if self.source.read(&mut byte)? == 0 {
            return Ok(None);
        }
        let length = byte[0].leading_zeros() + 1;
        if length > longest {
            return Ok(None);
        }
        let mut value = u64::from(byte[0]);
        for _ in 1..length {
            if self.source.read(&mut byte)? == 0 {
                return Ok(None);
            }
            value = value << 8 | u64::from(byte[0]);
        }
        Ok(Some((value, length)))
    }

    /// The content of an element; empty if it is longer than `most`.
    fn bytes(&mut self, element: &Element, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match element.size {
            Some(size) if size <= most => {
                (&mut self.source).take(size).read_to_end(&mut bytes)?;
                // An incomplete packet is dropped.
                if (bytes.len() as u64) < size {
                    self.ended = true;
                    bytes.clear();
                }
            }
            _ => self.skip(element)?,
        }
        Ok(bytes)
    }

    fn unsigned(&mut self, element: &Element) -> io::Result<u64> {
        let bytes = self.bytes(element, 8)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn float(&mut self, element: &Element) -> io::Result<f64> {
        Ok(match *self.bytes(element, 8)? {
            [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => 0.0,
        })
    }

    /// Skips an element; enters one of unknown length.
    fn skip(&mut self, element: &Element) -> io::Result<()> {
        if let Some(size) = element.size {
            let by = i64::try_from(size).unwrap_or(i64::MAX);
            // Beyond the end: the next read finds it.
            if self.source.seek_relative(by).is_err() {
                self.ended = true;
            }
        }
        Ok(())
    }
}

impl Packets for Reader {
    fn next(&mut self) -> Result<Option<Packet>, MediaError> {
        self.look()?;
        Ok(self.ready.pop_front())
    }
}

/// A variable-length number, and the bytes after it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.first()?.leading_zeros() + 1;
    let (number, rest) = bytes.split_at_checked(length as usize)?;
    let value = number
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some((value & ((1_u64 << (7 * length)) - 1), rest))
}

/// The packets in a block: one, or several in one of three lacings.
fn laced(flags: u8, data: &[u8]) -> Option<Vec<&[u8]>> {
    let way = flags >> 1 & 3;
    if way == 0 {
        return Some(vec![data]);
    }
    let (count, mut rest) = data.split_first()?;
    let count = usize::from(*count);
    let mut sizes = Vec::with_capacity(count);
    match way {
        1 => {
            for _ in 0..count {
                let mut size = 0;
                loop {
                    let (byte, behind) = rest.split_first()?;
                    rest = behind;
                    size += usize::from(*byte);
                    if *byte != 255 {
                        break;
                    }
                }
                sizes.push(size);
            }
        }
        2 => sizes.resize(count, rest.len() / (count + 1)),
        _ => {
            let mut size = 0_i64;
            for n in 0..count {
                let before = rest.len();
                let (value, behind) = number(rest)?;
                rest = behind;
                let value = i64::try_from(value).ok()?;
                let length = before - rest.len();
                // The first size is absolute, the others are signed differences.
                size = match n {
                    0 => value,
                    _ => size + value - ((1_i64 << (7 * length - 1)) - 1),
                };
                sizes.push(usize::try_from(size).ok()?);
            }
        }
    }
    let mut packets = Vec::with_capacity(count + 1);
    for size in sizes {
        let (packet, behind) = rest.split_at_checked(size)?;
        packets.push(packet);
        rest = behind;
    }
    packets.push(rest);
    Some(packets)
}

impl Track {
    fn codec(&self) -> Result<Codec, MediaError> {
        let broken = || MediaError::Broken("there is no sound in it".to_owned());
        if !self.is_sound {
            return Err(broken());
        }
        let name = String::from_utf8_lossy(&self.codec);
        let name = name.trim_end_matches('\0');
        let unknown = || MediaError::Unsupported(format!("its sound is {name}"));
        if self.closed {
            return Err(MediaError::Unsupported(
                "it is encrypted or packed".to_owned(),
            ));
        }
        let channels = u32::try_from(self.channels).ok().and_then(positions);
        let mut parameters = AudioCodecParameters::new();
        parameters
            .with_sample_rate(self.rate as u32)
            .with_channels(channels.ok_or_else(unknown)?);
        let codec = match (name, self.depth) {
            ("A_OPUS", _) => {
                let delay = self.delay.saturating_mul(OPUS_RATE) / 1_000_000_000;
                let plain = Head::plain(self.channels.min(2) as u8, delay.min(48_000) as u16);
                return Ok(Codec::Opus(Head::parse(&self.private).unwrap_or(plain)));
            }
            ("A_VORBIS", _) => {
                // Vorbis has three headers; the decoder takes the first and the last.
                let [first, _, last] = laced(2, &self.private)
                    .ok_or_else(broken)?
                    .try_into()
                    .map_err(|_| broken())?;
                parameters.with_extra_data([first, last].concat().into());
                id::CODEC_ID_VORBIS
            }
            ("A_FLAC", _) => {
                let stream = self.private.get(8..42).ok_or_else(broken)?;
                parameters.with_extra_data(stream.into());
                id::CODEC_ID_FLAC
            }
            ("A_ALAC", _) => {
                parameters.with_extra_data(self.private.as_slice().into());
                id::CODEC_ID_ALAC
            }
            ("A_MPEG/L3", _) => id::CODEC_ID_MP3,
            ("A_MPEG/L2", _) => id::CODEC_ID_MP2,
            ("A_PCM/INT/LIT", 8) => id::CODEC_ID_PCM_U8,
            ("A_PCM/INT/LIT", 16) => id::CODEC_ID_PCM_S16LE,
            ("A_PCM/INT/LIT", 24) => id::CODEC_ID_PCM_S24LE,
            ("A_PCM/INT/LIT", 32) => id::CODEC_ID_PCM_S32LE,
            ("A_PCM/INT/BIG", 16) => id::CODEC_ID_PCM_S16BE,
            ("A_PCM/INT/BIG", 24) => id::CODEC_ID_PCM_S24BE,
            ("A_PCM/FLOAT/IEEE", 32) => id::CODEC_ID_PCM_F32LE,
            ("A_PCM/FLOAT/IEEE", 64) => id::CODEC_ID_PCM_F64LE,
            _ if name.starts_with("A_AAC") && !self.private.is_empty() => {
                parameters.with_extra_data(self.private.as_slice().into());
                id::CODEC_ID_AAC
            }
            _ => return Err(unknown()),
        };
        parameters.for_codec(codec);
        Ok(Codec::Known(parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laced_blocks_are_split() {
        let none: Option<Vec<&[u8]>> = None;
        assert_eq!(laced(0x80, b"abc"), Some(vec![&b"abc"[..]]));
        // Xiph's, equal ones, and EBML's: 2, then one more than that, then the rest.
        assert_eq!(
            laced(2, b"\x02\x01\x02abbccc"),
            Some(vec![&b"a"[..], b"bb", b"ccc"])
        );
        assert_eq!(
            laced(4, b"\x02aabbcc"),
            Some(vec![&b"aa"[..], b"bb", b"cc"])
        );
        assert_eq!(
            laced(6, b"\x02\x82\xC0aabbbc"),
            Some(vec![&b"aa"[..], b"bbb", b"c"])
        );
        for (way, data) in [
            (2, &b""[..]),
            (2, b"\x01\xFF"),
            (2, b"\x01\x09a"),
            (6, b"\x01\x90a"),
            (6, b"\x02\x81\x80aa"),
            (6, b"\x01\x00"),
        ] {
            assert_eq!(laced(way, data), none, "{way} {data:?}");
        }
        assert_eq!(number(b"\x40\x02rest"), Some((2, &b"rest"[..])));
        assert_eq!(number(b"\x00\x02rest"), None);
    }
}
