//! Requests as types: which fields a request has, how each is read and checked, how it is described.
//!
//! [`request!`] declares a request as a struct. Each of its fields has a name on the wire, a place ([`Place`]), a doc line and
//! a type that is a [`Field`]: the type reads a JSON value, checks its bounds, and, for the OpenAPI document, describes the
//! same bounds as a JSON schema. Texts out of forms, queries and paths are read as JSON strings, so every type
//! also reads the string forms of its values (`"true"`, `"60"`).
//!
//! The struct's doc lines become descriptions in the OpenAPI document, the fields' types its schemas.
//! This module stands below `message` and `api`: both declare requests with it.

mod types;

use serde_json::{Map, Value};

pub use types::{
    Addressee, Caption, Limited, MAX_MENTIONS, MAX_WHOLE, Mentions, Moment, NonEmpty, Phone,
    StringMap, Text, Whole, whole, written,
};

/// Why a field was refused. Always the caller's mistake: HTTP 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// One field has the wrong type or is out of bounds.
    #[error("\"{field}\" must be {expected}")]
    Field {
        field: &'static str,
        expected: &'static str,
    },
    /// A complete sentence, for errors whose wording is part of the API's contract.
    #[error("{0}")]
    Words(String),
}

/// The type of a request's field.
pub trait Field: Sized {
    /// Whether a request without this field is refused.
    const REQUIRED: bool = true;
    /// Whether all values count of a query parameter that is repeated; otherwise the first one does.
    const REPEATS: bool = false;

    /// Reads a value that is not `null`.
    ///
    /// # Errors
    /// [`FieldError`] that names the field `name`.
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError>;

    /// The value of a field that the request does not have.
    ///
    /// # Errors
    /// For required fields, what [`Field::read`] says of an empty string.
    fn absent(name: &'static str) -> Result<Self, FieldError> {
        Self::read(name, &Value::String(String::new()))
    }

    /// Whether a value that is there counts as absent: the empty string does, unless the type says otherwise.
    fn is_blank(value: &Value) -> bool {
        value.as_str() == Some("")
    }

    /// The JSON schema of the values that [`Field::read`] takes, without their string forms.
    #[cfg(test)]
    fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema;
}

impl<T: Field> Field for Option<T> {
    const REQUIRED: bool = false;
    const REPEATS: bool = T::REPEATS;

    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        T::read(name, value).map(Some)
    }

    fn absent(_name: &'static str) -> Result<Self, FieldError> {
        Ok(None)
    }

    fn is_blank(value: &Value) -> bool {
        T::is_blank(value)
    }

    #[cfg(test)]
    fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = T::schema(generator);
        // Where the empty string counts as absent, it is not refused.
        if T::is_blank(&Value::String(String::new()))
            && schema.get("minLength") == Some(&Value::from(1))
        {
            schema.remove("minLength");
            if let Some(Value::String(pattern)) = schema.get("pattern") {
                let inner = pattern.trim_start_matches('^').trim_end_matches('$');
                let pattern = format!("^(?:{inner})?$");
                schema.insert("pattern".to_owned(), pattern.into());
            }
        }
        schema
    }
}

/// A request that [`request!`] declares, or several of them that share one HTTP request, as a tuple.
pub trait Request: Sized {
    /// Whether any field stands in the body.
    const HAS_BODY: bool;

    /// Reads all fields, in the order of their declaration.
    ///
    /// # Errors
    /// [`FieldError`] of the first field that is wrong; before that, the struct's own words if a required field is absent.
    fn read(parts: &Parts) -> Result<Self, FieldError>;

    /// Checks those fields of the body that are there: the others may follow.
    ///
    /// # Errors
    /// [`FieldError`] of the first field that is wrong.
    fn check_early(body: &Fields) -> Result<(), FieldError>;

    /// Appends a description of each field.
    #[cfg(test)]
    fn describe(generator: &mut schemars::SchemaGenerator, out: &mut Vec<Described>);

    /// Fields of which the body needs at least one.
    #[cfg(test)]
    fn one_of() -> &'static [&'static str] {
        &[]
    }
}

/// A request without fields.
impl Request for () {
    const HAS_BODY: bool = false;

    fn read(_parts: &Parts) -> Result<(), FieldError> {
        Ok(())
    }

    fn check_early(_body: &Fields) -> Result<(), FieldError> {
        Ok(())
    }

    #[cfg(test)]
    fn describe(_generator: &mut schemars::SchemaGenerator, _out: &mut Vec<Described>) {}
}

macro_rules! tuple {
    ($($T:ident)*) => {
        impl<$($T: Request),*> Request for ($($T,)*) {
            const HAS_BODY: bool = $($T::HAS_BODY ||)* false;

            fn read(parts: &Parts) -> Result<Self, FieldError> {
                Ok(($($T::read(parts)?,)*))
            }

            fn check_early(body: &Fields) -> Result<(), FieldError> {
                $($T::check_early(body)?;)*
                Ok(())
            }

            #[cfg(test)]
            fn describe(generator: &mut schemars::SchemaGenerator, out: &mut Vec<Described>) {
                $($T::describe(generator, out);)*
            }

            #[cfg(test)]
            fn one_of() -> &'static [&'static str] {
                let all = [$($T::one_of()),*];
                all.into_iter().find(|names| !names.is_empty()).unwrap_or_default()
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);
tuple!(A B C D);

/// Where in a request a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
    Body,
}

/// A field's name and place.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    pub place: Place,
    pub name: &'static str,
    /// A second name, which counts where the first is absent; empty if there is none.
    pub alias: &'static str,
}

/// One field, for the OpenAPI document.
#[cfg(test)]
#[derive(Debug)]
pub struct Described {
    pub slot: Slot,
    pub doc: String,
    pub required: bool,
    pub schema: schemars::Schema,
}

/// The fields of one place, by their names. A field that is `null` is absent.
#[derive(Debug, Default, Clone)]
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn from_map(map: Map<String, Value>) -> Fields {
        Fields(map)
    }

    /// All fields as they came, also those that no request declares.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A list that is the value of a field.
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        self.0.get(name)?.as_array().map(Vec::as_slice)
    }

    /// The same fields with another value in one of them.
    pub fn with(&self, name: &str, value: Value) -> Fields {
        let others = self.0.iter().filter(|(other, _)| *other != name);
        let mut fields: Map<String, Value> = others
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        fields.insert(name.to_owned(), value);
        Fields(fields)
    }

    /// How many fields there are, also those that no request declares.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a value that came as text. A field that comes again is a list, and so is one whose name ends in `[]`.
    pub fn add(&mut self, name: String, text: String) {
        let (name, is_list) = match name.strip_suffix("[]") {
            Some(name) => (name.to_owned(), true),
            None => (name, false),
        };
        let text = Value::String(text);
        match self.0.get_mut(&name) {
            None if is_list => {
                self.0.insert(name, Value::Array(vec![text]));
            }
            None => {
                self.0.insert(name, text);
            }
            Some(Value::Array(items)) => items.push(text),
            Some(first) => {
                let first_value = first.take();
                *first = Value::Array(vec![first_value, text]);
            }
        }
    }

    /// Takes a string out of the fields; an empty one stays in its place.
    pub fn take_text(&mut self, name: &str, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
        match self.0.get_mut(name) {
            Some(Value::String(text)) if !text.is_empty() && is_wanted(text) => {
                Some(std::mem::take(text))
            }
            _ => None,
        }
    }

    /// The fields as JSON with sorted names: the same text for the same fields, in whatever order they came.
    pub fn canonical(&self) -> String {
        // serde_json's map is sorted, and JSON values always serialize.
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    fn get<T: Field>(&self, name: &str) -> Option<&Value> {
        let value = self.0.get(name)?;
        (!value.is_null() && !T::is_blank(value)).then_some(value)
    }

    /// The value of a slot and the name under which it stands.
    fn find<T: Field>(&self, slot: &Slot) -> Option<(&'static str, &Value)> {
        let first = self.get::<T>(slot.name).map(|value| (slot.name, value));
        match slot.alias {
            "" => first,
            alias => first.or_else(|| self.get::<T>(alias).map(|value| (alias, value))),
        }
    }

    /// Reads a field if it is there.
    ///
    /// # Errors
    /// As [`Field::read`].
    pub fn check<T: Field>(&self, slot: &Slot) -> Result<(), FieldError> {
        match self.find::<T>(slot) {
            Some((name, value)) => T::read(name, value).map(drop),
            None => Ok(()),
        }
    }
}

/// A request's fields by their place.
#[derive(Debug, Default, Clone)]
pub struct Parts {
    pub path: Fields,
    pub query: Fields,
    pub header: Fields,
    pub body: Fields,
}

impl Parts {
    fn of(&self, place: Place) -> &Fields {
        match place {
            Place::Path => &self.path,
            Place::Query => &self.query,
            Place::Header => &self.header,
            Place::Body => &self.body,
        }
    }

    /// Whether a required field is absent.
    pub fn lacks<T: Field>(&self, slot: &Slot) -> bool {
        T::REQUIRED && self.of(slot.place).find::<T>(slot).is_none()
    }

    /// Reads a field.
    ///
    /// # Errors
    /// As [`Field::read`] and [`Field::absent`].
    pub fn read<T: Field>(&self, slot: &Slot) -> Result<T, FieldError> {
        match self.of(slot.place).find::<T>(slot) {
            None if slot.alias.is_empty() => T::absent(slot.name),
            None => T::absent(slot.alias),
            Some((name, Value::Array(values))) if slot.place == Place::Query && !T::REPEATS => {
                // `add` makes no empty list.
                T::read(name, values.first().unwrap_or(&Value::Null))
            }
            Some((name, value)) => T::read(name, value),
        }
    }
}

/// Declares a request as a struct that is a [`Request`].
///
/// ```ignore
/// request! {
///     /// An account to create.
///     pub struct NewAccount missing "id is required" {
///         /// The account's id.
///         id: AccountId = "id",
///         /// The webhook's account.
///         of: Option<AccountId> = query "accountId" or "account",
///     }
/// }
/// ```
///
/// A field stands in the body unless `path`, `query` or `header` is written before its name; `or` gives it a second name;
/// `missing` gives the words of the error for a request that lacks one of the required fields.
macro_rules! request {
    (@place) => { $crate::fields::Place::Body };
    (@place path) => { $crate::fields::Place::Path };
    (@place query) => { $crate::fields::Place::Query };
    (@place header) => { $crate::fields::Place::Header };
    (@slot [$($place:ident)?] $name:literal $($alias:literal)?) => {
        &$crate::fields::Slot {
            place: $crate::fields::request!(@place $($place)?),
            name: $name,
            alias: concat!($($alias)?),
        }
    };
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $Name:ident $(missing $words:literal)? {
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $T:ty = $($place:ident)? $name:literal $(or $alias:literal)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        $vis struct $Name {
            $($(#[doc = $doc])* pub $field: $T,)*
        }

        impl $crate::fields::Request for $Name {
            const HAS_BODY: bool = $(
                matches!($crate::fields::request!(@place $($place)?), $crate::fields::Place::Body) ||
            )* false;

            fn read(parts: &$crate::fields::Parts) -> Result<Self, $crate::fields::FieldError> {
                let words: &[&str] = &[$($words)?];
                if let [words] = words
                    && ($(
                        parts.lacks::<$T>($crate::fields::request!(@slot [$($place)?] $name $($alias)?)) ||
                    )* false)
                {
                    return Err($crate::fields::FieldError::Words((*words).to_owned()));
                }
                Ok($Name {
                    $($field: parts.read($crate::fields::request!(@slot [$($place)?] $name $($alias)?))?,)*
                })
            }

            fn check_early(body: &$crate::fields::Fields) -> Result<(), $crate::fields::FieldError> {
                $(
                    let slot = $crate::fields::request!(@slot [$($place)?] $name $($alias)?);
                    if slot.place == $crate::fields::Place::Body {
                        body.check::<$T>(slot)?;
                    }
                )*
                Ok(())
            }

            #[cfg(test)]
            fn describe(
                generator: &mut schemars::SchemaGenerator,
                out: &mut Vec<$crate::fields::Described>,
            ) {
                $(out.push($crate::fields::Described {
                    slot: *$crate::fields::request!(@slot [$($place)?] $name $($alias)?),
                    doc: concat!($($doc, "\n"),*).to_owned(),
                    required: <$T as $crate::fields::Field>::REQUIRED,
                    schema: <$T as $crate::fields::Field>::schema(generator),
                });)*
            }
        }
    };
}
pub(crate) use request;

#[cfg(test)]
mod tests {
    use super::*;

    request! {
        /// A request of each place.
        struct Sample missing "to and text are required" {
            /// The recipient.
            to: NonEmpty = "to" or "chatId",
            text: Text = "text",
            loud: bool = "loud",
            limit: Option<Whole> = query "limit",
            id: String = path "id",
        }
    }

    fn parts(json: &str) -> Parts {
        let mut parts = Parts::default();
        let body: Value = serde_json::from_str(json).unwrap();
        parts.body = Fields::from_map(body.as_object().unwrap().clone());
        parts.path.add("id".to_owned(), "alice".to_owned());
        parts
    }

    #[test]
    fn a_request_is_read_from_its_places() {
        let mut from = parts(r#"{"to": "", "chatId": "b", "text": "hi", "loud": "yes", "id": 5}"#);
        from.query.add("limit".to_owned(), "7".to_owned());
        from.query.add("limit".to_owned(), "x".to_owned());
        let read = Sample::read(&from).unwrap();
        assert_eq!((read.to.0.as_str(), read.text.0.as_str()), ("b", "hi"));
        assert!(read.loud && read.id == "alice");
        assert_eq!(read.limit.map(|limit| limit.0), Some(7));
        const { assert!(Sample::HAS_BODY && <(Sample, ())>::HAS_BODY && !<()>::HAS_BODY) };
    }

    #[test]
    fn absent_fields_come_before_wrong_ones() {
        let error = |json: &str| Sample::read(&parts(json)).unwrap_err().to_string();
        assert_eq!(error(r#"{"to": 5}"#), "to and text are required");
        assert_eq!(
            error(r#"{"to": null, "text": "a"}"#),
            "to and text are required"
        );
        assert_eq!(
            error(r#"{"chatId": 5, "text": "a"}"#),
            "\"chatId\" must be a string"
        );
        assert_eq!(
            error(r#"{"to": "a", "text": "a", "loud": 2}"#),
            "\"loud\" must be true or false"
        );
    }

    #[test]
    fn what_is_there_is_checked_early() {
        let check = |json: &str| Sample::check_early(&parts(json).body);
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(check(r#"{"text": "a", "to": ""}"#), Ok(()));
        assert!(check(r#"{"text": ""}"#).is_err());
        assert!(<(Sample, ())>::check_early(&parts(r#"{"loud": "x"}"#).body).is_err());
    }

    #[test]
    fn a_request_describes_itself() {
        let mut generator = schemars::SchemaGenerator::default();
        let mut found = Vec::new();
        Sample::describe(&mut generator, &mut found);
        let [to, text, loud, limit, id] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(
            (to.doc.trim(), to.slot.alias, to.required),
            ("The recipient.", "chatId", true)
        );
        assert_eq!(text.schema.get("maxLength"), Some(&Value::from(65_536)));
        assert!(!loud.required && !limit.required && id.slot.place == Place::Path);
    }
}
