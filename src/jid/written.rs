//! Parses phone numbers in the notations of people, phones and text processors.

/// The number of digits of a phone number (E.164).
const LENGTH: std::ops::RangeInclusive<usize> = 7..=15;

/// Why a text is not a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotANumber {
    #[error("neither a WhatsApp JID nor a phone number with its country code")]
    Malformed,
    /// A national number: the country is not known.
    #[error("a phone number without its country code")]
    LeadingZero,
}

/// The 7 to 15 digits of a phone number with its country code.
///
/// Allowed before it: `+`, `00`, `tel:`, `whatsapp:`, a `wa.me` link. Allowed between its digits, which may be
/// those of any script: spaces, dashes, dots, brackets, and characters that [`visible`] removes. `(0)` after
/// the country code is dropped.
///
/// # Errors
/// [`NotANumber::LeadingZero`] if it starts with a single 0; [`NotANumber::Malformed`] for other characters or
/// another length.
pub fn phone_digits(text: &str) -> Result<String, NotANumber> {
    let text = visible(text);
    let number = whole(without_scheme(&text).ok_or(NotANumber::Malformed)?);
    let mut digits = String::with_capacity(*LENGTH.end());
    let mut has_plus = false;
    let mut rest = number.chars();
    while let Some(c) = rest.next() {
        if let Some(digit) = digit(c) {
            if digits.len() > *LENGTH.end() + "00".len() {
                return Err(NotANumber::Malformed);
            }
            digits.push(digit);
        } else if is_plus(c) && !has_plus && digits.is_empty() {
            has_plus = true;
        } else if is_opening(c) {
            let behind = trunk_zero(rest.as_str());
            match behind {
                Some(behind) if !digits.is_empty() => rest = behind.chars(),
                _ => {}
            }
        } else if !is_between(c) {
            return Err(NotANumber::Malformed);
        }
    }
    let digits = digits.strip_prefix("00").unwrap_or(&digits);
    if digits.starts_with('0') {
        return Err(NotANumber::LeadingZero);
    }
    match LENGTH.contains(&digits.len()) {
        true => Ok(digits.to_owned()),
        false => Err(NotANumber::Malformed),
    }
}

/// Removes the `.0` that spreadsheets and templates append, as in `491701234567.0`: dots between digits are
/// ignored, so that a zero would be added to the number.
fn whole(number: &str) -> &str {
    match number.strip_suffix(".0") {
        Some(whole) if whole.bytes().all(|b| b.is_ascii_digit() || b == b'+') => whole,
        _ => number,
    }
}

/// The text after `0)`, if `rest` begins so: the trunk prefix, which is dialled within a country only.
fn trunk_zero(rest: &str) -> Option<&str> {
    let mut chars = rest.chars();
    let mut skip = |wanted: &dyn Fn(char) -> bool| {
        loop {
            let c = chars.next()?;
            if wanted(c) {
                return Some(());
            }
            if !c.is_whitespace() {
                return None;
            }
        }
    };
    skip(&|c| digit(c) == Some('0'))?;
    skip(&is_closing)?;
    Some(chars.as_str())
}

/// The number in a `tel:` or `whatsapp:` URI or a `wa.me` link; of other text, the text.
fn without_scheme(text: &str) -> Option<&str> {
    if let Some(number) = strip_word(text, "tel:") {
        // RFC 3966: parameters follow. An extension is ignored; a local number lacks its country code.
        let mut parts = number.split(';');
        let number = parts.next().unwrap_or_default();
        let is_local = parts.any(|part| strip_word(part, "phone-context=").is_some());
        return (!is_local).then_some(number);
    }
    if let Some(number) = strip_word(text, "whatsapp:") {
        return Some(number);
    }
    let host = strip_word(text, "https://")
        .or_else(|| strip_word(text, "http://"))
        .unwrap_or(text);
    match strip_word(host, "wa.me/") {
        Some(path) => path.split(['?', '#', '/']).next(),
        None => Some(text),
    }
}

/// `strip_prefix`, ignoring ASCII case.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (front, rest) = text.split_at_checked(word.len())?;
    front.eq_ignore_ascii_case(word).then_some(rest)
}

/// The text without invisible characters, trimmed.
pub fn visible(text: &str) -> String {
    let seen: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    seen.trim().to_owned()
}

/// Unicode's ignorable characters: marks of direction, joiners, hints for line breaks. Contacts copied from
/// phones and WhatsApp Web contain some.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The ASCII form of a digit of any script in use.
fn digit(c: char) -> Option<char> {
    /// The zero of each script; nine digits follow.
    const ZEROS: [u32; 19] = [
        0x30,   // ASCII
        0x660,  // Arabic-Indic
        0x6f0,  // Persian, Urdu
        0x7c0,  // N'Ko
        0x966,  // Devanagari
        0x9e6,  // Bengali
        0xa66,  // Gurmukhi
        0xae6,  // Gujarati
        0xb66,  // Odia
        0xbe6,  // Tamil
        0xc66,  // Telugu
        0xce6,  // Kannada
        0xd66,  // Malayalam
        0xe50,  // Thai
        0xed0,  // Lao
        0xf20,  // Tibetan
        0x1040, // Myanmar
        0x17e0, // Khmer
        0xff10, // full-width
    ];
    let code = u32::from(c);
    let zero = ZEROS.iter().rev().find(|zero| **zero <= code)?;
    char::from_digit(code - zero, 10)
}

fn is_plus(c: char) -> bool {
    matches!(c, '+' | '\u{fe62}' | '\u{ff0b}')
}

fn is_opening(c: char) -> bool {
    matches!(c, '(' | '[' | '\u{ff08}' | '\u{ff3b}')
}

fn is_closing(c: char) -> bool {
    matches!(c, ')' | ']' | '\u{ff09}' | '\u{ff3d}')
}

/// Separators of digits; not line ends and list separators, which would join two numbers.
fn is_between(c: char) -> bool {
    let is_dash = matches!(
        c,
        '-' | '\u{58a}' | '\u{5be}' | '\u{1806}' | '\u{2010}'
            ..='\u{2015}'
                | '\u{2043}'
                | '\u{207b}'
                | '\u{208b}'
                | '\u{2212}'
                | '\u{2e3a}'
                | '\u{2e3b}'
                | '\u{301c}'
                | '\u{3030}'
                | '\u{30fc}'
                | '\u{fe58}'
                | '\u{fe63}'
                | '\u{ff0d}'
    );
    let is_dot = matches!(c, '.' | '\u{b7}' | '\u{2024}' | '\u{2027}' | '\u{ff0e}');
    let ends_a_line = matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    );
    is_dash || is_dot || is_closing(c) || (c.is_whitespace() && !ends_a_line)
}

/// The other form of a subscriber's number: Brazil's mobile numbers with and without the ninth digit, Mexico's
/// with and without the old 1, Argentina's with and without the 9. WhatsApp registers one of the two.
pub fn other_form(number: &str) -> Option<String> {
    /// Country code, digits before the optional one, the optional digit, digits after it.
    const PLANS: [(&str, usize, char, usize); 3] =
        [("55", 2, '9', 8), ("52", 0, '1', 10), ("54", 0, '9', 10)];
    PLANS
        .into_iter()
        .find_map(|(country, area, extra, subscriber)| {
            let rest = number.strip_prefix(country)?;
            let (area, rest) = rest.split_at_checked(area)?;
            match rest.strip_prefix(extra) {
                Some(short) if short.len() == subscriber => Some(format!("{country}{area}{short}")),
                _ if rest.len() == subscriber => Some(format!("{country}{area}{extra}{rest}")),
                _ => None,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "491701234567";

    #[test]
    fn numbers_are_parsed_in_every_notation() {
        for text in [
            "491701234567",
            "+49 (170) 123-4567",
            "+49 (0) 170 1234567",
            "+49(0)170 1234567",
            "0049 170 1234567",
            "0049 (0)170 1234567",
            "+0049 170 1234567",
            "(+49) 170 1234567",
            "[+49] 170 1234567",
            "\u{202a}+49 170 1234567\u{202c}",
            "\u{2066}+49\u{a0}170\u{202f}1234567\u{2069}",
            "\u{200e}+491701234567",
            "\u{feff}49\u{200b}170\u{2060}123\u{ad}4567",
            "+49.170.1234567",
            "491701234567.0",
            "+491701234567.0",
            "+49·170·1234567",
            "+49–170—123‑45−67",
            "+49\u{3000}170\u{2003}1234567",
            "\t+49\t170 1234567\r\n",
            "tel:+491701234567",
            "TEL:+49-170-1234567;ext=12",
            "whatsapp:+491701234567",
            "https://wa.me/491701234567?text=hi",
            "wa.me/+491701234567",
            "٤٩١٧٠١٢٣٤٥٦٧",
            "+۴۹ ۱۷۰ ۱۲۳۴۵۶۷",
            "＋４９（１７０）１２３－４５６７",
            "४९१७०१२३४५६७",
            "๔๙๑๗๐๑๒๓๔๕๖๗",
        ] {
            assert_eq!(phone_digits(text).as_deref(), Ok(NUMBER), "{text:?}");
        }
        assert_eq!(phone_digits("4917012").as_deref(), Ok("4917012"));
    }

    #[test]
    fn a_national_number_lacks_its_country_code() {
        for text in [
            "01701234567",
            "(0170) 1234567",
            "(0) 170 1234567",
            "+0170 1234567",
            "0000491701234567",
            "011 49 170 1234567",
            "tel:0170-1234567",
            "\u{200e}\u{6f0}1701234567",
        ] {
            assert_eq!(phone_digits(text), Err(NotANumber::LeadingZero), "{text}");
        }
    }

    #[test]
    fn other_text_and_two_numbers_are_refused() {
        for text in [
            "",
            "+",
            "()",
            "123456",
            "1234567890123456",
            "12345678a",
            "49170 1234567 x1",
            "++491701234567",
            "49+1701234567",
            "4917012\n4917013",
            "4917012, 4917013",
            "4917012;4917013",
            "170/1234567",
            "4917012\u{2028}4917013",
            "tel:1701234567;phone-context=+49",
            "mailto:491701234567",
            "https://wa.me/message/ABCDEF",
            "https://chat.whatsapp.com/AbCd",
            "https://example.com/491701234567",
            "49\u{0}1701234567",
            "²³⁴⁵⁶⁷⁸⁹",
            &"1".repeat(1_000_000),
        ] {
            assert_eq!(phone_digits(text), Err(NotANumber::Malformed), "{text:.40}");
        }
    }

    /// Random numbers with random allowed characters around and between the digits; with any other character
    /// they are refused.
    #[test]
    fn random_notations_of_a_number_parse_to_it() {
        const BETWEEN: &[&str] = &[
            " ", "\u{a0}", "\u{2009}", "\u{3000}", "\t", "-", "–", "‑", "−", ".", "·", "(", ")",
            "[", "]", "\u{200b}", "\u{200e}", "\u{202a}", "\u{202c}", "\u{2060}", "\u{2069}",
            "\u{feff}", "\u{ad}", "\u{fe0f}",
        ];
        const FRONT: &[&str] = &[
            "",
            "+",
            "00",
            "tel:+",
            "tel:",
            "whatsapp:",
            "wa.me/",
            "＋",
            "(+",
        ];
        const ZEROS: &[u32] = &[0x30, 0x660, 0x6f0, 0x966, 0xe50, 0xff10];
        const WRONG: &[&str] = &["a", ",", ";", "\n", "/", "#", "*", "½", "\u{0}"];
        let mut random = fastrand::Rng::with_seed(17);
        for _ in 0..5_000 {
            let length = random.usize(7..=15);
            let mut number = random.u8(1..=9).to_string();
            for _ in 1..length {
                number.push(char::from(b'0' + random.u8(0..10)));
            }
            let zero = *random.choice(ZEROS).unwrap_or(&0x30);
            let mut text = (*random.choice(FRONT).unwrap_or(&"")).to_owned();
            for digit in number.bytes() {
                text.extend(char::from_u32(zero + u32::from(digit - b'0')));
                for _ in 0..random.usize(0..3) {
                    text.push_str(random.choice(BETWEEN).unwrap_or(&" "));
                }
            }
            // `(0)` is not part of the number.
            let zero_in_brackets = "([".chars().any(|open| text.contains(open));
            let read = phone_digits(&text);
            if !zero_in_brackets || !number.contains('0') {
                assert_eq!(read.as_deref(), Ok(number.as_str()), "{text:?}");
            }
            if let Ok(read) = read {
                assert_eq!(
                    phone_digits(&read).as_deref(),
                    Ok(read.as_str()),
                    "{text:?}"
                );
            }
            text.push_str(random.choice(WRONG).unwrap_or(&"a"));
            text.push('1');
            // In these notations text may follow the number.
            let ends_before = text.contains("wa.me/") || text.starts_with("tel:");
            if !ends_before {
                assert!(phone_digits(&text).is_err(), "{text:?}");
            }
        }
    }

    #[test]
    fn the_other_form_is_found_in_both_directions() {
        for (one, other) in [
            ("5511987654321", "551187654321"),
            ("5215512345678", "525512345678"),
            ("5491112345678", "541112345678"),
        ] {
            assert_eq!(other_form(one).as_deref(), Some(other));
            assert_eq!(other_form(other).as_deref(), Some(one));
        }
        for text in [
            "491701234567",
            "55",
            "5511",
            "55119876543210",
            "52",
            "541",
            "é",
            "55é1187654321",
        ] {
            assert_eq!(other_form(text), None, "{text}");
        }
    }
}
