//! Conversion to what WhatsApp plays: mono OGG/Opus at 48 kHz.
//!
//! Packet by packet: [`decode`] reads one, mixes it down, [`resample`] brings it to 48 kHz, [`waveform`]
//! looks at it and [`encode`] writes it. Nothing grows with the length of the sound.

mod decode;
mod encode;
mod resample;
mod waveform;

use std::fs::File;
use std::io::{self, BufReader, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use super::content::Content;
use super::{MediaError, Spool, Spooled, guarded};
use decode::Decoder;
use encode::Encoder;
use resample::Resampler;
use waveform::Meter;

/// Samples a second of what goes out.
const RATE: u32 = 48_000;
/// The longest sound.
const MAX_MINUTES: u32 = 4 * 60;
/// The longest conversion: a board that takes longer for four hours is better left in peace.
const MAX_TIME: Duration = Duration::from_secs(30 * 60);

/// What came of a conversion.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) file: Spooled,
    /// Milliseconds.
    pub(super) length: u64,
    /// 64 values of 0 to 100.
    pub(super) waveform: Vec<u8>,
}

/// Converts the sound of a file whose content begins at `start`.
///
/// # Errors
/// [`MediaError::Broken`] if there is no sound in it, [`MediaError::Unsupported`] if it is of a kind
/// that is not decoded, [`MediaError::TooLong`]; what the disk says.
pub(super) fn convert(
    content: Content,
    start: u64,
    source: File,
    ptt: bool,
    spool: &Spool,
) -> Result<Converted, MediaError> {
    let mut decoder = Decoder::open(content, start, source)?;
    let (file, to) = spool.create()?;
    let mut encoder = Encoder::new(to, ptt)?;
    let mut meter = Meter::default();
    let mut resampler: Option<Resampler> = None;
    let mut sound = Vec::new();
    let mut resampled = Vec::new();
    let began = Instant::now();
    loop {
        sound.clear();
        resampled.clear();
        let rate = decoder.next(&mut sound)?;
        // A change of rate within a file ends what was at the other.
        if resampler
            .as_ref()
            .is_some_and(|now| Some(now.rate()) != rate)
            && let Some(ended) = resampler.take()
        {
            ended.finish(&mut resampled);
        }
        if let Some(rate) = rate {
            resampler
                .get_or_insert_with(|| Resampler::new(rate))
                .push(&sound, &mut resampled);
        }
        meter.push(&resampled);
        encoder.push(&resampled)?;
        if encoder.samples() > u64::from(MAX_MINUTES) * 60 * u64::from(RATE) {
            return Err(MediaError::TooLong { limit: MAX_MINUTES });
        }
        if began.elapsed() > MAX_TIME {
            return Err(MediaError::Unsupported("it takes too long".to_owned()));
        }
        if rate.is_none() {
            break;
        }
    }
    if encoder.samples() == 0 {
        return Err(MediaError::Broken("there is no sound in it".to_owned()));
    }
    let length = encoder.samples() * 1000 / u64::from(RATE);
    encoder.finish()?;
    Ok(Converted {
        file,
        length,
        waveform: meter.finish(),
    })
}

/// The waveform of an OGG/Opus file: 64 values of 0 to 100. `None` if its packets cannot be decoded;
/// they are sent all the same.
///
/// # Errors
/// What the disk says.
pub(super) fn waveform(mut source: File) -> Result<Option<Vec<u8>>, MediaError> {
    /// Loudness needs no more; half the work of 48 kHz.
    const RATE: i32 = 16_000;

    source.seek(SeekFrom::Start(0))?;
    let measured = guarded(|| {
        let mut reader =
            opus_pure::OggOpusReader::new(BufReader::new(source)).map_err(opus_error)?;
        // Several streams in a packet are surround sound, which no voice note is.
        if reader.head().stream_count > 1 {
            return Ok(None);
        }
        let mut decoder = opus_pure::OpusDecoder::new(RATE, 1).map_err(opus_error)?;
        let longest = RATE as usize * 120 / 1000;
        let mut sound = vec![0.0; longest];
        let mut packet = opus_pure::OggPacket::default();
        let mut meter = Meter::default();
        while reader.read_packet_into(&mut packet).map_err(opus_error)? {
            let count = decoder
                .decode(&packet.data, longest, &mut sound)
                .map_err(opus_error)?;
            meter.push(sound.get(..count).unwrap_or_default());
        }
        Ok(Some(meter.finish()))
    });
    match measured {
        Err(MediaError::Io(error)) => Err(MediaError::Io(error)),
        Err(_) => Ok(None),
        measured => measured,
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
