//! Reads MP4, MOV and 3GP files (ISO 14496-12; QuickTime File Format): tracks, picture size and duration.
//!
//! Only the boxes with these fields are read, one at a time: memory does not grow with the file. A box larger
//! than its parent ends the reading of that parent.

mod fragments;

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::MediaError;
use fragments::Clocks;

/// The most boxes read per file; a hundred tracks have some thousand.
const BOXES: u32 = 20_000;
/// The most boxes in fragments; each has some ten, and there may be one per second.
const IN_FRAGMENTS: u32 = 400_000;

/// The properties of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Film {
    /// Width and height in pixels, after rotation.
    pub(super) picture: Option<(u32, u32)>,
    pub(super) has_sound: bool,
    /// Milliseconds.
    pub(super) length: Option<u64>,
    /// The edit of the first audio track: microseconds to skip (the encoder's delay), and to play.
    pub(super) heard: Option<(u64, u64)>,
    /// Bytes of the index, which demultiplexers keep in memory.
    pub(super) index: u64,
}

/// Reads a file.
///
/// # Errors
/// [`MediaError::Broken`] if it has no `moov` box; I/O errors.
pub(super) fn read<R: Read + Seek>(source: R) -> Result<Film, MediaError> {
    let mut boxes = Boxes {
        source: BufReader::with_capacity(512, source),
        left: BOXES,
    };
    let end = boxes.source.seek(SeekFrom::End(0))?;
    let mut film = Film::default();
    let (mut found, mut has_fragments) = (false, false);
    let mut clocks = Clocks::default();
    boxes.each(0, end, &mut |boxes, part| {
        match &part.kind {
            b"moov" if !found => {
                found = true;
                film = movie(boxes, part, &mut clocks)?;
                boxes.left = IN_FRAGMENTS;
            }
            b"moof" if found => {
                has_fragments = true;
                clocks.fragment(boxes, part)?;
            }
            _ => {}
        }
        Ok(())
    })?;
    // The counted duration is right, whatever the header says.
    if has_fragments && let Some(length) = clocks.length() {
        film.length = Some(length);
    }
    if found {
        Ok(film)
    } else {
        Err(MediaError::Broken("it has no index (moov)".to_owned()))
    }
}

#[derive(Debug, Clone, Copy)]
struct Part {
    kind: [u8; 4],
    start: u64,
    end: u64,
}

#[derive(Debug, Default)]
struct Track {
    id: u32,
    kind: [u8; 4],
    size: (u32, u32),
    /// Units per second; ms and units.
    scale: u32,
    length: Option<u64>,
    units: u64,
    /// Its only edit: duration in the movie's units, start in its own.
    edit: Option<(u64, u64)>,
}

struct Boxes<R: Read + Seek> {
    source: BufReader<R>,
    left: u32,
}

impl<R: Read + Seek> Boxes<R> {
    /// Calls `see` with the content of each box from `start` to `end`.
    fn each(
        &mut self,
        start: u64,
        end: u64,
        see: &mut dyn FnMut(&mut Self, Part) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut at = start;
        while let Some(left) = end.checked_sub(at).filter(|left| *left >= 8) {
            let Some(budget) = self.left.checked_sub(1) else {
                return Ok(());
            };
            self.left = budget;
            let head = self.bytes::<8>(at)?;
            let [a, b, c, d, kind @ ..] = head;
            let (head, size) = match u32::from_be_bytes([a, b, c, d]) {
                0 => (8, left),
                1 if left >= 16 => (16, u64::from_be_bytes(self.bytes(at + 8)?)),
                size => (8, u64::from(size)),
            };
            if size < head || size > left {
                // A truncated file may lack only media data.
                return Ok(());
            }
            see(
                self,
                Part {
                    kind,
                    start: at + head,
                    end: at + size,
                },
            )?;
            at += size;
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self, at: u64) -> io::Result<[u8; N]> {
        let now = self.source.stream_position()?;
        // Offsets in a file are at most i64::MAX.
        self.source.seek_relative(at.wrapping_sub(now) as i64)?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The first bytes of a box; `None` if it is shorter.
    fn fields<const N: usize>(&mut self, part: Part) -> io::Result<Option<[u8; N]>> {
        if part.end - part.start < N as u64 {
            return Ok(None);
        }
        self.bytes(part.start).map(Some)
    }

    /// The duration in ms from `mvhd` or `mdhd`, which have the same first fields.
    fn length(&mut self, part: Part) -> io::Result<Option<u64>> {
        let units = self.units(part)?;
        Ok(units.and_then(|(scale, length)| milliseconds(scale, length)))
    }

    /// Units per second, and the duration in units.
    fn units(&mut self, part: Part) -> io::Result<Option<(u32, u64)>> {
        let (scale, length) = match self.fields::<4>(part)? {
            Some([1, ..]) => {
                let Some(fields) = self.fields::<32>(part)? else {
                    return Ok(None);
                };
                (be32(&fields, 20), be64(&fields, 24))
            }
            Some(_) => {
                let Some(fields) = self.fields::<20>(part)? else {
                    return Ok(None);
                };
                match be32(&fields, 16) {
                    u32::MAX => (0, 0),
                    length => (be32(&fields, 12), u64::from(length)),
                }
            }
            None => return Ok(None),
        };
        Ok(Some((scale, length)))
    }
}

/// `None` for an unknown or impossible duration.
fn milliseconds(scale: u32, length: u64) -> Option<u64> {
    if length == 0 {
        return None;
    }
    length.checked_mul(1000)?.checked_div(u64::from(scale))
}

fn microseconds(scale: u32, length: u64) -> Option<u64> {
    let micros = (u128::from(length) * 1_000_000).checked_div(u128::from(scale))?;
    u64::try_from(micros).ok()
}

fn movie<R: Read + Seek>(
    boxes: &mut Boxes<R>,
    part: Part,
    clocks: &mut Clocks,
) -> io::Result<Film> {
    let mut film = Film {
        index: part.end - part.start,
        ..Film::default()
    };
    let mut longest = None;
    let mut sound = None;
    let mut fragments = (0, None);
    let mut defaults = Vec::new();
    boxes.each(part.start, part.end, &mut |boxes, part| {
        match &part.kind {
            b"mvhd" => {
                film.length = boxes.length(part)?;
                if let Some(fields) = boxes.fields::<24>(part)? {
                    fragments.0 = be32(&fields, if fields[0] == 1 { 20 } else { 12 });
                }
            }
            b"mvex" => boxes.each(part.start, part.end, &mut |boxes, part| {
                if &part.kind == b"trex" && defaults.len() < 64 {
                    defaults.push(part);
                }
                if &part.kind == b"mehd" {
                    fragments.1 = match boxes.fields::<12>(part)? {
                        Some(fields) if fields[0] == 1 => Some(be64(&fields, 4)),
                        _ => boxes
                            .fields::<8>(part)?
                            .map(|fields| u64::from(be32(&fields, 4))),
                    };
                }
                Ok(())
            })?,
            b"trak" => {
                let track = track(boxes, part)?;
                longest = longest.max(track.length);
                clocks.add(track.id, track.scale, track.units);
                match &track.kind {
                    b"vide" if film.picture.is_none() => film.picture = Some(track.size),
                    b"soun" => {
                        film.has_sound = true;
                        if sound.is_none() {
                            sound = Some(track);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    // Their tracks may follow them.
    let is_fragmented = !defaults.is_empty();
    for part in defaults {
        clocks.defaults(boxes, part)?;
    }
    let in_fragments = fragments
        .1
        .and_then(|length| milliseconds(fragments.0, length));
    film.length = film.length.or(in_fragments).or(longest);
    film.heard = sound.and_then(|track| {
        let (length, start) = track.edit?;
        let skipped = microseconds(track.scale, start).unwrap_or(0);
        // 0 is normal in fragmented files, and invalid in others.
        match length {
            0 if is_fragmented => Some((skipped, u64::MAX)),
            0 => None,
            length => Some((skipped, microseconds(fragments.0, length)?)),
        }
    });
    Ok(film)
}

fn track<R: Read + Seek>(boxes: &mut Boxes<R>, part: Part) -> io::Result<Track> {
    let mut track = Track::default();
    boxes.each(part.start, part.end, &mut |boxes, part| {
        match &part.kind {
            b"tkhd" => {
                track.size = shown_size(boxes, part)?;
                if let Some(fields) = boxes.fields::<24>(part)? {
                    track.id = be32(&fields, if fields[0] == 1 { 20 } else { 12 });
                }
            }
            b"edts" => boxes.each(part.start, part.end, &mut |boxes, part| {
                if &part.kind == b"elst" {
                    track.edit = only_edit(boxes, part)?;
                }
                Ok(())
            })?,
            b"mdia" => boxes.each(part.start, part.end, &mut |boxes, part| {
                match &part.kind {
                    b"mdhd" => {
                        track.length = boxes.length(part)?;
                        track.units = boxes.units(part)?.map_or(0, |(_, units)| units);
                        if let Some(fields) = boxes.fields::<24>(part)? {
                            track.scale = be32(&fields, if fields[0] == 1 { 20 } else { 12 });
                        }
                    }
                    b"hdlr" => {
                        if let Some([_, _, _, _, _, _, _, _, kind @ ..]) =
                            boxes.fields::<12>(part)?
                        {
                            track.kind = kind;
                        }
                    }
                    _ => {}
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(track)
}

/// Duration and start from an edit list with one non-empty entry.
fn only_edit<R: Read + Seek>(boxes: &mut Boxes<R>, part: Part) -> io::Result<Option<(u64, u64)>> {
    let edit = match boxes.fields::<8>(part)? {
        Some([0, _, _, _, 0, 0, 0, 1]) => boxes.fields::<16>(part)?.map(|fields| {
            // -1 for an empty one.
            let start = be32(&fields, 12).cast_signed();
            (u64::from(be32(&fields, 8)), i64::from(start))
        }),
        Some([1, _, _, _, 0, 0, 0, 1]) => boxes
            .fields::<24>(part)?
            .map(|fields| (be64(&fields, 8), be64(&fields, 16).cast_signed())),
        _ => None,
    };
    Ok(edit.and_then(|(length, start)| Some((length, u64::try_from(start).ok()?))))
}

/// Width and height from `tkhd`, swapped if its matrix rotates the picture by 90°.
fn shown_size<R: Read + Seek>(boxes: &mut Boxes<R>, part: Part) -> io::Result<(u32, u32)> {
    // Version 1 has three fields of 8 bytes where version 0 has 4.
    let skip = match boxes.fields::<4>(part)? {
        Some([1, ..]) => 12,
        Some(_) => 0,
        None => return Ok((0, 0)),
    };
    let rest = Part {
        start: part.start + skip,
        ..part
    };
    if rest.start > part.end {
        return Ok((0, 0));
    }
    let Some(fields) = boxes.fields::<84>(rest)? else {
        return Ok((0, 0));
    };
    let (width, height) = (be32(&fields, 76) >> 16, be32(&fields, 80) >> 16);
    // The matrix a b u c d v x y w: a and d are 0 in a rotation by 90°.
    if be32(&fields, 40) == 0 && be32(&fields, 56) == 0 && be32(&fields, 44) != 0 {
        Ok((height, width))
    } else {
        Ok((width, height))
    }
}

/// `at` must be within `bytes`.
fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |field| u32::from_be_bytes(*field))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}
