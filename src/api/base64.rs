//! Base64 as people send it.

/// This is no base64, and no `data:` URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBase64;

/// Decodes characters of base64, without padding.
///
/// # Errors
/// [`NotBase64`].
pub fn decode(characters: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
    use base64::Engine as _;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    LENIENT.decode_vec(characters, out).map_err(|_| NotBase64)
}
