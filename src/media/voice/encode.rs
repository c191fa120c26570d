//! Encodes OGG/Opus (RFC 6716, RFC 7845).

use std::fs::File;
use std::io::{BufWriter, Write as _};

use opus_pure::{Application, MAX_PACKET_BYTES, OggOpusWriter, OpusEncoder, OpusHead, RateControl};

use super::super::MediaError;
use super::{RATE, opus_error};

/// Samples of 20 ms, as in WhatsApp's clients.
const FRAME: usize = RATE as usize / 50;
/// Bits per second. WhatsApp's clients use 16 kbit/s for speech; music needs more.
const VOICE_BITS: i32 = 32_000;
const MUSIC_BITS: i32 = 64_000;
/// 0 to 10: two thirds of the CPU time of 10, with hardly an audible difference.
const COMPLEXITY: i32 = 5;

/// Writes an OGG/Opus file.
pub(super) struct Encoder {
    encoder: OpusEncoder,
    writer: OggOpusWriter<BufWriter<File>>,
    /// Samples of an incomplete frame.
    waiting: Vec<f32>,
    packet: Vec<u8>,
    /// The encoder's delay in samples, which players skip.
    skip: u64,
    samples: u64,
}

impl Encoder {
    pub(super) fn new(to: File, ptt: bool) -> Result<Encoder, MediaError> {
        let application = if ptt {
            Application::Voip
        } else {
            Application::Audio
        };
        let mut encoder = OpusEncoder::new(RATE as i32, 1, application).map_err(opus_error)?;
        encoder.bitrate_bps = if ptt { VOICE_BITS } else { MUSIC_BITS };
        encoder.complexity = COMPLEXITY;
        encoder.rate_control = RateControl::Vbr;
        let head = OpusHead::for_encoder(&encoder, RATE);
        let skip = u64::from(head.pre_skip);
        let writer = OggOpusWriter::new(BufWriter::with_capacity(16 * 1024, to), head)
            .map_err(opus_error)?;
        Ok(Encoder {
            encoder,
            writer,
            waiting: Vec::with_capacity(FRAME),
            packet: vec![0; MAX_PACKET_BYTES],
            skip,
            samples: 0,
        })
    }

    /// Samples taken so far.
    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// Encodes samples at [`RATE`].
    pub(super) fn push(&mut self, mut sound: &[f32]) -> Result<(), MediaError> {
        self.samples += sound.len() as u64;
        while !sound.is_empty() {
            let room = (FRAME - self.waiting.len()).min(sound.len());
            let (now, later) = sound.split_at(room);
            self.waiting.extend_from_slice(now);
            sound = later;
            // The last frame waits for `finish`, which sets its duration.
            if self.waiting.len() == FRAME && !sound.is_empty() {
                self.frame(FRAME as u64)?;
            }
        }
        Ok(())
    }

    /// Encodes the waiting samples, padded with silence, with a duration in samples.
    fn frame(&mut self, duration: u64) -> Result<(), MediaError> {
        self.waiting.resize(FRAME, 0.0);
        let length = self
            .encoder
            .encode(&self.waiting, FRAME, &mut self.packet)
            .map_err(opus_error)?;
        self.waiting.clear();
        let packet = self.packet.get(..length).unwrap_or_default();
        self.writer
            // At most a frame.
            .write_packet_with_duration(packet, duration as u32)
            .map_err(opus_error)
    }

    /// Flushes the encoder, so that the file has exactly the duration of the input.
    pub(super) fn finish(mut self) -> Result<(), MediaError> {
        let end = self.skip + self.samples;
        loop {
            let now = u64::try_from(self.writer.granule()).unwrap_or(0);
            let left = end.saturating_sub(now);
            if left == 0 {
                break;
            }
            self.frame(left.min(FRAME as u64))?;
        }
        let mut to = self.writer.finish().map_err(opus_error)?;
        to.flush()?;
        Ok(())
    }
}
