//! How settings are declared: the macros that make the table and the typed structs of one declaration, and
//! how each type is read and shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_types::Url;

use super::values::{self, Version, Words};
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

/// A declaration, without what [`settings`] adds to it.
pub(super) const fn of(kind: Kind, default: &'static str) -> Setting {
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
            /// Takes every value from `values`, in the order of [`SETTINGS`].
            pub(super) fn read(values: &mut super::layers::Layers) -> Settings {
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

/// How types are read and shown.
macro_rules! values {
    ($($type:ty: |$text:ident, $kind:pat_param| $read:expr, |$value:ident, $unit:pat_param| $shown:expr;)+) => {$(
        impl Value for $type {
            fn read($text: &str, $kind: Kind) -> Result<Self, String> {
                $read
            }

            fn show(&self, $unit: Kind) -> String {
                let $value = self;
                $shown
            }
        }
    )+};
}

values! {
    u64: |text, kind| values::number(text, kind), |value, kind| values::show_number(*value, kind);
    u32: |text, kind| fitting(text, kind), |value, kind| values::show_number(u64::from(*value), kind);
    usize: |text, kind| fitting(text, kind), |value, kind| values::show_number(*value as u64, kind);
    Duration: |text, kind| values::number(text, kind).map(Duration::from_millis),
        |value, kind| values::show_number(u64::try_from(value.as_millis()).unwrap_or(u64::MAX), kind);
    bool: |text, _| values::flag(text), |value, _| value.to_string();
    SocketAddr: |text, _| values::listen(text), |value, _| value.to_string();
    Vec<String>: |text, _| values::host_names(text), |value, _| value.join(", ");
    PathBuf: |text, _| Ok(PathBuf::from(text)), |value, _| value.to_string_lossy().into_owned();
    Url: |text, _| values::websocket_url(text), |value, _| value.to_string();
    Version: |text, _| values::version(text), |value, _| format!("{}.{}.{}", value.0, value.1, value.2);
    // The name in the phone's list.
    String: |text, _| values::device_name(text), |value, _| value.clone();
    Words: |text, _| Words::read(text), |value, _| value.0.clone();
    ChatJid: |text, _| ChatJid::typed(text).map_err(|error| format!("{text:?} is {error}")),
        |value, _| value.to_string();
    log::LevelFilter: |text, _| values::level(text), |value, _| value.as_str().to_ascii_lowercase();
}

/// `None` is written as an empty text.
impl<T: Value> Value for Option<T> {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        match text {
            "" => Ok(None),
            text => T::read(text, kind).map(Some),
        }
    }

    fn show(&self, kind: Kind) -> String {
        self.as_ref()
            .map_or_else(String::new, |value| value.show(kind))
    }
}

/// Bounds keep numbers within their types; the error is for a bound that does not.
fn fitting<T: TryFrom<u64>>(text: &str, kind: Kind) -> Result<T, String> {
    let number = values::number(text, kind)?;
    T::try_from(number).map_err(|_| format!("{text} is too large"))
}
