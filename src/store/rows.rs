//! Rows with types, over the tables of bytes. A kind of rows is declared once, in [`super::schema`]: its
//! table, the parts of its keys, the form of its values.
//!
//! All of them share the byte functions of [`ReadTx`] and [`WriteTx`]; this module encodes, decodes, and names
//! table and key of a row that cannot be decoded.

use std::fmt::Display;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Result, StoreError};
use super::key::{Key, KeyReader};
use super::schema::Id;
use super::tx::{ReadTx, Walk, WriteTx};
use crate::message::Message;

/// With an error in words.
type Coded<T> = std::result::Result<T, String>;

/// A kind of rows: keys of the parts `K`, values of the form `V`.
pub struct Rows<K, V> {
    table: Id,
    /// Bytes behind the first part of a key, which distinguish the kinds of rows in one table; the whole key
    /// where a row is alone of its kind.
    kind: &'static [u8],
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Shape, V: Form> Rows<K, V> {
    pub const fn new(table: Id, kind: &'static [u8]) -> Rows<K, V> {
        Rows {
            table,
            kind,
            types: PhantomData,
        }
    }

    /// A key, or the prefix of keys, of these parts.
    pub fn key(&self, parts: impl Parts) -> Key {
        parts.key(self.kind)
    }

    pub fn get<'t>(&self, tx: &ReadTx<'t>, key: K::Given<'_>) -> Result<Option<V::Read<'t>>> {
        self.get_at(tx, &self.key(key))
    }

    /// [`get`](Self::get) by an encoded key.
    pub fn get_at<'t>(&self, tx: &ReadTx<'t>, key: &[u8]) -> Result<Option<V::Read<'t>>> {
        let bytes = tx.get(self.table, key)?;
        bytes
            .map(|bytes| decode::<V>(self.table, key, bytes))
            .transpose()
    }

    /// The row that another one names.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] also if it is missing.
    pub fn named<'t>(&self, tx: &ReadTx<'t>, key: K::Given<'_>) -> Result<V::Read<'t>> {
        let key = self.key(key);
        self.get_at(tx, &key)?
            .ok_or_else(|| corrupt(self.table, &key, "an index names it, it is missing"))
    }

    /// Bytes of a value; `None` if there is no such row.
    pub fn size(&self, tx: &ReadTx<'_>, key: K::Given<'_>) -> Result<Option<usize>> {
        Ok(tx.get(self.table, &self.key(key))?.map(<[u8]>::len))
    }

    /// Stores a row; bytes of its value.
    pub fn put(
        &self,
        tx: &mut WriteTx<'_>,
        key: K::Given<'_>,
        value: V::Given<'_>,
    ) -> Result<usize> {
        self.put_at(tx, &self.key(key), value)
    }

    /// [`put`](Self::put) by an encoded key.
    pub fn put_at(&self, tx: &mut WriteTx<'_>, key: &[u8], value: V::Given<'_>) -> Result<usize> {
        let bytes = self.encode(value)?;
        tx.put(self.table, key, &bytes)?;
        Ok(bytes.len())
    }

    /// The bytes of a value.
    pub fn encode(&self, value: V::Given<'_>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match V::encode(value, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(cause) => Err(StoreError::Encode {
                table: self.table.name(),
                cause: cause.into(),
            }),
        }
    }

    /// Whether the row was there.
    pub fn delete(&self, tx: &mut WriteTx<'_>, key: K::Given<'_>) -> Result<bool> {
        self.delete_at(tx, &self.key(key))
    }

    /// [`delete`](Self::delete) by an encoded key.
    pub fn delete_at(&self, tx: &mut WriteTx<'_>, key: &[u8]) -> Result<bool> {
        tx.delete(self.table, key)
    }

    /// Deletes the rows whose keys begin with these parts, at most `limit`; how many they were.
    pub fn delete_all(
        &self,
        tx: &mut WriteTx<'_>,
        parts: impl Parts,
        limit: usize,
    ) -> Result<usize> {
        tx.delete_prefix(self.table, &self.key(parts), limit)
    }

    /// The rows whose keys begin with these parts, in order.
    pub fn scan<'t>(&self, tx: &ReadTx<'t>, parts: impl Parts) -> Result<Scan<'t, K, V>> {
        let prefix = self.key(parts);
        let end = prefix.clone().after_prefix();
        self.found(tx.range(self.table, &prefix, end.as_deref()))
    }

    /// [`scan`](Self::scan), last first.
    pub fn scan_back<'t>(&self, tx: &ReadTx<'t>, parts: impl Parts) -> Result<Scan<'t, K, V>> {
        let prefix = self.key(parts);
        let end = prefix.clone().after_prefix();
        self.found(tx.range_back(self.table, &prefix, end.as_deref()))
    }

    /// The rows whose keys begin with `within`, from that of the parts `start` on.
    pub fn scan_from<'t>(
        &self,
        tx: &ReadTx<'t>,
        start: impl Parts,
        within: impl Parts,
    ) -> Result<Scan<'t, K, V>> {
        let end = self.key(within).after_prefix();
        self.found(tx.range(self.table, &self.key(start), end.as_deref()))
    }

    /// The rows from `start` to before `end`, encoded keys, last first.
    pub fn range_back<'t>(
        &self,
        tx: &ReadTx<'t>,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Result<Scan<'t, K, V>> {
        self.found(tx.range_back(self.table, start, end))
    }

    fn found<'t>(&self, rows: Result<Walk<'t>>) -> Result<Scan<'t, K, V>> {
        Ok(Scan {
            rows: rows?,
            table: self.table,
            kind: self.kind.len(),
            types: PhantomData,
        })
    }
}

fn decode<'t, V: Form>(table: Id, key: &[u8], bytes: &'t [u8]) -> Result<V::Read<'t>> {
    V::decode(bytes).map_err(|cause| corrupt(table, key, cause))
}

fn corrupt(table: Id, key: &[u8], cause: impl Display) -> StoreError {
    StoreError::corrupt(table.name(), key, cause)
}

/// Rows that are read one by one.
pub struct Scan<'t, K, V> {
    rows: Walk<'t>,
    table: Id,
    /// Bytes of [`Rows::kind`].
    kind: usize,
    types: PhantomData<fn() -> (K, V)>,
}

impl<'t, K, V> Iterator for Scan<'t, K, V> {
    type Item = Result<Found<'t, K, V>>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.map(|(key, bytes)| Found {
            key,
            bytes,
            table: self.table,
            kind: self.kind,
            types: PhantomData,
        }))
    }
}

/// A row where it lies in the map; nothing is decoded before it is asked for.
pub struct Found<'t, K, V> {
    pub key: &'t [u8],
    pub bytes: &'t [u8],
    table: Id,
    kind: usize,
    types: PhantomData<fn() -> (K, V)>,
}

impl<'t, K: Shape, V: Form> Found<'t, K, V> {
    /// The parts of its key; texts are left out, as `()`.
    pub fn parts(&self) -> Result<K::Read> {
        K::read(self.key, self.kind)
            .ok_or_else(|| corrupt(self.table, self.key, "not the parts of its key"))
    }

    pub fn value(&self) -> Result<V::Read<'t>> {
        decode::<V>(self.table, self.key, self.bytes)
    }
}

/// A text: in keys see [`super::key`], in values it is UTF-8.
pub enum Text {}

/// A part of a key.
pub trait Part {
    type Given<'a>: Give;
    type Read;
    fn read(key: &mut KeyReader<'_>) -> Option<Self::Read>;
}

/// A part of a key that is given.
pub trait Give: Copy {
    fn give(self, key: Key) -> Key;
}

macro_rules! numbers {
    ($($number:ident),+) => {$(
        impl Give for $number {
            fn give(self, key: Key) -> Key {
                key.$number(self)
            }
        }

        impl Part for $number {
            type Given<'a> = $number;
            type Read = $number;
            fn read(key: &mut KeyReader<'_>) -> Option<$number> {
                key.$number()
            }
        }

        impl Form for $number {
            type Given<'a> = $number;
            type Read<'t> = $number;

            fn encode(number: $number, bytes: &mut Vec<u8>) -> Coded<()> {
                bytes.extend_from_slice(&number.to_be_bytes());
                Ok(())
            }

            fn decode(bytes: &[u8]) -> Coded<$number> {
                KeyReader(bytes).$number().ok_or_else(|| "not a number".to_owned())
            }
        }

        /// A number, then another value.
        impl<V: Form> Form for ($number, V) {
            type Given<'a> = ($number, V::Given<'a>);
            type Read<'t> = ($number, V::Read<'t>);

            fn encode(value: ($number, V::Given<'_>), bytes: &mut Vec<u8>) -> Coded<()> {
                $number::encode(value.0, bytes)?;
                V::encode(value.1, bytes)
            }

            fn decode(bytes: &[u8]) -> Coded<($number, V::Read<'_>)> {
                let (number, value) = bytes.split_first_chunk().ok_or("not a number")?;
                Ok(($number::from_be_bytes(*number), V::decode(value)?))
            }
        }
    )+};
}

numbers!(u32, u64);

impl Give for &str {
    fn give(self, key: Key) -> Key {
        key.text(self)
    }
}

impl Part for Text {
    type Given<'a> = &'a str;
    type Read = ();
    fn read(key: &mut KeyReader<'_>) -> Option<()> {
        key.skip_text()
    }
}

/// The parts of a key, as types.
pub trait Shape {
    type Given<'a>: Parts;
    type Read;
    /// `kind` bytes behind the first part are none.
    fn read(key: &[u8], kind: usize) -> Option<Self::Read>;
}

/// The parts of a key, or of its beginning.
pub trait Parts {
    fn key(self, kind: &[u8]) -> Key;
}

impl Shape for () {
    type Given<'a> = ();
    type Read = ();
    fn read(_: &[u8], _: usize) -> Option<()> {
        Some(())
    }
}

impl Parts for () {
    fn key(self, kind: &[u8]) -> Key {
        Key::new().encoded(kind)
    }
}

macro_rules! shapes {
    ($($First:ident $($Next:ident)*;)+) => {$(
        impl<$First: Part, $($Next: Part),*> Shape for ($First, $($Next,)*) {
            type Given<'a> = ($First::Given<'a>, $($Next::Given<'a>,)*);
            type Read = ($First::Read, $($Next::Read,)*);
            fn read(key: &[u8], kind: usize) -> Option<Self::Read> {
                let mut key = KeyReader(key);
                let first = $First::read(&mut key)?;
                key.skip(kind)?;
                Some((first, $($Next::read(&mut key)?,)*))
            }
        }

        impl<$First: Give, $($Next: Give),*> Parts for ($First, $($Next,)*) {
            #[expect(non_snake_case, reason = "the names of the types are those of the parts")]
            fn key(self, kind: &[u8]) -> Key {
                let ($First, $($Next,)*) = self;
                let key = $First.give(Key::new()).encoded(kind);
                $(let key = $Next.give(key);)*
                key
            }
        }
    )+};
}

shapes! {
    A;
    A B;
    A B C;
    A B C D;
}

/// The form of a value.
pub trait Form {
    type Given<'a>;
    type Read<'t>;

    /// Appends the value.
    fn encode(value: Self::Given<'_>, bytes: &mut Vec<u8>) -> Coded<()>;
    fn decode(bytes: &[u8]) -> Coded<Self::Read<'_>>;
}

/// Nothing: the key holds all.
impl Form for () {
    type Given<'a> = ();
    type Read<'t> = ();

    fn encode((): (), _: &mut Vec<u8>) -> Coded<()> {
        Ok(())
    }

    fn decode(_: &[u8]) -> Coded<()> {
        Ok(())
    }
}

impl Form for Text {
    type Given<'a> = &'a str;
    type Read<'t> = &'t str;

    fn encode(text: &str, bytes: &mut Vec<u8>) -> Coded<()> {
        bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Coded<&str> {
        std::str::from_utf8(bytes).map_err(|e| e.to_string())
    }
}

/// Bytes as they are.
pub enum Bytes {}

impl Form for Bytes {
    type Given<'a> = &'a [u8];
    type Read<'t> = &'t [u8];

    fn encode(value: &[u8], bytes: &mut Vec<u8>) -> Coded<()> {
        bytes.extend_from_slice(value);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Coded<&[u8]> {
        Ok(bytes)
    }
}

/// JSON.
pub struct Json<T>(PhantomData<T>);

impl<T: Serialize + DeserializeOwned + 'static> Form for Json<T> {
    type Given<'a> = &'a T;
    type Read<'t> = T;

    fn encode(value: &T, bytes: &mut Vec<u8>) -> Coded<()> {
        serde_json::to_writer(bytes, value).map_err(|e| e.to_string())
    }

    fn decode(bytes: &[u8]) -> Coded<T> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }
}

/// A line of JSON, a line feed, and a body that is read as it stands.
pub struct Headed<H>(PhantomData<H>);

impl<H: Serialize + DeserializeOwned + 'static> Form for Headed<H> {
    type Given<'a> = (&'a H, &'a str);
    type Read<'t> = (H, &'t str);

    fn encode((header, body): (&H, &str), bytes: &mut Vec<u8>) -> Coded<()> {
        Json::encode(header, bytes)?;
        bytes.push(b'\n');
        Text::encode(body, bytes)
    }

    fn decode(bytes: &[u8]) -> Coded<(H, &str)> {
        let (header, body) = Text::decode(bytes)?.split_once('\n').ok_or("no body")?;
        Ok((Json::decode(header.as_bytes())?, body))
    }
}

impl Form for Message {
    type Given<'a> = &'a Message;
    type Read<'t> = Message;

    fn encode(message: &Message, bytes: &mut Vec<u8>) -> Coded<()> {
        bytes.append(&mut message.to_stored().map_err(|e| e.to_string())?);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Coded<Message> {
        Message::from_stored(bytes).map_err(|e| e.to_string())
    }
}
