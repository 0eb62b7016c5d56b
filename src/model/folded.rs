//! JSON text decoded as the reference plugins (Go's `encoding/json`) decode it: keys in any letter case, `null` for
//! absent, of a key written several times the last value that is not `null`; at all depths.
//!
//! Types decoded through it spell their keys in lower case (`linkincontainer`). A value stays text until the type asks
//! for it, so what nobody asks for costs nothing.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_json::value::RawValue;
use serde_json::{Error, Value};

/// How deep values may lie in each other, as in `serde_json`.
const MAX_DEPTH: u8 = 128;
/// Most keys of one object: each is compared with those before it.
const MAX_KEYS: usize = 1024;

/// Decodes one value into `T`, whose keys must be all lower case.
///
/// # Errors
/// A value of the wrong type.
pub fn decode<'de, T: Deserialize<'de>>(value: &'de RawValue) -> Result<T, Error> {
    T::deserialize(Folded::new(value))
}

/// A value that is to be decoded.
pub(super) struct Folded<'de> {
    text: &'de str,
    /// In how many others it lies.
    depth: u8,
}

/// The entries of an object by their keys in lower case, without `null`s; of each key the last. Several types may each
/// take what they ask for.
#[derive(Debug, Default)]
pub struct Entries<'de> {
    each: Vec<(Cow<'de, str>, &'de RawValue)>,
    /// In how many others the object lies.
    depth: u8,
}

impl<'de> Folded<'de> {
    fn new(value: &'de RawValue) -> Self {
        Self { text: value.get(), depth: 0 }
    }

    /// One that lies in this.
    fn inner(value: &'de RawValue, depth: u8) -> Self {
        Self { text: value.get(), depth: depth.saturating_add(1) }
    }

    /// All of it, folded.
    fn whole(self) -> Result<Value, Error> {
        Value::deserialize(self)
    }
}

impl<'de> Entries<'de> {
    /// Those of a value.
    ///
    /// # Errors
    /// It is no object.
    pub fn of(value: &'de RawValue) -> Result<Self, Error> {
        if !value.get().starts_with('{') {
            return Err(Error::custom("it is no object"));
        }
        serde_json::from_str(value.get())
    }

    /// Decodes them into `T`, whose keys must be all lower case.
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn decode<T: Deserialize<'de>>(&self) -> Result<T, Error> {
        T::deserialize(self)
    }

    fn put(&mut self, key: Cow<'de, str>, value: &'de RawValue) {
        if value.get() == "null" {
            return;
        }
        let upper = key.bytes().any(|byte| byte.is_ascii_uppercase());
        let key = if upper { Cow::Owned(key.to_ascii_lowercase()) } else { key };
        match self.each.iter_mut().find(|(known, _)| *known == key) {
            Some((_, former)) => *former = value,
            None => self.each.push((key, value)),
        }
    }
}

impl<'de> FromIterator<(&'de str, &'de RawValue)> for Entries<'de> {
    fn from_iter<I: IntoIterator<Item = (&'de str, &'de RawValue)>>(each: I) -> Self {
        let mut entries = Self::default();
        each.into_iter().for_each(|(key, value)| entries.put(key.into(), value));
        entries
    }
}

impl<'de> Deserializer<'de> for &Entries<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let each = self.each.iter().map(|(key, value)| (key.as_ref(), Folded::inner(value, self.depth)));
        let mut each = MapDeserializer::new(each);
        let visited = visitor.visit_map(&mut each)?;
        each.end()?;
        Ok(visited)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Folded<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Folded<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::custom("values lie too deep in each other"));
        }
        match self.text.as_bytes().first() {
            Some(b'{') => {
                let entries: Entries<'de> = serde_json::from_str(self.text)?;
                Entries { depth: self.depth, ..entries }.deserialize_any(visitor)
            }
            Some(b'[') => {
                let items: Vec<&'de RawValue> = serde_json::from_str(self.text)?;
                let each = items.into_iter().map(|value| Folded::inner(value, self.depth));
                let mut each = SeqDeserializer::new(each);
                let visited = visitor.visit_seq(&mut each)?;
                each.end()?;
                Ok(visited)
            }
            _ => scalar(self.text, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.text == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.whole()?.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // Configurations know no others than words.
        visitor.visit_enum(String::deserialize(self)?.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier
    }
}

/// Has a type take a number, a text and the like; of what is wrong it is told what it is, and not where.
fn scalar<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Result<V::Value, Error> {
    match serde_json::from_str(text)? {
        Value::Bool(value) => visitor.visit_bool(value),
        Value::Number(number) => number.deserialize_any(visitor),
        Value::String(text) => visitor.visit_string(text),
        // Neither lists nor objects get here.
        Value::Null | Value::Array(_) | Value::Object(_) => visitor.visit_unit(),
    }
}

/// Collects the entries of an object.
struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Entries::default();
        let mut count = 0;
        while let Some(Key(key)) = map.next_key()? {
            entries.put(key, map.next_value()?);
            count += 1;
            few_keys(count)?;
        }
        Ok(entries)
    }
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

/// Refuses an object with more keys than a configuration in its right mind has.
pub(super) fn few_keys<E: serde::de::Error>(count: usize) -> Result<(), E> {
    match count {
        ..=MAX_KEYS => Ok(()),
        _ => Err(E::custom(format_args!("more than {MAX_KEYS} keys in one object"))),
    }
}

/// A key, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
pub struct Key<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// What is decoded, by its definition: a tree whose keys are lower case, without the `null`s of objects.
    fn fold(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                let kept = map.into_iter().filter(|(_, v)| !v.is_null());
                Value::Object(kept.map(|(k, v)| (k.to_ascii_lowercase(), fold(v))).collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(fold).collect()),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
        }
    }

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Conf {
        ranges: Vec<Vec<Range>>,
        mode: Option<Mode>,
        on: Option<bool>,
        #[serde(flatten)]
        flat: Range,
        kept: Option<Box<RawValueText>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Range {
        subnet: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Bridge,
    }

    /// A newtype.
    #[derive(Debug, PartialEq, Deserialize)]
    struct RawValueText(String);

    #[test]
    fn keys_match_in_any_letter_case_at_all_depths() {
        let text = r#"{"RANGES":[[{"Subnet":"a","other":[{}]}],[]],"Mode":"bridge","mode":null,"ON":true,"on":false,
            "SubNet":"b","k\u0065pt":"t"}"#;

        let range = |subnet: &str| Range { subnet: Some(subnet.into()) };
        let expected = Conf {
            ranges: vec![vec![range("a")], vec![]],
            mode: Some(Mode::Bridge),
            on: Some(false),
            flat: range("b"),
            kept: Some(Box::new(RawValueText("t".into()))),
        };
        assert_eq!(decode::<Conf>(&raw(text)).unwrap(), expected);
    }

    #[test]
    fn what_is_of_the_wrong_type_is_told_without_a_place_in_a_text_that_nobody_sees() {
        for (text, told) in [
            (r#"{"ranges":{}}"#, "invalid type: map, expected a sequence"),
            (r#"{"ranges":[[1]]}"#, "invalid type: integer `1`, expected struct Range"),
            (r#"{"ranges":[],"on":"yes"}"#, "invalid type: string \"yes\", expected a boolean"),
            (r#"{"ranges":[],"mode":"none"}"#, "unknown variant `none`, expected `bridge`"),
            (r#"{"Ranges":null}"#, "missing field `ranges`"),
        ] {
            assert_eq!(decode::<Conf>(&raw(text)).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn an_object_has_so_many_keys_that_each_can_be_compared_with_all_others() {
        let text = |count: usize, key: fn(usize) -> String| {
            let each: Vec<String> = (0..count).map(|n| format!("{:?}:{n}", key(n))).collect();
            format!("{{{}}}", each.join(","))
        };
        for key in [|n| n.to_string(), |_| "a".to_owned()] as [fn(usize) -> String; 2] {
            assert!(decode::<Value>(&raw(&text(MAX_KEYS, key))).is_ok());
            let told = decode::<Value>(&raw(&text(MAX_KEYS + 1, key))).unwrap_err().to_string();
            assert!(told.starts_with("more than 1024 keys in one object"), "{told}");
        }
    }

    #[test]
    fn no_depth_of_nesting_exhausts_the_stack() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let text = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            let Ok(value) = serde_json::from_str::<Box<RawValue>>(&text) else { continue };
            assert!(decode::<Value>(&value).is_err());
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[a-cA-C\"é]{1,2}", inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_tree_is_decoded_as_its_definition_says(value in any_json()) {
            let text = serde_json::to_string_pretty(&json!({"Outer": value})).unwrap();
            let value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(decode::<Value>(&raw(&text)).unwrap(), fold(value));
        }
    }
}
