//! What is carried along for whoever tells of it.

/// A value that is no part of the one it is carried in: two that differ in it alone are the same.
#[derive(Debug, Clone, Default)]
pub struct Aside<T>(pub T);

impl<T> PartialEq for Aside<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Aside<T> {}
