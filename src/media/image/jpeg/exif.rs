//! Reads the orientation from EXIF (CIPA DC-008, 4.6): tag 0x0112 of the first directory.

/// The tag's value in a JPEG's APP1 segment.
pub(super) fn orientation(segment: &[u8]) -> Option<u16> {
    let tiff = segment.strip_prefix(b"Exif\0\0")?;
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let u32_at = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk::<4>()?;
        Some(if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    };
    let directory = usize::try_from(u32_at(4)?).ok()?;
    let entries = usize::from(u16_at(directory)?);
    // The value of a SHORT is at the start of the entry's last field. The segment (64 KB) bounds the entries.
    (0..entries)
        .map_while(|entry| directory.checked_add(2 + entry * 12))
        .take_while(|at| *at < tiff.len())
        .find(|at| u16_at(*at) == Some(0x0112))
        .and_then(|at| u16_at(at + 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_are_read() {
        let little = b"Exif\0\0II*\0\x08\0\0\0\x02\0\
            \x0F\x01\x02\0\0\0\0\0\0\0\0\0\
            \x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!(orientation(little), Some(6));
        assert_eq!(orientation(big), Some(8));
        for length in 0..little.len() - 4 {
            assert_ne!(orientation(&little[..length]), Some(8));
        }
        assert_eq!(orientation(b"http://ns.adobe.com/xap/1.0/\0"), None);
        assert_eq!(orientation(b"Exif\0\0II*\0\xFF\xFF\xFF\xFF"), None);
    }
}
