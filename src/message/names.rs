//! People in texts: clients write `@` and the digits of the JID under which a person is mentioned.

/// A text in which people have other digits: of each pair the first is replaced by the second.
pub fn renamed(text: &str, pairs: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('@');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push('@');
        let end = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        let (digits, rest) = part.split_at(end);
        let found = pairs.iter().find(|(before, _)| before == digits);
        out.push_str(found.map_or(digits, |(_, after)| after));
        out.push_str(rest);
    }
    out
}

/// The digits of a person's JID.
pub fn digits(jid: &str) -> &str {
    jid.split('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_person_is_renamed_where_the_digits_are_whole() {
        let pairs = [("49170", "955"), ("1", "2"), ("2", "1")];
        let pairs = pairs.map(|(a, b)| (a.to_owned(), b.to_owned()));
        for (text, expected) in [
            (
                "hi @49170, @491700 and a@49170.",
                "hi @955, @491700 and a@955.",
            ),
            ("@1@2 @", "@2@1 @"),
            ("no one", "no one"),
            ("@é@1é", "@é@2é"),
        ] {
            assert_eq!(renamed(text, &pairs), expected);
        }
        assert_eq!(digits("49170@s.whatsapp.net"), "49170");
    }
}
