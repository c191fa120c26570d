//! Demultiplexes files of all containers into packets.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{
    MediaSource, MediaSourceStream, MediaSourceStreamOptions, ReadBytes as _, ReadOnlySource,
    SeekBuffered as _,
};
pub(super) use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::formats::{AdtsReader, FlacReader, IsoMp4Reader, MpaReader, OggReader};

use super::super::content::Ogg;
use super::super::sound::Sound;
use super::super::{MediaError, iso};
use super::opus::{self, Head};
use super::{caf, chunks, explain, webm};

/// The largest index of an MP4 file, in bytes, which its reader keeps in memory: some hours, or a large cover.
const MAX_INDEX: u64 = 8 * 1024 * 1024;

/// The packets of one track.
pub(super) trait Packets: Send {
    /// The next packet; `None` at the end, also of a truncated file.
    fn next(&mut self) -> Result<Option<Packet>, MediaError>;
}

/// The codec of the packets.
pub(super) enum Codec {
    Known(AudioCodecParameters),
    Opus(Head),
    /// GSM 06.10 at a rate in Hz.
    Gsm(u32),
}

/// An opened file.
pub(super) struct Source {
    pub(super) packets: Box<dyn Packets>,
    pub(super) codec: Codec,
    /// The file's edit, if any: microseconds to skip, and to play.
    pub(super) heard: Option<(u64, u64)>,
}

/// A packet with a duration in samples.
pub(super) fn packet(data: Vec<u8>, frames: u64) -> Packet {
    Packet::new(0, Timestamp::new(0), Duration::from(frames), data)
}

/// The usual positions of `count` channels; `None` for 0 and too many.
pub(super) fn positions(count: u32) -> Option<Channels> {
    match count {
        0 => None,
        1 => Some(Channels::Positioned(Position::FRONT_CENTER)),
        _ => Position::from_wave_channel_count(count)
            .map(Channels::Positioned)
            .or_else(|| (count <= 32).then_some(Channels::Discrete(count as u16))),
    }
}

/// Opens the first audio track of a file whose content begins at `start`.
pub(super) fn open(sound: Sound, start: u64, file: File) -> Result<Source, MediaError> {
    fn own<P: Packets + 'static>((packets, codec): (P, Codec)) -> Source {
        Source {
            packets: Box::new(packets),
            codec,
            heard: None,
        }
    }

    match sound {
        Sound::Wav => chunks::wav(file),
        Sound::Aiff => chunks::aiff(file).map(own),
        Sound::Au => chunks::au(file).map(own),
        Sound::Gsm => chunks::gsm(file).map(own),
        Sound::Caf => caf::open(file),
        Sound::WebM => webm::Reader::open(file).map(own),
        Sound::Ogg(Ogg::Opus) => {
            let (packets, head) = opus::Ogg::open(file)?;
            Ok(own((packets, Codec::Opus(head))))
        }
        Sound::Iso => {
            let heard = sound_of(&file)?.heard;
            Ok(Source {
                heard,
                ..demultiplexed(reader(sound, start, file)?)?
            })
        }
        Sound::Mpeg | Sound::Adts | Sound::Flac | Sound::Ogg(_) => {
            demultiplexed(reader(sound, start, file)?)
        }
    }
}

/// MPEG audio that begins at `start` of a file.
pub(super) fn mpeg(start: u64, file: File) -> Result<Source, MediaError> {
    demultiplexed(reader(Sound::Mpeg, start, file)?)
}

fn demultiplexed(reader: Box<dyn FormatReader>) -> Result<Source, MediaError> {
    let no_sound = || MediaError::Broken("there is no sound in it".to_owned());
    let track = reader
        .default_track(TrackType::Audio)
        .ok_or_else(no_sound)?;
    let parameters = track
        .codec_params
        .as_ref()
        .and_then(|parameters| parameters.audio())
        .ok_or_else(no_sound)?;
    let codec = match &parameters.extra_data {
        Some(head) if parameters.codec == CODEC_ID_OPUS => {
            Codec::Opus(mp4_head(head).ok_or_else(no_sound)?)
        }
        _ => Codec::Known(parameters.clone()),
    };
    let track = track.id;
    Ok(Source {
        packets: Box::new(Demultiplexed { reader, track }),
        codec,
        heard: None,
    })
}

/// The Opus header in MP4, which is big-endian (Encapsulation of Opus in ISO Base Media File Format, 4.3.2).
fn mp4_head(head: &[u8]) -> Option<Head> {
    let mut head = head.to_vec();
    let fields = head.get_mut(10..18)?;
    fields[..2].reverse();
    fields[2..6].reverse();
    fields[6..8].reverse();
    Head::parse(&head)
}

struct Demultiplexed {
    reader: Box<dyn FormatReader>,
    track: u32,
}

impl Packets for Demultiplexed {
    fn next(&mut self) -> Result<Option<Packet>, MediaError> {
        loop {
            return match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id != self.track => continue,
                Ok(packet) => Ok(packet),
                Err(Error::ResetRequired | Error::DecodeError(_)) => Ok(None),
                Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Ok(None)
                }
                Err(error) => Err(explain(error)),
            };
        }
    }
}

/// Reads an MP4 file with audio.
fn sound_of(file: &File) -> Result<iso::Film, MediaError> {
    let film = iso::read(file)?;
    if !film.has_sound {
        return Err(MediaError::Broken("there is no sound in it".to_owned()));
    }
    if film.index > MAX_INDEX {
        return Err(MediaError::Unsupported("its index is too large".to_owned()));
    }
    Ok(film)
}

/// The demultiplexer of the detected format.
fn reader(sound: Sound, start: u64, mut file: File) -> Result<Box<dyn FormatReader>, MediaError> {
    let options = FormatOptions::default();
    let stream = |source: Box<dyn MediaSource>| {
        MediaSourceStream::new(source, MediaSourceStreamOptions::default())
    };
    file.seek(SeekFrom::Start(start))?;
    Ok(match sound {
        Sound::Adts => Box::new(
            AdtsReader::try_new(stream(Box::new(Section { file, start })), options)
                .map_err(explain)?,
        ),
        Sound::Flac => {
            Box::new(FlacReader::try_new(stream(bare_flac(file)?), options).map_err(explain)?)
        }
        Sound::Ogg(_) => {
            Box::new(OggReader::try_new(stream(Box::new(file)), options).map_err(explain)?)
        }
        Sound::Iso => {
            let mut stream = stream(Box::new(file));
            // The reader expects a position after the first box's size.
            stream.read_quad_bytes()?;
            stream.ensure_seekback_buffer(4);
            Box::new(IsoMp4Reader::try_new(stream, options).map_err(explain)?)
        }
        _ => Box::new(
            MpaReader::try_new(stream(Box::new(Section { file, start })), options)
                .map_err(explain)?,
        ),
    })
}

/// A file from `start` on.
struct Section {
    file: File,
    start: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(at.saturating_add(self.start)),
            to => to,
        };
        self.file
            .seek(to)?
            .checked_sub(self.start)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "in front of the beginning"))
    }
}

impl MediaSource for Section {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        let length = self.file.metadata().ok()?.len();
        length.checked_sub(self.start)
    }
}

/// A FLAC file reduced to stream information and frames (RFC 9639, 8): the reader would keep covers, of up to
/// 16 MB each, in memory.
fn bare_flac(mut file: File) -> Result<Box<dyn MediaSource>, MediaError> {
    /// The most metadata blocks; files have some five.
    const BLOCKS: u32 = 1000;

    let broken = |_| MediaError::Broken("its head is cut off".to_owned());
    let mut head = vec![0; 4 + 4 + 34];
    file.read_exact(&mut head).map_err(broken)?;
    if head[4] & 0x7F != 0 || head[5..8] != [0, 0, 34] {
        return Err(MediaError::Broken(
            "it says nothing of its sound".to_owned(),
        ));
    }
    let mut last = head[4] & 0x80 != 0;
    for _ in 0..BLOCKS {
        if last {
            break;
        }
        let mut block = [0; 4];
        file.read_exact(&mut block).map_err(broken)?;
        last = block[0] & 0x80 != 0;
        let length = u32::from_be_bytes([0, block[1], block[2], block[3]]);
        file.seek(SeekFrom::Current(i64::from(length)))?;
    }
    head[4] = 0x80;
    Ok(Box::new(ReadOnlySource::new(Cursor::new(head).chain(file))))
}
