//! What is kept of the inputs of a target: a file of its name in `corpus`, an input a line, written as a JSON text whose
//! characters are the input's bytes.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The folder of these files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs that are kept for a target.
///
/// # Errors
/// There is no such file, or a line is none.
pub fn kept(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let path = folder().join(target);
    let text = fs::read_to_string(&path)?;
    text.lines()
        .zip(1..)
        .map(|(line, number)| {
            read(line).ok_or_else(|| {
                io::Error::new(ErrorKind::InvalidData, format!("{}:{number} is no input", path.display()))
            })
        })
        .collect()
}

/// The line of an input.
pub fn line(input: &[u8]) -> String {
    let text: String = input.iter().copied().map(char::from).collect();
    serde_json::Value::from(text).to_string()
}

fn read(line: &str) -> Option<Vec<u8>> {
    let text: String = serde_json::from_str(line).ok()?;
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}
