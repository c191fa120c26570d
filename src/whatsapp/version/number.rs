//! A version of WhatsApp Web, and this release's.

use std::fmt;

/// The version of this release: the last resort where WhatsApp cannot be asked and never was. WhatsApp accepts
/// one for some months. To be set anew for each release, to what `https://web.whatsapp.com/sw.js` names.
pub const BUILT_IN: Version = Version((2, 3000, 1_045_649_367));

/// A version of WhatsApp Web.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub (u32, u32, u32));

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (primary, secondary, revision) = self.0;
        write!(f, "{primary}.{secondary}.{revision}")
    }
}
