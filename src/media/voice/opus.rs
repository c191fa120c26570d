//! Opus from any container: mono packets are copied, others decoded.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::time::Instant;

use opus_pure::{
    ChannelLayout, OggOpusReader, OggOpusWriter, OggPacket, OpusDecoder, OpusHead, OpusMSDecoder,
    OpusTags,
};
use symphonia::core::audio::Position;

use super::super::{MediaError, Spool};
use super::mix::{Mixer, weights};
use super::packets::{Packet, Packets, packet};
use super::{Converted, MAX_MINUTES, RATE, opus_error};

/// The longest packet, in samples: 120 ms.
const LONGEST: usize = RATE as usize * 120 / 1000;
/// The largest pre-skip that is an encoder's delay, in samples.
const MAX_SKIP: u16 = 48_000;

/// The identification header of a stream (RFC 7845, 5.1).
#[derive(Debug, Clone)]
pub(super) struct Head(OpusHead);

impl Head {
    /// A header for one or two channels, with a pre-skip in samples.
    pub(super) fn plain(channels: u8, skip: u16) -> Head {
        let channels = channels.clamp(1, 2);
        Head(OpusHead {
            channel_count: channels,
            pre_skip: skip.min(MAX_SKIP),
            input_sample_rate: RATE,
            output_gain_q8: 0,
            mapping_family: 0,
            stream_count: 1,
            coupled_count: channels - 1,
            channel_mapping: Vec::new(),
        })
    }

    /// Parses the first packet of an OGG stream, which other containers have as their codec data.
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        let fields = bytes.strip_prefix(b"OpusHead")?.first_chunk::<11>()?;
        let [_, channels, rest @ ..] = *fields;
        let mut head = Head::plain(channels, u16::from_le_bytes([rest[0], rest[1]]));
        head.0.input_sample_rate = u32::from_le_bytes([rest[2], rest[3], rest[4], rest[5]]);
        head.0.output_gain_q8 = i16::from_le_bytes([rest[6], rest[7]]);
        head.0.mapping_family = rest[8];
        if head.0.mapping_family == 0 {
            return (1..=2).contains(&channels).then_some(head);
        }
        let behind = bytes.get(19..)?;
        let (counts, mapping) = behind.split_at_checked(2)?;
        head.0.channel_count = channels;
        head.0.stream_count = counts[0];
        head.0.coupled_count = counts[1];
        head.0.channel_mapping = mapping.get(..usize::from(channels))?.to_vec();
        Some(head)
    }

    /// The pre-skip in samples.
    pub(super) fn skip(&self) -> u64 {
        u64::from(self.0.pre_skip)
    }

    /// Whether packets have one stream of one or two channels.
    fn is_plain(&self) -> bool {
        self.0.stream_count == 1 && self.0.channel_count <= 2
    }
}

/// Decodes and mixes to one channel.
pub(super) struct Decoder {
    kind: Kind,
    gain: f32,
    mixer: Mixer,
    block: Vec<f32>,
}

enum Kind {
    Plain(Box<OpusDecoder>),
    Surround(Box<OpusMSDecoder>),
}

impl Decoder {
    pub(super) fn new(head: &Head) -> Result<Decoder, MediaError> {
        let head = &head.0;
        let channels = usize::from(head.channel_count);
        let rate = RATE as i32;
        let (kind, weights) = if head.stream_count == 1 && channels <= 2 {
            let decoder = OpusDecoder::new(rate, channels).map_err(opus_error)?;
            let share = 1.0 / channels.max(1) as f32;
            (Kind::Plain(Box::new(decoder)), vec![share; channels])
        } else {
            let usual = ChannelLayout::surround(channels, head.mapping_family).ok();
            let is_usual = usual.is_some_and(|usual| {
                usual.mapping == head.channel_mapping
                    && usual.nb_streams == usize::from(head.stream_count)
                    && usual.nb_coupled_streams == usize::from(head.coupled_count)
            });
            if !is_usual {
                return Err(MediaError::Unsupported(
                    "its channels are unusual".to_owned(),
                ));
            }
            let decoder =
                OpusMSDecoder::new(rate, channels, head.mapping_family).map_err(opus_error)?;
            (Kind::Surround(Box::new(decoder)), weights(order(channels)))
        };
        Ok(Decoder {
            kind,
            gain: 10_f32.powf(f32::from(head.output_gain_q8) / 256.0 / 20.0),
            mixer: Mixer::with(weights),
            block: vec![0.0; LONGEST * channels.max(1)],
        })
    }

    /// Appends the samples of a packet; none if it is damaged.
    pub(super) fn decode(&mut self, packet: &Packet, to: &mut Vec<f32>) {
        let Decoder {
            kind,
            gain,
            mixer,
            block,
        } = self;
        let decoded = match kind {
            Kind::Plain(decoder) => decoder.decode(&packet.data, LONGEST, block),
            Kind::Surround(decoder) => decoder.decode(&packet.data, LONGEST, block),
        };
        let count = decoded.unwrap_or(0).min(LONGEST);
        let counts = count.saturating_sub(samples(packet.trim_end.get()));
        let block = block
            .get_mut(..counts * mixer.channels())
            .unwrap_or_default();
        block.iter_mut().for_each(|sample| *sample *= *gain);
        mixer.push(block, to);
    }

    pub(super) fn finish(&mut self, to: &mut Vec<f32>) {
        self.mixer.finish(to);
    }
}

fn samples(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The positions of three and more channels (RFC 7845, 5.1.1.2).
fn order(channels: usize) -> &'static [Position] {
    const L: Position = Position::FRONT_LEFT;
    const C: Position = Position::FRONT_CENTER;
    const R: Position = Position::FRONT_RIGHT;
    const RL: Position = Position::REAR_LEFT;
    const RC: Position = Position::REAR_CENTER;
    const RR: Position = Position::REAR_RIGHT;
    const SL: Position = Position::SIDE_LEFT;
    const SR: Position = Position::SIDE_RIGHT;
    const LOW: Position = Position::LFE1;
    match channels {
        1 => &[C],
        2 => &[L, R],
        3 => &[L, C, R],
        4 => &[L, R, RL, RR],
        5 => &[L, C, R, RL, RR],
        6 => &[L, C, R, RL, RR, LOW],
        7 => &[L, C, R, SL, SR, RC, LOW],
        _ => &[L, C, R, SL, SR, RL, RR, LOW],
    }
}

/// The packets of an OGG file.
pub(super) struct Ogg {
    reader: OggOpusReader<BufReader<File>>,
    packet: OggPacket,
    /// Samples so far.
    samples: u64,
}

impl Ogg {
    pub(super) fn open(mut file: File) -> Result<(Ogg, Head), MediaError> {
        file.seek(SeekFrom::Start(0))?;
        let reader = OggOpusReader::new(BufReader::new(file)).map_err(opus_error)?;
        let head = Head(reader.head().clone());
        let ogg = Ogg {
            reader,
            packet: OggPacket::default(),
            samples: 0,
        };
        Ok((ogg, head))
    }
}

impl Packets for Ogg {
    fn next(&mut self) -> Result<Option<Packet>, MediaError> {
        match self.reader.read_packet_into(&mut self.packet) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                // A truncated file ends here.
                return match opus_error(error) {
                    MediaError::Io(error) => Err(MediaError::Io(error)),
                    _ => Ok(None),
                };
            }
        }
        let data = std::mem::take(&mut self.packet.data);
        self.samples += opus_pure::packet::samples_48k(&data).unwrap_or(0) as u64;
        let mut packet = packet(data, 0);
        // The granule position of the last page ends the audio.
        if self.packet.end_of_stream
            && let Ok(end) = u64::try_from(self.packet.page_granule)
        {
            packet.trim_end = self.samples.saturating_sub(end).into();
        }
        Ok(Some(packet))
    }
}

/// The progress of copying packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) enum Copied {
    More,
    All,
    /// A packet is stereo: the file has to be converted.
    Stereo,
}

/// Copies packets into an OGG file.
pub(in crate::media) struct Copy {
    packets: Box<dyn Packets>,
    writer: OggOpusWriter<BufWriter<File>>,
    file: super::Spooled,
    /// Held back: the duration of the last packet may be shortened.
    last: Option<Packet>,
    skip: u64,
    /// Samples to play.
    take: u64,
    is_plain: bool,
}

impl Copy {
    /// Copies at most `take` samples.
    pub(super) fn begin(
        packets: Box<dyn Packets>,
        head: &Head,
        take: u64,
        spool: &Spool,
    ) -> Result<Copy, MediaError> {
        let mut mono = Head::plain(1, head.0.pre_skip);
        mono.0.output_gain_q8 = head.0.output_gain_q8;
        mono.0.input_sample_rate = head.0.input_sample_rate;
        let (file, to) = spool.create()?;
        let to = BufWriter::with_capacity(16 * 1024, to);
        let writer = OggOpusWriter::with_tags(to, mono.0, OpusTags::new()).map_err(opus_error)?;
        Ok(Copy {
            packets,
            writer,
            file,
            last: None,
            skip: head.skip(),
            take,
            is_plain: head.is_plain(),
        })
    }

    /// # Errors
    /// [`MediaError::TooLong`]; errors of the file; I/O errors.
    pub(in crate::media) fn step(&mut self, until: Option<Instant>) -> Result<Copied, MediaError> {
        if !self.is_plain {
            return Ok(Copied::Stereo);
        }
        while let Some(packet) = self.packets.next()? {
            let Some(first) = packet.data.first() else {
                continue;
            };
            // The stereo flag (RFC 6716, 3.1).
            if first & 4 != 0 {
                return Ok(Copied::Stereo);
            }
            if opus_pure::packet::samples_48k(&packet.data).is_err() {
                continue;
            }
            if let Some(last) = self.last.replace(packet) {
                self.writer.write_packet(&last.data).map_err(opus_error)?;
            }
            if self.granule() > u64::from(MAX_MINUTES) * 60 * u64::from(RATE) {
                return Err(MediaError::TooLong { limit: MAX_MINUTES });
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Copied::More);
            }
        }
        Ok(Copied::All)
    }

    fn granule(&self) -> u64 {
        u64::try_from(self.writer.granule()).unwrap_or(0)
    }

    /// # Errors
    /// [`MediaError::Broken`] if there was no audio; I/O errors.
    pub(in crate::media) fn finish(mut self) -> Result<Converted, MediaError> {
        if let Some(last) = self.last.take() {
            let now = self.granule();
            let all = opus_pure::packet::samples_48k(&last.data).unwrap_or(0) as u64;
            let most = self.skip.saturating_add(self.take).saturating_sub(now);
            let counts = all.saturating_sub(last.trim_end.get()).min(most);
            // At most 120 ms.
            let counts = u32::try_from(counts).unwrap_or(0);
            self.writer
                .write_packet_with_duration(&last.data, counts)
                .map_err(opus_error)?;
        }
        let samples = self.granule().saturating_sub(self.skip);
        if samples == 0 {
            return Err(MediaError::Broken("there is no sound in it".to_owned()));
        }
        let mut to = self.writer.finish().map_err(opus_error)?;
        to.flush()?;
        Ok(Converted {
            file: self.file,
            length: samples * 1000 / u64::from(RATE),
            waveform: Vec::new(),
        })
    }
}
