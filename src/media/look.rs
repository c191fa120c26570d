//! What recipients see of a file before they fetch it.

use serde::{Deserialize, Serialize};

/// What of it is known depends on the kind of file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Look {
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// Of a PDF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<u32>,
    /// JPEG, some KB at most.
    #[serde(with = "base64_bytes", skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Vec<u8>>,
    /// 64 values of 0 to 100; voice notes only.
    #[serde(with = "base64_bytes", skip_serializing_if = "Option::is_none")]
    pub waveform: Option<Vec<u8>>,
    /// A moving sticker.
    pub animated: bool,
    /// A video that is shown as a looping clip.
    pub gif_playback: bool,
}

/// Bytes as base64, which is a third longer instead of four times as long.
pub mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&STANDARD_NO_PAD.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    /// # Errors
    /// The deserializer's, or that it is not base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| STANDARD_NO_PAD.decode(text).map_err(de::Error::custom))
            .transpose()
    }
}
