//! Converts audio to mono OGG/Opus at 48 kHz.
//!
//! Packet by packet: [`packets`] reads the container, [`decode`] decodes, [`mix`] mixes to one channel,
//! [`resample`] resamples to 48 kHz, [`waveform`] measures loudness, and [`encode`] encodes. Packets of mono Opus
//! are copied into OGG ([`opus::Copy`]). Memory does not grow with the duration.

mod caf;
mod chunks;
mod decode;
mod encode;
mod gsm;
mod mix;
mod opus;
mod packets;
mod resample;
mod waveform;
mod webm;

use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use symphonia::core::errors::Error;

use super::sound::Sound;
use super::{MediaError, Spool, Spooled, guarded};
use decode::Decoder;
use encode::Encoder;
pub(super) use opus::{Copied, Copy};
use packets::Codec;
use resample::Resampler;
use waveform::Meter;

/// Samples per second of the output.
const RATE: u32 = 48_000;
/// The longest audio.
const MAX_MINUTES: u32 = 4 * 60;
/// The longest conversion: a board that is slower cannot convert four hours in a useful time.
const MAX_TIME: Duration = Duration::from_secs(30 * 60);

/// The result of a conversion.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) file: Spooled,
    /// Milliseconds.
    pub(super) length: u64,
    /// 64 values of 0 to 100.
    pub(super) waveform: Vec<u8>,
}

/// How an audio file is processed.
pub(super) enum Begun {
    /// Opus, whose packets can be copied if they are mono.
    Copy(Box<Copy>),
    Convert(Box<Conversion>),
}

/// Opens a file whose content begins at `start`.
///
/// # Errors
/// [`MediaError::Broken`] if it has no audio, [`MediaError::Unsupported`] for an unknown codec; I/O errors.
pub(super) fn begin(
    sound: Sound,
    start: u64,
    file: File,
    ptt: bool,
    spool: &Spool,
) -> Result<Begun, MediaError> {
    let source = packets::open(sound, start, file)?;
    Ok(match &source.codec {
        Codec::Opus(head) => {
            let samples = |(_, micros): (u64, u64)| {
                u64::try_from(u128::from(micros) * u128::from(RATE) / 1_000_000).ok()
            };
            let take = source.heard.and_then(samples).unwrap_or(u64::MAX);
            let head = head.clone();
            Begun::Copy(Box::new(Copy::begin(source.packets, &head, take, spool)?))
        }
        _ => Begun::Convert(Box::new(Conversion::of(source, ptt, spool)?)),
    })
}

/// A running conversion to OGG/Opus.
pub(super) struct Conversion {
    decoder: Decoder,
    encoder: Encoder,
    file: Spooled,
    meter: Meter,
    resampler: Option<Resampler>,
    sound: Vec<f32>,
    resampled: Vec<f32>,
    spent: Duration,
}

impl Conversion {
    /// # Errors
    /// As [`begin`].
    pub(super) fn begin(
        sound: Sound,
        start: u64,
        file: File,
        ptt: bool,
        spool: &Spool,
    ) -> Result<Conversion, MediaError> {
        Conversion::of(packets::open(sound, start, file)?, ptt, spool)
    }

    fn of(source: packets::Source, ptt: bool, spool: &Spool) -> Result<Conversion, MediaError> {
        let decoder = Decoder::new(source)?;
        let (file, to) = spool.create()?;
        Ok(Conversion {
            decoder,
            encoder: Encoder::new(to, ptt)?,
            file,
            meter: Meter::default(),
            resampler: None,
            sound: Vec::new(),
            resampled: Vec::new(),
            spent: Duration::ZERO,
        })
    }

    /// Converts until a deadline, or to the end; returns true at the end.
    ///
    /// # Errors
    /// As [`begin`], and [`MediaError::TooLong`].
    pub(super) fn step(&mut self, until: Option<Instant>) -> Result<bool, MediaError> {
        let began = Instant::now();
        loop {
            let has_more = self.packet()?;
            if self.encoder.samples() > u64::from(MAX_MINUTES) * 60 * u64::from(RATE) {
                return Err(MediaError::TooLong { limit: MAX_MINUTES });
            }
            if !has_more {
                return Ok(true);
            }
            let now = Instant::now();
            if self.spent + (now - began) > MAX_TIME {
                return Err(MediaError::Unsupported("it takes too long".to_owned()));
            }
            if until.is_some_and(|until| now >= until) {
                self.spent += now - began;
                return Ok(false);
            }
        }
    }

    /// Converts the next packet; `false` at the end.
    fn packet(&mut self) -> Result<bool, MediaError> {
        self.sound.clear();
        self.resampled.clear();
        let rate = self.decoder.next(&mut self.sound)?;
        // The rate changes within the file: flush the old resampler.
        if self
            .resampler
            .as_ref()
            .is_some_and(|now| Some(now.rate()) != rate)
            && let Some(ended) = self.resampler.take()
        {
            ended.finish(&mut self.resampled);
        }
        if let Some(rate) = rate {
            self.resampler
                .get_or_insert_with(|| Resampler::new(rate))
                .push(&self.sound, &mut self.resampled);
        }
        self.meter.push(&self.resampled);
        self.encoder.push(&self.resampled)?;
        Ok(rate.is_some())
    }

    /// The result, after the end.
    ///
    /// # Errors
    /// [`MediaError::Broken`] if there was no audio; I/O errors.
    pub(super) fn finish(self) -> Result<Converted, MediaError> {
        if self.encoder.samples() == 0 {
            return Err(MediaError::Broken("there is no sound in it".to_owned()));
        }
        let length = self.encoder.samples() * 1000 / u64::from(RATE);
        self.encoder.finish()?;
        Ok(Converted {
            file: self.file,
            length,
            waveform: self.meter.finish(),
        })
    }
}

/// Loudness needs no higher rate; half the CPU time of 48 kHz.
const LISTENING_RATE: i32 = 16_000;
/// The longest packet, in samples: 120 ms.
const LONGEST: usize = LISTENING_RATE as usize * 120 / 1000;

/// Computes the waveform of an OGG/Opus file.
pub(super) struct Listening {
    /// `None` if its packets cannot be decoded; the file is sent nevertheless.
    ear: Option<Ear>,
}

struct Ear {
    reader: opus_pure::OggOpusReader<BufReader<File>>,
    decoder: opus_pure::OpusDecoder,
    packet: opus_pure::OggPacket,
    sound: Vec<f32>,
    meter: Meter,
}

impl Listening {
    /// # Errors
    /// I/O errors.
    pub(super) fn begin(mut source: File) -> Result<Listening, MediaError> {
        source.seek(SeekFrom::Start(0))?;
        let ear = guarded(|| {
            let reader =
                opus_pure::OggOpusReader::new(BufReader::new(source)).map_err(opus_error)?;
            // Several streams per packet are surround sound, which is no voice note.
            if reader.head().stream_count > 1 {
                return Ok(None);
            }
            Ok(Some(Ear {
                reader,
                decoder: opus_pure::OpusDecoder::new(LISTENING_RATE, 1).map_err(opus_error)?,
                packet: opus_pure::OggPacket::default(),
                sound: vec![0.0; LONGEST],
                meter: Meter::default(),
            }))
        });
        Ok(Listening {
            ear: or_nothing(ear)?.flatten(),
        })
    }

    /// Decodes until a deadline, or to the end; returns true at the end.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn step(&mut self, until: Option<Instant>) -> Result<bool, MediaError> {
        let Some(ear) = &mut self.ear else {
            return Ok(true);
        };
        let ended = or_nothing(guarded(|| ear.listen(until)))?;
        if ended.is_none() {
            self.ear = None;
        }
        Ok(ended.unwrap_or(true))
    }

    /// 64 values of 0 to 100.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        self.ear.map(|ear| ear.meter.finish())
    }
}

impl Ear {
    fn listen(&mut self, until: Option<Instant>) -> Result<bool, MediaError> {
        while self
            .reader
            .read_packet_into(&mut self.packet)
            .map_err(opus_error)?
        {
            let count = self
                .decoder
                .decode(&self.packet.data, LONGEST, &mut self.sound)
                .map_err(opus_error)?;
            self.meter.push(self.sound.get(..count).unwrap_or_default());
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Turns errors of the file into `None`; I/O errors remain.
fn or_nothing<T>(result: Result<T, MediaError>) -> Result<Option<T>, MediaError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MediaError::Io(error)) => Err(MediaError::Io(error)),
        Err(_) => Ok(None),
    }
}

fn opus_error(error: opus_pure::Error) -> MediaError {
    match error {
        opus_pure::Error::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            MediaError::Io(error)
        }
        error => MediaError::Broken(error.to_string()),
    }
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
