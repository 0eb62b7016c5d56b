//! What went wrong, in words: here nobody branches on failures, a person reads them.

use std::fmt;

use manifold::model::Fault;

/// A failure in words.
pub(crate) struct Trouble(String);

/// A `Result` whose error is a [`Trouble`].
pub(crate) type Outcome<T> = Result<T, Trouble>;

impl Trouble {
    /// A failure; `what` names the act and its object.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// Says what could not be done for which reason; made for `map_err`.
    pub(crate) fn doing<C: fmt::Display>(what: impl Into<String>) -> impl FnOnce(C) -> Self {
        let what = what.into();
        move |cause| Self(format!("{what}: {cause}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

// `main` prints its error by way of `Debug`.
impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Holds what was found against what should be there.
///
/// # Errors
/// They differ.
pub(crate) fn equal<T: PartialEq + fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Trouble::new(format!("{what} is {found:?}, not {wanted:?}")))
}

/// Holds a statement to be true.
///
/// # Errors
/// It is not; `otherwise` says so.
pub(crate) fn holds(statement: bool, otherwise: impl Into<String>) -> Outcome<()> {
    if statement { Ok(()) } else { Err(Trouble::new(otherwise)) }
}
