//! A JSON object kept as it was written: order of keys, numbers, unknown keys, white space inside values.
//!
//! Plugin configurations travel through Manifold as [`Object`]s. What the specification says to inject is injected
//! with [`Object::set`]; nothing else changes. What Manifold itself reads from one is decoded with [`Object::decode`], as
//! [`folded`] says.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::fault::{Fault, FaultKind, Outcome};
use super::folded::{self, Entries};
use super::wording;

/// Longest configuration read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// Keys that are tried one by one to find the one that cannot be decoded.
const MAX_TRIED: usize = 64;

/// Tries to decode an object, and says why it cannot be.
type Failure<'a> = &'a dyn Fn(&Object) -> Option<serde_json::Error>;

/// A JSON object as written.
#[derive(Debug, Clone, Default)]
pub struct Object {
    entries: Vec<(String, Box<RawValue>)>,
}

impl Object {
    /// Reads an object; `what` names it in the error.
    ///
    /// # Errors
    /// Bytes that are no JSON object, or more than [`MAX_BYTES`] of them.
    pub fn parse(bytes: &[u8], what: &str) -> Outcome<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(Fault::new(FaultKind::Decode, format!("{what} is longer than {MAX_BYTES} bytes")));
        }
        serde_json::from_slice(bytes).map_err(|cause| undecodable(what, cause))
    }

    /// The value of the key spelled exactly so; of several, the last.
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_ref())
    }

    /// The value of a key in any letter case; of several, the last. `null` counts as absent.
    pub fn find(&self, key: &str) -> Option<&RawValue> {
        self.find_or_null(key).filter(|value| value.get() != "null")
    }

    /// As [`Object::find`], where `null` is a value like others.
    pub fn find_or_null(&self, key: &str) -> Option<&RawValue> {
        self.entries.iter().rev().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v.as_ref())
    }

    /// Sets a key: in place where it stands (in any letter case), else at the end.
    pub fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.entries.iter().position(|(k, _)| k.eq_ignore_ascii_case(key)) {
            None => self.entries.push((key.to_owned(), value)),
            Some(at) => {
                let mut index = 0;
                self.entries.retain(|(k, _)| {
                    index += 1;
                    index == at + 1 || !k.eq_ignore_ascii_case(key)
                });
                if let Some(entry) = self.entries.get_mut(at) {
                    *entry = (key.to_owned(), value);
                }
            }
        }
    }

    /// Sets a key to anything that serialises.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn put<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Outcome<()> {
        let raw = serde_json::value::to_raw_value(value).map_err(|cause| undecodable(key, cause))?;
        self.set(key, raw);
        Ok(())
    }

    /// Removes a key in any letter case.
    pub fn remove(&mut self, key: &str) {
        self.entries.retain(|(k, _)| !k.eq_ignore_ascii_case(key));
    }

    /// Keeps the keys that `keep` says yes to.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|(key, _)| keep(key));
    }

    /// The keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v.as_ref()))
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Decodes the object into `T`, whose keys must be all lower case: see [`folded`]. Of a struct, only the keys it names
    /// are looked into.
    ///
    /// # Errors
    /// A value of the wrong type; `what` names the object.
    pub fn decode<T: DeserializeOwned>(&self, what: &str) -> Outcome<T> {
        // One place that decodes, whatever the type: each is code of its own.
        let read = |object: &Self| object.iter().collect::<Entries<'_>>().decode();
        read(self).map_err(|cause| self.undecoded(what, cause, &|object| read(object).err()))
    }

    /// Why it cannot be decoded, with the key whose value is wrong: without it, all can, or something else is wrong.
    fn undecoded(&self, what: &str, cause: serde_json::Error, failure: Failure<'_>) -> Fault {
        let told = cause.to_string();
        let mut keys = self.iter().map(|(key, _)| key).take(MAX_TRIED);
        let culprit = keys.find(|key| {
            let mut without = self.clone();
            without.remove(key);
            failure(&without).is_none_or(|other| other.to_string() != told)
        });
        match culprit {
            None => undecodable(what, cause),
            Some(key) => undecodable(&format!("{key:?} of {what}"), cause).remedy("correct its value"),
        }
    }

    /// The object as JSON text, entries as they were written.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Keys are strings and values are already JSON: serialising cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Decodes one value into `T`, whose keys must be all lower case: see [`folded`].
///
/// # Errors
/// A value of the wrong type; `what` names it.
pub fn decode<T: DeserializeOwned>(value: &RawValue, what: &str) -> Outcome<T> {
    folded::decode(value).map_err(|cause| undecodable(what, cause))
}

/// A value that cannot be decoded; `what` names it.
pub fn undecodable(what: &str, cause: serde_json::Error) -> Fault {
    Fault::new(FaultKind::Decode, format!("cannot read {what}"))
        .because(wording::plain(&cause.to_string()))
        .remedy("correct the JSON")
}

impl PartialEq for Object {
    /// Equal when written alike.
    fn eq(&self, other: &Self) -> bool {
        self.iter().map(|(k, v)| (k, v.get())).eq(other.iter().map(|(k, v)| (k, v.get())))
    }
}

impl Eq for Object {}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (key, value) in &self.entries {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Collects the entries of an object.
struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((key, map.next_value::<Box<RawValue>>()?));
            folded::few_keys(entries.len())?;
        }
        Ok(Object { entries })
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(text: &str) -> Object {
        Object::parse(text.as_bytes(), "the test").unwrap()
    }

    #[test]
    fn what_is_read_is_written_again_to_the_letter() {
        let text = r#"{"z":1,"a":12345678901234567890,"f":1.50,"s":"é<&>","o":{"k": [ 1,  2 ]},"n":null}"#;
        assert_eq!(String::from_utf8(object(text).to_bytes()).unwrap(), text);
    }

    #[test]
    fn setting_a_key_moves_nothing() {
        let mut it = object(r#"{"type":"x","Name":"old","vendor":{"b":1,"a":2},"NAME":"older"}"#);

        it.put("name", "new").unwrap();
        it.put("prevResult", &1).unwrap();

        let text = String::from_utf8(it.to_bytes()).unwrap();
        assert_eq!(text, r#"{"type":"x","name":"new","vendor":{"b":1,"a":2},"prevResult":1}"#);
    }

    #[test]
    fn keys_are_decoded_in_any_letter_case_and_null_is_absent() {
        #[derive(Deserialize)]
        struct Conf {
            linkincontainer: Option<bool>,
            mtu: Option<u32>,
        }

        let conf: Conf = object(r#"{"LinkInContainer":true,"mtu":null}"#).decode("the test").unwrap();

        assert_eq!((conf.linkincontainer, conf.mtu), (Some(true), None));
    }

    #[test]
    fn the_key_that_cannot_be_decoded_is_named_as_it_was_written() {
        #[derive(Debug, Deserialize)]
        struct Conf {
            #[serde(rename = "vlanid")]
            _vlan: i64,
            #[serde(default, rename = "mtu")]
            _mtu: i64,
        }
        let told = |text: &str| object(text).decode::<Conf>("the test").unwrap_err().to_string();

        let wrong = "cannot read \"vlanId\" of the test: invalid type: string \"5\", expected a whole number";
        assert_eq!(told(r#"{"type":"vlan","mtu":1,"vlanId":"5"}"#), wrong);
        assert_eq!(told(r#"{"mtu":1}"#), "cannot read the test: missing field `vlanid`");
    }

    #[test]
    fn of_a_key_written_twice_the_last_value_counts_and_null_is_none() {
        #[derive(Deserialize)]
        struct Conf {
            mtu: Option<u32>,
        }

        let conf: Conf = object(r#"{"mtu":1,"MTU":2,"Mtu":null,"other":[]}"#).decode("the test").unwrap();

        assert_eq!(conf.mtu, Some(2));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(Object::parse(&bytes, "noise"));
        }

        #[test]
        fn any_object_survives(map in proptest::collection::hash_map(".{0,8}", any::<i64>(), 0..8)) {
            let text = serde_json::to_vec(&map).unwrap();
            prop_assert_eq!(Object::parse(&text, "it").unwrap().to_bytes(), text);
        }
    }
}
