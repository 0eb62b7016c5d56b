//! Configurations, put together from parts.

use serde_json::{Map, Value};

/// The object with the keys of another one added, or put in place of its own.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

/// The object without this key.
pub(crate) fn without(mut object: Value, key: &str) -> Value {
    object.as_object_mut().and_then(|keys| keys.remove(key));
    object
}

/// Walks a value and puts another in the place of each text.
pub(crate) fn map_texts(value: Value, replace: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(replace(&text)),
        Value::Array(items) => items.into_iter().map(|item| map_texts(item, replace)).collect(),
        Value::Object(keys) => {
            let keys = keys.into_iter().map(|(key, value)| (key, map_texts(value, replace)));
            Value::Object(keys.collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
