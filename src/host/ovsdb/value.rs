//! Values as the database writes them (RFC 7047, section 5.1).

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The elements of a set. One that has a single element is written as that element.
pub(super) fn set(value: &Value) -> Vec<&Value> {
    match tagged(value, "set") {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(_) => Vec::new(),
        None => vec![value],
    }
}

/// The number in a column, if there is one.
pub(super) fn number(row: &Value, column: &str) -> Option<i64> {
    set(row.get(column)?).first().and_then(|value| value.as_i64())
}

/// The numbers in a column.
pub(super) fn numbers(row: &Value, column: &str) -> Vec<i64> {
    row.get(column).map(set).unwrap_or_default().into_iter().filter_map(Value::as_i64).collect()
}

/// The text in a column, if there is one.
pub(super) fn text<'a>(row: &'a Value, column: &str) -> Option<&'a str> {
    set(row.get(column)?).first().and_then(|value| value.as_str())
}

/// The texts in a column.
pub(super) fn texts(row: &Value, column: &str) -> Vec<String> {
    let values = row.get(column).map(set).unwrap_or_default();
    values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// The entries of a map of texts.
pub(super) fn map<'a>(row: &'a Value, column: &str) -> BTreeMap<&'a str, &'a str> {
    let pairs = row.get(column).and_then(|value| tagged(value, "map")).and_then(Value::as_array);
    let pair = |pair: &'a Value| Some((pair.get(0)?.as_str()?, pair.get(1)?.as_str()?));
    pairs.into_iter().flatten().filter_map(pair).collect()
}

/// The identity of a row.
pub(super) fn uuid(row: &Value) -> Option<&str> {
    tagged(row.get("_uuid")?, "uuid")?.as_str()
}

/// References to rows.
pub(super) fn references<'a>(uuids: impl IntoIterator<Item = &'a str>) -> Value {
    let all: Vec<Value> = uuids.into_iter().map(|uuid| json!(["uuid", uuid])).collect();
    json!(["set", all])
}

/// A map of texts, as it is written.
pub(super) fn map_of<K: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> Value {
    let pairs: Vec<Value> =
        pairs.into_iter().map(|(key, value)| json!([key.as_ref(), value.as_ref()])).collect();
    json!(["map", pairs])
}

/// What stands behind a tag: `["set", …]`.
fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Value> {
    match value.as_array()?.as_slice() {
        [first, rest] if first.as_str() == Some(tag) => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_read_alike_whether_they_have_none_one_or_several() {
        let row = json!({
            "_uuid": ["uuid", "0-1"], "none": ["set", []], "one": 7, "two": ["set", [7, 8]],
            "name": "p", "names": ["set", ["a", "b"]], "map": ["map", [["k", "v"], ["x", 1]]],
        });

        assert_eq!(
            (number(&row, "none"), number(&row, "one"), number(&row, "absent")),
            (None, Some(7), None)
        );
        assert_eq!((numbers(&row, "two"), numbers(&row, "one")), (vec![7, 8], vec![7]));
        assert_eq!((text(&row, "name"), text(&row, "none"), uuid(&row)), (Some("p"), None, Some("0-1")));
        assert_eq!(
            (texts(&row, "names"), texts(&row, "name")),
            (vec!["a".into(), "b".into()], vec!["p".into()])
        );
        assert_eq!(map(&row, "map"), BTreeMap::from([("k", "v")]));
        assert_eq!(map(&row, "name"), BTreeMap::new());
    }
}
