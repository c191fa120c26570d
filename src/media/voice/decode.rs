//! Reading sound out of files, mixed down to one channel.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{
    MediaSource, MediaSourceStream, ReadBytes as _, ReadOnlySource, SeekBuffered as _,
};
use symphonia::default::formats::{
    AdtsReader, FlacReader, IsoMp4Reader, MpaReader, OggReader, WavReader,
};

use super::super::content::Content;
use super::super::{MediaError, iso};

/// Rates that sound has.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=400_000;
/// The index of an MP4 file, which its reader keeps: some hours, or a large cover.
const MAX_INDEX: u64 = 8 * 1024 * 1024;

/// Sound out of a file, in turn.
pub(super) struct Decoder {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    interleaved: Vec<f32>,
    /// Milliseconds to leave out at the start and to take then, if the file says so.
    heard: Option<(u64, u64)>,
    /// Samples seen.
    seen: u64,
}

impl Decoder {
    /// Opens the first track of sound of a file whose content begins at `start`.
    pub(super) fn open(content: Content, start: u64, file: File) -> Result<Decoder, MediaError> {
        let mut heard = None;
        if let Content::Iso(_) = content {
            heard = sound_of(&file)?.heard;
        }
        let reader = reader(content, start, file)?;
        let no_sound = || MediaError::Broken("there is no sound in it".to_owned());
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or_else(no_sound)?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or_else(no_sound)?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(explain)?;
        Ok(Decoder {
            track: track.id,
            decoder,
            reader,
            interleaved: Vec::new(),
            heard,
            seen: 0,
        })
    }

    /// Appends the next piece of sound, and says its rate; `None` at the end.
    ///
    /// Packets that cannot be decoded are left out, as players do; a file that is cut off ends there.
    pub(super) fn next(&mut self, sound: &mut Vec<f32>) -> Result<Option<u32>, MediaError> {
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) | Err(Error::ResetRequired | Error::DecodeError(_)) => return Ok(None),
                Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                Err(error) => return Err(explain(error)),
            };
            if packet.track_id != self.track {
                continue;
            }
            let buffer = match self.decoder.decode(&packet) {
                Ok(buffer) => buffer,
                Err(Error::DecodeError(_)) => continue,
                Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    continue;
                }
                Err(error) => return Err(explain(error)),
            };
            let rate = buffer.spec().rate();
            let channels = buffer.spec().channels().count();
            if buffer.is_empty() || channels == 0 {
                continue;
            }
            if !RATES.contains(&rate) {
                return Err(MediaError::Unsupported(format!(
                    "it has {rate} samples a second"
                )));
            }
            buffer.copy_to_vec_interleaved(&mut self.interleaved);
            let share = 1.0 / channels as f32;
            let frames = self.interleaved.len() / channels;
            let inside = self.inside(frames as u64, rate);
            let samples = self.interleaved.chunks_exact(channels);
            sound.extend(
                samples
                    .skip(inside.start)
                    .take(inside.len())
                    .map(|samples| {
                        let mixed = samples.iter().sum::<f32>() * share;
                        // Files of floating point can hold anything.
                        if mixed.is_finite() {
                            mixed.clamp(-1.0, 1.0)
                        } else {
                            0.0
                        }
                    }),
            );
            return Ok(Some(rate));
        }
    }

    /// Which of the next samples are to be heard.
    fn inside(&mut self, frames: u64, rate: u32) -> std::ops::Range<usize> {
        let first = self.seen;
        self.seen += frames;
        let Some((skip, take)) = self.heard else {
            return 0..frames as usize;
        };
        let samples = |milliseconds: u64| milliseconds.saturating_mul(u64::from(rate)) / 1000;
        let at = |sample: u64| sample.saturating_sub(first).min(frames) as usize;
        let from = samples(skip);
        at(from)..at(from.saturating_add(samples(take)))
    }
}

/// The head of an MP4 file with sound.
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

/// The demultiplexer for what the file was found to be: nothing is guessed a second time.
fn reader(
    content: Content,
    start: u64,
    mut file: File,
) -> Result<Box<dyn FormatReader>, MediaError> {
    let options = FormatOptions::default();
    let stream = |source: Box<dyn MediaSource>| {
        MediaSourceStream::new(
            source,
            symphonia::core::io::MediaSourceStreamOptions::default(),
        )
    };
    file.seek(SeekFrom::Start(start))?;
    Ok(match content {
        Content::Mp3 => Box::new(
            MpaReader::try_new(stream(Box::new(Section { file, start })), options)
                .map_err(explain)?,
        ),
        Content::Adts => Box::new(
            AdtsReader::try_new(stream(Box::new(Section { file, start })), options)
                .map_err(explain)?,
        ),
        Content::Flac => {
            Box::new(FlacReader::try_new(stream(bare_flac(file)?), options).map_err(explain)?)
        }
        Content::Wav => {
            Box::new(WavReader::try_new(stream(Box::new(file)), options).map_err(explain)?)
        }
        Content::Ogg(_) => {
            Box::new(OggReader::try_new(stream(Box::new(file)), options).map_err(explain)?)
        }
        Content::Iso(_) => {
            let mut stream = stream(Box::new(file));
            // The reader expects to stand behind the size of the first box.
            stream.read_quad_bytes()?;
            stream.ensure_seekback_buffer(4);
            Box::new(IsoMp4Reader::try_new(stream, options).map_err(explain)?)
        }
        _ => return Err(MediaError::Unsupported(format!("it is {}", content.name()))),
    })
}

fn explain(error: Error) -> MediaError {
    match error {
        Error::IoError(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            MediaError::Io(error)
        }
        Error::Unsupported(what) => MediaError::Unsupported(what.to_owned()),
        error => MediaError::Broken(error.to_string()),
    }
}

/// A file without what is in front of `start`.
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

/// A FLAC file with its stream information and frames only (RFC 9639, 8): its reader would keep the
/// covers, of 16 MB each.
fn bare_flac(mut file: File) -> Result<Box<dyn MediaSource>, MediaError> {
    /// Metadata blocks looked at; files have some five.
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
