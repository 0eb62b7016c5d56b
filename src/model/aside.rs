//! What is carried along for whoever tells of it, such as warnings.

/// A value that takes no part in comparisons: two that differ in it alone are the same.
#[derive(Debug, Clone, Default)]
pub struct Aside<T>(pub T);

impl<T> PartialEq for Aside<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Aside<T> {}
