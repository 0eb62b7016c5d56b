//! As whom a request is made.

use std::path::PathBuf;

use http::HeaderValue;

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// What logs a request in, where that is no certificate.
#[derive(Clone)]
pub(super) enum Login {
    /// Nothing.
    None,
    /// Always the same.
    Fixed(HeaderValue),
    /// The token in a file, as it is then: whoever issues it replaces it before it expires.
    TokenFile(PathBuf),
}

impl Login {
    /// The value of the header `Authorization`.
    ///
    /// # Errors
    /// The file of the token cannot be read, or holds none.
    pub(super) fn header(&self) -> Outcome<Option<HeaderValue>> {
        let path = match self {
            Self::None => return Ok(None),
            Self::Fixed(value) => return Ok(Some(value.clone())),
            Self::TokenFile(path) => path,
        };
        let unusable = |kind: FaultKind, what: &str| {
            Fault::new(kind, format!("{what} {path:?}")).remedy("correct the file that holds the token")
        };
        let text = std::fs::read_to_string(path)
            .map_err(|cause| unusable(FaultKind::Io, "cannot read the token in").because(cause))?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .ok()
            .filter(|_| !text.trim().is_empty())
            .ok_or_else(|| unusable(FaultKind::Config, "there is no token in"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
