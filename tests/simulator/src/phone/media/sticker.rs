//! Stickers as a phone shows them: the pack that their metadata names.

use serde::Serialize;
use serde_json::Value;

use super::MediaFile;

/// Bytes of a sticker that are looked at.
const MAX: u64 = 4_000_000;

/// The pack of a sticker: JSON in the EXIF block of its WebP file, as the only entry of a TIFF directory, tag 0x5741.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pack {
    /// The same for all stickers of a pack.
    pub id: String,
    /// What the pack is called.
    pub name: String,
    /// Who made it.
    pub author: String,
}

/// The pack of a sticker's file; `None` if it has none that a phone would find.
pub(super) fn pack(file: &MediaFile) -> Option<Pack> {
    if file.blob.len() > MAX {
        return None;
    }
    let mut bytes = Vec::new();
    file.decrypt(&mut bytes).ok()?;
    let exif = exif(&bytes)?;
    let head = b"II*\0\x08\0\0\0\x01\0\x41\x57\x07\0";
    let rest = exif.strip_prefix(head)?;
    let word = |at: usize| Some(u32::from_le_bytes(*rest.get(at..)?.first_chunk::<4>()?) as usize);
    let (length, at) = (word(0)?, word(4)?);
    let json: Value = serde_json::from_slice(exif.get(at..at.checked_add(length)?)?).ok()?;
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    Some(Pack {
        id: text("sticker-pack-id"),
        name: text("sticker-pack-name"),
        author: text("sticker-pack-publisher"),
    })
}

/// The content of the chunk `EXIF`.
fn exif(file: &[u8]) -> Option<&[u8]> {
    let mut rest = file.get(12..).filter(|_| file.starts_with(b"RIFF"))?;
    loop {
        let length = u32::from_le_bytes(*rest.get(4..)?.first_chunk::<4>()?) as usize;
        let content = rest.get(8..8_usize.checked_add(length)?)?;
        if rest.starts_with(b"EXIF") {
            return Some(content);
        }
        rest = rest.get(8 + length + length % 2..)?;
    }
}
