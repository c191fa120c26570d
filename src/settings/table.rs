//! How settings are declared: the macros that make the table and the typed structs of one declaration, and
//! how each type is read and shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_types::Url;

use super::layers::Reader;
use super::values::{self, Version};
use crate::jid::ChatJid;

/// One setting, as plain data.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub section: &'static str,
    pub name: &'static str,
    pub(super) kind: Kind,
    /// As text, also if it is a number.
    pub(super) default: &'static str,
    /// Its variables of WILDCAT 2.0: one, or those of an address's host and port.
    pub(super) old: &'static [&'static str],
    /// For the documents that tests hold to the table; the binary needs no words.
    #[cfg(test)]
    pub(super) words: &'static str,
}

/// What a value looks like in a file, and its bounds, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Count(u64, u64),
    /// Milliseconds; text with a unit.
    Duration(u64, u64),
    /// Bytes; text with a unit up to MiB.
    Size(u64, u64),
    /// Bytes, in MiB or GiB; empty: no bound.
    Space(u64, u64),
}

pub(super) const MILLISECOND: u64 = 1;
pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;
pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;

pub(super) const fn text(default: &'static str) -> Setting {
    of_kind(Kind::Text, default)
}

pub(super) const fn flag(default: &'static str) -> Setting {
    of_kind(Kind::Flag, default)
}

pub(super) const fn count(default: &'static str, min: u64, max: u64) -> Setting {
    of_kind(Kind::Count(min, max), default)
}

pub(super) const fn duration(default: &'static str, min: u64, max: u64) -> Setting {
    of_kind(Kind::Duration(min, max), default)
}

pub(super) const fn size(default: &'static str, min: u64, max: u64) -> Setting {
    of_kind(Kind::Size(min, max), default)
}

pub(super) const fn space(default: &'static str, min: u64, max: u64) -> Setting {
    of_kind(Kind::Space(min, max), default)
}

const fn of_kind(kind: Kind, default: &'static str) -> Setting {
    Setting {
        section: "",
        name: "",
        kind,
        default,
        old: &[],
        #[cfg(test)]
        words: "",
    }
}

impl Setting {
    pub(super) const fn formerly(self, old: &'static [&'static str]) -> Setting {
        Setting { old, ..self }
    }

    /// `section.name`.
    pub fn key(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Its name in the environment.
    pub(super) fn variable(&self) -> String {
        format!("WILDCAT_{}_{}", self.section, self.name).to_ascii_uppercase()
    }

    /// A value of it as TOML.
    pub(super) fn toml(&self, value: &str) -> String {
        match self.kind {
            Kind::Flag | Kind::Count(..) => value.to_owned(),
            _ => values::quoted(value),
        }
    }
}

/// A type that a setting can have.
pub(super) trait Value: Sized {
    /// # Errors
    /// Words that fit behind the setting's name.
    fn read(text: &str, kind: Kind) -> Result<Self, String>;

    /// The shortest text that `read` takes.
    fn show(&self, kind: Kind) -> String;
}

/// Declares all settings: a struct for each section, [`Settings`] of them, the table
/// [`SETTINGS`](super::SETTINGS), and the way between the two.
macro_rules! settings {
    ($(
        #[doc = $about:literal]
        $section:ident: $Section:ident {$(
            $(#[doc = $words:literal])+
            $name:ident: $type:ty = $declared:expr;
        )+}
    )+) => {
        /// Every setting, checked.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Settings {
            $(pub $section: $Section,)+
        }

        $(
            #[doc = $about]
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Section {$(
                $(#[doc = $words])+
                pub $name: $type,
            )+}
        )+

        /// Every setting, in the order of `config/wildcat.toml`.
        pub static SETTINGS: &[super::table::Setting] = &[$($(
            super::table::Setting {
                section: stringify!($section),
                name: stringify!($name),
                #[cfg(test)]
                words: concat!($($words),+),
                ..$declared
            },
        )+)+];

        impl Settings {
            /// Takes every value from `values`, which follow the order of [`SETTINGS`].
            pub(super) fn read(values: &mut super::layers::Reader<'_>) -> Settings {
                Settings {
                    $($section: $Section { $($name: values.next(),)+ },)+
                }
            }

            /// Every value as text, in the order of [`SETTINGS`].
            pub(super) fn shown(&self) -> Vec<String> {
                use super::table::Value as _;
                let mut kinds = SETTINGS.iter().map(|setting| setting.kind);
                let mut next = || kinds.next().unwrap_or(super::table::Kind::Text);
                vec![$($(self.$section.$name.show(next()),)+)+]
            }
        }
    };
}
pub(super) use settings;

/// Declares enums whose values are words.
macro_rules! choices {
    ($(
        #[doc = $about:literal]
        $Choice:ident {$(
            #[doc = $words:literal]
            $Variant:ident = $word:literal,
        )+}
    )+) => {$(
        #[doc = $about]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Choice {$(
            #[doc = $words]
            $Variant,
        )+}

        impl super::table::Value for $Choice {
            fn read(text: &str, _: super::table::Kind) -> Result<Self, String> {
                match text {
                    $($word => Ok($Choice::$Variant),)+
                    _ => Err(super::values::no_choice(text, &[$($word),+])),
                }
            }

            fn show(&self, _: super::table::Kind) -> String {
                match self {
                    $($Choice::$Variant => $word.to_owned(),)+
                }
            }
        }
    )+};
}
pub(super) use choices;

impl Reader<'_> {
    /// The next setting's value. What is wrong with it is noted, and the default stands in.
    pub(super) fn next<T: Value>(&mut self) -> T {
        let (setting, entry) = self.entry();
        match entry.and_then(|text| T::read(text, setting.kind)) {
            Ok(value) => value,
            Err(message) => {
                self.refuse(message);
                // Defaults are part of the program, and a test reads all of them.
                T::read(setting.default, setting.kind)
                    .unwrap_or_else(|message| panic!("{}: {message}", setting.name))
            }
        }
    }
}

impl Value for u64 {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        values::number(text, kind)
    }

    fn show(&self, kind: Kind) -> String {
        values::show_number(*self, kind)
    }
}

impl Value for u32 {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        fitting(values::number(text, kind)?, text)
    }

    fn show(&self, kind: Kind) -> String {
        values::show_number(u64::from(*self), kind)
    }
}

impl Value for usize {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        fitting(values::number(text, kind)?, text)
    }

    fn show(&self, kind: Kind) -> String {
        values::show_number(*self as u64, kind)
    }
}

/// Bounds keep numbers within their types; this is for a bound that does not.
fn fitting<T: TryFrom<u64>>(number: u64, text: &str) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("{text} is too large"))
}

impl Value for Duration {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        values::number(text, kind).map(Duration::from_millis)
    }

    fn show(&self, kind: Kind) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        values::show_number(millis, kind)
    }
}

impl Value for Option<u64> {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        match text {
            "" => Ok(None),
            text => values::number(text, kind).map(Some),
        }
    }

    fn show(&self, kind: Kind) -> String {
        self.map_or_else(String::new, |bytes| values::show_number(bytes, kind))
    }
}

impl Value for bool {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => Err(format!("{text:?} is not true or false")),
        }
    }

    fn show(&self, _: Kind) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        Ok(PathBuf::from(text))
    }

    fn show(&self, _: Kind) -> String {
        self.to_string_lossy().into_owned()
    }
}

impl Value for Option<PathBuf> {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn show(&self, kind: Kind) -> String {
        self.as_ref()
            .map_or_else(String::new, |path| path.show(kind))
    }
}

impl Value for SocketAddr {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        values::listen(text)
    }

    fn show(&self, _: Kind) -> String {
        self.to_string()
    }
}

impl Value for Vec<String> {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        values::host_names(text)
    }

    fn show(&self, _: Kind) -> String {
        self.join(", ")
    }
}

impl Value for Url {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        values::websocket_url(text)
    }

    fn show(&self, _: Kind) -> String {
        self.to_string()
    }
}

impl Value for Option<Version> {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        match text {
            "" => Ok(None),
            text => values::version(text).map(Some),
        }
    }

    fn show(&self, _: Kind) -> String {
        self.map_or_else(String::new, |(a, b, c)| format!("{a}.{b}.{c}"))
    }
}

/// The name in the phone's list, the only setting that is free text.
impl Value for String {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        values::device_name(text)
    }

    fn show(&self, _: Kind) -> String {
        self.clone()
    }
}

impl Value for Option<ChatJid> {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        match text {
            "" => Ok(None),
            text => ChatJid::typed(text)
                .map(Some)
                .map_err(|error| format!("{text:?} is {error}")),
        }
    }

    fn show(&self, _: Kind) -> String {
        self.as_ref().map_or_else(String::new, ToString::to_string)
    }
}

impl Value for log::LevelFilter {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        values::level(text)
    }

    fn show(&self, _: Kind) -> String {
        self.as_str().to_ascii_lowercase()
    }
}
