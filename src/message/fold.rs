//! The words of a text as search compares them: in lower case, without accents. Pure.

/// The most characters of a word that count.
const LONGEST: usize = 32;
/// The most different words of a message that it is found by.
const MOST: usize = 128;

/// Letters with marks that Unicode composes, in lower case, and the letter without: by ranges, `last` included.
const PLAIN: &[(char, char, &str)] = &[
    ('à', 'å', "a"),
    ('æ', 'æ', "ae"),
    ('ç', 'ç', "c"),
    ('è', 'ë', "e"),
    ('ì', 'ï', "i"),
    ('ñ', 'ñ', "n"),
    ('ò', 'ö', "o"),
    ('ø', 'ø', "o"),
    ('ù', 'ü', "u"),
    ('ý', 'ý', "y"),
    ('ÿ', 'ÿ', "y"),
    ('ß', 'ß', "ss"),
    ('ā', 'ą', "a"),
    ('ć', 'č', "c"),
    ('ď', 'đ', "d"),
    ('ē', 'ě', "e"),
    ('ĝ', 'ģ', "g"),
    ('ĥ', 'ħ', "h"),
    ('ĩ', 'ı', "i"),
    ('ĵ', 'ĵ', "j"),
    ('ķ', 'ķ', "k"),
    ('ĺ', 'ł', "l"),
    ('ń', 'ň', "n"),
    ('ō', 'ő', "o"),
    ('œ', 'œ', "oe"),
    ('ŕ', 'ř', "r"),
    ('ś', 'š', "s"),
    ('ţ', 'ŧ', "t"),
    ('ũ', 'ų', "u"),
    ('ŵ', 'ŵ', "w"),
    ('ŷ', 'ŷ', "y"),
    ('ź', 'ž', "z"),
    ('ơ', 'ơ', "o"),
    ('ư', 'ư', "u"),
    ('ș', 'ș', "s"),
    ('ț', 'ț', "t"),
    ('ạ', 'ặ', "a"),
    ('ẹ', 'ệ', "e"),
    ('ỉ', 'ị', "i"),
    ('ọ', 'ợ', "o"),
    ('ụ', 'ự', "u"),
    ('ỳ', 'ỹ', "y"),
    ('ά', 'ά', "α"),
    ('έ', 'έ', "ε"),
    ('ή', 'ή', "η"),
    ('ί', 'ί', "ι"),
    ('ϊ', 'ϊ', "ι"),
    ('ΐ', 'ΐ', "ι"),
    ('ό', 'ό', "ο"),
    ('ύ', 'ύ', "υ"),
    ('ϋ', 'ϋ', "υ"),
    ('ΰ', 'ΰ', "υ"),
    ('ώ', 'ώ', "ω"),
    ('ς', 'ς', "σ"),
    ('ё', 'ё', "е"),
    ('й', 'й', "и"),
    ('ї', 'ї', "і"),
    ('ў', 'ў', "у"),
];

/// Marks that combine with the letter before them: Latin, Greek and Cyrillic accents, Hebrew points, Arabic vowels.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{591}'..='\u{5C7}' | '\u{64B}'..='\u{65F}' | '\u{670}')
}

/// Characters of scripts that put no spaces between words: each is a word.
fn is_word(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}')
}

/// Appends a lower-case character without its accent.
fn push_plain(word: &mut String, c: char) {
    if c.is_ascii() {
        word.push(c);
    } else if !is_mark(c) {
        match PLAIN
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&c))
        {
            Some((_, _, plain)) => word.push_str(plain),
            None => word.push(c),
        }
    }
}

/// The different words of some texts, sorted: of each at most 32 characters, and at most 128, the first ones. Costs
/// as much as the texts up to there.
pub fn words<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts {
        let (mut word, mut length) = (String::new(), 0);
        // The space ends the last word.
        for c in text.chars().chain([' ']) {
            let joins = c.is_alphanumeric() || is_mark(c);
            if !joins || is_word(c) {
                let word = std::mem::take(&mut word);
                length = 0;
                if !insert(&mut found, word) {
                    return found;
                }
                if is_word(c) && !insert(&mut found, c.to_string()) {
                    return found;
                }
            } else if length < LONGEST {
                length += 1;
                c.to_lowercase().for_each(|c| push_plain(&mut word, c));
            }
        }
    }
    found
}

/// Whether there is room for more words.
fn insert(found: &mut Vec<String>, word: String) -> bool {
    if !word.is_empty()
        && let Err(at) = found.binary_search(&word)
    {
        found.insert(at, word);
    }
    found.len() < MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        words([text].into_iter())
    }

    #[test]
    fn case_and_accents_do_not_count() {
        for (a, b) in [
            ("Änderung", "anderung"),
            ("A\u{308}NDERUNG", "ANDERUNG"),
            ("Crème BRÛLÉE", "creme brulee"),
            ("straße", "STRASSE"),
            ("Łódź İstanbul ığdır", "lodz istanbul igdir"),
            ("Điện thoại ưu tiên", "dien thoai uu tien"),
            ("Άνθρωπος", "ανθρωποσ"),
            ("Ёлка йод", "елка иод"),
            ("smørrebrød Æble", "smorrebrod aeble"),
            ("مُحَمَّد", "محمد"),
        ] {
            assert_eq!(of(a), of(b), "{a}");
            assert!(!of(a).is_empty());
        }
        assert_ne!(of("schön"), of("schon gut"));
    }

    #[test]
    fn words_end_where_letters_and_digits_do() {
        assert_eq!(
            of("Invoice_2026-11.pdf, (paid!) don't"),
            ["11", "2026", "don", "invoice", "paid", "pdf", "t"]
        );
        assert_eq!(of("会議は9時"), ["9", "は", "会", "時", "議"]);
        for none in ["", " \n", "🎉🎉", "--- ... !", "\u{301}"] {
            assert!(of(none).is_empty(), "{none}");
        }
        assert_eq!(words(["b a", "c a"].into_iter()), ["a", "b", "c"]);
    }

    #[test]
    fn hostile_texts_have_a_bounded_number_of_bounded_words() {
        let long = of(&"x".repeat(65_536));
        assert_eq!(long, ["x".repeat(LONGEST)]);
        let marks = of(&format!("a{}", "\u{301}".repeat(65_536)));
        assert_eq!(marks, ["a"]);
        let many: String = (0..20_000).map(|n| format!("w{n} ")).collect();
        assert_eq!(of(&many).len(), MOST);
        // A letter may become up to three.
        assert!(of(&"ß".repeat(1_000))[0].len() <= 4 * LONGEST);
    }
}
