//! Decodes packets and mixes them to one channel.

use std::io;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;

use super::super::MediaError;
use super::mix::Mixer;
use super::packets::{Codec, Packet, Packets, Source};
use super::{RATE, explain, gsm, opus};

/// Valid sample rates.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=400_000;

/// Decodes a file.
pub(super) struct Decoder {
    packets: Box<dyn Packets>,
    ear: Ear,
    /// The file's edit, if any: microseconds to skip, and to play.
    heard: Option<(u64, u64)>,
    /// Samples so far.
    seen: u64,
    /// The rate of the last packet; 0 before the first.
    rate: u32,
    mixed: Vec<f32>,
}

enum Ear {
    Known(Box<Known>),
    Opus(Box<opus::Decoder>),
    Gsm(Box<gsm::Decoder>, u32),
}

struct Known {
    decoder: Box<dyn AudioDecoder>,
    interleaved: Vec<f32>,
    /// For the channels of the last packet.
    mixer: Option<(Channels, Mixer)>,
}

impl Decoder {
    pub(super) fn new(source: Source) -> Result<Decoder, MediaError> {
        let Source {
            packets,
            codec,
            mut heard,
        } = source;
        let ear = match codec {
            Codec::Known(parameters) => Ear::Known(Box::new(Known {
                decoder: symphonia::default::get_codecs()
                    .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
                    .map_err(explain)?,
                interleaved: Vec::new(),
                mixer: None,
            })),
            Codec::Opus(head) => {
                let skip = head.skip() * 1_000_000 / u64::from(RATE);
                heard = Some((skip, heard.map_or(u64::MAX, |(_, take)| take)));
                Ear::Opus(Box::new(opus::Decoder::new(&head)?))
            }
            Codec::Gsm(rate) => Ear::Gsm(Box::default(), rate),
        };
        Ok(Decoder {
            packets,
            ear,
            heard,
            seen: 0,
            rate: 0,
            mixed: Vec::new(),
        })
    }

    /// Appends the next samples and returns their rate; `None` at the end.
    ///
    /// Packets that cannot be decoded are skipped, as players do; a truncated file ends there.
    pub(super) fn next(&mut self, sound: &mut Vec<f32>) -> Result<Option<u32>, MediaError> {
        self.mixed.clear();
        // The mixer may hold samples back until the next packet.
        while self.mixed.is_empty() {
            let Some(packet) = self.packets.next()? else {
                self.ear.finish(&mut self.mixed);
                if self.mixed.is_empty() {
                    return Ok(None);
                }
                break;
            };
            if let Some(rate) = self.ear.decode(&packet, &mut self.mixed)? {
                self.rate = rate;
            }
        }
        let rate = self.rate;
        if !RATES.contains(&rate) {
            return Err(MediaError::Unsupported(format!(
                "it has {rate} samples a second"
            )));
        }
        let inside = self.inside(self.mixed.len() as u64, rate);
        sound.extend(self.mixed.get(inside).unwrap_or_default());
        Ok(Some(rate))
    }

    /// The range of the next `frames` samples that is within the edit.
    fn inside(&mut self, frames: u64, rate: u32) -> std::ops::Range<usize> {
        let first = self.seen;
        self.seen += frames;
        let Some((skip, take)) = self.heard else {
            return 0..frames as usize;
        };
        let samples = |micros: u64| {
            let samples = u128::from(micros) * u128::from(rate) / 1_000_000;
            u64::try_from(samples).unwrap_or(u64::MAX)
        };
        let at = |sample: u64| sample.saturating_sub(first).min(frames) as usize;
        let from = samples(skip);
        at(from)..at(from.saturating_add(samples(take)))
    }
}

impl Ear {
    /// Appends the samples of a packet and returns their rate; `None` if it cannot be decoded.
    fn decode(&mut self, packet: &Packet, to: &mut Vec<f32>) -> Result<Option<u32>, MediaError> {
        Ok(match self {
            Ear::Known(known) => known.decode(packet, to)?,
            Ear::Opus(decoder) => {
                decoder.decode(packet, to);
                Some(RATE)
            }
            Ear::Gsm(decoder, rate) => {
                decoder.decode(&packet.data, to);
                Some(*rate)
            }
        })
    }

    fn finish(&mut self, to: &mut Vec<f32>) {
        match self {
            Ear::Known(known) => {
                if let Some((_, mut mixer)) = known.mixer.take() {
                    mixer.finish(to);
                }
            }
            Ear::Opus(decoder) => decoder.finish(to),
            Ear::Gsm(..) => {}
        }
    }
}

impl Known {
    fn decode(&mut self, packet: &Packet, to: &mut Vec<f32>) -> Result<Option<u32>, MediaError> {
        let buffer = match self.decoder.decode(packet) {
            Ok(buffer) => buffer,
            Err(Error::DecodeError(_)) => return Ok(None),
            Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(None);
            }
            Err(error) => return Err(explain(error)),
        };
        let spec = buffer.spec();
        let rate = spec.rate();
        if buffer.is_empty() || spec.channels().count() == 0 {
            return Ok(Some(rate));
        }
        if self
            .mixer
            .as_ref()
            .is_none_or(|(channels, _)| channels != spec.channels())
        {
            let channels = spec.channels().clone();
            if let Some((_, mut before)) = self.mixer.take() {
                before.finish(to);
            }
            self.mixer = Some((channels.clone(), Mixer::new(&channels)));
        }
        buffer.copy_to_vec_interleaved(&mut self.interleaved);
        if let Some((_, mixer)) = &mut self.mixer {
            mixer.push(&self.interleaved, to);
        }
        Ok(Some(rate))
    }
}
