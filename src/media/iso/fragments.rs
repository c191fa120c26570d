//! The duration of fragmented files (ISO 14496-12, 8.8), whose header was written before it was known.

use std::io::{self, Read, Seek};

use super::{Boxes, Part, be32, be64, milliseconds};

/// The most tracks that are counted.
const TRACKS: usize = 64;

/// The time of a track, in its units.
#[derive(Debug, Default)]
pub(super) struct Clock {
    pub(super) id: u32,
    /// Units per second.
    pub(super) scale: u32,
    /// The default duration of a sample.
    default: u32,
    /// The start of the first fragment, and the end of the counted samples.
    begin: Option<u64>,
    end: u64,
}

/// The clocks of a film's tracks.
#[derive(Debug, Default)]
pub(super) struct Clocks(Vec<Clock>);

impl Clocks {
    /// Adds a track whose samples in the header last `length` units.
    pub(super) fn add(&mut self, id: u32, scale: u32, length: u64) {
        if self.0.len() < TRACKS {
            self.0.push(Clock {
                id,
                scale,
                default: 0,
                begin: (length > 0).then_some(0),
                end: length,
            });
        }
    }

    /// The defaults of a track's fragments, from `trex`: track, description, duration.
    pub(super) fn defaults<R: Read + Seek>(
        &mut self,
        boxes: &mut Boxes<R>,
        part: Part,
    ) -> io::Result<()> {
        if let Some(fields) = boxes.fields::<16>(part)?
            && let Some(clock) = self.of(be32(&fields, 4))
        {
            clock.default = be32(&fields, 12);
        }
        Ok(())
    }

    /// Counts a `moof`.
    pub(super) fn fragment<R: Read + Seek>(
        &mut self,
        boxes: &mut Boxes<R>,
        part: Part,
    ) -> io::Result<()> {
        boxes.each(part.start, part.end, &mut |boxes, part| {
            if &part.kind != b"traf" {
                return Ok(());
            }
            let (mut track, mut default, mut begin, mut length) = (0, None, None, 0_u64);
            boxes.each(part.start, part.end, &mut |boxes, part| {
                match &part.kind {
                    b"tfhd" => {
                        let Some(fields) = boxes.fields::<8>(part)? else {
                            return Ok(());
                        };
                        track = be32(&fields, 4);
                        let flags = be32(&fields, 0);
                        // Skip the optional fields before it.
                        let skip = 8 + u64::from(flags & 1) * 8 + u64::from(flags >> 1 & 1) * 4;
                        let rest = part.start + skip;
                        if flags & 8 != 0 && rest + 4 <= part.end {
                            default = Some(u32::from_be_bytes(boxes.bytes(rest)?));
                        }
                    }
                    b"tfdt" => {
                        begin = match boxes.fields::<12>(part)? {
                            Some(fields) if fields[0] == 1 => Some(be64(&fields, 4)),
                            _ => boxes
                                .fields::<8>(part)?
                                .map(|fields| u64::from(be32(&fields, 4))),
                        };
                    }
                    b"trun" => {
                        let usual = default.or_else(|| self.of(track).map(|clock| clock.default));
                        let run = run(boxes, part, usual.unwrap_or(0))?;
                        length = length.saturating_add(run);
                    }
                    _ => {}
                }
                Ok(())
            })?;
            if let Some(clock) = self.of(track) {
                let begin = begin.unwrap_or(clock.end);
                clock.begin = Some(clock.begin.unwrap_or(begin).min(begin));
                clock.end = clock.end.max(begin.saturating_add(length));
            }
            Ok(())
        })
    }

    fn of(&mut self, id: u32) -> Option<&mut Clock> {
        self.0.iter_mut().find(|clock| clock.id == id)
    }

    /// The duration of the longest track, in ms.
    pub(super) fn length(&self) -> Option<u64> {
        let of = |clock: &Clock| {
            let units = clock.end.saturating_sub(clock.begin.unwrap_or(0));
            milliseconds(clock.scale, units)
        };
        self.0.iter().filter_map(of).max()
    }
}

/// The duration of a run of samples.
fn run<R: Read + Seek>(boxes: &mut Boxes<R>, part: Part, usual: u32) -> io::Result<u64> {
    let Some(fields) = boxes.fields::<8>(part)? else {
        return Ok(0);
    };
    let (flags, count) = (be32(&fields, 0), u64::from(be32(&fields, 4)));
    if flags & 0x100 == 0 {
        return Ok(count.saturating_mul(u64::from(usual)));
    }
    let skip = 8 + u64::from(flags & 1) * 4 + u64::from(flags >> 2 & 1) * 4;
    // The duration is the first of up to four fields.
    let size = 4 * u64::from((flags >> 8 & 15).count_ones());
    let start = part.start.saturating_add(skip);
    let fits = part.end.saturating_sub(start) / size;
    let mut length = 0_u64;
    for n in 0..count.min(fits) {
        let sample = u32::from_be_bytes(boxes.bytes(start + n * size)?);
        length = length.saturating_add(u64::from(sample));
    }
    Ok(length)
}
