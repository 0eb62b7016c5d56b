//! JSON as the reference library prints it.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// A value, indented by four spaces, without a final newline.
///
/// # Errors
/// A value that JSON cannot hold. Texts, numbers, and lists and structs of such are none.
pub fn pretty<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    ")))?;
    Ok(bytes)
}
