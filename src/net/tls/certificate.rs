//! Reads the fields of an X.509 certificate (RFC 5280, DER) that [`super::verifier`] checks. Pure.

/// The DER of the identifiers of `subjectAltName` and `basicConstraints`.
const ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
const CONSTRAINTS: &[u8] = &[0x55, 0x1D, 0x13];

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// Tagged fields of a certificate's body.
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;

/// The fields of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Seconds since 1970.
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    /// Issuer and subject are the same.
    pub(super) self_issued: bool,
    /// May sign others: `basicConstraints` says so, or it is of version 1, which has no extensions.
    pub(super) is_authority: bool,
    /// Has a `subjectAltName`.
    pub(super) has_names: bool,
    /// The whole `SubjectPublicKeyInfo`.
    pub(super) key_info: Vec<u8>,
    /// The content of its algorithm identifier, and the key's bits.
    pub(super) key_algorithm: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// Reads a certificate; `None` if it is malformed.
pub(super) fn read(certificate: &[u8]) -> Option<Facts> {
    let mut whole = Der(certificate).inside(SEQUENCE)?;
    let mut body = whole.inside(SEQUENCE)?;
    let has_version = body.tag() == Some(VERSION);
    if has_version {
        body.next(VERSION)?;
    }
    body.next(INTEGER)?;
    body.next(SEQUENCE)?;
    let issuer = body.next(SEQUENCE)?;
    let mut validity = body.inside(SEQUENCE)?;
    let not_before = validity.time()?;
    let not_after = validity.time()?;
    let subject = body.next(SEQUENCE)?;
    let key_info = body.next(SEQUENCE)?;
    let mut key = Der(key_info.content);
    let key_algorithm = key.next(SEQUENCE)?.content.to_vec();
    // The first byte of a bit string is its number of unused bits: 0.
    let key = key.next(BIT_STRING)?.content.strip_prefix(&[0])?.to_vec();
    let mut facts = Facts {
        not_before,
        not_after,
        self_issued: issuer.content == subject.content,
        is_authority: !has_version,
        has_names: false,
        key_info: key_info.whole.to_vec(),
        key_algorithm,
        key,
    };
    while let Some(tag) = body.tag() {
        let field = body.next(tag)?;
        if tag == EXTENSIONS {
            extensions(field.content, &mut facts)?;
        }
    }
    Some(facts)
}

fn extensions(content: &[u8], facts: &mut Facts) -> Option<()> {
    let mut list = Der(content).inside(SEQUENCE)?;
    while list.tag().is_some() {
        let mut extension = list.inside(SEQUENCE)?;
        let name = extension.next(OID)?.content;
        if extension.tag() == Some(BOOLEAN) {
            extension.next(BOOLEAN)?;
        }
        let value = extension.next(OCTETS)?.content;
        if name == ALT_NAME {
            facts.has_names = true;
        } else if name == CONSTRAINTS {
            let mut constraints = Der(value).inside(SEQUENCE)?;
            facts.is_authority =
                constraints.tag() == Some(BOOLEAN) && constraints.next(BOOLEAN)?.content == [0xFF];
        }
    }
    Some(())
}

/// A sequence of DER values.
struct Der<'a>(&'a [u8]);

struct Value<'a> {
    content: &'a [u8],
    /// With its tag and length.
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value; `None` if its tag is another one.
    fn next(&mut self, tag: u8) -> Option<Value<'a>> {
        let [found, length, rest @ ..] = self.0 else {
            return None;
        };
        let (length, rest) = match *length {
            short @ ..=0x7F => (usize::from(short), rest),
            // A length of one to four bytes.
            long @ 0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7F))?;
                let length = bytes
                    .iter()
                    .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                (usize::try_from(length).ok()?, rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        if *found != tag {
            return None;
        }
        self.0 = after;
        Some(Value { content, whole })
    }

    fn inside(&mut self, tag: u8) -> Option<Der<'a>> {
        self.next(tag).map(|value| Der(value.content))
    }

    /// Seconds since 1970.
    fn time(&mut self) -> Option<u64> {
        let tag = self.tag()?;
        let text = std::str::from_utf8(self.next(tag)?.content).ok()?;
        let digits = text.strip_suffix('Z')?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match (tag, digits.len()) {
            // RFC 5280, 4.1.2.5.1.
            (UTC_TIME, 12) => {
                let (year, rest) = digits.split_at(2);
                let year: u64 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            (TIME, 14) => {
                let (year, rest) = digits.split_at(4);
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let part = |at: usize| rest[at..at + 2].parse::<u64>().ok();
        let (month, day) = (part(0)?, part(2)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let seconds = part(4)? * 3600 + part(6)? * 60 + part(8)?;
        // Dates before 1970 become 1970.
        Some(days(year, month, day).map_or(0, |days| days * 86_400 + seconds))
    }
}

/// Days from 1970-01-01 to a Gregorian date; `None` before it.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    // In years that begin in March the leap day is the last day.
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(2000, 3, 1), Some(11_017));
        assert_eq!(days(2026, 11, 28), Some(20_785));
        assert_eq!(days(1969, 12, 31), None);
    }

    #[test]
    fn truncated_and_changed_certificates_do_not_panic() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let good = params.self_signed(&key).unwrap().der().to_vec();
        let facts = read(&good).unwrap();
        assert!(facts.self_issued && facts.has_names && !facts.is_authority);
        for end in 0..good.len() {
            assert_eq!(read(&good[..end]), None);
        }
        for at in 0..good.len() {
            for wrong in [0x00, 0x80, 0x84, 0xFF] {
                let mut bent = good.clone();
                bent[at] = wrong;
                let _ = read(&bent);
            }
        }
    }
}
